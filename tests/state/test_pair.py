"""A chain and a key: which pairs are taken, and what is said of every other one."""

from __future__ import annotations

import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_mock

from mirage_hooks import config
from mirage_hooks.messages import errors
from mirage_hooks.state import chain, expiry, model, pair
from tests.authority import Authority

DAY = timedelta(days=1)
WAITS = ('what serves goes on; it is looked at again by each cron run, and by mirage-hooks deploy')
ORDER = ('the one of the site comes first, then the one of who issued it, and so on, as in '
         "certbot's fullchain.pem")
LACKS = ("name the file with the whole chain, such as certbot's fullchain.pem instead of cert.pem; "
         'where that is a root of your own, put its certificate behind it in the file')


@pytest.fixture(scope='module')
def authority() -> Authority:
    return Authority()


def named(folder: Path) -> config.Certificate:
    """The pair in `folder`, as certbot calls its files."""
    return config.Certificate(chain=str(folder / 'fullchain.pem'), key=str(folder / 'privkey.pem'))


def refusal(
    own: config.Certificate, *hosts: str, kind: type[errors.Refused] = errors.Refused
) -> tuple[str, str]:
    """What is said of it, and what to do."""
    with pytest.raises(errors.Refused) as caught:
        found = pair.read(own, patience=0)
        assert found is not None
        chain.require(found, hosts, time.time())
    assert type(caught.value) is kind
    return caught.value.reason, caught.value.hint


def test_a_good_pair_is_known_by_its_names_issuer_and_time(
    authority: Authority, tmp_path: Path
) -> None:
    one = authority.issue('www.example.org', '*.example.com', '192.0.2.7', '2001:db8::7')
    authority.written(tmp_path, one)
    found = pair.read(named(tmp_path))
    assert found is not None
    chain.require(found, ('WWW.example.org', 'a.example.com', '192.0.2.7', '2001:db8:0::7'),
                  time.time())
    assert (found.served.names, found.served.issuer, found.served.serial, found.kind) == (
        ('www.example.org', '*.example.com', '192.0.2.7', '2001:db8::7'), 'An intermediate',
        f'{one.certificate.serial_number:x}', 'EC, 256 bits')
    assert found.served.ends - found.served.begins == 90 * 86400
    assert found.pem == (one.pem + authority.intermediate.pem, one.private())
    assert [part[0] for part in found.der] == [0x30, 0x30]
    assert len(found.served.chain) == 2 and expiry.left(found.served, time.time()) == '89 days left'


def test_rsa_and_links_are_taken(authority: Authority, tmp_path: Path) -> None:
    authority.written(tmp_path / 'archive', authority.issue(bits=2048))
    (tmp_path / 'live').symlink_to(tmp_path / 'archive')
    found = pair.read(named(tmp_path / 'live'))
    assert found is not None and found.kind == 'RSA, 2048 bits'


def test_a_private_authority_needs_no_root_in_the_file_and_a_lone_self_signed_one_is_its_own(
    authority: Authority, tmp_path: Path
) -> None:
    alone = authority.issue(by=authority.root)
    for content in (b'', alone.pem + authority.root.pem, authority.root.pem):
        one = authority.root if content == authority.root.pem else (
            alone if content else authority.issue())
        authority.written(tmp_path, one, content)
        found = pair.read(named(tmp_path))
        assert found is not None
        if content == authority.root.pem:
            assert refusal(named(tmp_path)) == (
                f'the certificate in {tmp_path}/fullchain.pem names no host (it has no '
                'subjectAltName)',
                'have it issued for the names of the site: browsers take no other ones')
        else:
            chain.require(found, (), time.time())


def test_what_is_not_there_is_none(tmp_path: Path, authority: Authority) -> None:
    own = named(tmp_path)
    assert (pair.read(own), pair.missing(own)) == (None, own.chain)
    authority.written(tmp_path, authority.issue())
    Path(own.key).unlink()
    assert (pair.read(own, patience=0), pair.missing(own)) == (None, own.key)


def test_a_key_of_another_certificate_is_refused_for_now(
    authority: Authority, tmp_path: Path
) -> None:
    own = named(tmp_path)
    authority.written(tmp_path, authority.issue())
    Path(own.key).write_bytes(authority.issue().private())
    assert refusal(own, kind=errors.Unavailable) == (
        f'the key in {own.key} is not that of the certificate in {own.chain}',
        f'{WAITS}. Where nobody is about to replace them: do both belong to the same certificate?')


