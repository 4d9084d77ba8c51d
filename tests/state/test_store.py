"""The state folder: whole or not there, one pointer, one lock, a history that survives."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest
import pytest_mock

from mirage_hooks.messages import errors
from mirage_hooks.state import journal, known, model, notes, store
from mirage_hooks.state.releases import Releases


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return store.Store(tmp_path / 'state').of('www')


def release(number: int) -> model.Release:
    return model.Release(
        unikernel='www', number=number, commit='c' * 40, path='www', blob='b' * 40,
        digest=f'{number:064}', size=1, description='unix, 1 bytes',
        fingerprint='f' * 16, slot='blue',
        created=1.5, plan=model.Plan(target='unix', command=('/image', '--port=80')),
    )


def served(releases: Releases, count: int = 1) -> list[int]:
    """Releases that were live one after the other."""
    numbers = []
    for _ in range(count):
        number = releases.begin()
        releases.save(release(number))
        releases.point(number)
        numbers.append(number)
    return numbers


def test_a_release_comes_back_as_it_was_saved(releases: Releases) -> None:
    assert (releases.current(), releases.served(), releases.numbers()) == (None, [], [])
    served(releases, 2)
    assert releases.current() == release(2)
    assert releases.served() == [release(1), release(2)]
    assert releases.previous() == release(1)


def test_a_number_is_never_used_again(releases: Releases) -> None:
    served(releases, 2)
    releases.discard(releases.begin())
    assert releases.begin() == 4


def test_a_rollback_goes_to_what_was_live_before(releases: Releases) -> None:
    served(releases, 2)
    releases.point(1)
    third = served(releases)
    assert (third, releases.previous()) == ([3], release(1))


def test_pruning_keeps_the_live_one_and_the_newest_before_it(releases: Releases) -> None:
    served(releases, 5)
    assert releases.prune(2) == [1, 2]
    assert releases.numbers() == [3, 4, 5]


def test_fresh_instances_of_one_image_count_as_one(releases: Releases) -> None:
    """Which the watcher starts: they push no earlier image out, and no rollback goes to them."""
    served(releases, 2)
    for _ in range(4):
        number = releases.begin()
        releases.save(msgspec.structs.replace(release(number), digest=release(2).digest))
        releases.point(number)
    assert releases.previous() == release(1)
    assert releases.prune(1) == [2, 3, 4, 5]
    assert releases.numbers() == [1, 6]


def test_what_never_served_is_swept_away(releases: Releases, tmp_path: Path) -> None:
    served(releases)
    left = releases.begin()
    releases.save(release(left))
    store.Store(tmp_path / 'state').sweep()
    assert releases.numbers() == [1]
    assert releases.current() == release(1)


@pytest.mark.parametrize('value', [None, notes.Pin(stopped=True), notes.Pin(release=1, blob='b')])
def test_a_pin_comes_back_as_it_was_set(releases: Releases, value: notes.Pin | None) -> None:
    served(releases)
    releases.set_pin(notes.Pin(release=7))
    releases.set_pin(value)
    assert releases.pin() == value


def test_a_write_that_fails_leaves_the_old_value(
    releases: Releases, mocker: pytest_mock.MockerFixture
) -> None:
    served(releases)
    releases.set_pin(notes.Pin(release=1))
    mocker.patch('os.fsync', side_effect=OSError(28, 'No space left on device'))
    with pytest.raises(errors.Unavailable) as refused:
        releases.set_pin(notes.Pin(release=2))
    assert (refused.value.reason, refused.value.hint) == (
        f'cannot write {releases.root / "pin.json"}: No space left on device',
        'make room, then `mirage-hooks deploy`; what runs goes on running',
    )
    assert releases.pin() == notes.Pin(release=1)


@pytest.mark.parametrize(('text', 'why'), [
    (b'', 'Input data was truncated'), (b'{"stopped":', 'Input data was truncated'),
    (b'{"stopped":1}', 'Expected `bool`, got `int` - at `$.stopped`'),
    (b'[]', 'Expected `object`, got `array`'),
])
def test_what_is_damaged_is_refused_by_name(releases: Releases, text: bytes, why: str) -> None:
    served(releases)
    (releases.root / 'pin.json').write_bytes(text)
    with pytest.raises(errors.Refused) as refused:
        releases.pin()
    assert (refused.value.reason, refused.value.hint) == (
        f'{releases.root / "pin.json"} is damaged: {why}',
        'move it away and run `mirage-hooks deploy`: it is made anew',
    )


def test_the_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0

    def enter() -> None:
        nonlocal inside, most
        with store.Store(tmp_path).lock('a thread', 30):
            inside += 1
            most = max(most, inside)
            inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, store.Store(tmp_path).holder()) == (1, '')


def test_who_waits_too_long_for_the_lock_is_told_for_whom(tmp_path: Path) -> None:
    state = store.Store(tmp_path)
    told: list[str] = []
    with state.lock('git push', 1):
        holder = state.holder()
        with pytest.raises(errors.Unavailable) as refused, state.lock('deploy', 0.1, told.append):
            raise AssertionError('two hold the lock')
    assert refused.value.reason == f'another deployment of this repository still runs: {holder}'
    assert refused.value.hint == (
        f'waited 0.1 s; look at it with `ps -fp {holder.split()[0]}`'
    )
    assert told == [holder]


def test_the_history_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / 'history.jsonl'
    first = journal.Entry(at=1, unikernel='www', event='deployed', trigger='git push')
    second = msgspec.structs.replace(first, at=2, event='refused', reason='line\none \x1b[2J')
    journal.append(path, first)
    path.write_bytes(path.read_bytes() + b'{"at":1.5,"unik')
    journal.append(path, second)
    assert list(journal.entries(path)) == [first, second]
    assert list(journal.entries(tmp_path / 'none')) == []


FULL = b"""
unikernels:
  www:
    image: xen/latest
    network: {mode: static, bridge: br0, ipv4: 10.0.0.2/24, gateway: 10.0.0.1}
    health: [{http: "http://10.0.0.2/", within: 5s}, {tcp: "10.0.0.2:80"}]
    arguments: [--logs=*:info]
    secrets: {token: /etc/token}
  blog:
    image: unix/latest
    networks: {a: {mode: socket, port: 80}, b: {mode: direct, interface: tap0}}
    blocks: {disk: {path: /var/disk, read_only: true}}
