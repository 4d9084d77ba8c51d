"""The certificate that a release is started with, and what is asked of it: that it presents this
very one. What another program answers, and a release with the pair before, is told apart so, and a
certificate of a private CA needs no `insecure: true`."""

from __future__ import annotations

import msgspec

from .. import config
from ..state import model, pair
from ..state.releases import Releases
from . import asking, health

PORT = '--https-port='


def starting(
    wanted: config.Unikernel, releases: Releases, release: model.Release
) -> config.Unikernel:
    """`wanted`, asked for the certificate of today, with which `release` is about to be started."""
    if release.plan.certificate is None:
        return wanted
    found, _ = pair.usable(release.plan.certificate)
    return asked(wanted, found.served if found else model.Served())


def running(
    wanted: config.Unikernel, releases: Releases, release: model.Release
) -> config.Unikernel:
    """`wanted`, asked for the certificate with which `release` was started; where it was started
    without, what wants another one's is left out."""
    if release.plan.certificate is None:
        left = tuple(one for one in wanted.health if not isinstance(one, asking.Certain))
        return msgspec.structs.replace(wanted, health=left)
    served = pair.served(releases.folder(release.number))
    return wanted if served is None else asked(wanted, served)


def asked(wanted: config.Unikernel, served: model.Served) -> config.Unikernel:
    """`wanted` with health questions that want what is `served`; where that is nothing, without
    those over TLS, which nobody can answer yet."""
    plain = tuple(one for one in wanted.health if not _secure(one))
    if not served.digest:
        return msgspec.structs.replace(wanted, health=plain)
    secure = [one for one in wanted.health if _secure(one)]
    address, number = _address(wanted), port(wanted)
    if not secure and address and number:
        # The questions that would be asked without `health:` are asked all the same.
        plain = plain or health.questions(wanted, address)
        secure = [config.Health(tcp=f'{health.bracketed(address)}:{number}')]
    certain = tuple(one if one.insecure else asking.Certain(
        **{**msgspec.structs.asdict(one), 'presents': served.chain}) for one in secure)
    return msgspec.structs.replace(wanted, health=(*plain, *certain))


def hosts(wanted: config.Unikernel) -> tuple[str, ...]:
    """The names for which its certificate is asked."""
    return tuple(asking.named(one) for one in wanted.health if _secure(one) and not one.insecure)


def port(wanted: config.Unikernel) -> int | None:
    """The port for HTTPS that the arguments name, as the scaffold's do."""
    ports = [one.partition('=')[2] for one in wanted.arguments if one.startswith(PORT)]
    return int(ports[0]) if ports and ports[0].isdigit() else None


def moved(wanted: config.Unikernel, to: int) -> config.Unikernel:
    """`wanted`, with the port `to` for HTTPS in place of the one that its arguments name."""
    return msgspec.structs.replace(wanted, arguments=tuple(
        f'{PORT}{to}' if one.startswith(PORT) else one for one in wanted.arguments))


def _secure(question: config.Health) -> bool:
    https = str(question.http or '').startswith('https:')
    return https or isinstance(question, asking.Certain)


def _address(wanted: config.Unikernel) -> str:
    """Where it is, as far as mirage.yml says."""
    if own := wanted.alone:
        return str(own.ipv4 or own.ipv6).partition('/')[0]
    return health.host(wanted) if wanted.port is not None else ''
