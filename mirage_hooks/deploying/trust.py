"""Whose commits may be deployed. Only files of this host decide, which mirage.yml names: never a
date, a ref or a file that came with a push, nor git's or gpg's own configuration."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from .. import config
from ..git import commitform
from ..git.repository import Repository
from ..host import programs
from ..messages import errors
from ..state import files

# git passes the commit's own date, which whoever has an expired key can choose; without it
# ssh-keygen looks at the clock.
_SSH = """#!/bin/sh
for word do
    shift
    case $word in -Overify-time=*) ;; *) set -- "$@" "$word" ;; esac
done
exec {program} "$@"
"""
# No gpg.conf that fetches unknown keys; no web of trust: the folder itself says who may.
_GPG = """#!/bin/sh
exec {program} --homedir {keyring} --no-options --batch --disable-dirmngr \
--no-auto-key-retrieve --no-auto-check-trustdb --trust-model always "$@"
"""
_NONE = '/bin/false'  # the program for a kind of signature that is not trusted here

_BY_KNOWN = re.compile(r'^Good "git" signature for (.+) with (\S+) key (\S+)$', re.M)
_BY_OTHER = re.compile(r'^Good "git" signature with (\S+) key (\S+)$', re.M)
_TOO_LATE = re.compile(r'key has expired: verify time \S+ > valid-before (\S+)')
_TOO_EARLY = re.compile(r'key is not yet valid: verify time \S+ < valid-after (\S+)')


def verify(
    repository: Repository, wanted: config.Trust, floor: str, commit: str, folder: Path
) -> int:
    """How many commits were found signed by known keys: every one that came after `floor`, the
    commit last deployed, up to `commit`; without a floor only `commit`, which vouches for its tree.
    Raises Refused for the first one that is not. `folder` is for two small programs of ours."""
    settings = _settings(repository, wanted, folder)
    if commit == floor:
        return 0
    if floor and not repository.descends(commit, floor):
        raise errors.Refused(
            f'history was rewound: commit {commit[:12]} does not contain commit {floor[:12]}, '
            'which is deployed',
            hint='push a commit that does; or, if that was meant, on this host: '
            f'mirage-hooks -C {shlex.quote(str(repository.folder))} trust --forget',
        )
    coming = repository.between(floor, commit) if floor else [commit]
    for one in coming:
        accepted, said = repository.verify(one, settings)
        if not accepted or not _signer(said):
            raise _refusal(repository, wanted, one, settings, said)
        _require_form(repository, one)
    return len(coming)


def _require_form(repository: Repository, commit: str) -> None:
    """Raise Refused when git may follow other parents than those that were signed."""
    try:
        written = commitform.links(repository.raw(commit))
        if written == repository.links(commit):
            return
        reason = 'git follows other parents than it names'
    except commitform.Strange as strange:
        reason = str(strange)
    raise errors.Refused(
        f'commit {commit[:12]} by {repository.author(commit)} is signed, but not in the form in '
        f'which git writes commits: {reason}',
        hint='it may hide a parent that nobody signed; make it anew with git, and push again',
    )


def _signer(said: str) -> str:
    """The known key's owner in the raw words of ssh-keygen or gpg; '' when there is none."""
    known = _BY_KNOWN.search(said)
    status = _status(said)
    if known:
        return known[1]
    return status['GOODSIG'] if 'GOODSIG' in status and 'VALIDSIG' in status else ''


def _settings(repository: Repository, wanted: config.Trust, folder: Path) -> tuple[str, ...]:
    """What git is told in place of any configuration of its own. Raises Refused when a file or a
    program is missing: nothing is deployed then."""
    ssh = gpg = _NONE
    files = []
    if wanted.signers is not None:
        _readable(repository, 'signers', wanted.signers)
        files.append(f'gpg.ssh.allowedSignersFile={wanted.signers}')
        ssh = str(_program(folder / 'ssh-keygen', _SSH, 'openssh-client'))
    if wanted.revoked is not None:
        _readable(repository, 'revoked', wanted.revoked)  # git only warns when it is not there
    files.append(f'gpg.ssh.revocationFile={wanted.revoked or os.devnull}')
    if wanted.keyring is not None:
        _readable(repository, 'keyring', wanted.keyring)
        keyring = shlex.quote(wanted.keyring)
        gpg = str(_program(folder / 'gpg', _GPG, 'gnupg', keyring=keyring))
    return (
        *files, f'gpg.ssh.program={ssh}', f'gpg.program={gpg}', f'gpg.openpgp.program={gpg}',
        f'gpg.x509.program={_NONE}', 'gpg.minTrustLevel=undefined',
    )


