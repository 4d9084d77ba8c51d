"""What runs, and what an image is, for people."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from .. import image
from ..messages import errors, terminal
from ..messages.report import age, encoded, plain
from ..messages.terminal import fitted, green, red, yellow
from ..switching import crashes
from ..watching import counts, uptime
from ..watching.rows import Found, Row

BLOCKS, PLAIN = '▁▂▃▄▅▆█▇·', '012345#+.'
"""By how much of the time it was up, then all of it, all but answers that did not come, unknown;
and where these cannot be printed."""


def lines(found: Found) -> list[str]:
    """What was found, each line as wide as the terminal."""
    fields = found.fields
    said = [f'a deployment runs: {plain(fields["deploying"])}'] if fields['deploying'] else []
    said = [fitted(text) for text in said]
    for row in found.rows:
        said += [fitted(text) for text in _row(row)] + _pictures(row)
        said += [fitted(text) for text in _troubles(row)]
    if not found.rows and not found.wrong:
        said.append('mirage.yml names no unikernel: `mirage-hooks deploy` says what to add')
    if not fields['keeper']:
        said.append(fitted(
            'no keeper runs: what ends is started again by the next deploy or pull alone'))
    if fields['left']:
        said.append(fitted(
            f'left by a deployment that was killed: {plain(", ".join(fields["left"]))}'))
        said.append("  hint: cron's next run takes it away, or now: mirage-hooks deploy")
    if fields['cron']:
        said.append(fitted(f'cron ran {age(fields["cron"])} ago'))
    return said


def inspect(path: Path, as_json: bool) -> None:
    """Print what the image at `path` is, from its bytes."""
    if not path.is_file():
        raise errors.Refused(f'{path} is not a file')
    try:
        with path.open('rb') as stream:
            found = image.look(stream, name=str(path), limit=1 << 32)
    except OSError as error:
        raise errors.Refused(f'cannot read {path}: {error.strerror}') from None
    if as_json:
        return print(encoded(found), flush=True)
    print(f'{plain(str(path))}: {image.describe(found)}')
    if found.target == 'unix':
        print('  a program of this host, as every unix image is: its bytes do not say whether '
              'it is a unikernel')
    print(f'  sha256 {found.digest}')
    if found.compression:
        print(f'  packed with {found.compression}')


def _row(row: Row) -> list[str]:
    """What it is, and whether it serves now."""
    said = [f'{row["name"]}: {_state(row)}']
    since = f', up {age(row["since"])}' if 'since' in row else ''
    health, where = row.get('health', {}), plain(row.get('url', ''))
    if 'ms' in health:
        answers = f'{green("answers")} in {health["ms"]} ms{since}'
        said.append(f'  {where} {answers}' if where else f'  {answers}')
    elif health:
        said.append(f'  {red("does not answer")}: {plain(health["wrong"])}')
    elif where and row['state'] == 'running':
        said.append(f'  {where}{since}')
    said += _certificate(row['certificate']) if 'certificate' in row else []
    if 'silent' in row:
        silent = row['silent']
        said.append(f'  {red("SILENT")} for {age(silent["at"])}: {plain(silent["reason"])}')
    return said


def _certificate(found: dict[str, Any]) -> list[str]:
    """What it serves HTTPS with."""
    if 'names' not in found:
        return [f'  {yellow("WARNING")}: {plain(found["wrong"])}']
    paint = red if found['days'] < 0 else yellow if 'wrong' in found else green
    of = f'{plain(", ".join(found["names"]))}, by {plain(found["issuer"])}'
    return [f'  certificate: {of}, {paint(found["left"])}']


def _pictures(row: Row) -> list[str]:
    """How it was reached, as rows of small blocks, as many of the last ones as the terminal has
    room for."""
    said = []
    for name, key in (('24 h', 'day'), ('30 d', 'month')):
        if not (kept := row.get('uptime', {}).get(key)):
            continue
        room = terminal.columns() - len('  24 h    100.00 %')
        pieces = [*zip(kept['pieces'], kept['missed'], strict=True)][-room:] if room > 0 else []
        blocks = [_block(up, missed) for up, missed in pieces]
        said.append(f'  {name}  {"".join(blocks)}  {uptime.percent(kept["up"])}')
    return said


def _block(up: float | None, missed: int) -> str:
    blocks = BLOCKS if terminal.can_print(BLOCKS) else PLAIN
    if up is None:
        return blocks[8]
    if up < 1:
        return red(blocks[int(up * 6)])
    return yellow(blocks[7]) if missed else green(blocks[6])


def _troubles(row: Row) -> list[str]:
    """What happened to it, and what hangs on it."""
    said = []
    if 'crashed' in row:
        said.append(f'  {red("it ended by itself")}: {plain(row["crashed"])}')
    elif 'restarted' in row:
        said.append(f'  {plain(_restarted(row["restarted"]))}')
    if hint := row.get('hint') or row.get('restarted', {}).get('hint'):
        said.append(f'    hint: {plain(hint)}')
    if times := row.get('restarts'):
        told = ', '.join(
            f'{times[why]} {words}' for why, words in counts.WHY.items() if why in times)
        said.append(f'  restarts in 30 days: {told}')
    said += [f'  {yellow("WARNING")}: {plain(text)}' for text in row.get('conflicts', ())]
    for side in row.get('draining', ()):
        left = max(0, side['until'] - time.time())
        said.append(f'  release {side["release"]} keeps its connections, {left:.0f} s at most')
    if 'held' in row:
        held = row['held']
        said.append(f'  waits for its turn for {age(held["at"])}, the image of commit '
                    f'{held["commit"][:12]}: {plain(held["reason"])}')
    elif 'newer' in row:
        how = f'start {row["name"]}' if row['state'] == 'stopped' else 'deploy'
        said.append(f'  newer: the image of commit {row["newer"][:12]} waits: mirage-hooks {how}')
    if 'refused' in row:
        refused = row['refused']
        said.append(f'  {red("refused")} {age(refused["at"])} ago: {plain(refused["reason"])}')
        said += [f'    hint: {plain(refused["hint"])}'] if refused['hint'] else []
    return said


def _restarted(found: dict[str, Any]) -> str:
    last = f', last {age(found["at"])} ago' if 'at' in found else ''
    why = f': {found["reason"]}' if found['reason'] else ''
    return f'restarted {crashes.often(found["times"])}{last}{why}'


def _state(row: Row) -> str:
    if row['state'] == 'ready':
        ready = row['ready']
        return (f'{green("ready")}: release {ready["release"]}, {plain(ready["description"])}, '
                f'commit {ready["commit"][:12]}; Pacemaker runs it on another host, or nowhere')
    if 'release' not in row:
        never = 'never deployed' if row['state'] == 'none' else 'stopped by hand, never deployed'
        return yellow(never)
    words = {'running': green('runs'), 'stopped': yellow('is stopped by hand'),
             'down': red('is DOWN')}
    where = f'domain {row["domain"]}' if 'domain' in row else f'process {row.get("pid", "-")}'
    pinned = ', kept by a rollback' if 'pinned' in row else ''
    return (
        f'release {row["release"]} {words[row["state"]]}{pinned}: {plain(row["description"])}, '
        f'commit {row["commit"][:12]}, {where}, deployed {age(row["created"])} ago'
    )
