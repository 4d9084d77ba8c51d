"""Tells a command and a webhook of this host what changed or failed. Nothing depends on them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import msgspec

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
        wanted = store.settings(repository.config_path(), repository.state).notify
    except errors.Refused:
        return  # whoever deployed has said so
    if wanted is None:
        return
    message = msgspec.json.encode(_message(repository, news, trigger, event))
    troubles = [_command(wanted.command, message)]
    if wanted.webhook is not None:
        from . import webhook  # 20 ms, for those who want one

        troubles.append(webhook.post(wanted.webhook, message, LIMIT))
    for wrong in troubles:
        if wrong:
            said.line(f'mirage-hooks: notify: {report.plain(wrong)}')


def _message(
    repository: Repository, news: list[model.Outcome], trigger: str, event: str
) -> dict[str, Any]:
    """`text` is what chats show. No console: it may hold secrets."""
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
    made = outcome.kind if outcome.failed or not event else event
    if outcome.ended and outcome.kind == 'remembered':  # the refusal is no news
        made = 'restarted'
    return {**told.fields(outcome), 'event': made}


def _command(command: tuple[str, ...], message: bytes) -> str:
    """Run `command` with `message` as its input; what went wrong, '' when nothing did."""
    if not command:
        return ''
    try:
        programs.hand(command, message, LIMIT)
    except errors.Refused as refused:
        return refused.reason
    return ''
