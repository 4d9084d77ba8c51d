"""Whatever git event fires, or none at all, the right image ends up running."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.deployment import Deployment, called, git, run, web
from tests.patience import PATIENCE, until


@pytest.fixture
def hub(deployment: Deployment) -> Iterator[Deployment]:
    """A bare deployment repository that is pushed to, and serves version one."""
    deployment.hooks(deployment.hub)
    deployment.publish(web('one'), 'a' * 40)
    assert deployment.page() == 'one'
    yield deployment


def pushed(deployment: Deployment, *refs: str) -> list[str]:
    """What the pusher of `refs` to the hub sees from the hook."""
    done = run('git', 'push', *(['origin', *refs] if refs else []), cwd=deployment.site)
    assert done.returncode == 0, done.stderr
    return remote(done)


def remote(done: subprocess.CompletedProcess[str]) -> list[str]:
    lines = done.stderr.splitlines()
    return [line.removeprefix('remote: ').rstrip() for line in lines if line.startswith('remote:')]


def one_release(deployment: Deployment, git_dir: Path | None = None) -> int:
    """The number of the live release; asserts that it alone runs, but for those that keep their
    connections."""
    number = deployment.current(git_dir=git_dir).number
    overlap = deployment.state(git_dir).of('www').overlap()
    kept = {side.release for side in overlap.sides} if overlap else {number}
    assert {folder.name for folder, _ in deployment.processes(git_dir)} == set(map(str, kept))
    return number


# A pull in a clone.


def test_a_fast_forward_pull_boots_the_new_image(serving: Deployment) -> None:
    serving.publish(web('two'), 'b' * 40)
    done = serving.pull()
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].endswith('now runs')
    assert serving.page() == 'two'
    assert one_release(serving) == 2


@pytest.mark.parametrize('how', ['--ff-only', '--rebase', '--no-rebase', '--no-ff'])
def test_every_way_to_pull_boots_the_new_image(serving: Deployment, how: str) -> None:
    serving.publish(web('two'), 'b' * 40)
    assert serving.pull(how).returncode == 0
    assert serving.page() == 'two'


@pytest.mark.parametrize('how', ['--rebase', '--no-rebase'])
def test_a_pull_next_to_a_local_commit_boots_the_new_image(
    serving: Deployment, how: str
) -> None:
    (serving.host / 'local').write_text('of the host\n')
    git(serving.host, 'add', 'local')
    git(serving.host, 'commit', '-q', '-m', 'a commit of the host')
    serving.publish(web('two'), 'b' * 40)
    assert serving.pull(how).returncode == 0
    assert serving.page() == 'two'


@pytest.mark.parametrize('how', ['--ff-only', '--no-ff'])
def test_fetch_and_merge_boots_the_new_image(serving: Deployment, how: str) -> None:
    serving.publish(web('two'), 'b' * 40)
    git(serving.host, 'fetch', '-q')
    git(serving.host, 'merge', '-q', '--no-edit', how, 'origin/master')
    assert serving.page() == 'two'


def test_a_squash_leaves_the_old_image_until_it_is_committed(serving: Deployment) -> None:
    serving.publish(web('two'), 'b' * 40)
    serving.pull('--squash')
    assert serving.page() == 'one'
    git(serving.host, 'commit', '-q', '-m', 'squashed')
    assert serving.page() == 'one'  # a commit fires no hook of ours: the next cron run sees it
    git(serving.host, 'config', 'pull.rebase', 'true')
    assert serving.mirage('pull', '--quiet').returncode == 0
    assert serving.page() == 'two'


def test_after_fetch_and_reset_the_next_cron_run_boots_the_new_image(
    serving: Deployment,
) -> None:
    serving.publish(web('two'), 'b' * 40)
    git(serving.host, 'fetch', '-q')
    git(serving.host, 'reset', '-q', '--hard', 'origin/master')
    assert serving.page() == 'one'
    done = serving.mirage('pull', '--quiet')
    assert (done.returncode, done.stdout.splitlines()[-1][:13]) == (0, 'www: release ')
    assert serving.page() == 'two'


def test_a_merge_that_does_not_touch_the_image_does_not_touch_the_unikernel(
    serving: Deployment,
) -> None:
    before = serving.processes()
    (serving.site / 'README').write_text('scripts only\n')
    serving.commit('document')
    done = serving.pull()
    assert (done.returncode, done.stderr) == (0, '')
    assert serving.processes() == before


def test_a_cron_run_with_nothing_new_says_nothing(serving: Deployment) -> None:
    done = serving.mirage('pull', '--quiet')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


# A remote that was rewound.


def rewound(deployment: Deployment, page: str = 'other') -> None:
    """Publish `page` in the place of the newest commit."""
    git(deployment.site, 'reset', '-q', '--hard', 'HEAD~1')
    deployment.publish(web(page), 'e' * 40)


def test_a_force_pushed_upstream_is_refused_at_every_cron_run_and_told_once(
    serving: Deployment,
) -> None:
    serving.publish(web('two'), 'b' * 40)
    serving.pull()
    before = git(serving.host, 'rev-parse', 'HEAD')
    rewound(serving)
    git(serving.host, 'config', 'pull.rebase', 'false')  # would merge the rewound commit back in
    told = (
        f'mirage-hooks: master was rewound on the remote: {before[:12]} is no longer part of it\n'
        '  hint: if that was meant: git fetch && git reset --keep @{upstream}, or say '
        '`rewound: follow` in mirage.yml\n'
    )
    for said in (told, ''):
        done = serving.mirage('pull', '--quiet')
        assert (done.returncode, done.stdout) == (1, said)
        assert git(serving.host, 'rev-parse', 'HEAD') == before
        assert serving.page() == 'two'


def test_a_force_pushed_upstream_is_followed_when_mirage_yml_says_so(serving: Deployment) -> None:
    serving.configure(rewound='follow')
    serving.publish(web('two'), 'b' * 40)
    serving.pull()
    before = git(serving.host, 'rev-parse', 'HEAD')
    rewound(serving)
    after = git(serving.site, 'rev-parse', 'HEAD')
    done = serving.mirage('pull')
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == (
        f'master was rewound on the remote: followed it from {before[:12]} to {after[:12]}'
    )
    assert serving.page() == 'other'


def test_a_rewound_upstream_that_somebody_fetched_by_hand_is_followed_too(
    serving: Deployment,
) -> None:
    serving.configure(rewound='follow')
    serving.publish(web('two'), 'b' * 40)
    serving.pull()
    rewound(serving)
    git(serving.host, 'fetch', '-q')
    assert serving.mirage('pull').returncode == 0
    assert serving.page() == 'other'


def test_an_upstream_rewound_to_an_earlier_commit_is_followed(serving: Deployment) -> None:
    serving.configure(rewound='follow')
    serving.publish(web('two'), 'b' * 40)
    serving.pull()
    git(serving.site, 'push', '-q', '-f', 'origin', 'HEAD~1:master')
    git(serving.host, 'fetch', '-q')
    assert serving.mirage('pull').returncode == 0
    assert serving.page() == 'one'


def test_a_rewound_upstream_is_not_followed_over_commits_of_the_clone(
    serving: Deployment,
) -> None:
    serving.configure(rewound='follow')
    serving.publish(web('two'), 'b' * 40)
    serving.pull()
    git(serving.host, 'commit', '-q', '--allow-empty', '-m', 'of the host')
    rewound(serving)
    done = serving.mirage('pull', '--quiet')
    assert (done.returncode, done.stdout) == (1, (
        'mirage-hooks: master was rewound on the remote, and this clone has commits of its own\n'
        '  hint: rebase or drop them: git rebase @{upstream}\n'
    ))
    assert serving.page() == 'two'


def test_a_bare_repository_stays_rewound_at_every_cron_run(deployment: Deployment) -> None:
    deployment.publish(web('one'), 'a' * 40)
    git(deployment.folder, 'clone', '-q', '--bare', f'file://{deployment.hub}', 'host')
    git(deployment.host, 'config', 'remote.origin.fetch', '+refs/heads/*:refs/remotes/origin/*')
    git(deployment.host, 'config', 'branch.master.remote', 'origin')
    git(deployment.host, 'config', 'branch.master.merge', 'refs/heads/master')
    deployment.hooks(deployment.host)
    deployment.publish(web('two'), 'b' * 40)
    assert deployment.mirage('pull').returncode == 0
    rewound(deployment)
    for _ in range(3):
        assert deployment.mirage('pull', '--quiet').returncode == 1
        assert deployment.page() == 'two'


# Other branches than the one that is checked out.


def aside(deployment: Deployment, page: str) -> None:
    """Publish `page` on the branch staging."""
    deployment.publish(web(page), push=False)
    git(deployment.site, 'push', '-q', 'origin', 'HEAD:staging')


def test_a_branch_that_only_the_remote_has_is_followed(serving: Deployment) -> None:
    aside(serving, 'two')
    serving.configure(branch='staging')
    git(serving.host, 'fetch', '-q')
    for page in ('two', 'three'):
        aside(serving, page)
        done = serving.mirage('pull', '--quiet')
        assert (done.returncode, serving.page()) == (0, page), done.stdout
    assert git(serving.host, 'branch', '--show-current') == 'master'


def test_the_branch_of_one_unikernel_is_followed_too(serving: Deployment) -> None:
    aside(serving, 'two')
    git(serving.host, 'fetch', '-q')
    git(serving.host, 'branch', '-q', '--track', 'staging', 'origin/staging')
    network = {'mode': 'socket', 'port': serving.port}
    serving.config.write_text(yaml.safe_dump({'unikernels': {
        'www': {'image': 'xen/latest', 'branch': 'staging', 'network': network}}}))
    aside(serving, 'three')
    assert serving.mirage('pull', '--quiet').returncode == 0
    assert serving.page() == 'three'


def test_a_branch_that_is_gone_from_the_remote_is_said_and_what_ended_is_started(
    serving: Deployment,
) -> None:
    git(serving.host, 'config', 'fetch.prune', 'true')
    git(serving.site, 'push', '-q', 'origin', 'HEAD:main')
    git(serving.hub, 'symbolic-ref', 'HEAD', 'refs/heads/main')
    git(serving.site, 'push', '-q', 'origin', ':master')
    serving.crash()
    done = serving.mirage('pull', '--quiet')
    assert done.returncode == 1
    assert 'mirage-hooks: master is no longer on the remote\n' in done.stderr + done.stdout
    assert serving.page() == 'one'


def test_a_unikernel_under_another_name_gets_the_port_of_the_old_one(serving: Deployment) -> None:
    text = serving.config.read_text()
    serving.config.write_text(text.replace('www:', 'blog:'))
    done = serving.mirage('pull')
    assert done.returncode == 0
    assert done.stdout.splitlines()[-2] == 'www: stopped: it is no longer in mirage.yml'
    assert done.stdout.splitlines()[-1].startswith('blog: release 1 ')
    assert serving.page() == 'one'


# What was refused.


def test_an_outside_cause_is_tried_again_when_nothing_new_comes(serving: Deployment) -> None:
    with serving.hold_port() as other:
        port = other.getsockname()[1]
        serving.configure(network={'mode': 'socket', 'port': port})
        serving.publish(web('two'), 'b' * 40)
        done = serving.pull()
        assert f'www: REFUSED: port {port} is held by another program' in done.stderr
        until(lambda: serving.page() == 'one')  # it was started again
    releases = serving.state().of('www')
    known = releases.failure()
    assert known is not None and 55 < known.retry - known.at < 65
    releases.set_failure(msgspec.structs.replace(known, retry=1))  # a minute later
    assert serving.mirage('pull', '--quiet').returncode == 0
    assert (serving.page(), serving.page(port)) == ('', 'two')
    assert releases.failure() is None


def test_a_bad_image_is_told_once_and_not_tried_again(serving: Deployment) -> None:
    serving.publish(web('bad', before='sys.exit(2)'), 'b' * 40)
    done = serving.mirage('pull', '--quiet')
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        'www: REFUSED: it ended with exit code 2',
        f'www: {called(1, web("one"), git(serving.host, "rev-parse", "HEAD~1"))} goes on running',
    ]
    done = serving.mirage('pull', '--quiet')
    assert (done.returncode, done.stdout) == (1, '')
    assert serving.page() == 'one'
    assert one_release(serving) == 1


def test_a_missing_image_is_told_once_too(serving: Deployment) -> None:
    (serving.site / 'xen' / 'latest').write_text('b' * 40 + '\n')
    serving.commit('point to nothing')
    assert serving.mirage('pull', '--quiet').stdout != ''
    done = serving.mirage('pull', '--quiet')
    assert (done.returncode, done.stdout) == (1, '')
    events = [entry.event for entry in serving.history()]
    assert events == ['deployed', 'refused']


# A push.


def test_a_push_to_a_bare_repository_boots_the_image_and_tells_the_pusher(
    hub: Deployment,
) -> None:
    hub.publish(web('two'), 'b' * 40, push=False)
    commit = git(hub.site, 'rev-parse', 'HEAD')[:12]
    said = pushed(hub, 'HEAD:master')
    assert said[-1] == f'www: {called(2, web("two"), commit)} now runs'
    assert hub.page() == 'two'
    assert one_release(hub, hub.hub) == 2


def test_a_push_of_a_broken_image_leaves_the_old_one_and_tells_the_pusher_why(
    hub: Deployment,
) -> None:
    good = git(hub.site, 'rev-parse', 'HEAD')[:12]
    hub.publish(web('two', before='print("Fatal error: no route"); sys.exit(2)'), 'b' * 40,
                push=False)
    said = pushed(hub, 'HEAD:master')
    assert said[-4:] == [
        'www: REFUSED: it ended with exit code 2',
        '    | Fatal error: no route',
        '  its console: mirage-hooks logs www --failed',
        f'www: {called(1, web("one"), good)} goes on running',
    ]
    assert hub.page() == 'one'
    assert one_release(hub, hub.hub) == 1


def test_a_first_push_next_to_a_wrong_mirage_yml_is_refused_aloud(deployment: Deployment) -> None:
    deployment.hooks(deployment.hub)
    deployment.configure('unikernels: {www: {imgae: x}}\n')
    deployment.publish(web('one'), 'a' * 40, push=False)
    assert pushed(deployment, 'HEAD:master') == [
        f'{deployment.config}:1:20: www.imgae is unknown: did you mean image?',
        'mirage-hooks: REFUSED: nothing runs until that is right',
    ]


def test_a_push_to_a_checkout_boots_the_image(serving: Deployment) -> None:
    git(serving.host, 'config', 'receive.denyCurrentBranch', 'updateInstead')
    serving.publish(web('two'), 'b' * 40, push=False)
    done = run('git', 'push', str(serving.host), 'HEAD:master', cwd=serving.site)
    assert remote(done)[-1].endswith('now runs')
    assert serving.page() == 'two'
    assert (serving.host / 'xen' / 'latest').read_text() == 'b' * 40 + '\n'


def test_several_refs_in_one_push_boot_the_tracked_branch_once(hub: Deployment) -> None:
    hub.publish(web('two'), 'b' * 40, push=False)
    git(hub.site, 'tag', 'v2')
    git(hub.site, 'branch', 'other')
    said = pushed(hub, 'HEAD:master', 'v2', 'other')
    assert len([line for line in said if line.endswith('now runs')]) == 1
    assert hub.page() == 'two'


@pytest.mark.parametrize('ref', ['HEAD:refs/tags/v2', 'HEAD:other'])
def test_a_push_of_a_tag_or_another_branch_changes_nothing(hub: Deployment, ref: str) -> None:
    before = hub.processes(hub.hub)
    hub.publish(web('two'), 'b' * 40, push=False)
    assert pushed(hub, ref) == []
    assert hub.processes(hub.hub) == before
    assert hub.page() == 'one'


def test_another_branch_is_deployed_when_mirage_yml_names_it(hub: Deployment) -> None:
    hub.configure(branch='live')
    hub.publish(web('two'), 'b' * 40, push=False)
    assert pushed(hub, 'HEAD:live')[-1].endswith('now runs')
    assert hub.page() == 'two'


def test_a_deleted_branch_leaves_what_runs(hub: Deployment) -> None:
    git(hub.hub, 'config', 'receive.denyDeleteCurrent', 'ignore')
    good = git(hub.site, 'rev-parse', 'HEAD')[:12]
    assert pushed(hub, ':master')[-3:] == [
        f'www: REFUSED: {hub.hub} has no branch master; it is empty',
        '  hint: push it, or name another in mirage.yml: branch: …',
        f'www: {called(1, web("one"), good)} goes on running',
    ]
    assert hub.page() == 'one'


def test_a_push_does_not_wait_for_the_unikernel_which_holds_no_descriptor(
    hub: Deployment,
) -> None:
    hub.publish(web('two'), 'b' * 40)  # it would wait as long as the unikernel runs
    for folder, process in hub.processes(hub.hub):
        opened = {str(entry.readlink()) for entry in Path(f'/proc/{process.pid}/fd').iterdir()}
        # Its sockets, and the pipe between sandbox and image, are nobody else's: the push is back.
        files = {name for name in opened if name.startswith('/')}
        own = {str(folder / name) for name in ('console.log', 'ended.json')}
        assert files <= {'/dev/null', *own}
    assert hub.state(hub.hub).holder() == ''


def test_two_pushes_at_once_end_with_the_newest_image(hub: Deployment) -> None:
    """The second waits for the first's deployment, and says for whom it waits."""
    hub.publish(web('two', before='import time; time.sleep(2)'), 'b' * 40, push=False)
    hub.publish(web('three'), 'c' * 40, push=False)
    first = subprocess.Popen(
        ('git', 'push', 'origin', 'HEAD~1:master'), cwd=hub.site, stderr=subprocess.PIPE, text=True
    )
    while not hub.state(hub.hub).holder():
        assert first.poll() is None
        time.sleep(0.02)
    said = pushed(hub, 'HEAD:master')
    assert first.communicate(timeout=PATIENCE)[1].splitlines()[-2].strip()
    assert said[0].startswith('waiting for another deployment to end: ')
    assert said[0].endswith(' git push by operator')
    assert hub.page() == 'three'
    assert one_release(hub, hub.hub) == 3