notify: {command: [mail, root]}
trust: {signers: /etc/signers}
"""


def test_settings_that_are_known_are_those_that_were_read(tmp_path: Path) -> None:
    file, root = tmp_path / 'mirage.yml', tmp_path / 'state'
    file.write_bytes(FULL)
    root.mkdir(mode=0o700)
    assert known.find(root, FULL) is None
    read = store.settings(file, root)
    assert known.find(root, FULL) is None  # who holds no lock keeps nothing
    assert store.settings(file, root, keep=True) == read
    kept = known.find(root, FULL)
    assert kept == read
    assert kept is not None
    assert kept.unikernels['www'].fingerprint == read.unikernels['www'].fingerprint


def test_settings_of_another_text_version_or_folder_are_not_known(
    tmp_path: Path, mocker: pytest_mock.MockerFixture
) -> None:
    file, root = tmp_path / 'mirage.yml', tmp_path / 'state'
    file.write_bytes(FULL)
    root.mkdir(mode=0o700)
    store.settings(file, root, keep=True)
    assert known.find(root, FULL + b' ') is None
    mocker.patch.object(known, '__version__', 'other')
    assert known.find(root, FULL) is None
    mocker.stopall()
    root.chmod(0o777)
    assert known.find(root, FULL) is None
    root.chmod(0o700)
    assert known.find(root, FULL) is not None
    (root / known.FILE).write_text('{')
    assert known.find(root, FULL) is None
    assert store.settings(file, root, keep=True) == known.find(root, FULL)
