"""A certificate authority of the tests': a root, an intermediate, and certificates of any kind."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PEM = serialization.Encoding.PEM
Key = Any


class Issued(NamedTuple):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(PEM)

    def private(self, password: bytes = b'') -> bytes:
        how: Any = serialization.NoEncryption()
        if password:
            how = serialization.BestAvailableEncryption(password)
        found: bytes = self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, how)
        return found


class Authority:
    """Issues by an intermediate of its root."""

    def __init__(self) -> None:
        self.root = _issue('A root', None, True)
        self.intermediate = _issue('An intermediate', self.root, True)

    def issue(
        self, *names: str, begins: timedelta = timedelta(0), lasts: timedelta = timedelta(days=90),
        bits: int = 0, key: Key = None, by: Issued | None = None,
    ) -> Issued:
        """For `names`, hosts and addresses, from now or `begins` later, for `lasts`; with an EC
        key, or RSA of `bits`, or the `key`; issued `by` the intermediate."""
        key = key or (rsa.generate_private_key(65537, bits) if bits else None)
        names = names or ('www.example.org',)
        return _issue(names[0], by or self.intermediate, False, names, begins, lasts, key)

    def written(self, folder: Path, one: Issued, chain: bytes = b'') -> None:
        """`one` as a client of ACME writes it: first the key, then the chain."""
        folder.mkdir(exist_ok=True)
        _replaced(folder / 'privkey.pem', one.private(), 0o600)
        _replaced(folder / 'fullchain.pem', chain or one.pem + self.intermediate.pem, 0o644)


def _replaced(path: Path, content: bytes, mode: int) -> None:
    fresh = path.with_name(f'{path.name}.new')
    fresh.touch(mode)
    fresh.write_bytes(content)
    fresh.replace(path)


def _issue(
    name: str, issuer: Issued | None, authority: bool, names: tuple[str, ...] = (),
    begins: timedelta = timedelta(0), lasts: timedelta = timedelta(days=90), key: Key = None,
) -> Issued:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc).replace(microsecond=0) + begins
    made = (
        x509.CertificateBuilder().subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now).not_valid_after(now + lasts)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        found = [_name(one) for one in names]
        made = made.add_extension(x509.SubjectAlternativeName(found), critical=False)
    return Issued(made.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
