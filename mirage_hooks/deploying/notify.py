"""Tells a command and a webhook of this host what changed or failed. Nothing depends on them."""

from __future__ import annotations

import http.client
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from typing import Any

import msgspec

from .. import __version__
from ..git.repository import Repository
from ..host import programs
from ..messages import errors, report
from ..state import journal, model, store
from . import told

LIMIT = 10.0  # seconds that the command may take, and the webhook


def tell(
    repository: Repository, outcomes: Iterable[model.Outcome], trigger: str,
    said: report.Reporter, event: str = '',
) -> None:
    """Tell of those `outcomes` that changed something or failed for the first time; of all of them
    when a person made the `event`. What goes wrong with the telling is said, and no more."""
    news = [outcome for outcome in outcomes if event or not told.silent(outcome)]
    if not news:
        return
    try:
        wanted = store.settings(repository.config_path()).notify
    except errors.Refused:
        return  # whoever deployed has said so
    if wanted is None:
        return
    message = msgspec.json.encode(_message(repository, news, trigger, event))
    for wrong in (_command(wanted.command, message), _webhook(wanted.webhook, message)):
        if wrong:
            said.line(f'mirage-hooks: notify: {report.plain(wrong)}')


def _message(
    repository: Repository, news: list[model.Outcome], trigger: str, event: str
) -> dict[str, Any]:
    """No plan, no arguments, no console: they may hold secrets. `text` is what chats show."""
    text = [line for one in news for line in told.lines(msgspec.structs.replace(one, console=()))]
    return {
        'text': '\n'.join(text),
        'host': os.uname().nodename,
        'repository': str(repository.folder),
        'trigger': report.plain(trigger),
        'at': journal.now(),
        'failed': any(one.failed for one in news),
        'unikernels': [_told(one, event) for one in news],
    }


def _told(outcome: model.Outcome, event: str) -> dict[str, Any]:
    running = outcome.running
    return {
        'name': outcome.unikernel,
        'event': outcome.kind if outcome.failed or not event else event,
        'reason': report.plain(outcome.reason),
        'hint': report.plain(outcome.hint),
        'running': None if running is None else {
            'release': running.number, 'commit': running.commit, 'digest': running.digest,
            'description': report.plain(running.description),
        },
    }


def _command(command: tuple[str, ...], message: bytes) -> str:
    """Run `command` with `message` as its input; what went wrong, '' when nothing did."""
    if not command:
        return ''
    try:
        programs.hand(command, message, LIMIT)
    except errors.Refused as refused:
        return refused.reason
    return ''


def _webhook(url: str | None, message: bytes) -> str:
    """POST `message` to `url`, of which only the host is ever shown: the rest may be a secret."""
    if url is None:
        return ''
    where = f'the webhook at {urllib.parse.urlsplit(url).hostname}'
    answer: list[str] = []
    # A thread, because a server that answers byte by byte would outlast every time limit.
    posting = threading.Thread(target=lambda: answer.append(_posted(url, message)), daemon=True)
    posting.start()
    posting.join(LIMIT)
    wrong = answer[0] if answer else f'did not answer within {LIMIT:g} s'
    return f'{where} {wrong}' if wrong else ''


def _posted(url: str, message: bytes) -> str:
    request = urllib.request.Request(  # noqa: S310 - the configuration takes http and https alone
        url, message,
        {'Content-Type': 'application/json', 'User-Agent': f'mirage-hooks/{__version__}'},
    )
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=LIMIT):
            return ''
    except urllib.error.HTTPError as error:
        return f'answered {error.code}'
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, 'reason', error)
        return f'cannot be reached: {getattr(reason, "strerror", None) or type(reason).__name__}'


class _Stay(urllib.request.HTTPRedirectHandler):
    """Nobody else is told."""

    def redirect_request(self, *_: Any) -> None:
        return None
