"""The cluster that this host is in, through Pacemaker's own commands: who is in it, what runs
where, and what each host told the others (an attribute of its node, which outlives it)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import msgspec

from ..messages import errors
from . import programs

if TYPE_CHECKING:
    from xml.etree import ElementTree

ATTRIBUTE = 'mirage-hooks-{}'
PATIENCE = 20.0  # seconds
LONGEST = 300  # characters of one value: the cluster keeps and copies them all


class Node(msgspec.Struct, frozen=True):
    """One host of the cluster: whether it is in it, may run something, and is in an unknown state
    until it is fenced; and what it told last, by attribute."""

    name: str
    online: bool = False
    standby: bool = False
    unclean: bool = False
    told: dict[str, dict[str, str]] = {}

    @property
    def state(self) -> str:
        if self.unclean:
            return 'UNCLEAN'
        return 'standby' if self.online and self.standby else 'online' if self.online else 'OFFLINE'


class Seen(msgspec.Struct, frozen=True):
    """The cluster as this host sees it: its hosts, and on which of them each resource runs."""

    nodes: dict[str, Node]
    active: dict[str, tuple[str, ...]]
    quorum: bool = True


def own() -> str:
    """What the cluster calls this host; raises Unavailable where none runs here."""
    return programs.run('crm_node', '--name', timeout=PATIENCE).strip()


def tell(node: str, about: str, values: dict[str, str]) -> None:
    """Tell all hosts `values` of the unikernel `about`, as this host, which is `node`."""
    text = ' '.join(f'{key}={quote(value[:LONGEST])}' for key, value in values.items() if value)
    programs.run('crm_attribute', '--type', 'nodes', '--node', node, '--name',
                 ATTRIBUTE.format(about), '--update', text, timeout=PATIENCE)


def told() -> dict[str, dict[str, dict[str, str]]]:
    """What each host told, by attribute; also of hosts that are away."""
    nodes = _parsed(programs.run('cibadmin', '--query', '--scope', 'nodes', timeout=PATIENCE))
    return {node.get('uname', ''): _values(node) for node in nodes.iter('node')}


def seen() -> Seen:
    """The cluster now; raises Unavailable where none runs here."""
    found = _parsed(programs.run('crm_mon', '--one-shot', '--output-as=xml', timeout=PATIENCE))
    said = told()
    nodes = {
        node.get('name', ''): Node(
            node.get('name', ''), _is(node, 'online') and not _is(node, 'pending'),
            _is(node, 'standby') or _is(node, 'standby_onfail') or _is(node, 'maintenance'),
            _is(node, 'unclean'), said.get(node.get('name', ''), {}))
        for node in found.iterfind('nodes/node')
    }
    active: dict[str, tuple[str, ...]] = {}
    for one in found.iter('resource'):
        if 'id' in one.attrib and one.get('role') in ('Started', 'Starting', 'Stopping'):
            # A clone's instances are numbered where its name is not the same on all hosts.
            name = one.get('id', '').partition(':')[0]
            hosts = tuple(node.get('name', '') for node in one.iterfind('node'))
            active[name] = (*active.get(name, ()), *hosts)
    dc = found.find('summary/current_dc')
    return Seen(nodes, active, dc is not None and _is(dc, 'with_quorum'))


def constraints() -> list[tuple[str, dict[str, str]]]:
    """Each constraint that the cluster has, as its kind (`rsc_order`) and attributes; raises
    Unavailable where none runs here."""
    found = _parsed(
        programs.run('cibadmin', '--query', '--scope', 'constraints', timeout=PATIENCE))
    return [(one.tag, dict(one.attrib)) for one in found]


def unmanaged(resource: str) -> bool:
    """Whether a person has Pacemaker leave `resource` alone on this host, by maintenance of it, of
    the host or of the cluster, or as unmanaged; raises Unavailable where none runs here."""
    found = _parsed(programs.run('crm_mon', '--one-shot', '--output-as=xml', timeout=PATIENCE))
    me = own()
    return any(
        _is(one, 'maintenance') or one.get('managed') == 'false' for one in found.iter('resource')
        if one.get('id', '').partition(':')[0] == resource
        and me in [node.get('name') for node in one.iterfind('node')]
    )


def _values(node: ElementTree.Element) -> dict[str, dict[str, str]]:
    """The attributes of ours of a `node`, read."""
    found = {}
    for pair in node.iter('nvpair'):
        if (name := pair.get('name', '')).startswith(ATTRIBUTE.format('')):
            words = (word.partition('=') for word in pair.get('value', '').split(' '))
            found[name.removeprefix(ATTRIBUTE.format(''))] = {
                key: unquote(value) for key, _, value in words}
    return found


def _parsed(text: str) -> ElementTree.Element:
    from xml.etree import ElementTree  # every deployment imports this module, few need that one

    try:
        return ElementTree.fromstring(text)  # noqa: S314 # of daemons that run as root
    except ElementTree.ParseError as error:
        raise errors.Unavailable(f'what Pacemaker says is no XML: {error}') from None


def _is(element: ElementTree.Element, attribute: str) -> bool:
    return element.get(attribute) == 'true'
