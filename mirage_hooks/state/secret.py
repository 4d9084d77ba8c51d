"""Arguments that nobody may see: their files are read just before the start, and nowhere kept."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from .. import config
from ..messages import errors
from . import model

LIMIT = 4096  # bytes of a secret
PLACE = re.compile('\0([^\0]+)\0')

Write = Callable[[model.Encoding, str], str]
"""A secret's text as its place wants it."""


def check(wanted: config.Unikernel, repository: tuple[Path, ...]) -> None:
    """Raise Refused when a secret is none: missing, for all to read, or in the repository."""
    for key, file in wanted.secrets.items():
        if any(Path(file).resolve().is_relative_to(folder) for folder in repository):
            raise errors.Refused(
                f'secret {key} is in the repository: {file}',
                hint='keep it elsewhere, and change it: whoever clones the repository knows it',
            )
        if any(argument.partition('=')[0] == f'--{key}' for argument in wanted.arguments):
            raise errors.Refused(
                f'--{key} is both an argument and a secret', hint='drop one of them in mirage.yml'
            )
        read(key, file)


def read(key: str, file: str) -> str:
    """The text of secret `key` without its last line end; raises Refused when it is unfit."""
    try:
        with Path(file).open('rb') as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(LIMIT + 1) if stat.S_ISREG(mode) else b''
    except OSError as error:
        raise errors.Refused(
            f'cannot read secret {key} from {file}: {error.strerror}',
            hint=f'make the file, or fix `secrets:` in mirage.yml ({key})',
        ) from None
    if mode & stat.S_IROTH:
        raise errors.Refused(
            f'secret {key} is readable by everybody: {file}',
            hint=f'chmod o-rwx {shlex.quote(str(file))}',
        )
    text = content.removesuffix(b'\n').decode(errors='replace')
    if not text or len(content) > LIMIT or '\0' in text or '\ufffd' in text:
        raise errors.Refused(
            f'{file} holds no secret: 1 to {LIMIT} bytes of text are wanted in a plain file'
        )
    return text


def digest(wanted: config.Unikernel, key: bytes) -> str:
    """Changes when a secret's text changes; tells nothing to those who have not `key`."""
    texts = {name: read(name, file) for name, file in sorted(wanted.secrets.items())}
    return hmac.new(key, msgspec.json.encode(texts), hashlib.sha256).hexdigest()[:16]


def filled(plan: model.Plan, write: Write) -> model.Plan:
    """`plan` with every secret in its place: for the start alone, never to be kept or shown."""
    if not plan.secrets:
        return plan

    def put(place: re.Match[str]) -> str:
        one = plan.secrets[place[1]]
        return write(one.encoding, read(place[1], one.file))

    return msgspec.structs.replace(
        plan,
        command=tuple(PLACE.sub(put, word) for word in plan.command),
        files={name: PLACE.sub(put, text) for name, text in plan.files.items()},
    )


def masked(plan: model.Plan) -> model.Plan:
    """`plan` as it may be shown: --key=***."""
    return msgspec.structs.replace(
        plan,
        command=tuple(PLACE.sub('***', word) for word in plan.command),
        files={name: PLACE.sub('***', text) for name, text in plan.files.items()},
    )
