"""Runs `mirage-hooks` and kills it at step N, or interrupts it:
python -I killed.py SIGKILL|SIGINT N before|after ARGS.

A step is a command run, a process started or ended, a port steered, or a write of the state: all
that a deployment does to the host goes through these doors. Says that it came to step N, and how
many steps there were when it gets through."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from mirage_hooks import image
from mirage_hooks.cli.main import main
from mirage_hooks.host import listeners, processes, programs
from mirage_hooks.state import files, journal
from mirage_hooks.state.releases import Releases

DOORS: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (programs, ('run',)),
    (processes, ('spawn', 'end')),
    (listeners, ('steer', 'close')),
    (files, ('write',)),
    (Releases, ('begin', 'point', 'unpoint', 'fail', 'discard')),
    (image, ('take',)),
    (journal, ('append',)),
)


def killed() -> int:
    number, wanted, when = signal.Signals[sys.argv[1]], int(sys.argv[2]), sys.argv[3]
    steps, own = 0, os.getpid()

    def end() -> None:
        print('at the step', flush=True)
        os.kill(own, number)

    def counted(act: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(act)
        def acted(*arguments: Any, **named: Any) -> Any:
            nonlocal steps
            steps += 1
            mine = steps == wanted and os.getpid() == own
            if mine and when == 'before':
                end()
            done = act(*arguments, **named)
            if mine and when == 'after':
                end()
            return done

        return acted

    for place, names in DOORS:
        for name in names:
            setattr(place, name, counted(getattr(place, name)))
    code = main(sys.argv[4:])
    print(f'steps: {steps}')
    return code


sys.exit(killed())
