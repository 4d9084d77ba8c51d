"""Which questions a trial is asked: those that nothing but the release on trial can answer. The
others are asked after the switch, when what answers them is in front of the new release."""

from __future__ import annotations

import ipaddress
import urllib.parse
from collections.abc import Callable, Mapping

import msgspec

from .. import config
from ..host import link, ports
from ..messages import errors
from ..state import model
from . import asking, health

WITHIN = '5s'  # what a release that has served gets to answer the same again
LATER = '{} cannot be asked of a trial, only after a switch'

EMPTY: Mapping[int, int] = {}

Judge = Callable[[str, int | None], None]
"""Asks a trial, at its address and its port (None where mirage.yml names none), what no question
can; raises Refused with what is wrong."""


class Asked(msgspec.Struct, frozen=True):
    """What a trial is asked, at its `own` addresses whatever the questions name, and what is `left`
    for after the switch."""

    now: tuple[config.Health, ...]
    own: tuple[str, ...]
    left: tuple[config.Health, ...] = ()

    @property
    def said(self) -> tuple[str, ...]:
        """What the deployment says of what is left."""
        return tuple(LATER.format(one.asks) for one in self.left)


def on_port(
    wanted: config.Unikernel, port: int, others: Mapping[int, int] = EMPTY
) -> Asked:
    """For a trial on `port` of this host in place of the configured one, and on `others`, by the
    configured ones."""
    own = (health.host(wanted), *(() if _listens_at(wanted) else ('localhost', '::1')))
    moved = [(one, _moved(one, wanted, port, others)) for one in health.questions(wanted)]
    return _asked(moved, own, port)


def on_stage(wanted: config.Unikernel, own: tuple[str, ...]) -> Asked:
    """For a trial at its `own` addresses, which there all names lead to. Where its arguments name
    its port, what asks another place at another port is a proxy's to answer."""
    questions, port = health.questions(wanted, own[0]), named_port(wanted)
    if port is None:
        return Asked(questions, own)
    return _asked([(one, _staged(one, own, port)) for one in questions], own, port)


def again(
    wanted: config.Unikernel, own: tuple[str, ...], address: str
) -> tuple[config.Health, ...]:
    """What is asked once more after the switch, at the `address` of its `own` ones, from where
    visitors ask: the questions of the stage that go over a network, and no others than a person
    wrote, if one wrote any. What names none of its addresses goes to the first. It served before,
    so it gets WITHIN at most."""
    found = [
        one for one in on_stage(wanted, own).now
        if (named := named_host(one)) == address or (named and named not in own
                                                      and address == own[0])
    ]
    if not found and not wanted.health:
        found = [one for one in health.at_address(wanted, address) if not one.alive]
    return tuple(
        msgspec.structs.replace(one, within=min(one.within, WITHIN, key=config.seconds))
        for one in found
    )


def require_in_front(wanted: config.Unikernel) -> None:
    """Raises Refused where a question goes to another port of this host, and nobody listens there
    though the release before serves: the new one would not be found to answer either."""
    for one in health.questions(wanted):
        host, port = endpoint(one) or ('', 0)
        address = '127.0.0.1' if host == 'localhost' else host
        if wanted.port in (None, port) or address not in ('127.0.0.1', '::1'):
            continue
        if isinstance(one, asking.Certain):
            continue  # its own port, which the release before may have without a certificate
        if ports.holder(address, port) is None:
            raise errors.Refused(
                f'health: asks {one.asks}, where nobody listens; the port in network: '
                f'is {wanted.port}',
                hint='ask there, or start first what stands in front of it',
            )


def lasting(wanted: config.Unikernel, release: model.Release) -> tuple[config.Health, ...]:
    """What `release` is asked as long as it runs: not what only a start can answer."""
    own = addresses(release)
    found = health.questions(wanted, own[0] if own else '')
    return tuple(one for one in found if one.asks)


