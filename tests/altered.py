"""Runs `mirage-hooks` in another world: python -I altered.py CLOCK PATIENCE ARGS.

CLOCK is what the wall clock is off by, PATIENCE how long git may take, both in seconds."""

from __future__ import annotations

import sys
import time

from mirage_hooks import cli, discovery, objects, settled

shift, patience = float(sys.argv[1]), float(sys.argv[2])
now = time.time
time.time = lambda: now() + shift
discovery.PATIENCE = objects.PATIENCE = settled.PATIENCE = patience
sys.exit(cli.main(sys.argv[3:]))
