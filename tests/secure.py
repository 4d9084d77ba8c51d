"""A stand-in for an image that serves HTTPS by the scaffold's arguments: HTTP at --port, and with a
certificate HTTPS at --https-port."""

from __future__ import annotations

import hashlib
import socket
import ssl
from pathlib import Path

from tests.authority import Authority, Issued
from tests.deployment import PYTHON, Deployment, free_port
from tests.patience import PATIENCE
from tests.visiting import Visiting

IMAGE = """#!{python} -IS
import base64, os, socket, ssl, sys, tarfile, threading
given = dict(one.lstrip('-').partition('=')[::2] for one in sys.argv[1:])
unknown = set(given) - {{'port', 'https-port', 'ipv4', 'message', 'tls-certificate', 'tls-key'}}
if unknown:
    sys.exit(64)

def ders(data):
    while data:
        size, head = data[1], 2
        if size & 128:
            size, head = int.from_bytes(data[2:2 + (size & 127)], 'big'), 2 + (size & 127)
        yield data[:head + size]
        data = data[head + size:]

def pem(data, kind):
    if data.startswith(b'-----'):
        return data.decode()
    return ''.join('-----BEGIN %s-----\\n%s-----END %s-----\\n' % (
        kind, base64.encodebytes(one).decode(), kind) for one in ders(data))

def pair():
    if os.path.exists('/tls'):
        with tarfile.open('/tls') as found:
            return [found.extractfile(name).read() for name in found.getnames()]
    if 'tls-certificate' in given:
        return [base64.b64decode(given[name]) for name in ('tls-certificate', 'tls-key')]

def secured():
    decoded, key = pair()
    print('tls form', 'pem' if decoded.startswith(b'-----') else 'der', flush=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    memory = os.memfd_create('pair')
    os.write(memory, (pem(decoded, 'CERTIFICATE')
                      + pem(key, 'PRIVATE KEY')).encode())
    {before}
    try:
        context.load_cert_chain('/proc/self/fd/%d' % memory)
    except ssl.SSLError as error:
        print('tls: the key is not that of the certificate (%s)' % error.reason, flush=True)
        sys.exit(78)
    return context

def answered(visitor, context):
    try:
        with visitor:
            if context:
                visitor = context.wrap_socket(visitor, server_side=True)
            if visitor.recv(4096):
                visitor.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\n{page}')
            if context:
                visitor.unwrap()
    except OSError:
        pass

def served(port, context=None):
    server = socket.create_server(('127.0.0.1', int(port)), backlog=128)
    print('listening on %s/TCP' % port, flush=True)
    while True:
        visitor, _ = server.accept()
        threading.Thread(target=answered, args=(visitor, context), daemon=True).start()

if pair():
    threading.Thread(
        target=served, args=(given['https-port'], secured()), daemon=True).start()
else:
    print('without a certificate', flush=True)
served(given['port'])
"""


def image(page: str = 'secure', before: str = 'pass') -> bytes:
    """`before` is Python run before the pair is taken: `memory` is the file with both."""
    return IMAGE.format(python=PYTHON, page=page, before=before).encode()


class Secure:
    """A deployment with a folder of a certificate: `live`, as certbot's; `port` is for HTTPS."""

    def __init__(self, deployment: Deployment, **keys: object) -> None:
        self.deployment, self.authority = deployment, Authority()
        self.live, self.port = deployment.folder / 'live', free_port()
        self.url = f'https://www.example.org:{self.port}/'
        self.configure(**keys)

    def configure(self, **keys: object) -> None:
        pair = {'chain': str(self.live / 'fullchain.pem'), 'key': str(self.live / 'privkey.pem')}
        own = {
            'network': {'mode': 'socket', 'port': self.deployment.port, 'ipv4': '127.0.0.1/8'},
            'arguments': [f'--https-port={self.port}'], 'drain': '1s',
            'certificate': pair,
            'health': [{'http': f'http://127.0.0.1:{self.deployment.port}/'},
                       {'http': f'https://127.0.0.1:{self.port}/', 'host': 'www.example.org'}],
        }
        self.deployment.configure(**{**own, **keys})

    def issue(self, *names: str, chain: bytes = b'', **how: object) -> Issued:
        """A new certificate, written."""
        one = self.authority.issue(*names, **how)  # type: ignore[arg-type]
        self.authority.written(self.live, one, chain)
        return one

    def presented(self) -> str:
        """The serial of the certificate that a visitor is shown, in hex."""
        from cryptography import x509

        return f'{x509.load_der_x509_certificate(shown(self.port)).serial_number:x}'


def shown(port: int) -> bytes:
    """The certificate that a visitor of `port` is shown, in DER."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(('127.0.0.1', port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname='www.example.org') as secure,
    ):
        return secure.getpeercert(binary_form=True) or b''


class Visitor(Visiting):
    """Asks `port` over HTTPS all the time while its block runs, and trusts `root` alone."""

    def __init__(self, port: int, root: Path) -> None:
        super().__init__(port)
        self.context = ssl.create_default_context(cafile=str(root))
        self.requests = 0
        self.failed: list[str] = []
        self.seen: list[str] = []  # of each certificate its digest, as it changes

    def run(self) -> None:
        while not self.over.wait(0.002):
            self.requests += 1
            try:
                found = self.ask()
            except OSError as error:
                self.failed.append(str(error))
                continue
            if found not in self.seen[-1:]:
                self.seen.append(found)

    def ask(self) -> str:
        with (
            socket.create_connection(('127.0.0.1', self.port), PATIENCE) as plain,
            self.context.wrap_socket(plain, server_hostname='www.example.org') as secure,
        ):
            secure.sendall(b'GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n')
            answer = b''
            while piece := secure.recv(65536):
                answer += piece
            if b' 200 ' not in answer[:13]:
                raise OSError(f'answered {answer[:20]!r}')
            return hashlib.sha256(secure.getpeercert(binary_form=True) or b'').hexdigest()