def test_a_pusher_that_hangs_up_does_not_stop_the_deployment(hub: Deployment) -> None:
    hub.publish(web('two'), 'b' * 40, push=False)
    git(hub.hub, 'fetch', '-q', str(hub.site), '+HEAD:master')
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        (str(hub.hub / 'hooks' / 'post-receive'),), cwd=hub.hub, stdout=write, stderr=write,
        env={**os.environ, 'GIT_DIR': '.'}, input=b'', timeout=PATIENCE, check=False,
    )
    os.close(write)
    assert done.returncode in (0, 120)  # 120 is Python's: it could not flush what it said
    assert hub.page() == 'two'
    assert one_release(hub, hub.hub) == 2


# Where git runs the hooks, and with what.


def test_a_pull_in_a_linked_worktree_deploys_the_branch_of_the_repository(
    serving: Deployment,
) -> None:
    linked = serving.folder / 'linked'
    git(serving.host, 'worktree', 'add', '-q', '-b', 'other', str(linked), 'master')
    serving.publish(web('two'), 'b' * 40)
    git(linked, 'pull', '-q', 'origin', 'master')
    assert serving.page() == 'one'  # only the branch `other` moved
    git(serving.host, 'merge', '-q', '--ff-only', 'other')
    assert serving.page() == 'two'
    assert not (serving.host / '.git' / 'worktrees' / 'linked' / 'mirage-hooks').exists()


