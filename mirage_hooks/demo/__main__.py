"""The demo: a hub, a site that publishes and a host that deploys, in one folder that is removed."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from ..git import timeout
from ..messages import errors, report
from . import stage


def main(arguments: list[str] | None = None) -> int:
    """Show it all below `folder`, which is ours to remove; 0 when every step was as promised."""
    parser = argparse.ArgumentParser(prog='install.sh --demo')
    parser.add_argument('folder', type=Path)
    parser.add_argument('--keep', action='store_true')
    parser.add_argument('--image', type=Path)
    given = parser.parse_args(arguments)
    timeout.heed_dropped_signals()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    demo = stage.Stage(given.folder.resolve(), given.image)
    kept = False
    try:
        demo.play()
        kept = bool(given.keep)
    except errors.Refused as refused:
        report.Reporter().refused(refused.reason, refused.hint)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # cleaning up is not interrupted
        demo.farewell() if kept else demo.strike()
    return 0


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == '__main__':
    sys.exit(main())
