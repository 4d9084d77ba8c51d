"""What a trial is asked, and what waits until the switch."""

from __future__ import annotations

import pytest

from mirage_hooks import config
from mirage_hooks.state import model
from mirage_hooks.switching import asked

OWN = ('10.0.0.2',)


def on_port(question: config.Health, ipv4: str | None = None) -> asked.Asked:
    network = config.Socket(port=8080, ipv4=ipv4)
    return asked.on_port(config.Unikernel(image='x', network=network, health=(question,)), 5000)


@pytest.mark.parametrize(('url', 'moved', 'name'), [
    ('http://127.0.0.1:8080/a?b', 'http://127.0.0.1:5000/a?b', '127.0.0.1:8080'),
    ('http://localhost:8080/', 'http://localhost:5000/', 'localhost:8080'),
    ('https://www.example.org:8080/', 'https://www.example.org:5000/', 'www.example.org:8080'),
    ('http://www.example.org/a?b', 'http://127.0.0.1:5000/a?b', 'www.example.org'),
    ('http://10.0.0.9:8081/', 'http://127.0.0.1:5000/', '10.0.0.9:8081'),
])
def test_a_page_is_asked_of_the_release_on_trial_by_its_own_name(
    url: str, moved: str, name: str
) -> None:
    question = config.Health(http=url, status=204, within='3s')
    assert on_port(question) == asked.Asked(
        (config.Health(http=moved, host=name, status=204, within='3s'),),
        ('127.0.0.1', 'localhost', '::1'),
    )


@pytest.mark.parametrize('question', [
    config.Health(http='https://www.example.org/'),
    config.Health(tcp='127.0.0.1:443'),
    config.Health(tcp='10.0.0.9:80'),
    config.Health(ping='127.0.0.1'),
])
def test_what_another_may_answer_waits_until_the_switch(question: config.Health) -> None:
    assert on_port(question) == asked.Asked(
        (config.Health(tcp='127.0.0.1:5000'),), ('127.0.0.1', 'localhost', '::1'), (question,),
    )


@pytest.mark.parametrize(('ipv4', 'place', 'own'), [
    ('127.0.0.1/8', 'www.example.org', False),
    ('127.0.0.1/8', 'localhost', True),
    ('10.0.0.2/24', 'www.example.org', True),
    ('10.0.0.2/24', '10.0.0.2', True),
    ('10.0.0.2/24', '10.0.0.3', False),
    ('0.0.0.0/0', '10.0.0.3', True),
    (None, '10.0.0.3', True),
])
def test_a_proxy_on_the_same_port_of_another_address_is_not_the_release(
    ipv4: str | None, place: str, own: bool
) -> None:
    found = on_port(config.Health(tcp=f'{place}:8080'), ipv4)
    assert bool(found.left) is not own


@pytest.mark.parametrize(('question', 'held'), [
    (config.Health(http='https://www.example.org/'), False),
    (config.Health(tcp='10.0.0.9:443'), False),
    (config.Health(http='http://www.example.org:8080/'), True),
    (config.Health(tcp='10.0.0.2:443'), True),
    (config.Health(ping='10.0.0.9'), True),
    (config.Health(console='ready'), True),
])
def test_on_a_stage_a_proxy_in_front_of_the_port_of_the_arguments_waits_until_the_switch(
    question: config.Health, held: bool
) -> None:
    wanted = config.Unikernel(image='x', health=(question,), arguments=('--port=8080',))
    assert asked.on_stage(wanted, OWN) == (
        asked.Asked((question,), OWN) if held
        else asked.Asked((config.Health(tcp='10.0.0.2:8080'),), OWN, (question,))
    )


def test_on_a_stage_all_is_asked_of_a_release_that_does_not_say_its_port() -> None:
    question = config.Health(http='https://www.example.org/')
    wanted = config.Unikernel(image='x', health=(question,))
    assert asked.on_stage(wanted, OWN) == asked.Asked((question,), OWN)


@pytest.mark.parametrize(('health', 'own', 'address', 'found'), [
    # Names and other places go to the first address, an address to itself.
    ((config.Health(http='http://mort.io/'),), ('10.0.0.2', 'fd00::2'), '10.0.0.2',
     (config.Health(http='http://mort.io/', within='5s'),)),
    ((config.Health(http='http://mort.io/'),), ('10.0.0.2', 'fd00::2'), 'fd00::2', ()),
    # However an address is spelled.
    ((config.Health(http='http://[FD00:0::2]/'),), ('10.0.0.2', 'fd00::2'), 'fd00::2',
     (config.Health(http='http://[FD00:0::2]/', within='5s'),)),
    # Where a person wrote none, the best that the network allows.
    ((), ('10.0.0.2', 'fd00::2'), 'fd00::2', (config.Health(tcp='[fd00::2]:80', within='5s'),)),
    ((config.Health(http='http://[fd00::2]/'), config.Health(tcp='10.0.0.2:80', within='2s')),
     ('10.0.0.2', 'fd00::2'), '10.0.0.2', (config.Health(tcp='10.0.0.2:80', within='2s'),)),
    ((config.Health(http='http://[fd00::2]/'),), ('10.0.0.2', 'fd00::2'), 'fd00::2',
     (config.Health(http='http://[fd00::2]/', within='5s'),)),
    # What goes over no network was answered once and for all; nothing is put in its place.
    ((config.Health(console='up'), config.Health(alive='1s')), OWN, '10.0.0.2', ()),
    ((config.Health(ping='10.0.0.2'),), OWN, '10.0.0.2',
     (config.Health(ping='10.0.0.2', within='5s'),)),
])
def test_after_the_switch_it_is_asked_again_what_goes_over_the_network(
    health: tuple[config.Health, ...], own: tuple[str, ...], address: str,
    found: tuple[config.Health, ...],
) -> None:
    static = config.Static(bridge='br0', ipv4='10.0.0.2/24', ipv6='fd00::2/64')
    wanted = config.Unikernel(
        image='x', network=static, health=health, arguments=('--port=80',),
    )
    assert asked.again(wanted, own, address) == found


@pytest.mark.parametrize(('leased', 'lasting'), [
    (False, (config.Health(tcp='10.0.0.2:80'),)), (True, ()),
])
def test_an_address_by_dhcp_is_not_asked_as_long_as_it_runs_for_it_may_be_another_by_now(
    leased: bool, lasting: tuple[config.Health, ...]
) -> None:
    static = config.Static(bridge='br0', ipv4='10.0.0.2/24')
    release = model.Release(
        number=1, unikernel='www', commit='', path='', blob='', digest='', size=1, description='',
        fingerprint='', slot='blue', created=1, plan=model.Plan(target='spt', command=()),
        network=static, leased=leased,
    )
    wanted = config.Unikernel(image='x', arguments=('--port=80',))
    assert asked.lasting(wanted, release) == lasting
