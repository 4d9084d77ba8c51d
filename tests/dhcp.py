"""DHCP servers for the tests, as Debian has them, each with one address to give."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import time
from pathlib import Path

from mirage_hooks.host import programs

ADDRESS, OTHER = '10.9.0.50', '10.9.0.60'


class Server:
    """Runs `inside` a namespace, at `interface`; leases `address` for so many `seconds`."""

    program = ''

    def __init__(
        self, inside: tuple[str, ...], interface: str, folder: Path, router: str = '',
        address: str = ADDRESS, seconds: int = 120, reserved: str = '',
    ) -> None:
        """`reserved` is the hardware address that alone gets it."""
        self.folder, self.log = folder, folder / f'{self.program}.log'
        environment = {**os.environ, 'PATH': programs.PATH, 'KEA_PIDFILE_DIR': str(folder),
                       'KEA_LOCKFILE_DIR': str(folder)}
        self.process = subprocess.Popen(
            (*inside, *self.command(interface, router, address, seconds, reserved)),
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def command(
        self, interface: str, router: str, address: str, seconds: int, reserved: str
    ) -> tuple[str, ...]:
        raise NotImplementedError

    def until(self) -> float:
        """When the last lease ends (seconds since 1970), 0 without one."""
        raise NotImplementedError

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


class Dnsmasq(Server):
    """Leases for two minutes at least."""

    program = 'dnsmasq'

    def command(
        self, interface: str, router: str, address: str, seconds: int, reserved: str
    ) -> tuple[str, ...]:
        host = (f'--dhcp-host={reserved},{address}',) if reserved else ()
        return (
            'dnsmasq', '--no-daemon', '--conf-file=/dev/null', '--port=0', '--bind-interfaces',
            f'--interface={interface}', f'--dhcp-leasefile={self.folder}/leases', '--no-ping',
            f'--dhcp-range={address},{"static" if reserved else address},255.255.255.0,{seconds}',
            f'--dhcp-option=3{"," if router else ""}{router}', '--dhcp-authoritative',
            '--user=root', '--pid-file=', f'--log-facility={self.log}', *host,
        )

    def until(self) -> float:
        path = self.folder / 'leases'
        lines = path.read_text().splitlines() if path.exists() else []
        return max((float(line.split()[0]) for line in lines), default=0)


class Kea(Server):
    """Leases for as short a time as one likes."""

    program = 'kea-dhcp4'

    def command(
        self, interface: str, router: str, address: str, seconds: int, reserved: str
    ) -> tuple[str, ...]:
        subnet = {
            'subnet': '10.9.0.0/24',
            'pools': [] if reserved else [{'pool': f'{address}-{address}'}],
            'option-data': [{'name': 'routers', 'data': router}] if router else [],
            'reservations': [{'hw-address': reserved, 'ip-address': address}] if reserved else [],
        }
        told = {'Dhcp4': {
            'interfaces-config': {'interfaces': [interface]}, 'subnet4': [subnet],
            'lease-database': {'type': 'memfile', 'name': f'{self.folder}/kea.csv',
                               'lfc-interval': 0},
            'valid-lifetime': seconds, 'authoritative': True,
            'loggers': [{'name': 'kea-dhcp4', 'severity': 'INFO', 'output_options': [
                {'output': str(self.log), 'flush': True}]}],
        }}
        file = self.folder / 'kea.json'
        file.write_text(json.dumps(told))
        return ('kea-dhcp4', '-c', str(file))

    def until(self) -> float:
        path = self.folder / 'kea.csv'
        with path.open() as rows:
            ends = [float(row['expire']) for row in csv.DictReader(rows)]
        return max(ends, default=0)


SERVERS = {'dnsmasq': Dnsmasq, 'kea': Kea}


def missing(*names: str) -> str:
    """The programs of these servers that are not here."""
    lacking = [SERVERS[one].program for one in names or SERVERS
               if not programs.find(SERVERS[one].program)]
    return f'missing: {", ".join(lacking)}' if lacking else ''


def lasts(server: Server) -> float:
    """For how many seconds the lease is still good."""
    return server.until() - time.time()
