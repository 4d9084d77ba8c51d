"""Files that the watcher keeps fresh: written every minute, and gone when they are to be kept no
longer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mirage_hooks.messages import errors
from mirage_hooks.state import user
from mirage_hooks.watching.fresh import Fresh
from tests.patience import until


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Has what the watcher runs run a script instead, which first adds its arguments to a log."""
    def written(then: str) -> Path:
        program, log = tmp_path / 'program', tmp_path / 'log'
        program.write_text(f'#!/bin/sh\necho "$@" >>{log}\n{then}\n')
        program.chmod(0o755)
        monkeypatch.setattr(sys, 'executable', str(program))
        return log

    return written


def settle(fresh: Fresh, now: float) -> None:
    """Look until all that was begun has ended."""
    def settled() -> bool:
        fresh.look(now)
        return not fresh._begun

    until(settled)


def test_a_file_is_written_anew_every_minute(
    command: Callable[[str], Path], tmp_path: Path
) -> None:
    log, said = command(''), list[str]()
    fresh, path = Fresh(said.append), tmp_path / 'a.prom'
    fresh.look(1000)
    assert not log.exists(), 'nobody wants it'
    user.keep_fresh('metrics', path)
    settle(fresh, 1000)
    settle(fresh, 1059)
    line = f'-I -m mirage_hooks metrics --to {path}\n'
    assert (log.read_text(), said) == (line, [])
    settle(fresh, 1060)
    assert log.read_text() == 2 * line


def test_the_next_one_waits_for_the_one_before(
    command: Callable[[str], Path], tmp_path: Path
) -> None:
    log = command(f'until [ -e {tmp_path}/go ]; do sleep 0.05; done')
    fresh = Fresh(lambda text: None)
    user.keep_fresh('metrics', tmp_path / 'a.prom')
    fresh.look(1000)
    until(log.exists)
    fresh.look(2000)
    (tmp_path / 'go').touch()
    until(lambda: fresh._begun['metrics'][1].ended())
    assert len(log.read_text().splitlines()) == 1
    settle(fresh, 2000)
    assert len(log.read_text().splitlines()) == 2


def test_what_goes_wrong_is_told_once(command: Callable[[str], Path], tmp_path: Path) -> None:
    said = list[str]()
    command('printf "cannot write\\033\\n"')
    fresh = Fresh(said.append)
    user.keep_fresh('metrics', tmp_path / 'a.prom')
    settle(fresh, 0)
    settle(fresh, 60)
    assert said == ['metrics: cannot write\\x1b']
    command('')
    settle(fresh, 120)
    command('echo cannot write')
    settle(fresh, 180)
    assert said[1:] == ['metrics: cannot write']


def test_what_is_to_be_kept_no_longer_is_gone_also_when_it_was_just_being_written(
    command: Callable[[str], Path], tmp_path: Path
) -> None:
    path = tmp_path / 'a.prom'
    log = command(f'until [ -e {tmp_path}/go ]; do sleep 0.05; done; touch {path}')
    fresh = Fresh(lambda text: None)
    path.touch()
    user.keep_fresh('metrics', path)
    fresh.look(0)
    until(log.exists)
    assert user.keep_fresh('metrics', None) == path
    assert (path.exists(), user.fresh()) == (False, {})
    (tmp_path / 'go').touch()
    until(path.exists)
    settle(fresh, 60)
    assert not path.exists()


def test_another_file_takes_the_place_of_the_first(tmp_path: Path) -> None:
    first, second = tmp_path / 'a.prom', tmp_path / 'b\n\udcff.prom'
    user.keep_fresh('metrics', first)
    first.touch()
    assert user.keep_fresh('metrics', first) == first
    assert first.exists()
    assert user.keep_fresh('metrics', second) == first
    assert (user.fresh(), first.exists()) == ({'metrics': second}, False)


def test_with_the_last_repository_they_go(tmp_path: Path) -> None:
    path = tmp_path / 'a.prom'
    user.remember(tmp_path, True)
    user.keep_fresh('metrics', path)
    path.touch()
    user.forget()
    assert (path.exists(), user.folder().exists()) == (False, False)


def test_in_a_folder_that_others_may_write_nothing_is_believed(tmp_path: Path) -> None:
    user.keep_fresh('metrics', tmp_path / 'a.prom')
    user.folder().chmod(0o777)
    assert user.fresh() == {}
    with pytest.raises(errors.Refused, match='can be written by others'):
        user.keep_fresh('metrics', tmp_path / 'b.prom')
