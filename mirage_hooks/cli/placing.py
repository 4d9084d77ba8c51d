"""What Pacemaker calls, and what tells it of a unikernel."""

from __future__ import annotations

import argparse


def do_ocf(given: argparse.Namespace) -> int:
    from . import ocf

    return ocf.act(given.action)
