"""The gate: `git push` itself fails when the image would not serve, and nothing has changed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mirage_hooks.host import processes
from mirage_hooks.state import journal
from tests import signing
from tests.deployment import ROOT, Deployment, git, run, web
from tests.patience import PATIENCE

CRASHES = "print('Fatal error: out of cheese', flush=True); sys.exit(2)"


class Gated:
    """A repository that is pushed to, with `gate: true`, serving `one`: bare, or a checkout."""

    def __init__(self, deployment: Deployment, bare: bool) -> None:
        self.deployment, self.site = deployment, deployment.site
        self.path = deployment.folder / ('bare.git' if bare else 'host')
        git(deployment.folder, 'init', '-q', '-b', 'master', *(['--bare'] if bare else []),
            str(self.path))
        if not bare:
            git(self.path, 'config', 'receive.denyCurrentBranch', 'updateInstead')
        self.git_dir = self.path if bare else self.path / '.git'
        self.gate()
        deployment.hooks(self.git_dir)
        git(self.site, 'remote', 'add', 'host', str(self.path))
        self.publish('one', 'a')
        done = self.push()
        assert done.returncode == 0, done.stderr
        assert deployment.page() == 'one'

    def gate(self, **keys: Any) -> None:
        www = {'image': 'xen/latest', 'confirm': '50ms',
               'health': {'http': f'http://127.0.0.1:{self.deployment.port}/', 'within': '5s'},
               'network': {'mode': 'socket', 'port': self.deployment.port}}
        settings = {'gate': True, 'unikernels': {'www': www}, **keys}
        self.deployment.configure(yaml.safe_dump(settings))

    def publish(self, page: str, release: str, before: str = '') -> None:
        self.deployment.publish(web(page, before), release * 40, push=False)

    def push(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run('git', 'push', 'host', *(arguments or ('+HEAD:master',)), cwd=self.site)

    def told(self, done: subprocess.CompletedProcess[str]) -> list[str]:
        """What the hooks told the pusher, without the steps."""
        lines = [line.removeprefix('remote: ').rstrip() for line in done.stderr.splitlines()
                 if line.startswith('remote: ')]
        return [line for line in lines if ' s  ' not in line]

    def steps(self, done: subprocess.CompletedProcess[str]) -> list[str]:
        return [line.partition(' s  ')[2].rstrip() for line in done.stderr.splitlines()
                if line.startswith('remote: ') and ' s  ' in line]

    def at(self, branch: str = 'master') -> str:
        return git(self.path, 'rev-parse', branch)

    def kept(self) -> dict[str, bytes]:
        """All that the state holds but the history, consoles, and what a lock or a running release
        writes."""
        root = self.git_dir / 'mirage-hooks'
        return {
            str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*'))
            if path.is_file() and path.name not in (
                'history.jsonl', 'lock', 'console.log', 'failed.log')
        }

    def events(self) -> list[tuple[str, str, str]]:
        history = journal.entries(self.git_dir / 'mirage-hooks' / 'history.jsonl')
        return [(one.event, one.trigger, one.reason) for one in history]


@pytest.fixture(params=['bare', 'checkout'])
def gated(request: pytest.FixtureRequest, deployment: Deployment) -> Gated:
    return Gated(deployment, request.param == 'bare')


@pytest.fixture
def bare(deployment: Deployment) -> Gated:
    return Gated(deployment, True)


def test_an_image_that_ends_refuses_the_push_with_its_last_words(gated: Gated) -> None:
    before, kept = gated.at(), gated.kept()
    run_before = gated.deployment.state(gated.git_dir).of('www').run(1)
    gated.publish('two', 'b', CRASHES)
    done = gated.push()
    assert done.returncode == 1
    told = gated.told(done)
    assert told[:3] == [
        'www: REFUSED: it ended with exit code 2',
        '    | Fatal error: out of cheese',
        '  its console: mirage-hooks logs www --failed',
    ]
    assert told[3].startswith('www: release 1 (unix, ')
    assert told[3].endswith(' goes on running')
    failed = gated.deployment.state(gated.git_dir).of('www').failed_console
    assert 'Fatal error: out of cheese' in failed.read_text()
    assert told[4:] == ['mirage-hooks: the push is refused; the branch stays where it was']
    assert '! [remote rejected] HEAD -> master (pre-receive hook declined)' in done.stderr
    assert (gated.at(), gated.kept(), gated.deployment.page()) == (before, kept, 'one')
    assert gated.deployment.state(gated.git_dir).of('www').run(1) == run_before
    assert gated.events()[1:] == [
        ('refused', 'git push by operator', 'it ended with exit code 2')
    ]


def test_a_refusal_says_so_when_nothing_runs(bare: Gated) -> None:
    assert bare.deployment.mirage('stop', 'www', repository=bare.git_dir).returncode == 0
    bare.publish('two', 'b', 'sys.exit(2)')
    done = bare.push()
    assert done.returncode == 1
    assert bare.told(done)[-2:] == [
        'www: nothing runs', 'mirage-hooks: the push is refused; the branch stays where it was'
    ]


def test_an_image_that_never_answers_refuses_the_push(bare: Gated) -> None:
    kept = bare.kept()
    bare.publish('two', 'b', "import time; print('deep in thought', flush=True); time.sleep(600)")
    done = bare.push()
    assert done.returncode == 1
    told = bare.told(done)
    assert re.fullmatch(
        r'www: REFUSED: http://127\.0\.0\.1:\d+/ did not answer \(Connection refused\) within 5s',
        told[0],
    ), told[0]
    assert told[1] == '    | deep in thought'
    assert (bare.kept(), bare.deployment.page()) == (kept, 'one')
    root = bare.git_dir / 'mirage-hooks'
    assert {mark for mark, _ in processes.marked(root)} == {root / 'unikernels/www/releases/1'}


def test_a_good_image_is_accepted_unpacked_and_tried_once(gated: Gated) -> None:
    gated.publish('two', 'b')
    done = gated.push()
    assert done.returncode == 0, done.stderr
    assert gated.deployment.page() == 'two'
    head = git(gated.site, 'rev-parse', 'HEAD')
    assert gated.at() == head
    assert [re.sub(r'[\d.]+ ms', 'N ms', step) for step in gated.steps(done)] == [
        f'www: unpacking xen/{"b" * 40}/www of commit {head[:12]}',
        'www: trying release 2 on a spare port',
        'www: it serves',
        'www: starting release 2 next to release 1',
        'www: new connections go to release 2, switched in N ms',
    ]
    assert not (gated.git_dir / 'mirage-hooks' / 'gate').exists()


def test_a_refused_image_that_is_mended_is_accepted(bare: Gated) -> None:
    bare.publish('two', 'b', CRASHES)
    assert bare.push().returncode == 1
    bare.publish('two', 'b')
    assert bare.push().returncode == 0
    assert bare.deployment.page() == 'two'


def test_a_commit_that_leaves_the_image_alone_is_not_tried_again(bare: Gated) -> None:
    (bare.site / 'README').write_text('hello\n')
    bare.deployment.commit('a word', push=False)
    done = bare.push()
    assert (done.returncode, bare.steps(done)) == (0, [])
    assert bare.deployment.page() == 'one'


def test_other_branches_tags_and_deletions_pass_untouched(bare: Gated) -> None:
    bare.publish('two', 'b', CRASHES)
    git(bare.site, 'tag', 'v2')
    assert bare.push('HEAD:topic', 'v2').returncode == 0
    assert bare.push(':topic', ':v2').returncode == 0
    assert bare.deployment.page() == 'one'


def test_one_push_of_several_refs_is_refused_for_the_deployed_one(bare: Gated) -> None:
    bare.publish('two', 'b', CRASHES)
    done = bare.push('HEAD:topic', '+HEAD:master')
    assert done.returncode == 1
    assert bare.told(done)[0] == 'www: REFUSED: it ended with exit code 2'
    assert run('git', 'rev-parse', '--verify', 'topic', cwd=bare.path).returncode != 0


def test_the_deployed_branch_cannot_be_deleted(bare: Gated) -> None:
    git(bare.path, 'config', 'receive.denyDeleteCurrent', 'ignore')
    before = bare.at()
    done = bare.push(':master')
    assert done.returncode == 1
    told = bare.told(done)
    assert told[0] == (
        'www: REFUSED: branch master is what is deployed here, and the push would delete it'
    )
    assert told[1] == '  hint: end the unikernel first: take it out of mirage.yml'
    assert (bare.at(), bare.deployment.page()) == (before, 'one')


def test_a_tree_without_the_image_refuses_the_push(bare: Gated) -> None:
    git(bare.site, 'rm', '-q', 'xen/latest')
    bare.deployment.commit('lost', push=False)
    head = git(bare.site, 'rev-parse', 'HEAD')[:12]
    done = bare.push()
    assert done.returncode == 1
    assert bare.told(done)[0] == f'www: REFUSED: commit {head} has no xen/latest'


def test_bytes_that_are_no_image_refuse_the_push(bare: Gated) -> None:
    bare.deployment.publish(b'\x7fELF' + bytes(200), 'b' * 40, push=False)
    kept = bare.kept()
    done = bare.push()
    assert done.returncode == 1
    assert bare.told(done)[0].startswith('www: REFUSED: ')
    assert bare.kept() == kept


def test_a_wrong_mirage_yml_refuses_the_push_in_words(bare: Gated) -> None:
    bare.deployment.config.write_text('gate: true\nunikernels: {www: {imag: x}}\n')
    bare.publish('two', 'b')
    done = bare.push()
    assert done.returncode == 1
    assert bare.told(done)[0] == (
        f'{bare.deployment.config}:2:20: www.imag is unknown: did you mean image?'
    )
    assert bare.deployment.page() == 'one'


def test_without_a_gate_the_push_is_accepted_and_the_deployment_refused(bare: Gated) -> None:
    bare.gate(gate=False)
    bare.publish('two', 'b', CRASHES)
    done = bare.push()
    assert done.returncode == 0
    assert bare.told(done)[0] == 'www: REFUSED: it ended with exit code 2'
    assert bare.deployment.page() == 'one'


def test_a_hook_that_was_there_before_runs_first_and_its_refusal_counts(bare: Gated) -> None:
    earlier = bare.git_dir / 'hooks' / 'pre-receive.before-mirage-hooks'
    earlier.write_text('#!/bin/sh\nread old new name\necho "$name is closed today"\nexit 1\n')
    earlier.chmod(0o755)
    bare.publish('two', 'b')
    done = bare.push()
    assert done.returncode == 1
    assert (bare.told(done), bare.steps(done)) == (['refs/heads/master is closed today'], [])
    earlier.write_text('#!/bin/sh\ngit cat-file -e "$(cut -d" " -f2)"\n')
    assert bare.push().returncode == 0
    assert bare.deployment.page() == 'two'


def test_the_installer_keeps_an_earlier_pre_receive_hook(deployment: Deployment) -> None:
    deployment.publish(web('one'), 'a' * 40)
    deployment.configure(yaml.safe_dump({'gate': True, 'unikernels': {}}))
    hook = deployment.hub / 'hooks' / 'pre-receive'
    hook.write_text('#!/bin/sh\nexit 0\n')
    hook.chmod(0o755)
    done = deployment.mirage('install', str(deployment.hub), '--no-cron', '--config',
                             str(deployment.config))
    assert done.returncode == 0, done.stderr
    assert (deployment.hub / 'hooks' / 'pre-receive.before-mirage-hooks').exists()
    assert 'from mirage_hooks import hook' in hook.read_text()


def test_a_checkout_with_changes_of_its_own_stays_as_it_is(deployment: Deployment) -> None:
    gated = Gated(deployment, False)
    (gated.path / 'xen' / 'latest').write_text('changed here\n')
    gated.publish('two', 'b')
    done = gated.push()
    assert done.returncode == 1
    assert 'Working directory has unstaged changes' in done.stderr
    assert deployment.page() == 'one'
    deployment.mirage('deploy', repository=gated.path)
    assert not (gated.git_dir / 'mirage-hooks' / 'gate').exists()


def test_a_gate_that_was_killed_leaves_nothing_after_the_next_push(bare: Gated) -> None:
    gate = bare.git_dir / 'mirage-hooks' / 'gate' / 'www' / 'releases' / '2'
    gate.mkdir(parents=True)
    (gate / 'image').write_bytes(b'half')
    stray = subprocess.Popen(('sleep', '600'), env={'MIRAGE_HOOKS_RELEASE': str(gate)})
    try:
        bare.publish('two', 'b', CRASHES)
        assert bare.push().returncode == 1
        assert stray.wait(timeout=PATIENCE) != 0
    finally:
        stray.kill()
    assert not (bare.git_dir / 'mirage-hooks' / 'gate').exists()


def test_an_image_that_a_rollback_turned_down_may_be_pushed_along(bare: Gated) -> None:
    bare.publish('two', 'b')
    assert bare.push().returncode == 0
    assert bare.deployment.mirage('rollback', 'www', repository=bare.path).returncode == 0
    (bare.site / 'README').write_text('hello\n')
    bare.deployment.commit('a word', push=False)
    done = bare.push()
    assert (done.returncode, bare.steps(done)) == (0, [])
    assert bare.deployment.page() == 'one'


def test_the_old_release_answers_all_the_while(bare: Gated) -> None:
    bare.publish('two', 'b', 'import time; time.sleep(600)')
    with subprocess.Popen(
        ('git', 'push', '-q', 'host', '+HEAD:master'), cwd=bare.site,
        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    ) as push:
        pages = []
        while push.poll() is None:
            pages.append(bare.deployment.page())
    assert push.returncode == 1
    assert len(pages) > 2
    assert set(pages) == {'one'}


@pytest.mark.skipif(not shutil.which('ssh-keygen'), reason='ssh-keygen is not installed')
def test_an_unsigned_commit_refuses_the_push_before_anything_is_started(bare: Gated) -> None:
    key = bare.deployment.folder / 'alice'
    public = signing.ssh_key(key)
    signers = bare.deployment.folder / 'signers'
    signers.write_text(f'alice {public}\n')
    bare.gate(trust={'signers': str(signers)})
    bare.publish('two', 'b')
    done = bare.push()
    head = git(bare.site, 'rev-parse', 'HEAD')[:12]
    assert done.returncode == 1
    assert bare.told(done)[0] == (
        f'www: REFUSED: commit {head} by A Site <site@example.org> is not signed'
    )
    assert bare.steps(done) == []
    signing.sign_with(bare.site, key)
    git(bare.site, 'commit', '-q', '--amend', '--no-edit')
    assert bare.push().returncode == 0
    assert bare.deployment.page() == 'two'


def test_the_hook_costs_little_where_no_gate_is_asked_for(deployment: Deployment) -> None:
    """Only the standard library is imported for it."""
    git(deployment.hub, 'config', 'mirage.config', str(deployment.config))
    done = run(
        sys.executable, '-I', '-X', 'importtime', str(ROOT / 'hooks' / 'pre-receive'),
        cwd=deployment.hub,
    )
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition('|')[2].strip() for line in done.stderr.splitlines()}
    assert 'mirage_hooks.state.fastpath' in imported
    assert not imported & {'git', 'yaml', 'msgspec', 'psutil', 'mirage_hooks.cli.running'}


def test_a_network_that_leaves_no_room_for_a_trial_is_said(bare: Gated, tmp_path: Path) -> None:
    bare.gate(unikernels={'www': {'image': 'xen/latest', 'confirm': '50ms',
                                  'health': {'alive': '50ms'}}})
    bare.publish('two', 'b')
    done = bare.push()
    assert 'www: it cannot be tried next to what runs' in bare.steps(done)


def test_check_says_when_the_gate_has_no_hook(bare: Gated) -> None:
    hook = bare.git_dir / 'hooks' / 'pre-receive'
    done = bare.deployment.mirage('check', repository=bare.path)
    assert f'ok       gate: {hook}' in done.stdout.splitlines()
    hook.unlink()
    done = bare.deployment.mirage('check', repository=bare.path)
    assert done.returncode == 1
    assert f'PROBLEM  gate: {hook} is not our hook\n' \
        f'         hint: install it: mirage-hooks install {bare.path}\n' in done.stdout


def test_a_reference_with_a_line_separator_in_its_name_passes_the_gate(gated: Gated) -> None:
    """Python's splitlines ends lines where git does not."""
    names = [f'refs/heads/a{character}b c'.replace(' ', '') for character in '\u2028\u2029\u0085']
    done = gated.push(*(f'HEAD:{name}' for name in names))
    assert done.returncode == 0, done.stderr
    assert gated.told(done) == []
