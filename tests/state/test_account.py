"""The thumbprint of an ACME account's key, from the files that clients keep it in."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from mirage_hooks.messages import errors
from mirage_hooks.state import account
from tests.deployment import Deployment, web

PEM = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()
# RFC 7638, 3.1
RFC = {
    'kty': 'RSA', 'e': 'AQAB', 'alg': 'RS256', 'kid': '2011-04-29',
    'n': '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1'
         'L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4'
         'QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbO'
         'pbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csF'
         'Cur-kEgU8awapJzKnqDKgw',
}  # fmt: skip
THUMBPRINT = 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs'
HINT = ('name the account key of the ACME client: private_key.json of certbot, EMAIL.key of lego, '
        'account_key.pem of dehydrated, private/key.pem of uacme')


def written(folder: Path, content: bytes | dict[str, str]) -> str:
    file = folder / 'key'
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(file)


def refusal(file: str) -> tuple[str, str]:
    with pytest.raises(errors.Refused) as refused:
        account.read(file)
    return refused.value.reason.replace(file, 'FILE'), refused.value.hint.replace(file, 'FILE')


def traditional(key: Any) -> bytes:
    found: bytes = key.private_bytes(PEM, serialization.PrivateFormat.TraditionalOpenSSL, PLAIN)
    return found


def pkcs8(key: Any) -> bytes:
    found: bytes = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, PLAIN)
    return found


def public(key: Any) -> bytes:
    found: bytes = key.public_key().public_bytes(
        PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return found


def jwk(key: Any) -> dict[str, str]:
    numbers, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
    x, y = (one.to_bytes(size, 'big') for one in (numbers.x, numbers.y))
    return {'kty': 'EC', 'crv': f'P-{key.key_size}', 'x': account._base64url(x),
            'y': account._base64url(y)}


def test_it_is_that_of_the_rfc(tmp_path: Path) -> None:
    assert account.read(written(tmp_path, RFC)) == ('RSA, 2048 bits', THUMBPRINT)


def test_the_same_number_written_otherwise_is_the_same_account(tmp_path: Path) -> None:
    longer = {**RFC, 'e': 'AAEAAQ==', 'd': 'AQ', 'n': f'AAAA{RFC["n"]}'}
    assert account.read(written(tmp_path, longer))[1] == THUMBPRINT


@pytest.mark.parametrize('curve', [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_every_form_of_an_ec_key_has_one_thumbprint(
    tmp_path: Path, curve: ec.EllipticCurve
) -> None:
    key = ec.generate_private_key(curve)
    parameters = b'-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n'
    forms: list[bytes | dict[str, str]] = [
        traditional(key), pkcs8(key), public(key), jwk(key), parameters + traditional(key)]
    found = {account.read(written(tmp_path, form)) for form in forms}
    assert [one.kind for one in found] == [f'EC, P-{curve.key_size}']


@pytest.mark.parametrize('curve', [ec.SECP256R1(), ec.SECP384R1()])
@pytest.mark.parametrize('length', [-1, 1], ids=['shorter', 'longer'])
def test_an_ec_key_is_read_as_gnutls_writes_it(
    tmp_path: Path, curve: ec.EllipticCurve, length: int
) -> None:
    """uacme's, by half with a zero in front of the number, now and then without its own."""
    size = curve.key_size // 8
    key = ec.derive_private_key(0xE3 << 8 * (size - 2 if length < 0 else size - 1), curve)
    der = key.private_bytes(serialization.Encoding.DER,
                            serialization.PrivateFormat.TraditionalOpenSSL, PLAIN)
    own = bytes([size]) + key.private_numbers().private_value.to_bytes(size, 'big')
    other = bytes([size + length]) + (own[2:] if length < 0 else b'\0' + own[1:])
    assert own in der
    body = der[2 if der[1] < 128 else 3:].replace(own, other)
    head = b'\x30' if len(body) < 128 else b'\x30\x81'
    lines = base64.encodebytes(head + bytes([len(body)]) + body)
    written_so = b'-----BEGIN EC PRIVATE KEY-----\n' + lines + b'-----END EC PRIVATE KEY-----\n'
    with pytest.raises(ValueError, match='private key value'):
        serialization.load_pem_private_key(written_so, password=None)
    assert account.read(written(tmp_path, written_so)) == account.read(written(tmp_path, jwk(key)))


