"""The steps of the rig's build: Debian's packages, and what becomes of them."""

from __future__ import annotations

import gzip
import lzma
import shlex
import shutil
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

from mirage_hooks.messages.errors import Refused

DOM0 = Path(__file__).parent / 'dom0'
SOURCES = (Path('/etc/apt/sources.list.d/debian.sources'), Path('/etc/apt/sources.list'))
UNREAD = ('/usr/share/man/*', '/usr/share/doc/*', '/usr/share/locale/*', '/usr/lib/udev/hwdb.d/*')
DISK_SIZE = '2G'  # sparse: dom0 fills about 390 MB of it

# In the order of loading. ext4 asks for crc32c by its alias, which modules.dep does not list.
DISK_MODULES = ('virtio_pci', 'virtio_blk', 'crc32c_generic', 'ext4')


def debian(tree: Path, variant: str, packages: Iterable[str]) -> Path:
    """Packages with their dependencies in `tree`: installed, or only unpacked by `extract`."""
    sources = next((path for path in SOURCES if path.exists()), SOURCES[0])
    # Namespaces of its own, so that a build killed anywhere leaves no process and no mount.
    _act(
        *('setpriv', '--pdeathsig=KILL'),
        *('unshare', '--mount', '--pid', '--mount-proc', '--fork', '--kill-child'),
        'mmdebstrap',
        '--mode=root',
        f'--variant={variant}',
        '--components=main',
        '--aptopt=APT::Install-Recommends "false"',
        *(f'--dpkgopt=path-exclude={path}' for path in UNREAD),
        f'--include={",".join(packages)}',
        *('bookworm', str(tree), str(sources)),
    )
    return tree


def kernel(boot: Path, files: Path) -> None:
    """Both as plain ELF: under emulation Xen would spend about eight seconds on un-xz-ing."""
    (hypervisor,) = (boot / 'boot').glob('xen-*.gz')
    (files / 'xen').write_bytes(gzip.decompress(hypervisor.read_bytes()))
    (kernel,) = (boot / 'boot').glob('vmlinuz-*')
    (files / 'vmlinux').write_bytes(vmlinux(kernel.read_bytes()))


def vmlinux(bz_image: bytes) -> bytes:
    """The ELF file inside a bzImage, found by its header (Linux' Documentation/x86/boot.rst)."""
    offset, length = struct.unpack_from('<II', bz_image, 0x248)  # payload_offset, payload_length
    start = (bz_image[0x1F1] + 1) * 512 + offset  # 0x1f1: setup_sects
    return lzma.LZMADecompressor().decompress(bz_image[start : start + length])


def initrd(boot: Path, initrd: Path) -> None:
    tree = boot / 'initrd'
    for name in ('bin', 'dev', 'proc', 'root', 'modules'):
        (tree / name).mkdir(parents=True)
    shutil.copy(boot / 'bin/busybox', tree / 'bin/busybox')
    shutil.copy(DOM0 / 'initrd', tree / 'init')
    for number, module in enumerate(_with_dependencies(boot, DISK_MODULES)):
        shutil.copy(module, tree / 'modules' / f'{number:02}-{module.name}')
    pack = 'cd /initrd && busybox find . | busybox cpio -o -H newc > /initrd.cpio'
    _act('chroot', str(boot), 'busybox', 'sh', '-c', pack)
    (boot / 'initrd.cpio').replace(initrd)


def modules(boot: Path, root: Path) -> None:
    """Only what the rig uses: all of the kernel's modules would be 400 MB."""
    version = _version(boot)
    lists = (boot / 'lib/modules' / version).glob('modules.[bo]*')  # depmod reads these
    for path in [*_with_dependencies(boot, (*DISK_MODULES, *words('modules'))), *lists]:
        target = root / path.relative_to(boot)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    _act('chroot', str(root), 'depmod', version)


def _version(boot: Path) -> str:
    (version,) = (path.name for path in (boot / 'lib/modules').iterdir())
    return version


def _with_dependencies(boot: Path, names: Iterable[str]) -> list[Path]:
    """The named modules' files, each after those it needs."""
    version = _version(boot)
    modules = boot / 'lib/modules' / version
    if not (modules / 'modules.dep').exists():
        _act('chroot', str(boot), 'depmod', version)
    needs = {}
    for line in (modules / 'modules.dep').read_text().splitlines():
        module, _, others = line.partition(':')
        needs[Path(module).stem.replace('-', '_')] = [*reversed(others.split()), module]
    ordered = dict.fromkeys(path for name in names for path in needs[name.replace('-', '_')])
    return [modules / path for path in ordered]


def furnish(root: Path) -> None:
    for name in ('init', 'session', 'cut-power'):
        shutil.copy(DOM0 / name, root / 'usr/local/sbin' / name)
    (root / 'share').mkdir()
    (root / 'etc/hostname').write_text('dom0\n')
    (root / 'etc/hosts').write_text('127.0.0.1 localhost dom0\n')
    (root / 'etc/resolv.conf').write_text('')
    (root / 'var/log/xen/console').mkdir()  # xenconsoled's own default, which it does not make
    (root / 'etc/default/xen').write_text('XENCONSOLED_ARGS=--log=all\n')
    units = root / 'etc/systemd/system'
    shutil.copy(DOM0 / 'session.service', units)
    (units / 'multi-user.target.wants/session.service').symlink_to('../session.service')
    for unit in words('masked'):  # they only cost time in a machine that lives for a minute
        (units / unit).symlink_to('/dev/null')


def disk(root: Path, disk: Path) -> None:
    # Initialised here, for otherwise dom0's kernel would do it during every run.
    options = '-Elazy_itable_init=0,lazy_journal_init=0,root_owner=0:0'
    _act('mke2fs', '-q', '-t', 'ext4', '-m', '0', options, '-d', str(root), str(disk), DISK_SIZE)


def words(name: str) -> list[str]:
    return (DOM0 / name).read_text().split()


def _act(*command: str) -> None:
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ended.returncode != 0:
        tail = '\n'.join(ended.stdout.splitlines()[-20:])
        raise Refused(f'{shlex.join(command)} ended with {ended.returncode}:\n{tail}')
