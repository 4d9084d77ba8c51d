"""Asks a name server for `version.example.org TXT` all the time, until its standard input has a
line; then prints what it found. Says `asking` when it begins.

`python asking_dns.py HOST PORT udp|tcp PAUSE_MS [FROM]`: a question after each pause, from the
address FROM, each once: what is lost stays lost. Only the standard library: it runs in bare
namespaces."""

from __future__ import annotations

import json
import os
import select
import socket
import sys

PATIENCE = 60  # seconds for an answer; what is lost takes as long
NAME = b'\x07version\x07example\x03org\x00'


def main(host: str, port: int, way: str, pause: float, source: str = '') -> None:
    asked, texts, failed = 0, dict[str, int](), dict[str, int]()
    print('asking', flush=True)
    while not select.select([sys.stdin], [], [], pause)[0]:
        asked += 1
        try:
            text = ask(host, port, way, (source, 0))
            texts[text] = texts.get(text, 0) + 1
        except OSError as error:
            said = f'{asked}: {error or type(error).__name__}'
            failed[said] = failed.get(said, 0) + 1
    print(json.dumps({'asked': asked, 'failed': failed, 'texts': texts}))


def ask(host: str, port: int, way: str, own: tuple[str, int]) -> str:
    """The text of the first answer; raises OSError for anything else."""
    number = os.urandom(2)
    question = number + b'\x00\x00\x00\x01' + bytes(6) + NAME + b'\x00\x10\x00\x01'
    if way == 'udp':
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.settimeout(PATIENCE)
            one.bind(own)
            one.connect((host, port))
            one.send(question)
            answer = one.recv(4096)
    else:
        with socket.create_connection((host, port), PATIENCE, own) as one:
            one.sendall(len(question).to_bytes(2, 'big') + question)
            answer = b''  # a name server may leave the connection open
            while len(answer) < 2 or len(answer) < 2 + int.from_bytes(answer[:2], 'big'):
                if not (piece := one.recv(4096)):
                    raise OSError(f'ended after {len(answer)} bytes')
                answer += piece
        answer = answer[2:]
    if answer[:2] != number or answer[2:4] != b'\x84\x00' or answer[6:8] != b'\x00\x01':
        raise OSError(f'answered {answer[:12]!r}')
    text = answer[len(question) + 12 :]
    return text[1 : 1 + text[0]].decode().split()[0]


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]) / 1000, *sys.argv[5:])
