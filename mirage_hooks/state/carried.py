"""How a certificate and its key are carried to an image: as two arguments, or on a small disk."""

from __future__ import annotations

import base64
import io
import tarfile
from typing import TYPE_CHECKING

from ..messages import errors
from . import model

if TYPE_CHECKING:
    from .x509 import Pair

NAMES = ('server.pem', 'server.key')  # in the archive, as the scaffold has called them ever since


def certified(
    own: model.Certificate, found: Pair | None, room: int | None
) -> dict[str, str]:
    """What stands for the parts of the certificate that was `found`, in at most `room` bytes (None:
    any number); raises Refused when that is too little."""
    if own.form == 'disk':
        return {'+disk': _archive(found.pem if found else ())}
    if found is None:
        return {}
    forms = {'pem': found.pem, 'der': found.der}
    taken = {form: tuple(base64.b64encode(part).decode() for part in parts)
             for form, parts in forms.items() if own.form in ('', form)}
    for chain, key in taken.values():
        if room is None or len(chain) + len(key) <= room:
            return {'+chain': chain, '+key': key}
    form, (chain, key) = min(taken.items(), key=lambda one: len(one[1][0]))
    shorter = [] if found.kind.startswith('EC') else [
        f'an EC key in place of this one ({found.kind}), as by certbot --key-type ecdsa']
    shorter += ['form: der, where the image takes it'] if form == 'pem' else []
    raise errors.Refused(
        f'the certificate and its key take {len(chain)} + {len(key)} bytes of the command line as '
        f'{form.upper()} in base64, and the image reads {max(0, room or 0)} more: the rest would '
        'be cut off',
        hint='; or '.join([*shorter, 'form: disk, where the image reads a disk']),
    )


def _archive(parts: tuple[bytes, ...]) -> str:
    """A tar archive (ustar) of `parts`, as ASCII: PEM is, and a tar's own bytes are."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode='w', format=tarfile.USTAR_FORMAT) as archive:
        for name, part in zip(NAMES, parts, strict=False):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(part), 0o400
            archive.addfile(entry, io.BytesIO(part))
    return made.getvalue().decode('ascii')
