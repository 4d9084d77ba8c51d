"""What became of each unikernel, as a person is told it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..messages import terminal
from ..messages.report import Reporter, plain
from ..state import model

FAILED = {'remembered': 'still refused', 'silent': 'SILENT', 'unasked': 'CANNOT BE WATCHED'}


def outcomes(report: Reporter, outcomes: Iterable[model.Outcome]) -> None:
    """Tell what came of a converge; a quiet `report` only what changed or failed, and how."""
    told = [outcome for outcome in outcomes if not (report.quiet and silent(outcome))]
    for text in report.held if told else ():
        report.line(text)
    for outcome in told:
        texts = lines(outcome)
        if outcome.failed:
            texts[0] = terminal.red(texts[0], report.stream)
        elif outcome.running is not None or outcome.ready is not None:
            texts[-1] = terminal.green(texts[-1], report.stream)
        for text in texts:
            report.line(text)


def lines(outcome: model.Outcome) -> list[str]:
    """What a person should know about `outcome`; the last line says what now runs."""
    name = outcome.unikernel
    said = [f'{name}: {plain(outcome.ended)}'] if outcome.ended else []
    if outcome.failed:
        again = FAILED.get(outcome.kind, 'REFUSED')
        said.append(f'{name}: {again}: {plain(outcome.reason)}')
        said += [f'    | {plain(text)}' for text in outcome.console]
        said += [f'  its console: {outcome.logs}'] if outcome.console and outcome.logs else []
        said += [f'  hint: {plain(outcome.hint)}'] if outcome.hint else []
    elif outcome.reason:
        said.append(f'{name}: {plain(outcome.reason)}')
        said += [f'  hint: {plain(outcome.hint)}'] if outcome.hint else []
    if outcome.waits and outcome.kind != 'held':
        how = 'start' if outcome.kind == 'stopped' else 'deploy'
        said.append(f'{name}: the newer image of commit {outcome.waits[:12]} waits: '
                    f'mirage-hooks {how} {name}')
    return [*said, f'{name}: {_now(outcome)}']


def _now(outcome: model.Outcome) -> str:
    release = outcome.running
    if release is None and outcome.ready is not None:
        which = 'now ready' if outcome.kind == 'ready' else 'ready'
        return (f'release {_called(outcome.ready)} is {which} here: Pacemaker decides where it '
                'runs')
    if release is None:
        return {
            'removed': 'stopped: it is no longer in mirage.yml',
            'stopped': 'stopped' if outcome.reason else 'stopped by hand: it stays so until '
            f'`mirage-hooks start {outcome.unikernel}`',
        }.get(outcome.kind, 'nothing runs')
    what = f'release {_called(release)}'
    return {
        'unchanged': f'{what} runs, nothing to do',
        'deployed': f'{what} now runs',
        'restarted': f'{what} runs again',
        'pinned': f'{what} runs, kept by a rollback until a newer image comes or `deploy`',
    }.get(outcome.kind, f'{what} goes on running')


def _called(release: model.Release) -> str:
    return f'{release.number} ({plain(release.description)}, commit {release.commit[:12]})'


def fields(outcome: model.Outcome) -> dict[str, Any]:
    """`outcome` for a program. No plan, no arguments, no console: they may hold secrets."""
    running = outcome.running
    return {
        'name': outcome.unikernel,
        'event': outcome.kind,
        'ended': plain(outcome.ended),
        'reason': plain(outcome.reason),
        'hint': plain(outcome.hint),
        'running': _release(running),
        **({'ready': _release(outcome.ready)} if outcome.ready is not None else {}),
    }


def _release(release: model.Release | None) -> dict[str, Any] | None:
    return None if release is None else {
        'release': release.number, 'commit': release.commit, 'digest': release.digest,
        'description': plain(release.description),
    }


def silent(outcome: model.Outcome) -> bool:
    """Whether `outcome` is no news: cron and `notify` say nothing of it."""
    if outcome.kind in ('stopped', 'pinned'):  # with a reason it has become so just now
        return not (outcome.reason or outcome.ended)
    return outcome.kind in ('unchanged', 'remembered', 'held') and not outcome.ended
