"""What helps at the keyboard: completion for three shells, and the manual page, where they look for
it without being told. Only for what install.sh put in: a package brings its own."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from ..messages import errors
from ..state import files
from . import installation

COMPLETIONS = {
    'bash': 'bash-completion/completions/mirage-hooks',
    'zsh': 'zsh/site-functions/_mirage-hooks',
    'fish': 'fish/vendor_completions.d/mirage-hooks.fish',
}
MANUAL = 'man/man1/mirage-hooks.1'


def completion(shell: str) -> str:
    """What `shell` (a key of COMPLETIONS) reads to complete `mirage-hooks`."""
    from argcomplete import shell_integration

    text: str = shell_integration.shellcode(['mirage-hooks'], shell=shell)
    return text


def put(undo: contextlib.ExitStack) -> list[str]:
    """Put them there; what was done, for a person. Where they cannot be, that is no reason to stop
    an installation."""
    if not installation.ours():
        return []
    try:
        changed = _put(undo)
    except errors.Unavailable as refused:
        return [f'no completion and no manual page: {refused.reason}']
    return [f'completion for bash, zsh and fish, and a manual page: in {_share()}'] * changed


def _put(undo: contextlib.ExitStack) -> bool:
    """Whether there was something to put."""
    texts = {place: completion(shell) for shell, place in COMPLETIONS.items()}
    texts[MANUAL] = Path(sys.prefix, 'share', MANUAL).read_text()
    changed = False
    for place, text in texts.items():
        path = _share() / place
        with files.writing(path):
            if path.exists() and path.read_text(errors='replace') == text:
                continue
            if not path.exists():
                undo.callback(_remove, path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            changed = True
    return changed


def take() -> None:
    """Remove them, when no repository uses this installation any more."""
    if installation.ours() and not installation.used():
        for place in (*COMPLETIONS.values(), MANUAL):
            with files.writing(_share() / place):
                _remove(_share() / place)


def _share() -> Path:
    if os.geteuid() == 0:
        return Path('/usr/local/share')
    return Path(os.environ.get('XDG_DATA_HOME') or Path.home() / '.local/share')


def _remove(path: Path) -> None:
    """The file, and the folders that it leaves empty."""
    path.unlink(missing_ok=True)
    for folder in path.parents:
        if folder == _share():
            return
        try:
            folder.rmdir()
        except OSError:  # somebody else's are in it, or it is not there
            return
