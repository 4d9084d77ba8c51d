"""Certificates and keys, by the library `cryptography`: it is imported here alone, and only where a
unikernel has a `certificate:`. Debian 12 has version 38, which lacks what came with 40 and 42."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timezone
from typing import Any

import msgspec
from cryptography import exceptions, x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from ..messages import errors
from ..messages.report import plain
from . import model, sec1
from .pair import WAITS

MOST = 10  # certificates of one chain
CERTIFICATE = re.compile(b'-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----', re.S)


class Pair(msgspec.Struct, frozen=True):
    """A key, and the certificates that it belongs to: each form as an image takes it, what is kept
    of them, and how they are called in what a person is told."""

    pem: tuple[bytes, bytes]
    der: tuple[bytes, bytes]
    served: model.Served
    kind: str
    file: str
    chain: tuple[Any, ...]


def parsed(chain_file: str, chain: bytes, key_file: str, key: bytes) -> Pair:
    """The pair in PEM; raises Refused when one of them is none, Unavailable when they do not
    match."""
    found, private = _chain(chain_file, chain), _key(key_file, key)
    if _public(private.public_key()) != _public(_public_key(chain_file, found[0])):
        raise errors.Unavailable(
            f'the key in {key_file} is not that of the certificate in {chain_file}',
            hint=f'{WAITS}. Where nobody is about to replace them: do both belong to the same '
            'certificate?',
        )
    pkcs8 = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
    ders = [one.public_bytes(der) for one in found]
    return Pair(
        (b''.join(one.public_bytes(pem) for one in found), private.private_bytes(pem, *pkcs8)),
        (b''.join(ders), private.private_bytes(der, *pkcs8)),
        _served(found, ders), _kind(private), chain_file, tuple(found),
    )


def _chain(file: str, text: bytes) -> list[x509.Certificate]:
    blocks = CERTIFICATE.findall(text)
    if not blocks:
        der = ' (it looks like DER)' if text[:1] == b'\x30' else ''
        raise errors.Refused(
            f'{file} holds no certificate in PEM{der}',
            hint='it begins with -----BEGIN CERTIFICATE-----, as certbot\'s fullchain.pem does',
        )
    if len(blocks) > MOST:
        raise errors.Refused(
            f'{file} holds {len(blocks)} certificates, and a chain has {MOST} at most',
            hint='it is the one of the site, then the one of who issued it, and so on',
        )
    try:
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except ValueError as error:
        raise errors.Refused(
            f'{file} holds a certificate that cannot be read: {_short(error)}',
            hint='have the client write it anew: was it cut?',
        ) from None


def _key(file: str, text: bytes) -> Any:
    try:
        found = sec1.private_key(text)
    except TypeError:  # the library's way to say it
        raise errors.Refused(
            f'the key in {file} wants a password, which nobody can type at a start',
            hint='write it without one: openssl pkey -in FILE -out OTHER, and name that',
        ) from None
    except (ValueError, exceptions.UnsupportedAlgorithm) as error:
        raise errors.Refused(
            f'{file} holds no private key in PEM: {_short(error)}',
            hint='it begins with -----BEGIN PRIVATE KEY-----, as certbot\'s privkey.pem does',
        ) from None
    return found


def _public_key(file: str, one: x509.Certificate) -> Any:
    try:
        return one.public_key()
    except (ValueError, exceptions.UnsupportedAlgorithm) as error:
        raise errors.Refused(
            f'{file} holds a certificate whose key cannot be read: {_short(error)}',
            hint='have it issued for an EC key (P-256) or RSA',
        ) from None


def _public(key: Any) -> bytes:
    found: bytes = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return found


def _served(found: list[x509.Certificate], ders: list[bytes]) -> model.Served:
    own = found[0]
    return model.Served(
        digest=hashlib.sha256(b''.join(ders)).hexdigest()[:16],
        chain=tuple(hashlib.sha256(one).hexdigest() for one in ders), names=names(own),
        issuer=plain(called(own.issuer)), serial=f'{own.serial_number:x}',
        begins=_at(own, 'not_valid_before'), ends=_at(own, 'not_valid_after'),
    )


def names(own: x509.Certificate) -> tuple[str, ...]:
    """The hosts and addresses that it is for."""
    try:
        found = own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(plain(str(one.value)) for one in found
                 if isinstance(one, x509.DNSName | x509.IPAddress))


def called(name: x509.Name) -> str:
    """A subject or issuer in one word or two."""
    for oid in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME):
        if found := name.get_attributes_for_oid(oid):
            return str(found[0].value)
    return name.rfc4514_string() or 'nobody'


def _at(one: x509.Certificate, what: str) -> float:
    """Seconds since 1970."""
    aware = getattr(one, f'{what}_utc', None)  # from version 42 on
    found: datetime = aware or getattr(one, what).replace(tzinfo=timezone.utc)
    return found.timestamp()


def _kind(key: Any) -> str:
    if isinstance(key, rsa.RSAPrivateKey):
        return f'RSA, {key.key_size} bits'
    return f'EC, {key.key_size} bits' if isinstance(key, ec.EllipticCurvePrivateKey) else 'other'


def issued(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether `issuer` has issued `one` itself."""
    if one.issuer != issuer.subject:
        return False
    try:
        if hasattr(one, 'verify_directly_issued_by'):  # from version 40 on
            one.verify_directly_issued_by(issuer)
            return True
        return _signed(one, issuer.public_key())
    except (ValueError, TypeError, exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm):
        return False


def _signed(one: x509.Certificate, key: Any) -> bool:
    """Raises InvalidSignature when it was not; for keys of other kinds, the names must do."""
    signed, text, how = one.signature, one.tbs_certificate_bytes, one.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey) and how is not None:
        key.verify(signed, text, padding.PKCS1v15(), how)
    elif isinstance(key, ec.EllipticCurvePublicKey) and how is not None:
        key.verify(signed, text, ec.ECDSA(how))
    return True


def _short(error: Exception) -> str:
    return plain(str(error).partition('\n')[0])[:120] or type(error).__name__
