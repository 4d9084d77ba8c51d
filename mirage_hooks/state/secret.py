"""Arguments that nobody may see: their files are read just before the start, and nowhere kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .. import config
from ..messages import errors
from . import account, files, model

if TYPE_CHECKING:
    from .x509 import Pair

LIMIT = 4096  # bytes of a secret
PLACE = re.compile('\0([^\0]+)\0')
ACCOUNT = '+account'  # stands for the thumbprint of the ACME client's account key
# An argument with what an image can do without, and the space behind it.
WITHOUT = re.compile(r'(?:--)?[a-z][a-z0-9-]*=\0(\+(?:chain|key|account))\0 ?')

Write = Callable[[model.Encoding, str], str]
"""A secret's text as its place wants it."""


def check(wanted: config.Unikernel, repository: tuple[Path, ...]) -> None:
    """Raise Refused when a secret is none: missing, for all to read, or in the repository."""
    for key, file in wanted.secrets.items():
        if files.within(file, repository):
            raise errors.Refused(
                f'secret {key} is in the repository: {file}',
                hint='keep it elsewhere, and change it: whoever clones the repository knows it',
            )
        if any(argument.partition('=')[0] == f'--{key}' for argument in wanted.arguments):
            raise errors.Refused(
                f'--{key} is both an argument and a secret', hint='drop one of them in mirage.yml'
            )
        read(key, file)
    if file := account_of(wanted):
        if files.within(file, repository):
            raise errors.Refused(
                f'the account key of acme: is in the repository: {file}',
                hint='keep it elsewhere, and have the client make another: whoever clones the '
                'repository can have certificates issued for your names',
            )
        account.read(file)


def account_of(wanted: config.Unikernel) -> str:
    """The file of the account key that it is told the thumbprint of at each start, '' for none."""
    return (wanted.acme.account if wanted.acme else None) or ''


def read(key: str, file: str) -> str:
    """The text of secret `key` without its last line end; raises Refused when it is unfit."""
    try:
        mode, content = files.plain(file, LIMIT)
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
    if file := account_of(wanted):
        texts[ACCOUNT] = account.read(file).thumbprint
    return hmac.new(key, msgspec.json.encode(texts), hashlib.sha256).hexdigest()[:16]


def filled(plan: model.Plan, write: Write, found: Pair | None = None) -> model.Plan:
    """`plan` with every secret and its certificate in place, without one where none was `found`:
    for the start alone, never to be kept or shown. Raises Refused when that is too long."""
    if not plan.secrets:
        return plan
    own = {key: read(key, one.file) for key, one in plan.secrets.items() if key[0] != '+'}
    if ACCOUNT in plan.secrets and (thumbprint := account.usable(plan.secrets[ACCOUNT].file)):
        own[ACCOUNT] = thumbprint
    room = plan.room
    if room is not None:
        room -= sum(len(write('line', text).encode()) for text in own.values())
        if room < 0:
            raise errors.Refused(
                f'with its secrets the command line is {-room} bytes too long for the image',
                hint='shorten `arguments:` in mirage.yml, or the secrets',
            )
    texts = own
    if plan.certificate is not None:
        from .carried import certified

        texts = own | certified(plan.certificate, found, room)

    def put(place: re.Match[str]) -> str:
        encoding = plan.secrets[place[1]].encoding
        return texts[place[1]] if encoding == 'tar' else write(encoding, texts[place[1]])

    def filling(text: str) -> str:
        return PLACE.sub(put, WITHOUT.sub(lambda one: one[0] if one[1] in texts else '', text))

    words = [(word, filling(word)) for word in plan.command]
    kept = plan.target == 'virtio'  # there all arguments are one word, which belongs to -append
    return msgspec.structs.replace(
        plan,
        command=tuple(now for word, now in words if now or kept or not word),
        files={name: filling(text) for name, text in plan.files.items()},
    )


def masked(plan: model.Plan) -> model.Plan:
    """`plan` as it may be shown: --key=***."""
    return msgspec.structs.replace(
        plan,
        command=tuple(PLACE.sub('***', word) for word in plan.command),
        files={name: PLACE.sub('***', text) for name, text in plan.files.items()},
    )
