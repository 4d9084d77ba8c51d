"""One converge, or one gate, told to whoever called: their exit codes are those of all commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from ..git import timeout
from ..messages import errors


def guarded(act: Callable[[], int], repository: Path) -> int:
    """The exit code of `act`, and of whatever it raises, which is told here and nowhere else."""
    timeout.heed_dropped_signals()
    try:
        return act()
    except errors.Refused as refused:
        from ..messages.report import Reporter

        Reporter(stream=sys.stderr).failure(refused)
        return 1
    except errors.Usage as usage:
        print(f'mirage-hooks: {usage}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('mirage-hooks: interrupted', file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception:
        print(f'mirage-hooks: our own fault, please report it{_kept(repository)}', file=sys.stderr)
        return 3


def _kept(repository: Path) -> str:
    """Keep the traceback where the state is, or print it; how the message goes on."""
    import traceback

    text = traceback.format_exc()
    try:
        from ..git.repository import Repository
        from ..state import store

        path = store.opened(Repository(repository).state).root / 'fault.log'
        with path.open('a') as file:
            file.write(text)
        return f': {text.strip().splitlines()[-1]} (the whole of it in {path})'
    except Exception:  # whatever went wrong first matters more
        return f':\n{text}'


def converge(
    folder: Path, trigger: str, quiet: bool = False, anew: tuple[str, ...] = (),
    stopped: dict[str, bool] | None = None, restarted: tuple[str, ...] = (), only: str = '',
    as_json: bool = False,
) -> int:
    """Make what runs equal what should run, and tell what came of it (of `only` one, where it is
    named); see Intent for `anew`, `stopped` and `restarted`. 1 when something was refused."""
    from ..git import discovery

    place = discovery.ahead(folder)
    from ..deploying import converge, decided, notify, told
    from ..deploying.context import Intent
    from ..git.repository import Repository
    from ..messages import progress
    from ..messages.report import Reporter, encoded, plain
    from ..state import store

    # What is said on the way does not come between a program and its answer.
    report = Reporter(quiet, sys.stderr if as_json else None)
    if quiet:
        progress.hold(report.held)
    repository, intent = Repository(folder, place), Intent(trigger, anew, stopped or {}, restarted)
    outcomes = converge.converge(repository, intent, report)
    shown = [outcome for outcome in outcomes if not only or outcome.unikernel == only]
    if as_json:
        print(encoded({'unikernels': [told.fields(one) for one in shown]}), flush=True)
    elif outcomes or quiet:
        told.outcomes(report, shown)
    else:
        from ..installing import proposal

        for line in proposal.lines(repository):
            report.line(plain(line))
    notify.tell(repository, outcomes, trigger, report)
    state = store.opened(repository.state)
    return int(not all(decided.done(intent, state.of(one.unikernel), one) for one in shown))


def pushed(git_dir: Path, trigger: str) -> int:
    """A converge for a hook of git: whoever pushed is told, also by `publish`, when it came to
    nothing at all."""
    try:
        return converge(git_dir, trigger)
    except errors.Refused as refused:
        from ..messages.report import Reporter

        report = Reporter(stream=sys.stderr)
        report.failure(refused)
        # Where anything ever ran, what is wrong in mirage.yml is told of each unikernel.
        what = 'nothing runs' if isinstance(refused, errors.Mistakes) else 'nothing was deployed'
        report.line(f'mirage-hooks: REFUSED: {what} until that is right')
        return 1


def gate(git_dir: Path, pushed: dict[str, str], trigger: str) -> int:
    """Try what is `pushed` (reference to commit) before git accepts it; 1 when it is refused."""
    from ..deploying import gate, notify, told
    from ..deploying.context import Intent
    from ..git.repository import Repository
    from ..messages.report import Reporter

    repository, report = Repository(git_dir), Reporter()
    refused = gate.prove(repository, pushed, Intent(trigger), report)
    told.outcomes(report, refused)
    if refused:
        report.line('mirage-hooks: the push is refused; the branch stays where it was')
    notify.tell(repository, refused, trigger, report)
    return int(bool(refused))
