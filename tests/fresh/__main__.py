"""python -m tests.fresh [-u] COMMAND…: run COMMAND in the project's source on a fresh machine, as
root or, with -u, as an ordinary user. Its exit code is the command's."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from mirage_hooks.messages.errors import Refused

from . import USER, lacking, machine


def main(arguments: list[str]) -> int:
    user = USER if arguments[:1] == ['-u'] else 'root'
    command = arguments[user == USER :]
    if not command:
        sys.exit(__doc__)
    if absent := lacking():
        sys.exit(absent)
    with tempfile.TemporaryDirectory(prefix='fresh-') as top, machine(Path(top, 'root')) as made:
        done = made.run(*command, user=user, timeout=4 * 3600)
    sys.stdout.write(done.stdout)
    return done.returncode


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except Refused as reason:
        sys.exit(f'fresh: {reason}')