def test_a_command_in_a_linked_worktree_deploys_the_branch_of_the_repository(
    serving: Deployment,
) -> None:
    linked = serving.folder / 'linked'
    git(serving.host, 'worktree', 'add', '-q', '-b', 'other', str(linked), 'master')
    serving.publish(web('two'), 'b' * 40)
    git(linked, 'pull', '-q', 'origin', 'master')
    assert serving.mirage('deploy', repository=linked).returncode == 0
    assert serving.page() == 'one'


def test_a_relative_mirage_config_means_the_same_from_a_linked_worktree(
    serving: Deployment,
) -> None:
    linked = serving.folder / 'deeper' / 'linked'
    git(serving.host, 'worktree', 'add', '-q', '-b', 'other', str(linked), 'master')
    git(serving.host, 'config', 'mirage.config', '../mirage.yml')
    assert serving.mirage('deploy', repository=linked).returncode == 0


def test_git_variables_of_another_repository_do_not_redirect_us(serving: Deployment) -> None:
    elsewhere = serving.folder / 'elsewhere'
    git(serving.folder, 'init', '-q', str(elsewhere))
    serving.publish(web('two'), 'b' * 40)
    git(serving.host, 'fetch', '-q')
    git(serving.host, 'reset', '-q', '--hard', 'origin/master')
    variables = (f'GIT_DIR={elsewhere}/.git', f'GIT_WORK_TREE={elsewhere}',
                 f'GIT_INDEX_FILE={elsewhere}/.git/index', 'GIT_PREFIX=xen/')
    done = run('env', *variables, *serving.command('deploy'), cwd=serving.folder)
    assert done.returncode == 0, done.stderr
    assert serving.page() == 'two'
    assert not (elsewhere / '.git' / 'mirage-hooks').exists()


