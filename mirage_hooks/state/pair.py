"""A certificate's chain and its private key, read together: they are replaced one after the other,
so what does not fit together is read again for a moment. Says what is wrong with them."""

from __future__ import annotations

import errno
import shlex
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .. import config
from ..messages import errors
from . import files, model

if TYPE_CHECKING:
    from .x509 import Pair

CHAIN_LIMIT, KEY_LIMIT = 65536, 16384  # bytes; Let's Encrypt's chains take up to 6000
REPLACED = 2.0  # seconds in which whoever replaces one of the two replaces the other
PAUSE = 0.05  # seconds between two looks

GONE = 'have it issued again; to serve without, take certificate: out of mirage.yml'
WAITS = 'what serves goes on; it is looked at again by each cron run, and by mirage-hooks deploy'


def read(own: config.Certificate | model.Certificate, patience: float = REPLACED) -> Pair | None:
    """The pair of `own`; None while one of its files is not there. Raises Unavailable when key and
    certificate do not match for `patience` seconds, and Refused when either is unfit."""
    from . import x509

    limit = time.monotonic() + patience
    while True:
        chain = _bytes('chain', own.chain, CHAIN_LIMIT)
        key = _bytes('key', own.key, KEY_LIMIT)
        wrong: errors.Refused | None = None
        if chain is not None and key is not None:
            try:
                return x509.parsed(own.chain, chain, own.key, key)
            except errors.Refused as refused:
                wrong = refused
        elif chain is None and key is None:
            return None
        if time.monotonic() >= limit:
            if wrong is None:
                return None
            raise wrong
        time.sleep(PAUSE)


def usable(own: model.Certificate) -> tuple[Pair | None, str]:
    """The pair for a start that nobody waits for, as after a crash: without one, why; the site is
    then served by HTTP alone, which is how a certificate may come to it again."""
    try:
        found = read(own)
    except errors.Refused as refused:
        return None, refused.reason
    return found, '' if found else f'{missing(own)} is not there'


def missing(own: config.Certificate | model.Certificate) -> str:
    """The file that is not there."""
    return next((one for one in (own.chain, own.key) if not Path(one).exists()), own.chain)


def require_outside(own: config.Certificate, repository: tuple[Path, ...]) -> None:
    """Raise Refused when a file of the pair is in the repository."""
    for what, file in (('chain', own.chain), ('key', own.key)):
        if files.within(file, repository):
            raise errors.Refused(
                f'certificate.{what} is in the repository: {file}',
                hint='keep both elsewhere, and replace a key that was ever committed: whoever '
                'clones the repository knows it',
            )


def served(folder: Path) -> model.Served | None:
    """What the release in `folder` was started with; None where it knows of no certificate."""
    return files.read(folder / files.CERTIFICATE, model.Served)


def _bytes(what: str, file: str, most: int) -> bytes | None:
    """What `file` holds, None when it is not there. Links are followed, as certbot's are to be;
    what they lead to must be for its owner to write, and a key not for everybody to read."""
    try:
        mode, content = files.plain(file, most)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        mode, content = 0, b''
    except OSError as error:
        if error.errno == errno.EIO:
            raise errors.Unavailable(f'cannot read {file}: {error.strerror}') from None
        raise errors.Refused(
            f'cannot read certificate.{what}, {file}: {error.strerror}',
            hint='who deploys must be able to read it: certbot\'s folders are root\'s alone; as '
            'another user have a deploy hook of the ACME client copy both to a folder of that user',
        ) from None
    _require_believable(what, file, mode)
    if not 0 < len(content) <= most:
        raise errors.Refused(
            f'certificate.{what} is no file of 1 to {most} bytes: {file}',
            hint='both are to be PEM, such as certbot\'s fullchain.pem and privkey.pem',
        )
    return content


def _require_believable(what: str, file: str, mode: int) -> None:
    if mode & stat.S_IWOTH:
        raise errors.Refused(
            f'certificate.{what} may be written by everybody: {file}',
            hint=f'chmod o-w {shlex.quote(file)}',
        )
    if what == 'key' and mode & stat.S_IROTH:
        raise errors.Refused(
            f'certificate.key is readable by everybody: {file}',
            hint=f'chmod o-rwx {shlex.quote(file)}; who could read it could be your site: have the '
            'certificate revoked where that is to be feared',
        )


def as_kept(own: config.Certificate, user: int | None) -> model.Certificate:
    """`own` as a plan keeps it."""
    return model.Certificate(own.chain, own.key, own.form or '',
                             user if own.form == 'disk' else None)
