"""Tells a web server what changed or failed."""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from .. import __version__


def post(url: str, message: bytes, limit: float) -> str:
    """POST `message` to `url`, of which only the host is ever shown: the rest may be a secret. What
    went wrong within `limit` seconds, '' when nothing did."""
    where = f'the webhook at {urllib.parse.urlsplit(url).hostname}'
    answer: list[str] = []
    # A thread, because a server that answers byte by byte would outlast every time limit.
    posting = threading.Thread(
        target=lambda: answer.append(_posted(url, message, limit)), daemon=True
    )
    posting.start()
    posting.join(limit)
    wrong = answer[0] if answer else f'did not answer within {limit:g} s'
    return f'{where} {wrong}' if wrong else ''


def _posted(url: str, message: bytes, limit: float) -> str:
    request = urllib.request.Request(  # noqa: S310 - the configuration takes http and https alone
        url, message,
        {'Content-Type': 'application/json', 'User-Agent': f'mirage-hooks/{__version__}'},
    )
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=limit):
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