def test_hooks_in_a_folder_of_the_git_directory_work(serving: Deployment) -> None:
    (serving.host / '.git' / 'hooks').rename(serving.host / '.git' / 'our-hooks')
    git(serving.host, 'config', 'core.hooksPath', '.git/our-hooks')
    serving.publish(web('two'), 'b' * 40)
    serving.pull()
    assert serving.page() == 'two'


def test_a_repository_with_a_separate_git_directory_works(deployment: Deployment) -> None:
    deployment.publish(web('one'), 'a' * 40)
    apart = deployment.folder / 'bare.git'
    git(deployment.folder, 'clone', '-q', f'--separate-git-dir={apart}', str(deployment.hub),
        str(deployment.host))
    deployment.hooks(apart)
    deployment.publish(web('two'), 'b' * 40)
    deployment.pull()
    assert deployment.page() == 'two'


@pytest.mark.parametrize('interpreter', ['#!/bin/sh\n', ''])
def test_an_earlier_post_receive_runs_first_with_its_input(
    hub: Deployment, interpreter: str
) -> None:
    """git runs a hook without `#!` by sh, and so do we."""
    before = hub.hub / 'hooks' / 'post-receive.before-mirage-hooks'
    before.write_text(
        interpreter + '{ echo "$0 $*"; cat; } >earlier\n'
        'git --git-dir="$GIT_DIR" log -1 --format=%s master >>earlier\nexit 3\n'
    )
    before.chmod(0o755)
    old = git(hub.site, 'rev-parse', 'HEAD')
    hub.publish(web('two'), 'b' * 40)
    new = git(hub.site, 'rev-parse', 'HEAD')
    said = (hub.hub / 'earlier').read_text().splitlines()
    assert said[1:] == [f'{old} {new} refs/heads/master', f'adding {"b" * 40} for unix']
    assert hub.page() == 'two'


