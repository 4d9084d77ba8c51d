"""Who called us, and what of the caller's environment we do without."""

from __future__ import annotations

import os

from . import ownership

# `git rev-parse --local-env-vars`, and the quarantine's: what git exports to a hook about the
# repository it works on. GIT_DIR=. and its like would redirect every later git call.
LOCAL = (
    'GIT_ALTERNATE_OBJECT_DIRECTORIES', 'GIT_CONFIG', 'GIT_CONFIG_PARAMETERS', 'GIT_CONFIG_COUNT',
    'GIT_OBJECT_DIRECTORY', 'GIT_DIR', 'GIT_WORK_TREE', 'GIT_IMPLICIT_WORK_TREE',
    'GIT_GRAFT_FILE', 'GIT_INDEX_FILE', 'GIT_NO_REPLACE_OBJECTS', 'GIT_REPLACE_REF_BASE',
    'GIT_PREFIX', 'GIT_SHALLOW_FILE', 'GIT_COMMON_DIR', 'GIT_INTERNAL_SUPER_PREFIX',
    'GIT_QUARANTINE_PATH',
)
QUARANTINE = (
    'GIT_QUARANTINE_PATH', 'GIT_OBJECT_DIRECTORY', 'GIT_ALTERNATE_OBJECT_DIRECTORIES'
)
PULLING = 'MIRAGE_HOOKS_PULLING'
"""Environment variable that tells our hooks that `mirage-hooks pull` converges after the merge: git
gives it their output only at its end, and cron's mail needs it."""


def person() -> str:
    """Who asked for this: whom sudo runs it for, else the user; cron sets no USER, and some sshd's
    neither."""
    named = (os.environ.get(one) for one in ('SUDO_USER', 'USER', 'LOGNAME'))
    return next(filter(None, named), '') or ownership.user(os.getuid())


def forget(quarantined: bool = False) -> None:
    """Drop what git exported about the repository it was called in; a `quarantined` caller goes on
    seeing the objects of a push that is not accepted yet."""
    for variable in LOCAL:
        if not (quarantined and variable in QUARANTINE):
            os.environ.pop(variable, None)
    # Objects are what they are named, whatever refs/replace/… a push brought.
    os.environ['GIT_NO_REPLACE_OBJECTS'] = '1'


def close_to_others() -> None:
    """Let nothing that we make be written by everybody, whatever umask the caller has."""
    os.umask(os.umask(0o077) | 0o002)
