"""What is put into a plan just before a start, and nowhere else: secrets, and the certificate."""

from __future__ import annotations

import os
from pathlib import Path

from .. import targets
from ..messages import errors
from ..state import files, model, pair, secret


def filled(folder: Path, plan: model.Plan) -> model.Plan:
    """`plan`, of the release in `folder`, with its secrets and its certificate in place, which is
    noted there. Whatever is wrong with a certificate now, HTTP alone is better than nothing: a
    deployment has seen that it can be taken, a restart must not wait for it."""
    if plan.certificate is None:
        return secret.filled(plan, targets.write)
    found, why = pair.usable(plan.certificate)
    try:
        made = secret.filled(plan, targets.write, found)
    except errors.Refused as refused:
        found, why = None, refused.reason
        made = secret.filled(plan, targets.write)
    files.write(folder / files.CERTIFICATE, found.served if found else model.Served(reason=why))
    return made


def write(folder: Path, plan: model.Plan) -> None:
    """The files of `plan`, which is filled, for those who read them at the start."""
    for name, text in plan.files.items():
        with files.writing(folder):
            path = folder / name
            path.unlink(missing_ok=True)
            path.touch(0o600)
            path.write_text(text)
            if name == files.DISK and plan.certificate and plan.certificate.user is not None:
                os.chown(path, plan.certificate.user, plan.certificate.user)


def require_startable(plan: model.Plan) -> None:
    """Raise Refused, before anything is touched, when `plan` cannot be started with its secrets and
    the certificate of today."""
    found = pair.read(plan.certificate) if plan.certificate is not None else None
    secret.filled(plan, targets.write, found)
