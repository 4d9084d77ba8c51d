"""python -m tests.rig build | run FOLDER SCRIPT [ARGUMENT…] | shell [FOLDER]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mirage_hooks.messages.errors import Refused

from . import SHARE, Rig, RigError


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m tests.rig', description='A Xen host in a box.')
    acts = parser.add_subparsers(dest='act', required=True)
    acts.add_parser('build', help='build the rig, if this recipe is not built yet')
    run = acts.add_parser('run', help='run a script in dom0')
    shell = acts.add_parser('shell', help='a root shell in dom0, on this terminal')
    for act in (run, shell):
        act.add_argument('--systemd', action='store_true', help='boot dom0 with systemd')
        act.add_argument('--disk', type=Path, help='a disk to keep between boots')
        act.add_argument('folder', type=Path, help=f'what dom0 sees at {SHARE}')
    run.add_argument('--timeout', type=float, default=1200, help='in seconds (default 1200)')
    run.add_argument('script', type=Path)
    run.add_argument('arguments', nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    rig = Rig.ready()
    if asked.act == 'shell':
        rig.shell(asked.folder, asked.systemd, asked.disk)
    if asked.act == 'run':
        return _run(rig, asked)
    return 0


def _run(rig: Rig, asked: argparse.Namespace) -> int:
    result = rig.run(
        asked.folder,
        asked.script.read_text(),
        *asked.arguments,
        systemd=asked.systemd,
        disk=asked.disk,
        timeout=asked.timeout,
    )
    sys.stdout.write(result.output)
    return result.code


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (Refused, RigError) as reason:
        sys.exit(f'rig: {reason}')