def test_a_pair_that_is_being_replaced_is_waited_for(
    authority: Authority, tmp_path: Path, mocker: pytest_mock.MockerFixture
) -> None:
    own, new = named(tmp_path), authority.issue()
    authority.written(tmp_path, authority.issue())
    Path(own.key).write_bytes(new.private())
    looks = []

    def slept(_: float) -> None:
        looks.append(1)
        if len(looks) == 3:
            authority.written(tmp_path, new)

    mocker.patch('time.sleep', slept)
    found = pair.read(own, patience=60)
    assert found is not None and found.served.serial == f'{new.certificate.serial_number:x}'
    assert len(looks) == 3


def test_an_expired_and_a_coming_certificate_are_refused(
    authority: Authority, tmp_path: Path
) -> None:
    own = named(tmp_path)
    old = authority.issue(begins=-2 * DAY, lasts=DAY)
    authority.written(tmp_path, old)
    assert refusal(own) == (
        f'the certificate in {own.chain} expired on {expiry_of(own)}',
        'renew it with your ACME client; what serves goes on')
    authority.written(tmp_path, authority.issue(begins=DAY))
    reason, hint = refusal(own, kind=errors.Unavailable)
    begins = time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(read(own).begins))
    assert reason == f'the certificate in {own.chain} is not valid before {begins}'
    assert hint.startswith('is the clock of this host right? It is ') and hint.endswith(
        f'. W{WAITS[1:]}')


def read(own: config.Certificate) -> model.Served:
    found = pair.read(own, patience=0)
    assert found is not None
    return found.served


def expiry_of(own: config.Certificate) -> str:
    return time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(read(own).ends))


def test_a_chain_in_the_wrong_order_is_put_right_in_words(
    authority: Authority, tmp_path: Path
) -> None:
    own, one = named(tmp_path), authority.issue()
    parts = (one.pem, authority.root.pem, authority.intermediate.pem)
    authority.written(tmp_path, one, b''.join(parts))
    assert refusal(own) == (
        f'{own.chain}: certificate 2 (A root) did not issue certificate 1 (www.example.org); '
        'number 3 did: they are in the wrong order', ORDER)
    authority.written(tmp_path, one, one.pem + Authority().intermediate.pem)
    assert refusal(own) == (
        f'{own.chain}: certificate 2 (An intermediate) did not issue certificate 1 '
        '(www.example.org)', ORDER)


def test_a_lone_certificate_of_an_unknown_issuer_is_refused(
    authority: Authority, tmp_path: Path, mocker: pytest_mock.MockerFixture
) -> None:
    own, one = named(tmp_path), authority.issue()
    authority.written(tmp_path, one, one.pem)
    assert refusal(own) == (
        f'{own.chain} lacks the certificate of who issued it, An intermediate, which is no root '
        'that this host trusts', LACKS)
    store = tmp_path / 'store.pem'
    store.write_bytes(authority.root.pem + authority.intermediate.pem)
    mocker.patch.object(chain, 'STORES', (str(store),))
    chain.require(found := pair.read(own), (), time.time())  # type: ignore[arg-type]
    assert found is not None


def test_a_certificate_of_other_names_is_refused(authority: Authority, tmp_path: Path) -> None:
    own = named(tmp_path)
    authority.written(tmp_path, authority.issue('example.org', '*.example.org'))
    for host in ('example.com', 'a.b.example.org', 'xample.org', '192.0.2.7'):
        assert refusal(own, host) == (
            f'the certificate in {own.chain} is not for {host}, which health: asks: it is for '
            'example.org, *.example.org',
            f'have it issued for {host} too, or ask by a name that it has: in health: '
            'https://example.org/, or host: example.org')
    chain.require(pair.read(own), ('example.org', 'www.Example.org.'), None)  # type: ignore[arg-type]


def test_a_key_with_a_password_is_refused(authority: Authority, tmp_path: Path) -> None:
    own, one = named(tmp_path), authority.issue()
    authority.written(tmp_path, one)
    Path(own.key).write_bytes(one.private(b'secret'))
    assert refusal(own) == (
        f'the key in {own.key} wants a password, which nobody can type at a start',
        'write it without one: openssl pkey -in FILE -out OTHER, and name that')


