"""Which release broke it: old images are tried by halves, and what serves never notices."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from mirage_hooks import config
from mirage_hooks.deploying import published
from mirage_hooks.git.repository import Repository
from mirage_hooks.host import processes
from tests.deployment import Deployment, git, run, web
from tests.patience import PATIENCE, until
from tests.whole.test_killed import KILLED, steps_of

CRASHES = 'sys.exit(2)'
ASK = """
from urllib.request import urlopen; import os, sys
place = os.environ['MIRAGE_HOOKS_ADDRESS'] + ':' + os.environ['MIRAGE_HOOKS_PORT']
number = int(urlopen('http://' + place).read().split()[-1])
"""


def release(number: int) -> str:
    """The site's commit that release `number` is of."""
    return f'{number:040x}'


class Published:
    """A host's clone that serves image `live`, and then has more which nobody deployed; those from
    `bad` on do not serve."""

    def __init__(self, deployment: Deployment, count: int, bad: int, live: int = 1) -> None:
        self.deployment = deployment
        self.commits = [''] * (count + 1)
        for number in range(1, count + 1):
            self.publish(number, number >= bad)
            if number == live:
                git(deployment.site, 'push', '-q', 'origin', '+HEAD:master')
                deployment.clone()
                assert deployment.mirage('deploy').returncode == 0
        git(deployment.site, 'push', '-q', 'origin', '+HEAD:master')
        git(deployment.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')

    def publish(self, number: int, bad: bool = False, image: bytes = b'') -> None:
        image = image or web(f'page {number}', f'{CRASHES}  # {number}' if bad else '')
        self.deployment.publish(image, release(number), push=False)
        self.commits.append('')
        self.commits[number] = git(self.deployment.site, 'rev-parse', 'HEAD')

    def bisect(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = self.deployment.mirage(
            'bisect', 'www', *arguments)
        return done

    def kept(self) -> dict[str, bytes]:
        """All that the state holds, but for the lock's own file and consoles."""
        root = self.deployment.state().root
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*'))
                if path.is_file() and path.name not in ('lock', 'console.log')}


def steps(said: str) -> list[str]:
    """What was done, without its time."""
    return [line.partition(' s  ')[2] for line in said.splitlines() if ' s  ' in line]


def verdicts(said: str) -> list[str]:
    """What came of each commit that was tried."""
    return [line for line in steps(said) if re.match('www: the image of commit', line)]


@contextlib.contextmanager
def visited(deployment: Deployment) -> Iterator[list[str]]:
    """What a client gets that asks every 3 ms during the block; '' for no answer."""
    pages, over = list[str](), threading.Event()

    def ask() -> None:
        while not over.wait(0.003):
            pages.append(deployment.page())

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield pages
    finally:
        over.set()
        asking.join()


@pytest.mark.parametrize('bad', [
    33, *(pytest.param(bad, marks=pytest.mark.long) for bad in (2, 64))])
def test_the_first_bad_of_64_images_is_found_in_seven_boots_while_no_request_fails(
    deployment: Deployment, bad: int
) -> None:
    made = Published(deployment, 64, bad)
    before, live = made.kept(), deployment.processes()
    with visited(deployment) as pages:
        done = made.bisect()
    assert len(pages) > 50 and set(pages) == {'page 1'}
    assert done.returncode == 0, done.stdout + done.stderr
    assert 6 <= len(verdicts(done.stdout)) <= 7
    assert done.stdout.count('on a spare port') == len(verdicts(done.stdout))
    first, good = made.commits[bad], made.commits[bad - 1]
    assert [line for line in done.stdout.splitlines() if ' s  ' not in line] == [
        f'www: the first bad image is that of commit {first[:12]}: xen/{release(bad)}/www '
        f'({len(verdicts(done.stdout))} of 64 tried)',
        '  it is bad: it ended with exit code 2',
        f'  the last good one is that of commit {good[:12]}: xen/{release(bad - 1)}/www',
        f'  its source: commit {release(bad)}',
        f'    what changed there: git log {release(bad - 1)[:12]}..{release(bad)[:12]}',
        '  the commits after the good one, up to it:',
        f'    {first[:12]} 2016-01-01 adding {release(bad)} for unix',
    ]
    assert (made.kept(), deployment.processes(), deployment.page()) == (before, live, 'page 1')


def test_each_step_says_how_far_it_is_which_commit_it_tries_and_what_came_of_it(
    deployment: Deployment
) -> None:
    made = Published(deployment, 4, 3)
    done = made.bisect()
    assert done.returncode == 0, done.stdout + done.stderr
    three, two = made.commits[3][:12], made.commits[2][:12]
    assert steps(done.stdout) == [
        f'www: step 1 of about 3: the image of commit {three}',
        f'www: unpacking xen/{release(3)}/www of commit {three}',
        'www: trying release 2 on a spare port',
        f'www: the image of commit {three} is bad: it ended with exit code 2',
        f'www: step 2 of about 3: the image of commit {two}',
        f'www: unpacking xen/{release(2)}/www of commit {two}',
        'www: trying release 2 on a spare port',
        f'www: the image of commit {two} is good',
    ]


def test_a_command_asks_in_the_place_of_health(deployment: Deployment) -> None:
    made = Published(deployment, 8, 99)
    deployment.configure(health={'console': 'never said', 'within': '10m'})
    (deployment.folder / 'question').write_text(f'{ASK}\nsys.exit(number > 5)')
    done = made.bisect('--json', '--run', f'{sys.executable} question')
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found == {
        'good': {'commit': made.commits[5], 'path': f'xen/{release(5)}/www', 'source': release(5)},
        'bad': {'commit': made.commits[6], 'path': f'xen/{release(6)}/www', 'source': release(6)},
        'reason': 'the command ended with exit code 1', 'skipped': [],
        'commits': [made.commits[6]], 'tried': 3, 'of': 8,
    }
    assert deployment.page() == 'page 1'


def test_what_a_command_cannot_tell_is_passed_over_and_the_answer_is_a_range(
    deployment: Deployment
) -> None:
    made = Published(deployment, 8, 99)
    (deployment.folder / 'question').write_text(
        f'{ASK}\nsys.exit(125 if number in (4, 5) else number > 5)')
    done = made.bisect('--run', f'{sys.executable} question')
    assert done.returncode == 0, done.stdout + done.stderr
    four, five, six = (made.commits[number][:12] for number in (4, 5, 6))
    assert f'the image of commit {five} cannot be tried: the command ended with exit code 125' in (
        done.stdout)
    assert (f'  2 between them could not be tried, and may be the first bad one too: {four}, {five}'
            in done.stdout.splitlines())
    assert f'www: the first bad image is that of commit {six}: ' in done.stdout
    assert [line[4:16] for line in done.stdout.splitlines()[-3:]] == [four, five, six]


def test_what_is_no_image_is_passed_over(deployment: Deployment) -> None:
    made = Published(deployment, 3, 3)
    made.publish(4, image=b'\x7fELF, but not further')
    made.publish(5, bad=True)
    git(deployment.site, 'push', '-q', 'origin', '+HEAD:master')
    git(deployment.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
    done = made.bisect('--good', made.commits[2], '--bad', made.commits[5][:8].upper())
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'www: the image of commit {made.commits[4][:12]} cannot be tried: ' in done.stdout
    assert f'www: the first bad image is that of commit {made.commits[3][:12]}: ' in done.stdout


def test_ends_that_are_not_what_they_should_be_are_told(deployment: Deployment) -> None:
    made = Published(deployment, 4, 3)
    done = made.bisect('--bad', made.commits[2])
    assert done.returncode == 1
    assert done.stderr == (
        f'mirage-hooks: the image of commit {made.commits[2][:12]} is good, and no newer one was '
        'found bad\n  hint: health: does not see what is wrong: --run COMMAND asks otherwise\n')
    done = made.bisect('--good', made.commits[3])
    assert done.returncode == 1
    assert done.stderr == (
        f'mirage-hooks: the image of commit {made.commits[3][:12]} is bad, and no older one was '
        'found good: it ended with exit code 2\n'
        '  hint: --good names a commit whose image was good; does mirage.yml, as it is now, fit '
        'the old images?\n')


def test_a_range_that_makes_no_sense_is_refused_and_nothing_is_started(
    deployment: Deployment
) -> None:
    made = Published(deployment, 3, 3)
    for arguments, reason in (
        (('--good', made.commits[3], '--bad', made.commits[1]),
         'the branch holds no good image with a bad one after it in that range: it has 3 in all'),
        (('--good', 'f' * 40), f"no commit begins with {'f' * 40!r} on the deployed branch"),
        (('--good', 'master'), "no commit begins with 'master' on the deployed branch"),
    ):
        done = made.bisect(*arguments)
        assert (done.returncode, done.stdout) == (1, '')
        assert done.stderr.startswith(f'mirage-hooks: {reason}\n')


def test_a_command_that_is_not_there_ends_it(deployment: Deployment) -> None:
    made = Published(deployment, 3, 3)
    done = made.bisect('--run', 'no-such-program')
    assert done.returncode == 2
    assert done.stderr.endswith(
        'mirage-hooks: --run: the command ended with exit code 127: is it there?\n')
    assert not (deployment.state().root / 'gate').exists()


def test_a_deployment_meanwhile_waits_for_one_trial_alone(deployment: Deployment) -> None:
    Published(deployment, 16, 99)
    asked, waits = deployment.folder / 'asked', deployment.folder / 'waits'
    current = deployment.state().of('www').root / 'current'
    with subprocess.Popen(
        deployment.command('bisect', 'www', '--run', f'readlink {current}; touch {asked}; '
                           f'while [ ! -e {waits} ]; do sleep 0.05; done'),
        cwd=deployment.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as bisecting:
        until(asked.exists)
        with subprocess.Popen(
            deployment.command('deploy'), stdout=subprocess.PIPE, text=True
        ) as deploying:
            assert deploying.stdout is not None
            told = deploying.stdout.readline()
            waits.touch()
            assert deploying.communicate(timeout=PATIENCE)[0].endswith(' now runs\n')
        said = bisecting.communicate(timeout=PATIENCE)[0]
    assert re.fullmatch(
        r'waiting for another deployment to end: \d+ bisect by operator\n', told), told
    live = [line.strip() for line in steps(said) if '| releases/' in line]
    assert (live[0], live[-1], len(live)) == ('www: | releases/1', 'www: | releases/2', 4)
    assert 'is good, and no newer one was found bad' in said
    assert deployment.page() == 'page 16'


def test_where_nothing_can_be_tried_apart_that_is_said(deployment: Deployment) -> None:
    made = Published(deployment, 2, 99)
    deployment.configure(network={'mode': 'socket'})
    done = made.bisect()
    assert done.returncode == 1
    assert done.stderr == (
        'mirage-hooks: www cannot be tried apart from what runs\n  hint: that takes a `port:` of '
        '`mode: socket`, or root and `mode: static` with a bridge\n')
    assert deployment.page() == 'page 1'


def test_a_shallow_clone_knows_what_is_there(deployment: Deployment) -> None:
    made = Published(deployment, 4, 4)
    shallow = deployment.folder / 'bare.git'
    git(deployment.folder, 'clone', '-q', '--bare', '--depth=2', f'file://{deployment.hub}',
        str(shallow))
    deployment.hooks(shallow)
    done = deployment.mirage('bisect', 'www', repository=shallow)
    assert done.returncode == 0, done.stderr
    assert f'commit {made.commits[4][:12]}: xen/{release(4)}/www (2 of 2 tried)' in done.stdout
    done = deployment.mirage('bisect', 'www', '--good', made.commits[1], repository=shallow)
    assert done.stderr.startswith(
        f'mirage-hooks: no commit begins with {made.commits[1]!r} on the deployed branch\n')


def test_an_image_at_the_top_of_a_tree_is_found_and_what_it_says_is_told(
    deployment: Deployment
) -> None:
    deployment.configure(image='www')
    bad = "print('\\x1b[2Jbroken', flush=True); sys.exit(3)"
    for page, before in (('one', ''), ('two', ''), ('three', bad)):
        (deployment.site / 'www').write_bytes(web(page, before))
        (deployment.site / 'www').chmod(0o755)
        deployment.commit(f'{page}\n\nSource-Commit: {release(7)}\nSource-Commit: ../../x')
    bare = deployment.folder / 'bare.git'
    git(deployment.folder, 'clone', '-q', '--bare', f'file://{deployment.hub}', str(bare))
    deployment.hooks(bare)
    done = deployment.mirage('bisect', 'www', repository=bare)
    assert done.returncode == 0, done.stderr
    assert 'www: | \\x1b[2Jbroken' in steps(done.stdout)
    assert f'  its source: commit {release(7)}' in done.stdout.splitlines()
    assert '(2 of 3 tried)' in done.stdout


def test_what_other_commits_change_costs_no_boot_and_replaced_images_count(
    deployment: Deployment
) -> None:
    made = Published(deployment, 2, 99)
    for number in range(20):  # hostile, too: a pointer to nowhere, escapes in a subject
        (deployment.site / 'xen' / 'other').write_text(str(number))
        deployment.commit(f'\x1b[31mother {number}', push=False)
    (deployment.site / 'xen' / 'latest').write_text('../../etc\n')
    deployment.commit('a bad pointer', push=False)
    deployment.publish(web('replaced', CRASHES), release(2), push=False)
    replaced = git(deployment.site, 'rev-parse', 'HEAD')
    git(deployment.site, 'push', '-q', 'origin', '+HEAD:master')
    git(deployment.host, '-c', 'core.hooksPath=/dev/null', 'pull', '-q')
    done = made.bisect()
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'www: the first bad image is that of commit {replaced[:12]}: ' in done.stdout
    assert '(2 of 3 tried)' in done.stdout
    assert '\x1b' not in done.stdout and '\\x1b[31mother 19' in done.stdout
    assert '    and 2 before these' in done.stdout.splitlines()


def test_a_partial_clone_fetches_no_image_that_is_not_tried(deployment: Deployment) -> None:
    made = Published(deployment, 9, 99)
    git(deployment.hub, 'config', 'uploadpack.allowFilter', 'true')
    partial = deployment.folder / 'partial'
    git(deployment.folder, 'clone', '-q', '--no-checkout', '--filter=blob:none', f'file://{deployment.hub}',
        str(partial))
    deployment.hooks(partial / '.git')
    done = deployment.mirage('bisect', 'www', '--good', made.commits[7], repository=partial)
    assert 'is good, and no newer one was found bad' in done.stderr, done.stderr
    here = git(partial, 'rev-list', '--objects', '--missing=print', '--all').splitlines()
    missing = [number for number in range(1, 10)
               if f"?{git(partial, 'rev-parse', f'HEAD:xen/{release(number)}/www')}" in here]
    assert missing == [1, 2, 3, 4, 5, 6, 7]


def test_images_without_pointers_are_listed_and_none_is_fetched_for_it(
    deployment: Deployment
) -> None:
    for page in ('one', 'two', 'three'):
        (deployment.site / 'www').write_bytes(web(page))
        (deployment.site / 'www').chmod(0o755)
        deployment.commit(page)
    git(deployment.hub, 'config', 'uploadpack.allowFilter', 'true')
    partial = deployment.folder / 'partial'
    git(deployment.folder, 'clone', '-q', '--bare', '--filter=blob:none',
        f'file://{deployment.hub}', str(partial))
    repository = Repository(partial)
    tip = git(partial, 'rev-parse', 'master')
    found = published.images(repository, 'www', config.Unikernel(image='www'), tip)
    assert [one.commit for one in found] == git(
        partial, 'rev-list', '--reverse', 'master').splitlines()
    here = git(partial, 'rev-list', '--objects', '--missing=print', '--all').splitlines()
    assert {f'?{one.blob}' for one in found} <= set(here)


@pytest.mark.parametrize(('signalled', 'when'), [
    pytest.param('SIGKILL', 'before', marks=pytest.mark.long), ('SIGKILL', 'after'),
    pytest.param('SIGINT', 'after', marks=pytest.mark.long)])
def test_killed_at_every_step_it_leaves_nothing(
    deployment: Deployment, signalled: str, when: str
) -> None:
    made, step, ended = Published(deployment, 2, 99, live=2), 1, 0
    root, folder = deployment.state().root, deployment.state().of('www').folder(1)
    before = made.kept()
    while True:
        done = run(
            sys.executable, '-I', str(KILLED), signalled, str(step), when, '-C',
            str(deployment.host), 'bisect', 'www', '--run', 'exit 1', cwd=deployment.folder,
        )
        assert deployment.page() == 'page 2'
        if signalled == 'SIGKILL':
            assert deployment.mirage('pull', '--quiet').returncode == 0
        # Walls that were just being built may take a moment to fall.
        until(lambda: {mark for mark, _ in processes.marked(root)} == {folder})
        assert not (root / 'gate').exists()
        if (through := steps_of(done)) and through < step:
            break
        ended += done.returncode == (-signal.SIGKILL if signalled == 'SIGKILL' else 130)
        step += 1
    assert ended > 5, done.stdout + done.stderr
    assert deployment.state().of('www').numbers() == [1]
    assert {key: kept for key, kept in made.kept().items() if key in before} == before
