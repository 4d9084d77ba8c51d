"""`mirage-hooks upgrade` and its way back, from a clone of ours that its origin goes ahead of."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.installing.test_install_sh import Person, offline, person, wheels

__all__ = ['offline', 'person', 'wheels']

BEGUN = """
cp -R "$1" "$HOME/origin" && chmod -R u+w "$HOME/origin" && cd "$HOME/origin" &&
git config --global user.name X && git config --global user.email x@example.org &&
printf '# Changelog\\n' >CHANGELOG.md && git init -q -b main && git add -A && git commit -qm one &&
git clone -q "$HOME/origin" "$HOME/mirage-hooks"
"""
AHEAD = """
cd "$HOME/origin" && sed -i "s/^__version__ = .*/__version__ = '9.9.9'/" mirage_hooks/__init__.py &&
printf -- '- What changes \\033[31m on a host.\\n' >>CHANGELOG.md && git commit -qam two
"""
BAD = """
cd "$HOME/origin" && printf 'raise SystemExit(1)\\n' >>mirage_hooks/installing/check.py &&
git commit -qam three
"""


def install(person: Person, offline: dict[str, str]) -> None:
    """From a clone whose origin is the person's own."""
    assert person.run('sh', '-c', BEGUN, 'sh', str(person.clone)).stderr == ''
    installed = person.run(
        str(person.home / 'mirage-hooks/install.sh'), '--no-cron', str(person.repository), **offline
    )
    assert (installed.returncode, installed.stderr) == (0, '')


def version(person: Person) -> str:
    return mirage(person, '--version').stdout.strip()


def mirage(
    person: Person, *words: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return person.run(str(person.home / '.local/bin/mirage-hooks'), *words, **environment)


def test_an_upgrade_shows_what_changes_and_a_bad_one_is_not_installed(
    person: Person, offline: dict[str, str]
) -> None:
    install(person, offline)
    before = version(person)
    config = person.home / '.config/mirage-hooks/www.yml'
    config.write_text('unikernels: {www: {image: unix/latest, network: {mode: socket, port: 8}}}\n')

    assert person.run('sh', '-c', AHEAD).returncode == 0
    done = mirage(person, 'upgrade', **offline)
    assert (done.returncode, done.stderr) == (0, '')
    assert '    - What changes [31m on a host.\n' in done.stdout
    assert done.stdout.endswith(
        'mirage-hooks 9.9.9 is installed; back: mirage-hooks upgrade --back\n')
    assert 'cron: none' in done.stdout
    assert version(person) == 'mirage-hooks 9.9.9'

    back = mirage(person, 'upgrade', '--back')
    assert (back.returncode, back.stderr) == (0, '')
    assert version(person) == before
    assert mirage(person, 'upgrade', '--back').returncode == 0
    assert version(person) == 'mirage-hooks 9.9.9'


@pytest.mark.long
def test_a_version_that_finds_wrong_what_this_one_does_not_leaves_this_one(
    person: Person, offline: dict[str, str]
) -> None:
    install(person, offline)
    current = (person.prefix / 'current').readlink()
    # A check that finds nothing wrong, in the installed version.
    for check in person.prefix.glob('current/lib/python3*/site-packages/*/installing/check.py'):
        check.write_text('def check(*_):\n    return 0\n')
    assert person.run('sh', '-c', BAD).returncode == 0
    done = mirage(person, 'upgrade', **offline)
    assert done.returncode == 1
    assert done.stderr.endswith(
        f'install.sh: the other version finds wrong in {person.repository} what this one does not: '
        'all is left as it was\n  hint: see CHANGELOG.md, and what it says above\n')
    assert (person.prefix / 'current').readlink() == current
    assert len(list(person.prefix.glob('venv-*'))) == 1


@pytest.mark.long
def test_killed_at_any_moment_the_one_or_the_other_version_works_and_an_upgrade_goes_on(
    person: Person, offline: dict[str, str]
) -> None:
    install(person, offline)
    before = version(person)
    command = person.command(str(person.home / '.local/bin/mirage-hooks'), 'upgrade', **offline)
    begun = time.monotonic()
    assert person.run('sh', '-c', AHEAD).returncode == 0
    assert mirage(person, 'upgrade', **offline).returncode == 0
    whole = time.monotonic() - begun
    seen = set()
    for part in range(1, 16):
        if version(person) != before:
            assert mirage(person, 'upgrade', '--back').returncode == 0
        running = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        time.sleep(whole * part / 15)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        seen.add(version(person))
        assert mirage(person, '-C', str(person.repository), 'check').returncode in (0, 1)
    assert seen <= {before, 'mirage-hooks 9.9.9'} and before in seen
    for left in person.prefix.glob('venv-*/mirage-hooks.source'):
        os.utime(left, (0, 0))  # an hour later
    done = mirage(person, 'upgrade', **offline)
    assert (done.returncode, version(person)) == (0, 'mirage-hooks 9.9.9')
    assert len(list(person.prefix.glob('venv-*'))) == 2


@pytest.mark.parametrize('words', [('upgrade',), ('upgrade', '--back')])
def test_what_install_sh_did_not_install_says_how_to_upgrade_it(
    words: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    from mirage_hooks.cli import main

    assert main.main([*words]) == 1
    assert capfd.readouterr().err == (
        'mirage-hooks: this mirage-hooks was not installed by install.sh, so it does not upgrade '
        'itself\n  hint: upgrade it as it was installed; then, for each repository: mirage-hooks '
        'install REPOSITORY\n')
