"""What the watcher keeps, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirage_hooks.state import watched
from mirage_hooks.state.watched import MISSED, Healed, Record, Silence

NOW = 1_700_000_000.0


def test_the_worst_of_each_minute_is_kept_for_thirty_days(tmp_path: Path) -> None:
    watched.note(tmp_path, NOW, 3)
    watched.note(tmp_path, NOW + 180, 7)
    for value in (4, MISSED, 5):
        watched.note(tmp_path, NOW + 240, value)
    found = watched.probes(tmp_path, NOW + 240)
    assert (len(found), found[-6:]) == (43_200, [0, 3, 0, 0, 7, MISSED])
    assert watched.probes(tmp_path, NOW + 360)[-3:] == [MISSED, 0, 0]
    last = NOW + 60 * watched.MINUTES
    watched.note(tmp_path, last, 9)
    found = watched.probes(tmp_path, last)
    assert found[:5] == [0, 0, 7, MISSED, 0] and found[-1] == 9, 'the first minute is gone'
    assert (tmp_path / 'probes').stat().st_size == 86_408


def test_what_was_answered_is_placed_by_the_clock_of_who_reads(tmp_path: Path) -> None:
    watched.note(tmp_path, NOW, 3)
    watched.note(tmp_path, NOW + 60, 4)
    assert watched.probes(tmp_path, NOW)[-2:] == [0, 3], 'it was set back a minute'
    assert not any(watched.probes(tmp_path, NOW - 40 * 86400))
    assert not any(watched.probes(tmp_path, NOW + 40 * 86400))


@pytest.mark.parametrize('passed', [-3600, 40 * 86400], ids=['set back', 'asleep for long'])
def test_a_clock_that_jumps_begins_anew(tmp_path: Path, passed: float) -> None:
    watched.note(tmp_path, NOW, 3)
    watched.note(tmp_path, NOW + passed, 4)
    found = watched.probes(tmp_path, NOW + passed)
    assert [value for value in found if value] == [4]


@pytest.mark.parametrize('held', [
    b'', b'\xff' * 86_408, b'x', (int(NOW) // 60).to_bytes(8, 'little'),
], ids=['empty', 'full', 'short', 'only a head'])
def test_a_damaged_file_of_answers_is_begun_anew(tmp_path: Path, held: bytes) -> None:
    (tmp_path / 'probes').write_bytes(held)
    assert len(watched.probes(tmp_path, NOW)) == 43_200
    watched.note(tmp_path, NOW, 4)
    assert watched.probes(tmp_path, NOW)[-2:] == [0, 4]


def test_the_record_is_bounded_and_survives_damage(tmp_path: Path) -> None:
    silences = tuple(Silence(NOW + n, 1, 'r', ended=NOW + n) for n in range(200))
    healed = (Healed(NOW - 31 * 86400, 'restart', 1, 'd', 'r'), Healed(NOW, 'restart', 1, 'd', 'r'))
    watched.write(tmp_path, Record(silences, healed), NOW + 200)
    found = watched.read(tmp_path)
    assert found == Record(silences[100:], healed[1:])
    (tmp_path / 'watch.json').write_text('{')
    assert watched.read(tmp_path) == Record()
