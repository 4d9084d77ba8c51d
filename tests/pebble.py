"""Debian's pebble, an ACME server for tests, and four ACME clients that know no other."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests import secure, tls_page
from tests.deployment import Deployment, free_port
from tests.guests import TLS
from tests.patience import PATIENCE, until

CLIENTS = ('certbot', 'lego', 'dehydrated', 'uacme')
PROGRAMS = ('pebble', 'pebble-challtestsrv', 'openssl', 'gcc')
NAME = 'www.example.org'


def needed(*clients: str) -> pytest.MarkDecorator:
    """What skips a test that lacks one of them. uacme knows no other certificate authorities than
    the system's, in whose place others are mounted."""
    wanted = (*PROGRAMS, *clients, *(('unshare', 'mount') if 'uacme' in clients else ()))
    missing = [one for one in wanted if shutil.which(one, path=os.environ['PATH']) is None]
    missing += ['libbearssl-dev'] if not TLS.exists() else []
    missing += ['root'] if 'uacme' in clients and os.geteuid() != 0 else []
    return pytest.mark.skipif(bool(missing), reason=f'needs {" and ".join(missing)}')


class Pebble:
    """An ACME server on this host, which takes every name for 127.0.0.1 and asks HTTP there at
    `port`, or asks the name server `dns`. Its certificates last 20 days: whoever renews 30 days
    before the end always does."""

    def __init__(self, folder: Path, port: int, dns: str = '') -> None:
        self.folder = folder
        folder.mkdir()
        self.place, self.dns, self.answers = (f'127.0.0.1:{free_port()}' for _ in range(3))
        self.management = f'127.0.0.1:{free_port()}'
        self.directory = f'https://{self.place}/dir'
        self.own = folder / 'own.pem'  # of its own HTTPS
        subprocess.run((
            'openssl', 'req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt',
            'ec_paramgen_curve:P-256', '-keyout', str(folder / 'own.key'), '-out', str(self.own),
            '-subj', '/CN=pebble', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2',
        ), check=True, capture_output=True)  # fmt: skip
        (folder / 'pebble.json').write_text(json.dumps({'pebble': {
            'listenAddress': self.place, 'managementListenAddress': self.management,
            'certificate': str(self.own), 'privateKey': str(folder / 'own.key'),
            'httpPort': port, 'tlsPort': free_port(), 'ocspResponderURL': '',
            'certificateValidityPeriod': 20 * 86400, 'externalAccountBindingRequired': False,
        }}))  # fmt: skip
        self.running = [] if dns else [
            self._started('pebble-challtestsrv', '-dns01', self.dns, '-http01', '', '-https01', '',
                          '-tlsalpn01', '', '-management', self.answers,
                          '-defaultIPv4', '127.0.0.1', '-defaultIPv6', ''),
        ]  # fmt: skip
        self.running.append(self._started('pebble', '-config', str(folder / 'pebble.json'),
                                          '-strict', '-dnsserver', dns or self.dns))
        until(lambda: b'newNonce' in self._got(self.directory))
        self.root = folder / 'root.pem'  # of what it issues
        self.root.write_bytes(self._got(f'https://{self.management}/roots/0'))

    def _started(self, *command: str) -> subprocess.Popen[bytes]:
        quick = {'PEBBLE_VA_NOSLEEP': '1', 'PEBBLE_WFE_NONCEREJECT': '0', 'PEBBLE_AUTHZREUSE': '0'}
        with (self.folder / f'{command[0]}.log').open('wb') as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT,
                                    stdin=subprocess.DEVNULL, env={**os.environ, **quick})

    def _got(self, url: str) -> bytes:
        trusted = ssl.create_default_context(cafile=str(self.own))
        with contextlib.suppress(OSError), urllib.request.urlopen(
            url, timeout=PATIENCE, context=trusted
        ) as answer:
            return bytes(answer.read())
        return b''

    def end(self) -> None:
        for one in self.running:
            one.kill()
            one.wait()


