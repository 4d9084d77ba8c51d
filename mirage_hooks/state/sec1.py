"""Private keys in PEM, by the library `cryptography`, and those that GnuTLS wrote (uacme's)."""

from __future__ import annotations

import base64
import re
from typing import Any

SEC1 = re.compile(rb'-----BEGIN EC PRIVATE KEY-----\s(.+?)-----END EC PRIVATE KEY-----', re.S)
SIZES = (32, 48, 66)  # bytes of the number of a key of P-256, P-384, P-521
START = b'\x02\x01\x01\x04'  # version 1, and then the number


def private_key(text: bytes) -> Any:
    """The key in the PEM `text`. Raises ValueError or UnsupportedAlgorithm for none, TypeError for
    one with a password."""
    from cryptography.hazmat.primitives.serialization import (
        load_der_private_key,
        load_pem_private_key,
    )

    try:
        return load_pem_private_key(text, password=None)
    except ValueError:
        if (found := SEC1.search(text)) is None:
            raise
        return load_der_private_key(_of_fixed_length(base64.b64decode(found[1])), password=None)


def _of_fixed_length(der: bytes) -> bytes:
    """RFC 5915 wants the number of a key in as many bytes as its curve has. GnuTLS writes it as an
    INTEGER: half of all keys with a zero in front, some too short, which the library refuses."""
    body = der[2 if der[1:2] < b'\x80' else 2 + (der[1] & 0x7F):]
    length = body[4] if body[:4] == START else 0
    number = body[5:5 + length].lstrip(b'\0')
    size = next((size for size in SIZES if size >= len(number)), 0)
    body = START + bytes([size]) + number.rjust(size, b'\0') + body[5 + length:]
    head = b'\x30' if len(body) < 128 else b'\x30\x81'  # never more than 255
    return head + bytes([len(body) & 0xFF]) + body
