"""What became of each unikernel, as a person is told it."""

from __future__ import annotations

from collections.abc import Iterable

from ..messages import terminal
from ..messages.report import Reporter, plain
from ..state import model


def outcomes(report: Reporter, outcomes: Iterable[model.Outcome]) -> None:
    """Tell what came of a converge; a quiet `report` only what changed or failed, and how."""
    told = [outcome for outcome in outcomes if not (report.quiet and silent(outcome))]
    for text in report.held if told else ():
        report.line(text)
    for outcome in told:
        texts = lines(outcome)
        if outcome.failed:
            texts[0] = terminal.red(texts[0], report.stream)
        elif outcome.running is not None:
            texts[-1] = terminal.green(texts[-1], report.stream)
        for text in texts:
            report.line(text)


def lines(outcome: model.Outcome) -> list[str]:
    """What a person should know about `outcome`; the last line says what now runs."""
    name = outcome.unikernel
    said = []
    if outcome.failed:
        again = 'still refused' if outcome.kind == 'remembered' else 'REFUSED'
        said.append(f'{name}: {again}: {plain(outcome.reason)}')
        said += [f'    | {plain(text)}' for text in outcome.console]
        said += [f'  hint: {plain(outcome.hint)}'] if outcome.hint else []
    elif outcome.reason:
        said.append(f'{name}: {plain(outcome.reason)}')
        said += [f'  hint: {plain(outcome.hint)}'] if outcome.hint else []
    return [*said, f'{name}: {_now(outcome)}']


def _now(outcome: model.Outcome) -> str:
    release = outcome.running
    if release is None:
        return {'removed': 'stopped: it is no longer in mirage.yml'}.get(
            outcome.kind, 'stopped' if outcome.kind == 'stopped' else 'nothing runs'
        )
    what = (
        f'release {release.number} ({plain(release.description)}, commit {release.commit[:12]})'
    )
    return {
        'unchanged': f'{what} runs, nothing to do',
        'deployed': f'{what} now runs',
        'restarted': f'{what} runs again',
        'pinned': f'{what} runs, kept by a rollback until a newer image comes or `deploy`',
    }.get(outcome.kind, f'{what} goes on running')


def silent(outcome: model.Outcome) -> bool:
    """Whether `outcome` is no news: cron and `notify` say nothing of it."""
    return outcome.kind in ('unchanged', 'remembered', 'pinned') or (
        outcome.kind == 'stopped' and not outcome.reason
    )
