"""git's plumbing in the clone of a deployment repository, run through GitPython."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import git
import git.exc

from ..git import watched
from ..messages import errors, progress
from ..messages.report import masked
from . import replies


class Plumbing:
    """Runs git in the git directory `folder`; `shown` names the other side, without secrets."""

    def __init__(self, url: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.shown = masked(url)
        self.environment = {**environment, 'GIT_DIR': str(folder)}

    def run(
        self, command: list[str], given: bytes | IO[bytes] = b'',
        environment: Mapping[str, str] | None = None, doing: str = '',
    ) -> str:
        """What `command` prints, given `given` to read; raises GitPython's own error. With
        `doing` it is shown so while it runs."""
        with contextlib.ExitStack() as stack:
            if isinstance(given, bytes):
                content = given
                given = stack.enter_context(tempfile.TemporaryFile())
                given.write(content)
                given.seek(0)
            stream: Any = given  # GitPython's types know it as a BinaryIO only
            if doing:
                status, out, err = self.watched(command, doing, stream)
                if status:
                    raise git.exc.GitCommandError(command, status, err, out)
                return out.removesuffix('\n')
            return str(git.cmd.Git().execute(
                command, istream=stream, env={**self.environment, **(environment or {})}
            ))

    def told(
        self, command: list[str], given: bytes | IO[bytes] = b'',
        environment: Mapping[str, str] | None = None, doing: str = '',
    ) -> str:
        """As `run`, but raises Unavailable, for a person."""
        try:
            return self.run(command, given, environment, doing)
        except git.exc.GitCommandError as error:
            raise self.unavailable(error) from None

    def watched(
        self, command: list[str], doing: str, given: IO[bytes] | None = None
    ) -> tuple[int, str, str]:
        """The exit code of `command`, what it prints and what it says, shown while it runs: its own
        words, or how much of `given` it has read."""
        running: Any = git.cmd.Git().execute(
            command, istream=given, env=self.environment, as_process=True  # type: ignore[arg-type]
        )
        with progress.doing(doing) as work:
            out, err = watched.read(running, _telling(work, given))
        return running.proc.wait(), os.fsdecode(out), os.fsdecode(err)

    def unavailable(self, error: git.exc.GitCommandError) -> errors.Unavailable:
        return errors.Unavailable(
            f'{self.shown}: {masked(replies.why(said(error)))}',
            hint=replies.hint(said(error)),
        )


def _telling(work: progress.Work, given: IO[bytes] | None) -> watched.Tell:
    size = os.fstat(given.fileno()).st_size if given is not None else 0
    if given is None or not size:
        return work.now
    # git reads from where we are, too: the two share their place in the file.
    return lambda _: work.bytes(os.lseek(given.fileno(), 0, os.SEEK_CUR), size)


def said(error: git.exc.GitCommandError) -> str:
    """What git itself said."""
    return str(error.stderr).strip().removeprefix("stderr: '").removesuffix("'").strip()
