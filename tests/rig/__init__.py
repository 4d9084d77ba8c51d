"""A Xen host in a box: real Xen and a Debian dom0 inside QEMU, where no fake would do."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import msgspec

from . import build

SHARE = Path('/share')  # where dom0 sees the folder that a run is given
LOGS = '.rig'  # below that folder: output, console, xl-dmesg, guests/guest-NAME.log
DOM0_MEMORY = 512  # MB

XEN = (
    f'xen console=com1 com1=115200,8n1 dom0_mem={DOM0_MEMORY}M,max:{DOM0_MEMORY}M dom0_max_vcpus=1 '
    'no-watchdog spec-ctrl=no,eager-fpu xsave=no xpti=no'
)
LINUX = (
    'console=hvc0 loglevel=4 nokaslr mitigations=off audit=0 apparmor=0 net.ifnames=0 '
    'cryptomgr.notests'
)
OWN_INIT = 'init=/usr/local/sbin/init'
SYSTEMD = 'init=/lib/systemd/systemd systemd.show_status=0'


class Result(msgspec.Struct, frozen=True):
    """What a script in dom0 left: its exit code, and its standard output and error as they came."""

    code: int
    output: str


class RigError(Exception):
    """No exit code came back: dom0 did not come up, hung, or went down before the script ended."""


class Rig(msgspec.Struct, frozen=True):
    """A machine with Xen, off between runs. `memory` is the whole machine's, in MB."""

    files: Path
    memory: int = 1024

    @classmethod
    def ready(cls) -> Rig:
        """The rig of this recipe; the first call builds it, see build.ready."""
        return cls(build.ready())

    def run(
        self,
        folder: Path,
        script: str,
        *arguments: str,
        systemd: bool = False,
        disk: Path | None = None,
        timeout: float = 1200,
    ) -> Result:
        """Boots, runs `script` as root in dom0, powers off.

        `folder` is the script's working directory, and seen at SHARE; a script without `#!` is
        bash's. Every run starts from the same clean disk, unless `disk` names a file: it is made
        when absent, and carried on with when there. `timeout` in seconds, boot included.
        Raises RigError when no exit code comes back.
        """
        logs = _prepare(folder, script, arguments)
        command = self._qemu(folder, systemd, disk, f'file:{logs}/console')
        try:
            # setpriv: a killed test must not leave a machine running
            ended = subprocess.run(
                ('setpriv', '--pdeathsig=KILL', *command),
                cwd=self.files,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise RigError(f'the rig was stopped after {timeout:g} s; {_tails(logs)}') from None
        if not (logs / 'code').exists():
            raise RigError(f'no exit code came back; QEMU: {ended.stderr.strip()}; {_tails(logs)}')
        return Result(int((logs / 'code').read_text()), _text(logs / 'output'))

    def shell(self, folder: Path, systemd: bool = False, disk: Path | None = None) -> None:
        """A root shell of dom0 on this terminal; `exit` there, or Ctrl-a x here, powers off."""
        logs = _prepare(folder, '', ())
        (logs / 'run').write_text('exec setsid --ctty --wait bash -i </dev/hvc0 >/dev/hvc0 2>&1\n')
        subprocess.run(self._qemu(folder, systemd, disk, 'mon:stdio'), cwd=self.files, check=True)

    def _qemu(self, folder: Path, systemd: bool, disk: Path | None, serial: str) -> tuple[str, ...]:
        """The machine's command, to be run in `files`: QEMU takes no spaces in -initrd's paths."""
        if disk and not disk.exists():
            _overlay(self.files / 'root.ext4', disk)
        drive = f'{_plain(disk)},format=qcow2' if disk else 'root.ext4,format=raw,snapshot=on'
        return (
            'qemu-system-x86_64',
            *('-machine', 'pc,usb=off,vmport=off', '-accel', 'tcg,thread=multi'),
            *('-cpu', 'max,-smap', '-smp', '2', '-m', str(self.memory)),
            *('-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'),
            *('-serial', serial),
            *('-kernel', 'xen', '-append', XEN),
            *('-initrd', f'vmlinux {LINUX} {SYSTEMD if systemd else OWN_INIT},initrd'),
            *('-drive', f'if=virtio,file={drive}'),
            '-virtfs',
            f'local,path={_plain(folder)},mount_tag=share,security_model=none,multidevs=remap',
        )


def _prepare(folder: Path, script: str, arguments: tuple[str, ...]) -> Path:
    logs = folder.absolute() / LOGS
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    (logs / 'script').write_text(script if script.startswith('#!') else f'#!/bin/bash\n{script}')
    (logs / 'script').chmod(0o755)
    command = shlex.join((f'{LOGS}/script', *arguments))
    (logs / 'run').write_text(f'{command} </dev/null >{LOGS}/output 2>&1\n')
    return logs


def _overlay(base: Path, disk: Path) -> None:
    qemu_img = ('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', str(base), str(disk))
    subprocess.run(qemu_img, check=True)


def _plain(path: Path) -> str:
    """`path` as a value in one of QEMU's option lists, where a comma is written twice."""
    return str(path.absolute()).replace(',', ',,')


def _tails(logs: Path) -> str:
    """The last lines of what the script said and of the console, for a failure's message."""
    ends = {name: _text(logs / name).splitlines()[-15:] for name in ('output', 'console')}
    return '\n'.join(f'{name}:\n  ' + '\n  '.join(lines) for name, lines in ends.items())


def _text(path: Path) -> str:
    return path.read_text(errors='replace') if path.exists() else ''