def test_files_that_are_no_pair_are_refused(authority: Authority, tmp_path: Path) -> None:
    own, one = named(tmp_path), authority.issue()
    pem = one.pem + authority.intermediate.pem
    size = "both are to be PEM, such as certbot's fullchain.pem and privkey.pem"
    said = {
        b'no certificate': (
            f'{own.chain} holds no certificate in PEM',
            "it begins with -----BEGIN CERTIFICATE-----, as certbot's fullchain.pem does"),
        b'\x30\x82': (
            f'{own.chain} holds no certificate in PEM (it looks like DER)',
            "it begins with -----BEGIN CERTIFICATE-----, as certbot's fullchain.pem does"),
        b'': (f'certificate.chain is no file of 1 to 65536 bytes: {own.chain}', size),
        b'x' * 65537: (f'certificate.chain is no file of 1 to 65536 bytes: {own.chain}', size),
        authority.root.pem * 11: (
            f'{own.chain} holds 11 certificates, and a chain has 10 at most',
            'it is the one of the site, then the one of who issued it, and so on'),
    }
    for content, told in said.items():
        authority.written(tmp_path, one)
        Path(own.chain).write_bytes(content)
        assert refusal(own) == told
    cut = pem.replace(pem[100:164], b'', 1)
    Path(own.chain).write_bytes(cut)
    reason, hint = refusal(own)
    assert reason.startswith(f'{own.chain} holds a certificate that cannot be read: ')
    assert hint == 'have the client write it anew: was it cut?'
    authority.written(tmp_path, one)
    Path(own.key).write_bytes(b'no key')
    reason, hint = refusal(own)
    assert reason.startswith(f'{own.key} holds no private key in PEM: ')
    assert hint == "it begins with -----BEGIN PRIVATE KEY-----, as certbot's privkey.pem does"


def test_what_others_could_read_or_write_is_not_believed(
    authority: Authority, tmp_path: Path
) -> None:
    own = named(tmp_path)
    authority.written(tmp_path, authority.issue())
    Path(own.key).chmod(0o644)
    assert refusal(own) == (
        f'certificate.key is readable by everybody: {own.key}',
        f'chmod o-rwx {own.key}; who could read it could be your site: have the certificate '
        'revoked where that is to be feared')
    Path(own.key).chmod(0o640)
    Path(own.chain).chmod(0o666)
    assert refusal(own) == (
        f'certificate.chain may be written by everybody: {own.chain}', f'chmod o-w {own.chain}')
    Path(own.chain).chmod(0o644)
    with pytest.raises(errors.Refused) as caught:
        pair.require_outside(own, (tmp_path,))
    assert (caught.value.reason, caught.value.hint) == (
        f'certificate.chain is in the repository: {own.chain}',
        'keep both elsewhere, and replace a key that was ever committed: whoever clones the '
        'repository knows it')


def test_a_named_pipe_and_a_folder_are_no_files_and_hold_up_nobody(
    authority: Authority, tmp_path: Path
) -> None:
    own = named(tmp_path)
    authority.written(tmp_path, authority.issue())
    for make in (os.mkfifo, os.mkdir):
        Path(own.key).unlink()
        make(own.key, 0o600)
        assert refusal(own)[0] == f'certificate.key is no file of 1 to 16384 bytes: {own.key}'


def test_a_pair_that_another_user_keeps_says_how_to_get_it(
    tmp_path: Path, mocker: pytest_mock.MockerFixture
) -> None:
    own = named(tmp_path)
    mocker.patch('os.open', side_effect=PermissionError(13, 'Permission denied'))  # root reads all
    assert refusal(own) == (
        f'cannot read certificate.chain, {own.chain}: Permission denied',
        "who deploys must be able to read it: certbot's folders are root's alone; as another user "
        'have a deploy hook of the ACME client copy both to a folder of that user')


@pytest.mark.parametrize(('life', 'left', 'told'), [
    (90, 15, False), (90, 13, True), (45, 15.5, False), (45, 13.9, True), (6, 2.1, False),
    (6, 1.9, True), (0.01, 0.004, False), (0.01, 0.003, True), (90, -1, True),
])
def test_two_weeks_or_a_third_of_its_life_before_the_end_a_person_is_told(
    life: float, left: float, told: bool
) -> None:
    now = 1e9
    ends = now + left * 86400
    served = model.Served(digest='x', begins=ends - life * 86400, ends=ends)
    assert expiry.ending(served, now) is told


@pytest.mark.parametrize(('seconds', 'words'), [
    (61.5 * 86400, '61 days left'), (90000, '25 hours left'), (3600, '60 minutes left'),
    (-90, 'expired 1 minute ago'), (-3 * 86400, 'expired 3 days ago'),
])
def test_what_is_left_is_told_in_words(seconds: float, words: str) -> None:
    assert expiry.left(model.Served(ends=seconds), 0) == words


def test_a_pair_replaced_all_the_time_never_comes_mixed(
    authority: Authority, tmp_path: Path
) -> None:
    own, over = named(tmp_path), threading.Event()
    authority.written(tmp_path, authority.issue())

    def replacing() -> None:
        while not over.wait(0.01):
            authority.written(tmp_path, authority.issue())

    writer = threading.Thread(target=replacing)
    writer.start()
    try:
        found = [pair.read(own, patience=60) for _ in range(30)]
    finally:
        over.set()
        writer.join()
    assert all(found)