def test_an_earlier_post_merge_gets_its_arguments(serving: Deployment) -> None:
    before = serving.host / '.git' / 'hooks' / 'post-merge.before-mirage-hooks'
    before.write_text('#!/bin/sh\necho "squash=$1" >.git/earlier\n')
    before.chmod(0o755)
    serving.publish(web('two'), 'b' * 40)
    serving.pull('--squash')
    assert (serving.host / '.git' / 'earlier').read_text() == 'squash=1\n'


def test_an_earlier_post_rewrite_gets_its_input(serving: Deployment) -> None:
    before = serving.host / '.git' / 'hooks' / 'post-rewrite.before-mirage-hooks'
    before.write_text('#!/bin/sh\n{ echo "$1"; cat; } >.git/earlier\n')
    before.chmod(0o755)
    old = git(serving.host, 'rev-parse', 'HEAD')
    git(serving.host, 'commit', '-q', '--amend', '-m', 'reworded')
    new = git(serving.host, 'rev-parse', 'HEAD')
    assert (serving.host / '.git' / 'earlier').read_text() == f'amend\n{old} {new}\n'


def test_under_crons_pull_an_earlier_hook_still_runs(serving: Deployment) -> None:
    before = serving.host / '.git' / 'hooks' / 'post-merge.before-mirage-hooks'
    before.write_text('#!/bin/sh\necho hello from the earlier hook\n')
    before.chmod(0o755)
    serving.publish(web('two'), 'b' * 40)
    done = serving.mirage('pull', '--quiet')
    assert done.stdout.splitlines()[0] == 'hello from the earlier hook'
    assert done.stdout.splitlines()[-1].endswith('now runs')
    assert serving.page() == 'two'


def test_the_hook_finds_the_long_way_only_when_something_is_to_do(serving: Deployment) -> None:
    """A merge that changes nothing must not pay for GitPython, sh, YAML and their like."""
    program = (
        'import sys; from mirage_hooks import hook; code = hook.main("post-merge", ["0"]); '
        'print(code, sorted(set(sys.modules) & {"git", "sh", "yaml", "msgspec", "psutil", '
        '"elftools", "mirage_hooks.cli.running"}))'
    )
    done = run(sys.executable, '-I', '-c', program, cwd=serving.host)
    assert done.stdout == '0 []\n'


def test_the_quick_way_is_not_taken_when_the_unikernel_died(serving: Deployment) -> None:
    serving.end()
    assert serving.page() == ''
    (serving.site / 'README').write_text('scripts only\n')
    serving.commit('document')
    done = serving.pull()
    assert done.stderr.splitlines()[-1].endswith('runs again')
    assert serving.page() == 'one'