def addresses(release: model.Release) -> tuple[str, ...]:
    """Those of its own stack, as far as they are known here and stay: a lease may end."""
    return link.addresses(release.fixed) if release.fixed is not None else ()


def named_host(question: config.Health) -> str:
    """The host that `question` asks, '' for one that asks none."""
    place = endpoint(question)
    return health.plain(question.ping or (place[0] if place else ''))


def _asked(
    moved: list[tuple[config.Health, config.Health | None]], own: tuple[str, ...], port: int
) -> Asked:
    now = tuple(found for _, found in moved if found is not None)
    left = tuple(one for one, found in moved if found is None)
    return Asked(now or (config.Health(tcp=f'{health.bracketed(own[0])}:{port}'),), own, left)


def _moved(
    question: config.Health, wanted: config.Unikernel, port: int, others: Mapping[int, int]
) -> config.Health | None:
    """`question` as the release on the spare `port` is asked it, None where it cannot be."""
    if question.ping:
        return None  # this host answers, whatever the release does
    place = endpoint(question)
    if place is None:
        return question
    if isinstance(question, asking.Certain) and place[1] in others:
        return _at(question, health.host(wanted), others[place[1]])
    if place[1] == wanted.port and _here(place[0], wanted):
        return _at(question, place[0], port)
    if question.tcp or question.dns or str(question.http).startswith('https:'):
        return None  # what stands there, and with which certificate, is not the release's to say
    return _at(question, health.host(wanted), port)


def _here(host: str, wanted: config.Unikernel) -> bool:
    """Whether `host` may be where the release listens: on all addresses where none is said. A name
    is its own, unless it listens on a loopback address alone."""
    address = _listens_at(wanted)
    if not address or host in (address, '127.0.0.1', 'localhost'):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return not ipaddress.ip_address(address).is_loopback
    return False


def _listens_at(wanted: config.Unikernel) -> str:
    """The one address at which mirage.yml says that it listens, '' for all."""
    network = wanted.network
    if not isinstance(network, config.Socket) or network.ipv4 is None:
        return ''
    return '' if network.address == '0.0.0.0' else network.address  # noqa: S104


def _staged(question: config.Health, own: tuple[str, ...], port: int) -> config.Health | None:
    """`question` as a release that says its `port` is asked it on the stage, None where another
    may be the one to answer."""
    place = endpoint(question)
    if isinstance(question, asking.Certain):
        return question  # no other one has its key
    if place is None or place[0] in own or place[1] == port:
        return question
    return None


def endpoint(question: config.Health) -> tuple[str, int] | None:
    """The host and the port that `question` names, None when it asks no place of that kind."""
    if question.tcp:
        host, _, port = question.tcp.rpartition(':')
        return host.strip('[]'), int(port)
    if question.dns:
        return question.dns.place
    if question.http:
        url = urllib.parse.urlsplit(question.http)
        return str(url.hostname), url.port or {'http': 80, 'https': 443}[url.scheme]
    return None


def _at(question: config.Health, host: str, port: int) -> config.Health:
    """`question` asked of `host` and `port`; the page is still asked for by its own name."""
    place = f'{health.bracketed(host)}:{port}'
    if question.tcp:
        return msgspec.structs.replace(question, tcp=place)
    if question.dns:
        moved = msgspec.structs.replace(question.dns, server=place)
        return msgspec.structs.replace(question, dns=moved)
    url = urllib.parse.urlsplit(str(question.http))
    page = urllib.parse.urlunsplit(url._replace(netloc=place))
    name = question.host or url.netloc.rpartition('@')[2]
    return msgspec.structs.replace(question, http=page, host=name)


def named_port(wanted: config.Unikernel) -> int | None:
    """The port that the arguments of a stack of its own name."""
    ports = [a.partition('=')[2] for a in wanted.arguments if a.startswith('--port=')]
    return int(ports[0]) if ports and ports[0].isdigit() else None
