"""The repository that we are called in, the site's: what git says there, through GitPython."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import git
import git.exc

# The settings that say who commits and how it is signed.
PERSONAL = r'^(user|author|committer|gpg|commit)\.'


def source(variables: Mapping[str, str]) -> str:
    """The commit that is being built here: what the CI says, else HEAD; '' outside of git."""
    for name in ('TRAVIS_COMMIT', 'GITHUB_SHA', 'CI_COMMIT_SHA'):
        if variables.get(name):
            return variables[name]
    return told(Path(), 'rev-parse', '--verify', 'HEAD')


def told(folder: Path, *arguments: str) -> str:
    """What git says in `folder`, or above it when it is not there yet; '' when it says no."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    try:
        return str(git.cmd.Git(str(there)).execute(['git', *arguments]))
    except git.exc.GitCommandError:
        return ''


def personal() -> list[str]:
    """As `-c` options what this repository's own configuration says about who commits."""
    try:
        listed = str(git.cmd.Git().execute(
            ['git', 'config', '--local', '-z', '--get-regexp', PERSONAL]
        ))
    except git.exc.GitCommandError:
        return []
    pairs = (entry.partition('\n') for entry in listed.split('\0') if entry)
    return [word for key, _, value in pairs for word in ('-c', f'{key}={value}')]
