"""The resource agent ocf:mirage-hooks:unikernel, as Pacemaker calls it: its parameters come by the
environment, its answer is an exit code, and what went wrong stands in the standard error (Open
Cluster Framework, Resource Agent API 1.1)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from ..deploying import placed
from ..git.repository import Repository
from ..messages import errors
from ..messages.report import Reporter, plain
from ..state import store
from ..switching import remains

SUCCESS, GENERIC, UNIMPLEMENTED, INSTALLED, CONFIGURED, NOT_RUNNING = 0, 1, 3, 5, 6, 7
"""Its exit codes: INSTALLED bans this host alone, CONFIGURED every host."""


class Wrong(errors.Refused):
    """Refused, with the exit `code` that says so."""

    def __init__(self, code: int, reason: str, hint: str = '') -> None:
        super().__init__(reason, hint)
        self.code = code


def act(action: str) -> int:
    """Do `action` for Pacemaker; its exit code."""
    do = ACTIONS.get(action)
    if do is None:
        return _said(UNIMPLEMENTED, f'the agent knows no {action}')
    try:
        if _is_gone(Path(_parameter('repository')), _parameter('name')) and action == 'stop':
            return SUCCESS  # whose stop fails is fenced
        return do(*_given())
    except Wrong as wrong:
        return _said(wrong.code, wrong.reason, wrong.hint)
    except placed.Missing as missing:
        return _said(INSTALLED, missing.reason, missing.hint)
    except errors.Refused as refused:
        return _said(GENERIC, refused.reason, refused.hint)


def _is_gone(folder: Path, name: str) -> bool:
    """Whether the repository is not on this host; raises Refused where what it had started still
    is: that it does not run must not be told then, for it would be started elsewhere."""
    if not folder.is_absolute() or not name or folder.exists():
        return False
    if left := remains.without(folder, name):
        raise errors.Refused(
            f'{folder} is gone, and {left} lives', hint='put the repository back in its place, or '
            'end that by hand; then: pcs resource cleanup')
    return True


def _given() -> tuple[Repository, str]:
    """The repository and the name of the unikernel."""
    folder, name = _parameter('repository'), _parameter('name')
    if not folder or not name:
        raise Wrong(CONFIGURED, 'the resource needs both parameters, repository and name')
    if not Path(folder).is_absolute():
        raise Wrong(CONFIGURED, f'the parameter repository is {folder}: it takes an absolute path')
    try:
        return Repository(Path(folder)), name
    except errors.Refused as refused:
        raise Wrong(INSTALLED, refused.reason, refused.hint) from None


def _parameter(name: str) -> str:
    return os.environ.get(f'OCF_RESKEY_{name}', '')


def _validate(repository: Repository, name: str) -> int:
    try:
        wanted = store.settings(repository.config_path(), repository.state).unikernels.get(name)
        store.opened(repository.state)
    except errors.Refused as refused:
        raise Wrong(INSTALLED, refused.reason, refused.hint) from None
    if wanted is None:
        raise Wrong(INSTALLED, f'mirage.yml of {repository.folder} names no unikernel {name}')
    if wanted.placed is None:
        raise Wrong(
            INSTALLED, f'{name} is not placed by Pacemaker: this host starts it by itself',
            f'write `placement: pacemaker` for {name} in mirage.yml, then mirage-hooks deploy')
    return SUCCESS


def _start(repository: Repository, name: str) -> int:
    _validate(repository, name)
    placed.start(repository, name, Reporter(stream=sys.stderr))
    return SUCCESS


def _stop(repository: Repository, name: str) -> int:
    placed.stop(repository, name, Reporter(stream=sys.stderr))
    return SUCCESS


def _monitor(repository: Repository, name: str) -> int:
    """Whether it runs; at depth 10 also whether it answers its health questions."""
    state = store.opened(repository.state)
    last = store.last_settings(state)
    wanted = last.unikernels.get(name) if last is not None else None
    release = placed.runs(state, name, wanted)
    if release is None:
        return NOT_RUNNING
    depth = os.environ.get('OCF_CHECK_LEVEL', '0')
    deep = depth.isdecimal() and int(depth) >= 10
    if deep and wanted is not None and (wrong := placed.silent(wanted, release)):
        return _said(GENERIC, f'release {release.number} of {name} is silent: {wrong}')
    return SUCCESS


ACTIONS: dict[str, Callable[[Repository, str], int]] = {
    'start': _start, 'stop': _stop, 'monitor': _monitor, 'status': _monitor,
    'validate-all': _validate, 'reload-agent': _validate,
}


def _said(code: int, reason: str, hint: str = '') -> int:
    """`code`, with why as `crm_mon` and `pcs status` show it."""
    told = plain(f'{reason}; {hint}' if hint else reason)
    print(f'ocf-exit-reason:{told}', file=sys.stderr)
    return code
