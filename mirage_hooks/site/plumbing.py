"""git's plumbing in the clone of a deployment repository, run through GitPython."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import git
import git.exc

from ..messages import errors
from ..messages.report import masked
from . import replies


class Plumbing:
    """Runs git in the git directory `folder`; `shown` names the other side, without secrets."""

    def __init__(self, url: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.shown = masked(url)
        self.environment = {**environment, 'GIT_DIR': str(folder)}

    def run(
        self, command: list[str], given: bytes | IO[bytes] = b'',
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """What `command` prints, given `given` to read; raises GitPython's own error."""
        with contextlib.ExitStack() as stack:
            if isinstance(given, bytes):
                content = given
                given = stack.enter_context(tempfile.TemporaryFile())
                given.write(content)
                given.seek(0)
            stream: Any = given  # GitPython's types know it as a BinaryIO only
            return str(git.cmd.Git().execute(
                command, istream=stream, env={**self.environment, **(environment or {})}
            ))

    def told(
        self, command: list[str], given: bytes | IO[bytes] = b'',
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """As `run`, but raises Unavailable, for a person."""
        try:
            return self.run(command, given, environment)
        except git.exc.GitCommandError as error:
            raise self.unavailable(error) from None

    def unavailable(self, error: git.exc.GitCommandError) -> errors.Unavailable:
        return errors.Unavailable(
            f'{self.shown}: {masked(replies.why(said(error)))}',
            hint=replies.hint(said(error)),
        )


def said(error: git.exc.GitCommandError) -> str:
    """What git itself said."""
    return str(error.stderr).strip().removeprefix("stderr: '").removesuffix("'").strip()