def test_every_form_of_an_rsa_key_has_one_thumbprint(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    found = {account.read(written(tmp_path, form))
             for form in (traditional(key), pkcs8(key), public(key))}
    assert [one.kind for one in found] == ['RSA, 2048 bits']


def test_an_ed25519_key_is_an_account_too(tmp_path: Path) -> None:
    """RFC 8037, A.3."""
    found = account.read(written(tmp_path, {
        'kty': 'OKP', 'crv': 'Ed25519', 'x': '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'}))
    assert found == ('Ed25519', 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k')
    key = ed25519.Ed25519PrivateKey.generate()
    forms = {account.read(written(tmp_path, form)) for form in (pkcs8(key), public(key))}
    assert [one.kind for one in forms] == ['Ed25519']


def test_what_is_no_account_key_is_refused_by_what_it_is(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8,
                               serialization.BestAvailableEncryption(b'x'))
    takes = 'an account key is EC (P-256, P-384), Ed25519, or RSA of 2048 to 16384 bits'
    for content, reason, hint in (
        (b'', 'FILE is no file of 1 to 32768 bytes', HINT),
        (b' ' * 32769, 'FILE is no file of 1 to 32768 bytes', HINT),
        (b'hello', 'FILE holds no account key, neither as JWK nor as PEM', HINT),
        (b'\xff\xfe\x00', 'FILE holds no account key, neither as JWK nor as PEM', HINT),
        (b'-----BEGIN CERTIFICATE-----\n', 'FILE holds no account key, neither as JWK nor as PEM',
         HINT),
        (b'{"kty":"RSA"', 'FILE holds no key as JWK: Input data was truncated', HINT),
        (b'{"kty":1}', 'FILE holds no key as JWK: Expected `str`, got `int` - at `$.kty`', HINT),
        ({'kty': 'RSA', 'n': '!', 'e': 'AQAB'}, None, HINT),
        ({'kty': 'RSA', 'n': 'é', 'e': 'AQAB'}, None, HINT),
        ({'kty': 'oct', 'k': 'AQAB'}, 'FILE holds a key that no ACME server takes: oct', takes),
        ({'kty': 'RSA', 'n': 'AQAB', 'e': 'AQAB'},
         'FILE holds a key that no ACME server takes: RSA of 17 bits', takes),
        ({'kty': 'EC', 'crv': 'secp256k1', 'x': 'AQ', 'y': 'AQ'},
         'FILE holds a key that no ACME server takes: EC secp256k1', takes),
        ({**jwk(key), 'y': ''}, 'FILE holds a key of P-256 of another length', HINT),
        ({**jwk(key), 'x': 'AQ'}, 'FILE holds a key of P-256 of another length', HINT),
        (locked, 'the account key in FILE has a password', 'its public half is enough: openssl '
         'pkey -pubout -in FILE -out OTHER, and name that'),
        (pkcs8(ec.generate_private_key(ec.SECP256K1())),
         'FILE holds a key that no ACME server takes: EC secp256k1', takes),
        (pkcs8(dsa.generate_private_key(1024)),
         'FILE holds a key that no ACME server takes: DSAPublicKey', takes),
    ):
        found = refusal(written(tmp_path, content))
        assert found[1] == hint
        assert found[0] == reason or (reason is None and 'no key as JWK: ' in found[0])
    broken = pkcs8(key).replace(b'MIG', b'MIH')
    assert refusal(written(tmp_path, broken))[0].startswith('FILE holds no key as PEM: ')


def test_a_file_that_cannot_be_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    hint = ("`mirage-hooks acme thumbprint` finds it, where it may look (certbot's is root's); who "
            'may not read it gives acme: the thumbprint itself')
    assert refusal(str(tmp_path / 'none')) == (
        'cannot read the account key FILE: No such file or directory', hint)
    assert refusal(str(tmp_path))[0] == 'cannot read the account key FILE: Is a directory'
    os.mkfifo(tmp_path / 'pipe')  # is not waited for
    assert refusal(str(tmp_path / 'pipe')) == ('FILE is no file of 1 to 32768 bytes', HINT)


def test_a_file_that_everybody_may_write_is_nobodys_word(tmp_path: Path) -> None:
    file = written(tmp_path, RFC)
    Path(file).chmod(0o646)
    assert refusal(file) == (
        'the account key FILE may be written by everybody',
        'chmod o-w FILE: whoever puts another key there can have certificates issued for your '
        'names',
    )


SAY = "print('heard', [a for a in sys.argv if 'message' in a], flush=True)"


def heard(deployment: Deployment, number: int) -> str:
    console = (deployment.state().of('www').folder(number) / 'console.log').read_text()
    return console.splitlines()[-2].partition('heard ')[2]


@pytest.fixture
def account_file(deployment: Deployment, tmp_path: Path) -> Path:
    """A deployment whose image is told the thumbprint, and the account key's file."""
    file = Path(written(tmp_path, RFC))
    deployment.configure(acme={'account': str(file), 'argument': 'message'})
    deployment.publish(web('one', SAY))
    deployment.clone()
    return file


def test_the_image_is_told_the_thumbprint_of_the_account(
    deployment: Deployment, account_file: Path
) -> None:
    assert deployment.mirage('deploy').returncode == 0
    assert heard(deployment, 1) == f"['--message={THUMBPRINT}']"
    assert deployment.mirage('pull', '--quiet').stdout == ''


def test_another_account_is_another_release(deployment: Deployment, account_file: Path) -> None:
    deployment.mirage('deploy')
    account_file.write_bytes(pkcs8(ec.generate_private_key(ec.SECP256R1())))
    deployment.mirage('pull', '--quiet')
    assert (deployment.events()[-1], heard(deployment, 1) == heard(deployment, 2)) == (
        ('deployed', 2), False)


def test_an_account_key_in_the_repository_is_refused(deployment: Deployment) -> None:
    deployment.publish(web('one'))
    deployment.clone()
    inside = deployment.host / 'key'
    inside.write_text(json.dumps(RFC))
    deployment.configure(acme={'account': str(inside)})
    done = deployment.mirage('deploy')
    assert (done.returncode, f'the account key of acme: is in the repository: {inside}'
            in done.stdout) == (1, True)
    assert deployment.processes() == []


def test_a_release_is_started_again_without_what_cannot_be_read_any_more(
    deployment: Deployment, account_file: Path
) -> None:
    deployment.mirage('deploy')
    account_file.unlink()
    deployment.crash()
    done = deployment.mirage('start', 'www')
    assert (deployment.page(), heard(deployment, 1)) == ('one', '[]'), done.stdout