class Operator:
    """Somebody who follows docs/tls.md on a host of their own: what belongs to /etc, /var and /srv
    lies in a folder, and the clients order from `pebble`."""

    def __init__(self, deployment: Deployment, pebble: Pebble, resolver: str = '') -> None:
        self.deployment, self.pebble = deployment, pebble
        self.host, self.https = deployment.folder / 'root', free_port()
        self.programs = deployment.folder / 'programs'
        self.programs.mkdir()
        own = (sys.executable, '-I', '-m', 'mirage_hooks')
        self._program('mirage-hooks', f'exec {" ".join(own)} "$@"')
        apart = f'--dns.resolvers {resolver} --dns.disable-cp' if resolver else ''
        self._clients(pebble.directory, apart)
        self.environment = {
            'PATH': f'{self.programs}:{os.environ["PATH"]}', 'CURL_HOME': str(self.host),
            'REQUESTS_CA_BUNDLE': str(pebble.own), 'LEGO_CA_CERTIFICATES': str(pebble.own),
        }

    def _clients(self, server: str, names: str) -> None:
        etc = self.host / 'etc'
        for folder in ('etc/dehydrated/conf.d', 'etc/ssl', 'var/lib/dehydrated/acme-challenges'):
            (self.host / folder).mkdir(parents=True)
        trusted = Path('/etc/ssl/certs/ca-certificates.crt')
        bundle = self.pebble.folder / 'trusted.pem'
        bundle.write_bytes((trusted.read_bytes() if trusted.exists() else b'')
                           + self.pebble.own.read_bytes())
        self._program('certbot', f'exec /usr/bin/certbot "$@" --server {server} --config-dir '
                      f'{etc}/letsencrypt --work-dir {self.host}/work --logs-dir {self.host}/logs')
        self._program('lego', f'exec /usr/bin/lego --server {server} {names} "$@"')
        settings = etc / 'dehydrated/config'
        self._program('dehydrated', f'exec /usr/bin/dehydrated "$@" --config {settings}')
        shipped = Path('/etc/dehydrated/config')
        if shipped.exists():
            settings.write_text(self.here(shipped.read_text()) + '\n'.join(
                ('', f'CA={server}', f'CURL_OPTS="--cacert {self.pebble.own}"', '')))
        self._program('uacme', f'export PEBBLE={server} CONFDIR={etc}/ssl/uacme\n'
                      f'exec unshare --mount sh -c \'mount --bind {bundle} {trusted} && exec '
                      '/usr/bin/uacme --acme-url "$PEBBLE" --confdir "$CONFDIR" "$@"\' sh "$@"')

    def _program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f'#!/bin/sh\n{text}\n')
        (self.programs / name).chmod(0o755)

    def here(self, text: str) -> str:
        """`text` of the page, with the places of this host."""
        for shown, own in (
            ('/srv/www-deployment', str(self.deployment.host)),
            ('acme-v02.api.letsencrypt.org', self.pebble.place.replace(':', '_')),
        ):
            text = text.replace(shown, own)
        return re.sub(r'(?<![\w/.])/(etc|var)/', rf'{self.host}/\1/', text)

    def run(self, text: str) -> str:
        """What commands of the page print, which must end well. lego would wait for up to eight
        minutes, so that not all of its users come at once."""
        text = self.here(text).replace('renew --days', 'renew --no-random-sleep --days')
        done = subprocess.run(
            ('sh', '-e', '-c', text), cwd=self.deployment.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            timeout=PATIENCE, env={**os.environ, **self.environment},
        )
        assert done.returncode == 0, f'{text}\n{done.stdout}'
        return done.stdout

    def account(self, client: str) -> None:
        """The first block of the client's section."""
        self.run(tls_page.commands(client)[0])

    def order(self, client: str) -> str:
        """The second."""
        return self.run(tls_page.commands(client)[1])

    def renew(self, client: str) -> str:
        """As the timer or the cron line does."""
        return self.run(tls_page.CERTBOT if client == 'certbot' else tls_page.cron(client))

    def thumbprint(self, client: str) -> str:
        """What the command of the page finds in this client's folder."""
        folder = {'certbot': '/etc/letsencrypt', 'lego': '/etc/lego',
                  'dehydrated': '/var/lib/dehydrated', 'uacme': '/etc/ssl/uacme'}[client]
        found = self.run(f'mirage-hooks acme thumbprint {folder} --json')
        return str(json.loads(found)[0]['thumbprint'])

    def configure(self, client: str, **keys: Any) -> None:
        """The page's mirage.yml, with the pair of the `client`'s section."""
        chain, key = (self.here(one) for one in tls_page.pair(client))
        if 'acme' not in keys:
            keys['acme'] = {'thumbprint': self.thumbprint(client)}
        self.deployment.configure(**{
            'network': {'mode': 'socket', 'port': self.deployment.port, 'ipv4': '127.0.0.1/8'},
            'arguments': [f'--https-port={self.https}', '--redirect=true'], 'drain': '3s',
            'certificate': {'chain': chain, 'key': key},
            'health': {'http': f'https://127.0.0.1:{self.https}/', 'host': NAME}, **keys,
        })

    def visitor(self) -> secure.Visitor:
        return secure.Visitor(self.https, self.pebble.root)


class Knot:
    """A name server for example.org, whose configuration is the page's."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, f'127.0.0.1:{free_port()}'
        self.secret = base64.b64encode(os.urandom(32)).decode()

    def __enter__(self) -> Knot:
        self.folder.mkdir()
        (self.folder / 'example.org.zone').write_text(
            '@ 60 SOA ns hostmaster 1 60 60 600 60\n@ 60 NS ns\nns 60 A 127.0.0.1\n')
        (self.folder / 'knot.conf').write_text(
            f'server:\n  listen: {self.place.replace(":", "@")}\n  rundir: {self.folder}\n'
            f'database:\n  storage: {self.folder}\n'
            f'template:\n  - id: default\n    storage: {self.folder}\n'
            + tls_page.by_dns()[0].replace('secret: …', f'secret: {self.secret}'))
        with (self.folder / 'log').open('wb') as log:
            self.server = subprocess.Popen(
                ('knotd', '-c', str(self.folder / 'knot.conf')), stdout=log, stderr=log)
        until(lambda: 'TCP' in (self.folder / 'log').read_text() or self.server.poll() is not None)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.terminate()
        self.server.wait()