def _readable(repository: Repository, key: str, name: str) -> None:
    path = Path(name).resolve()
    inside = path.is_relative_to(repository.folder) and not path.is_relative_to(repository.git_dir)
    if inside:
        raise errors.Refused(
            f'trust.{key}: {name} is inside the repository, where a push could change it',
            hint='move it out, and fix mirage.yml',
        )
    try:
        list(path.iterdir()) if key == 'keyring' else path.open('rb').close()
    except OSError as error:
        raise errors.Refused(
            f'cannot read {name}: {error.strerror}, so no commit can be trusted',
            hint=f'make it, or fix `trust: {{{key}: …}}` in mirage.yml',
        ) from None


def _program(path: Path, text: str, package: str, **words: str) -> Path:
    """The small program at `path` that git is to run in place of the one of the same name."""
    real = programs.find(path.name)
    if real is None:
        raise errors.Refused(
            f'{path.name} is not installed, so no commit can be trusted',
            hint=f'apt install {package}',
        )
    content = text.format(program=shlex.quote(real), **words)
    with files.writing(path):
        if not path.exists() or path.read_text() != content or not os.access(path, os.X_OK):
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f'{path.name}.new')
            fresh.write_text(content)
            fresh.chmod(0o755)
            fresh.replace(path)
    return path


def _refusal(
    repository: Repository, wanted: config.Trust, commit: str, settings: tuple[str, ...], said: str
) -> errors.Refused:
    """Why `commit` is not trusted, and what to do about it."""
    kind = repository.signature(commit)
    which = f'commit {commit[:12]} by {repository.author(commit)}'
    if not kind:
        return errors.Refused(
            f'{which} is not signed',
            hint='sign it, and all that follow: git rebase --exec '
            f"'git commit --amend --no-edit -S' {commit[:12]}~1, and push again",
        )
    known = {'SSH': ('SSH', 'signers', wanted.signers), 'PGP': ('GPG', 'keyring', wanted.keyring)}
    name, key, file = known.get(kind, ('X.509', '', None))
    if file is None:
        return errors.Refused(
            f'{which} is signed with {name}, for which mirage.yml trusts no key',
            hint=f'name them: trust: {{{key}: …}}' if key else 'sign with SSH or GPG',
        )
    if kind == 'SSH':
        return _ssh_refusal(repository, wanted, commit, settings, said, which)
    return _gpg_refusal(wanted, said, which)


def _ssh_refusal(
    repository: Repository, wanted: config.Trust, commit: str, settings: tuple[str, ...], said: str,
    which: str,
) -> errors.Refused:
    other = _BY_OTHER.search(said)
    if other is None:
        # A revoked key and a wrong signature look alike; without the revocations they do not.
        _, again = repository.verify(commit, (*settings, f'gpg.ssh.revocationFile={os.devnull}'))
        known = _BY_KNOWN.search(again)
        if known is None:
            return _bad(which, said)
        return errors.Refused(
            f'{which} is signed by {known[1]} with the {known[2]} key {known[3]}, which '
            f'{wanted.revoked} revokes',
            hint='sign with another key, and push again',
        )
    key = f'the {other[1]} key {other[2]}'
    late, early = _TOO_LATE.search(said), _TOO_EARLY.search(said)
    if late or early:
        when = f'only until {late[1]}' if late else f'only from {early[1]}' if early else ''
        return errors.Refused(
            f'{which} is signed with {key}, which {wanted.signers} knows {when}',
            hint=f'sign with a key that is valid today, or fix {wanted.signers}',
        )
    return errors.Refused(
        f'{which} is signed with {key}, which {wanted.signers} does not know',
        hint=f'if that key may deploy, add it to {wanted.signers}: '
        'PERSON namespaces="git" PUBLIC-KEY',
    )


def _gpg_refusal(wanted: config.Trust, said: str, which: str) -> errors.Refused:
    status = _status(said)
    for word, reason in (
        ('REVKEYSIG', 'which is revoked'), ('EXPKEYSIG', 'which has expired'),
        ('EXPSIG', 'by a signature that has expired'),
    ):
        if word in status:
            return errors.Refused(
                f'{which} is signed with the GPG key {status[word]}, {reason}',
                hint='sign with a key that is valid today, or renew this one in '
                f'{wanted.keyring}',
            )
    if 'NO_PUBKEY' in status:
        key = status['NO_PUBKEY']
        return errors.Refused(
            f'{which} is signed with the GPG key {key}, which {wanted.keyring} does not hold',
            hint=f'if that key may deploy: gpg --homedir {wanted.keyring} --import FILE',
        )
    return _bad(which, said)


def _bad(which: str, said: str) -> errors.Refused:
    last = (said.splitlines() or ['the program that verifies said nothing'])[-1]
    return errors.Refused(
        f'{which} has a signature that does not hold: {last}', hint='sign it anew, and push again'
    )


def _status(said: str) -> dict[str, str]:
    """The status lines of gpg, by their word."""
    return dict(re.findall(r'^\[GNUPG:\] ([A-Z_0-9]+) ?(.*)$', said, re.M))
