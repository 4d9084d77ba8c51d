"""The project's own test guest: one small web server, built in each shape of a MirageOS image.

    socket   ./IMAGE --ipv4=127.0.0.1/24 --port=8080
    tls      the same, with --tls-certificate= --tls-key= [--https-port=443] [--redirect=true]
    direct   ./IMAGE --interface=TAP [--ipv4=CIDR [--ipv4-gateway=A]] [--mac=MAC]; else by DHCP
    virtio   qemu-system-x86_64 … -device isa-debug-exit -kernel IMAGE -append '--ipv4=CIDR …'
    pvh, pv  xl create, with `type` as the shape's name; `extra` as above, for pv without dashes

Those with a stack of their own keep their neighbours as MirageOS does (arp.c);
`--neighbours=keep` as that of 2014 did, for ever. With `--ipv6=CIDR` or `--ipv6-only=true` they
speak IPv6 as well (ndp.c), beyond the link through `--ipv6-gateway=A`; they take no part in router
advertisements. `--detect-duplicates=true` makes them serve nothing for a second before that, as
MirageOS does.

`tls` is the contract of the scaffold's image: both are base64 of PEM, or of DER (concatenated
certificates; a key of PKCS8); without them it serves HTTP alone, with a wrong pair it says
`tls: REASON` and ends with exit code 78. `--redirect=true` sends HTTP to HTTPS. All answer
/.well-known/acme-challenge/ where they are given `--acme-thumbprint=`.

With `--dns=ZONE` they are a name server for that zone (dns.c), at `--port` by UDP and TCP, and
have no pages.

All take `--message=`, `--status=`, `--port=`, `--fail=` and `--first=MS`, how long the first
request waits for its answer (options.c); the first three shapes also `--threads=N`, whose stacks
count against `prlimit --data`. They answer `/`, `/slow?ms=N`, `/args`, the arguments as they
arrived, one to a line, `/crash`, and `/eat?mb=N`, which keeps so much memory, or dies as
`--fail=memory` does. SHAPES says what each is compiled from: gcc for x86-64 is enough, no library
but the host's C library for the unix shapes, and BearSSL for `tls`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
CFLAGS = ('-O2', '-g0', '-std=gnu11', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror')
APPLICATION = ('split.c', 'options.c', 'values.c', 'web.c', 'acme.c', 'dns.c')
XEN = ('xen.c', 'xenstore.c', 'netfront.c')
STACK = (
    *('stack.c', 'ethernet.c', 'ip.c', 'arp.c', 'ip4.c', 'ndp.c', 'ip6.c'),
    *('tcp.c', 'udp.c', 'dhcp.c'),
)
# STRICT_TAP: die as a real unix/direct image does when its tap's flags must be set and may not be.
# ARP_TICK_MS, NDP_TICK_MS: until an unanswered question who has an address is repeated; made long,
# whatever waits for the second one is lost. ARP_LIFE: of what arp.c has learned, in ticks.
# DETECTION_MS: how long `--detect-duplicates=true` looks.
DEFINED = {
    **{'STRICT_TAP': 1, 'ARP_TICK_MS': 1500, 'ARP_LIFE': 800},
    **{'NDP_TICK_MS': 1000, 'DETECTION_MS': 1000},
}
BARE = (
    *('-ffreestanding', '-fno-pie', '-no-pie', '-fno-stack-protector', '-mgeneral-regs-only'),
    *('-fno-tree-loop-distribute-patterns', '-fno-asynchronous-unwind-tables', '-nostdlib'),
    *('-static', '-Wl,--build-id=none', '-Wl,--no-warn-rwx-segments', 'libc.c'),
)
TLS = Path('/usr/include/bearssl.h')
"""What the shape `tls` is compiled with."""
SHAPES: dict[str, tuple[str, ...]] = {
    'socket': (*APPLICATION, 'unix.c', '-pthread', 'socket.c', '-DUNIX_SHAPE=SHAPE_SOCKET'),
    'tls': (
        *(*APPLICATION, 'unix.c', '-pthread', 'socket.c', 'tls.c', 'pair.c'),
        *('-DUNIX_SHAPE=SHAPE_TLS', '-l:libbearssl.a'),
    ),
    'direct': (*APPLICATION, *STACK, 'unix.c', '-pthread', 'direct.c', '-DUNIX_SHAPE=SHAPE_DIRECT'),
    'virtio': (
        *('-m32', *BARE, '-Wl,-T,bare.ld', 'multiboot.S'),
        *(*APPLICATION, *STACK, 'pc.c', 'virtio.c'),
    ),
    'pvh': ('-m32', *BARE, '-Wl,-T,bare.ld', 'pvh.S', *APPLICATION, *STACK, *XEN, 'pvh.c'),
    'pv': ('-mno-red-zone', *BARE, '-Wl,-T,pv.ld', 'pv.S', *APPLICATION, *STACK, *XEN, 'pv.c'),
}


def build(
    kind: str, directory: Path, version: str = '1', fail: str = 'NOT', **defined: int
) -> Path:
    """The guest of this shape, whose page starts with `version`; compiled once into `directory`.

    `fail` (guest.h) is what it does when no argument says otherwise: CRASH makes a bad image.
    `defined` goes over DEFINED.
    Kept under the digest of everything it is made of, so that a stale one is never returned.
    Needs gcc; raises CalledProcessError when it does not compile, FileNotFoundError without gcc.
    """
    directory = directory.resolve()  # gcc runs among the sources
    macros = {'VERSION': f'"{version}"', 'FAIL': f'FAIL_{fail}', **DEFINED, **defined}
    command = ('gcc', *CFLAGS, *(f'-D{name}={value}' for name, value in macros.items()),
               *SHAPES[kind])  # fmt: skip
    image = directory / f'{kind}-{_digest(command)}'
    if not image.exists():
        directory.mkdir(parents=True, exist_ok=True)
        # renamed when whole: two tests may build the same guest at once
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            made = Path(scratch) / 'image'
            subprocess.run((*command, '-o', str(made)), cwd=SOURCES, check=True)
            os.replace(made, image)  # noqa: PTH105 (as short as Path.replace, and says 'atomic')
    return image


def _digest(command: tuple[str, ...]) -> str:
    digest = hashlib.sha256(repr(command).encode())
    for source in sorted(SOURCES.iterdir()):
        if source.suffix in {'.c', '.h', '.S', '.ld'}:
            digest.update(source.name.encode() + b'\0' + source.read_bytes())
    return digest.hexdigest()[:16]
