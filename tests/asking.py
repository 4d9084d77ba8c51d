"""Asks a web server all the time, until its standard input has a line; then prints what it found.
Says `asking` when it begins.

`python asking.py HOST PORT PAUSE_MS HELD_MS [FROM]`: a request after each pause, and one at a time
that is held open for HELD_MS (0 for none), from the address FROM. Only the standard library: it
runs in bare namespaces."""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
import time

PATIENCE = 60  # seconds for an answer: a request that fails is refused or broken off before


def main(host: str, port: int, pause: float, held: float, source: str = '') -> None:
    counts = {'requests': 0, 'failed': 0, 'held': 0, 'held_failed': 0, 'longest_ms': 0.0}
    reasons: dict[str, int] = {}
    pages: dict[str, int] = {}
    over = threading.Event()

    def one(path: str, kind: str, failed: str, patience: float) -> None:
        counts[kind] += 1
        began = time.monotonic()
        try:
            page = ask(host, port, path, patience, source)
            pages[page] = pages.get(page, 0) + 1
        except OSError as error:
            counts[failed] += 1
            said = f'{path}: {error or type(error).__name__} at {time.monotonic() - first:.2f} s'
            reasons[said] = reasons.get(said, 0) + 1
        if path == '/':
            took = (time.monotonic() - began) * 1000
            counts['longest_ms'] = max(counts['longest_ms'], round(took, 1))

    def hold() -> None:
        while not over.is_set():
            one(f'/slow?ms={held:.0f}', 'held', 'held_failed', held / 1000 + PATIENCE)

    first = time.monotonic()
    holding = threading.Thread(target=hold)
    if held:
        holding.start()
    print('asking', flush=True)
    while not select.select([sys.stdin], [], [], pause)[0]:
        one('/', 'requests', 'failed', PATIENCE)
    over.set()
    if held:
        holding.join()
    print(json.dumps({**counts, 'reasons': reasons, 'pages': pages}))


def ask(host: str, port: int, path: str, patience: float, source: str = '') -> str:
    """The page; raises OSError for anything but an answer of 200."""
    own = (source, 0) if source else None
    with socket.create_connection((host, port), patience, own) as connection:
        head = (f'GET {path} HTTP/1.1', f'Host: {host}', 'Connection: close', '', '')
        connection.sendall('\r\n'.join(head).encode())
        answer = b''
        while piece := connection.recv(65536):
            answer += piece
    if not answer.startswith(b'HTTP/1.1 200 '):
        raise OSError(f'answered {answer[:20]!r}')
    return answer.partition(b'\r\n\r\n')[2].decode().split()[0]


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) / 1000, float(sys.argv[4]),
         *sys.argv[5:])
