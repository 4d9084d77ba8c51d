"""The account key of an ACME client, of which a unikernel is told the thumbprint alone: with that
it answers any challenge by itself (RFC 8555, 8.1: TOKEN.THUMBPRINT), and can order nothing."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import shlex
import stat
from typing import Any, NamedTuple

import msgspec

from ..messages import errors
from . import files, sec1

LIMIT = 32768  # bytes; an RSA key of 16384 bits takes 13 kB as PEM and 17 kB as JWK
SIZES = {'P-256': 32, 'P-384': 48, 'P-521': 66, 'Ed25519': 32, 'Ed448': 57}  # bytes of a coordinate
BITS = range(2048, 16385)  # of an RSA key
# OpenSSL writes the curve in front of it.
KEY = re.compile(rb'-----BEGIN (?:[A-Z]+ )?(PRIVATE|PUBLIC) KEY-----')

MADE = ('name the account key of the ACME client: private_key.json of certbot, EMAIL.key of lego, '
        'account_key.pem of dehydrated, private/key.pem of uacme')


class Account(NamedTuple):
    """`kind` is such as 'EC, P-256', `thumbprint` 43 characters of base64url (RFC 7638)."""

    kind: str
    thumbprint: str


class Jwk(msgspec.Struct):
    """What is read of a key in JSON (RFC 7517, RFC 7518, RFC 8037), and nothing that is private."""

    kty: str
    n: str = ''
    e: str = ''
    crv: str = ''
    x: str = ''
    y: str = ''


def read(file: str) -> Account:
    """The account whose key is in `file`, as JWK or PEM; its public half is enough. Raises Refused
    when it cannot be read, may be written by everybody, or is no such key."""
    try:
        mode, content = files.plain(file, LIMIT)
    except OSError as error:
        raise errors.Refused(
            f'cannot read the account key {file}: {error.strerror}',
            hint='`mirage-hooks acme thumbprint` finds it, where it may look (certbot\'s is '
            'root\'s); who may not read it gives acme: the thumbprint itself',
        ) from None
    if mode & stat.S_IWOTH:
        raise errors.Refused(
            f'the account key {file} may be written by everybody',
            hint=f'chmod o-w {shlex.quote(file)}: whoever puts another key there can have '
            'certificates issued for your names',
        )
    if not 0 < len(content) <= LIMIT:
        raise errors.Refused(f'{file} is no file of 1 to {LIMIT} bytes', hint=MADE)
    if content.lstrip()[:1] == b'{':
        return _of_jwk(file, content)
    if KEY.search(content):
        return _of_pem(file, content)
    raise errors.Refused(f'{file} holds no account key, neither as JWK nor as PEM', hint=MADE)


def usable(file: str) -> str:
    """The thumbprint for a start that nobody waits for, as after a crash; '' where the key cannot
    be read: then it serves, and answers no challenge."""
    try:
        return read(file).thumbprint
    except errors.Refused:
        return ''


def _of_jwk(file: str, content: bytes) -> Account:
    try:
        found = msgspec.json.decode(content, type=Jwk)
        numbers = {name: _number(getattr(found, name)) for name in ('n', 'e', 'x', 'y')}
    except (msgspec.DecodeError, binascii.Error, UnicodeError) as error:
        raise errors.Refused(f'{file} holds no key as JWK: {error}', hint=MADE) from None
    size = SIZES.get(found.crv, 0)
    if found.kty == 'RSA':
        return _rsa(file, int.from_bytes(numbers['n'], 'big'), int.from_bytes(numbers['e'], 'big'))
    if found.kty == 'EC' and found.crv.startswith('P-') and size:
        return _curve(file, 'EC', found.crv, numbers['x'], numbers['y'])
    if found.kty == 'OKP' and found.crv.startswith('Ed') and size:
        return _curve(file, 'OKP', found.crv, numbers['x'], b'')
    raise _of_no_use(file, f'{found.kty} {found.crv}'.strip())


def _of_pem(file: str, content: bytes) -> Account:
    """By the library, which is imported for this alone."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as reading

    kind = KEY.search(content)
    try:
        if kind and kind[1] == b'PUBLIC':
            public: Any = reading.load_pem_public_key(content)
        else:
            public = sec1.private_key(content).public_key()
    except TypeError:  # the library's way to say it
        raise errors.Refused(
            f'the account key in {file} has a password',
            hint='its public half is enough: openssl pkey -pubout -in FILE -out OTHER, and name '
            'that',
        ) from None
    except (ValueError, UnsupportedAlgorithm) as error:
        said = str(error).partition('\n')[0][:120]
        raise errors.Refused(f'{file} holds no key as PEM: {said}', hint=MADE) from None
    return _of_public(file, public)


def _of_public(file: str, public: Any) -> Account:
    from cryptography.hazmat.primitives import serialization as reading
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return _rsa(file, numbers.n, numbers.e)
    if isinstance(public, ec.EllipticCurvePublicKey):
        curve = f'P-{public.curve.key_size}' if public.curve.name.startswith('secp') else ''
        point = public.public_numbers()
        if curve in SIZES and public.curve.name != 'secp256k1':
            size = SIZES[curve]
            return _curve(file, 'EC', curve, point.x.to_bytes(size, 'big'),
                          point.y.to_bytes(size, 'big'))
        raise _of_no_use(file, f'EC {public.curve.name}')
    if isinstance(public, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        raw = public.public_bytes(reading.Encoding.Raw, reading.PublicFormat.Raw)
        return _curve(file, 'OKP', 'Ed25519' if len(raw) == SIZES['Ed25519'] else 'Ed448', raw, b'')
    raise _of_no_use(file, type(public).__name__)


def _rsa(file: str, modulus: int, exponent: int) -> Account:
    if modulus.bit_length() not in BITS or exponent < 3:
        raise _of_no_use(file, f'RSA of {modulus.bit_length()} bits')
    members = {'e': _text(exponent), 'kty': 'RSA', 'n': _text(modulus)}
    return Account(f'RSA, {modulus.bit_length()} bits', _thumbprint(members))


def _curve(file: str, kty: str, curve: str, x: bytes, y: bytes) -> Account:
    size = SIZES[curve]
    if len(x) != size or len(y) not in ((size,) if kty == 'EC' else (0,)):
        raise errors.Refused(f'{file} holds a key of {curve} of another length', hint=MADE)
    members = {'crv': curve, 'kty': kty, 'x': _base64url(x)}
    if y:
        members['y'] = _base64url(y)
    return Account(f'EC, {curve}' if kty == 'EC' else curve, _thumbprint(members))


def _of_no_use(file: str, kind: str) -> errors.Refused:
    return errors.Refused(
        f'{file} holds a key that no ACME server takes: {kind}',
        hint='an account key is EC (P-256, P-384), Ed25519, or RSA of 2048 to 16384 bits',
    )


def _thumbprint(members: dict[str, str]) -> str:
    """RFC 7638: the members that a key has to have, sorted, as JSON without spaces."""
    text = json.dumps(members, sort_keys=True, separators=(',', ':'))
    return _base64url(hashlib.sha256(text.encode()).digest())


def _text(number: int) -> str:
    """In as few bytes as it takes (RFC 7518, 6.3.1)."""
    return _base64url(number.to_bytes((number.bit_length() + 7) // 8, 'big'))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip('=')


def _number(text: str) -> bytes:
    """Raises binascii.Error, or UnicodeError, for what is no base64url."""
    whole = text.rstrip('=').encode('ascii').translate(bytes.maketrans(b'-_', b'+/'))
    return base64.b64decode(whole + b'=' * (-len(whole) % 4), validate=True)
