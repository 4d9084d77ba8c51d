"""A certificate reaches every target whole, or is refused with the sizes."""

from __future__ import annotations

import base64
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from mirage_hooks import config, targets
from mirage_hooks.messages import errors
from mirage_hooks.state import model, pair, secret
from mirage_hooks.state.x509 import Pair
from mirage_hooks.targets import arguments
from tests import xl
from tests.authority import Authority
from tests.targets.test_arguments import split

AUTHORITY = Authority()
EVERY = [('unix', ''), ('spt', ''), ('hvt', ''), ('virtio', ''), ('xen', ''), ('xen', 'pv')]
BY = 'as by certbot --key-type ecdsa'
DISK = 'form: disk, where the image reads a disk'


def plan(target: str, style: str = '', **keys: Any) -> model.Plan:
    form = {one: keys.pop(one) for one in ('form', 'disk', 'arguments') if one in keys}
    own = config.Certificate(chain='/live/chain.pem', key='/live/key.pem', **form)
    wanted = config.Unikernel(image='x', memory=32, certificate=own, **keys)
    return targets.plan(targets.Request(
        'www', 1, 'blue', '/state/1', wanted, target, '0123456789abcdef', style, None,
        host=model.Host(sandbox=True)))


@pytest.fixture(scope='module')
def elliptic(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return read(tmp_path_factory.mktemp('ec'))


@pytest.fixture(scope='module')
def long(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """RSA of 4096 bits, and so all of its chain."""
    return read(tmp_path_factory.mktemp('rsa'), bits=4096, more=AUTHORITY.issue(bits=4096).pem * 6)


def read(folder: Path, bits: int = 0, more: bytes = b'') -> Pair:
    one = AUTHORITY.issue(bits=bits)
    AUTHORITY.written(folder, one, one.pem + AUTHORITY.intermediate.pem + more)
    found = pair.read(config.Certificate(
        chain=f'{folder}/fullchain.pem', key=f'{folder}/privkey.pem'))
    assert found is not None
    return found


def given(filled: model.Plan) -> list[str]:
    """The arguments that the image sees."""
    if filled.domain:
        return split(xl.Parser().string(filled.files['xl.cfg'], 'extra'))
    if filled.target == 'virtio':
        return split(filled.command[filled.command.index('-append') + 1])
    end = max(at for at, word in enumerate(filled.command) if word == '/image')
    return split(' '.join(filled.command[end + 1:]))


def encoded(parts: tuple[bytes, bytes], dashes: str = '--') -> list[str]:
    chain, key = (base64.b64encode(part).decode() for part in parts)
    return [f'{dashes}tls-certificate={chain}', f'{dashes}tls-key={key}']


@pytest.mark.parametrize(('target', 'style'), EVERY[:-1])
def test_it_is_pem_where_that_fits_and_der_where_it_is_asked_for(
    target: str, style: str, elliptic: Pair
) -> None:
    made = plan(target, style)
    filled = secret.filled(made, targets.write, elliptic)
    assert given(filled)[-2:] == encoded(elliptic.pem)
    der = secret.filled(plan(target, style, form='der'), targets.write, elliptic)
    assert given(der)[-2:] == encoded(elliptic.der)
    assert 'PRIVATE' not in repr(made) and secret.masked(made) != made


@pytest.mark.parametrize(('target', 'style'), EVERY)
def test_without_one_the_arguments_are_as_if_there_was_none(
    target: str, style: str
) -> None:
    made = plan(target, style, arguments=config.Options(chain='cert', key='key'))
    assert given(secret.filled(made, targets.write, None)) == []
    wanted = ('--message=a b', '--last=1') if style != 'pv' else ('--message=a', '--last=1')
    own = config.Unikernel(image='x', arguments=wanted, certificate=config.Certificate(
        chain='/c', key='/k'))
    made = targets.plan(targets.Request(
        'www', 1, 'blue', '/state/1', own, target, '0123456789abcdef', style, None,
        host=model.Host(sandbox=True)))
    expected = list(wanted) if style != 'pv' else ['message=a', 'last=1']
    assert given(secret.filled(made, targets.write, None)) == expected


def test_der_takes_its_place_where_pem_is_too_long(elliptic: Pair) -> None:
    sizes = [sum(len(base64.b64encode(part)) for part in parts)
             for parts in (elliptic.pem, elliptic.der)]
    assert sizes[1] < sizes[0] < arguments.SOLO5_LIMIT
    named = len('--tls-certificate= --tls-key= ')
    filling = '--m=' + 'x' * (arguments.SOLO5_LIMIT - 1 - named - sizes[0] - len('--m='))
    own = config.Certificate(chain='/c', key='/k')
    for length, parts in ((filling, elliptic.pem), (f'{filling}x', elliptic.der)):
        wanted = config.Unikernel(image='x', arguments=(length,), certificate=own)
        for target in ('spt', 'virtio', 'xen'):
            made = targets.plan(targets.Request(
                'www', 1, 'blue', '/state/1', wanted, target, '0123456789abcdef', '', None,
                host=model.Host(sandbox=True)))
            filled = given(secret.filled(made, targets.write, elliptic))
            assert filled == [length, *encoded(parts)]
            assert len(' '.join(filled)) <= arguments.SOLO5_LIMIT - 1


@pytest.mark.parametrize(('target', 'style'), EVERY[1:])
def test_what_would_be_cut_off_is_refused_with_the_sizes(
    target: str, style: str, long: Pair
) -> None:
    room = plan(target, style).room
    assert room == (arguments.MINIOS_LIMIT if style == 'pv' else arguments.SOLO5_LIMIT) - 1 - len(
        'tls-certificate= tls-key=' if style == 'pv' else '--tls-certificate= --tls-key=')
    for form, words in ((None, f'an EC key in place of this one (RSA, 4096 bits), {BY}; or {DISK}'),
                        ('pem', f'an EC key in place of this one (RSA, 4096 bits), {BY}; or '
                         f'form: der, where the image takes it; or {DISK}')):
        parts = long.pem if form else long.der
        sizes = ' + '.join(str(len(base64.b64encode(part))) for part in parts)
        with pytest.raises(errors.Refused) as caught:
            secret.filled(plan(target, style, form=form), targets.write, long)
        assert (caught.value.reason, caught.value.hint) == (
            f'the certificate and its key take {sizes} bytes of the command line as '
            f'{"PEM" if form else "DER"} in base64, and the image reads {room} more: the rest '
            'would be cut off', words)


def test_a_unix_image_takes_what_is_too_long_for_others(long: Pair) -> None:
    assert given(secret.filled(plan('unix'), targets.write, long))[-2:] == encoded(long.pem)


def test_secrets_that_would_be_cut_off_are_refused(tmp_path: Path) -> None:
    file = tmp_path / 'token'
    file.write_text('x' * 4000)
    file.chmod(0o600)
    wanted = config.Unikernel(image='x', secrets={one: str(file) for one in ('a', 'b', 'c')})
    made = targets.plan(targets.Request(
        'www', 1, 'blue', '/state/1', wanted, 'virtio', '0123456789abcdef', '', None))
    with pytest.raises(errors.Refused) as caught:
        secret.filled(made, targets.write)
    assert (caught.value.reason, caught.value.hint) == (
        'with its secrets the command line is 3823 bytes too long for the image',
        'shorten `arguments:` in mirage.yml, or the secrets')


@pytest.mark.parametrize('target', ['unix', 'spt', 'hvt', 'virtio', 'xen'])
def test_a_disk_holds_both_and_has_no_limit(target: str, long: Pair) -> None:
    made = plan(target, form='disk', disk='cert')
    filled = secret.filled(made, targets.write, long)
    archive = filled.files['tls.tar'].encode()
    assert len(archive) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        members = {one.name: found.extractfile(one) for one in found}
        assert {name: one.read() for name, one in members.items() if one} == {
            'server.pem': long.pem[0], 'server.key': long.pem[1]}
    shown = ' '.join((*filled.command, *(filled.files.get('xl.cfg', ''),)))
    assert {
        'unix': '--ro-bind /state/1/tls.tar /cert', 'spt': '--block:cert=/state/1/tls.tar',
        'hvt': '--block:cert=/state/1/tls.tar',
        'virtio': 'file=/state/1/tls.tar,readonly=on',
        'xen': 'access=r, target=/state/1/tls.tar,',
    }[target] in shown
    empty = secret.filled(made, targets.write, None).files['tls.tar'].encode()
    with tarfile.open(fileobj=io.BytesIO(empty)) as found:
        assert found.getnames() == []


def test_a_disk_that_the_image_does_not_have_is_refused() -> None:
    from mirage_hooks.image import device

    own = config.Certificate(chain='/c', key='/k', form='disk')
    wanted = config.Unikernel(image='x', certificate=own)
    with pytest.raises(errors.Refused) as caught:
        targets.plan(targets.Request(
            'www', 1, 'blue', '/state/1', wanted, 'spt', '0123456789abcdef', '',
            (device.Device('storage', 'block'),)))
    assert caught.value.reason == (
        'the image wants a block device storage, which www does not have')
