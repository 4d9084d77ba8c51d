"""Only commits signed by keys that this host knows are deployed; all else leaves the old one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pytest_mock import MockerFixture

from mirage_hooks import config
from mirage_hooks.deploying import trust
from mirage_hooks.git import objects
from mirage_hooks.git.repository import Repository
from mirage_hooks.host import programs
from mirage_hooks.messages import errors
from mirage_hooks.state import journal
from tests import signing
from tests.deployment import Deployment, git, run, web

pytestmark = pytest.mark.skipif(
    not shutil.which('ssh-keygen'), reason='ssh-keygen (openssh-client) is not installed'
)

needs_gpg = pytest.mark.skipif(not shutil.which('gpg'), reason='gpg (gnupg) is not installed')


class Trusted:
    """A host that serves `one`, signed by alice, and trusts her key."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.site = deployment, deployment.site
        self.folder = deployment.folder
        self.alice, self.mallory = self.folder / 'alice', self.folder / 'mallory'
        self.signers = self.folder / 'signers'
        self.public = signing.ssh_key(self.alice)
        self.stranger = signing.ssh_key(self.mallory)
        self.signers.write_text(f'alice@example.org namespaces="git" {self.public}\n')
        self.trust(signers=str(self.signers))
        signing.sign_with(self.site, self.alice)
        deployment.publish(web('one'), 'a' * 40)
        deployment.clone()
        done = deployment.mirage('deploy')
        assert done.returncode == 0, done.stdout + done.stderr

    def trust(self, **keys: Any) -> None:
        www = {'image': 'xen/latest', 'confirm': '50ms',
               'network': {'mode': 'socket', 'port': self.deployment.port}}
        self.deployment.configure(yaml.safe_dump({'trust': keys, 'unikernels': {'www': www}}))

    def head(self) -> str:
        return git(self.site, 'rev-parse', 'HEAD')[:12]

    def refusal(self) -> list[str]:
        """What a pull and a deploy say of what was published; the old release goes on."""
        git(self.deployment.host, 'fetch', '-q')
        git(self.deployment.host, 'reset', '-q', '--hard', '@{upstream}')
        done = self.deployment.mirage('deploy')
        assert done.returncode == 1, done.stdout
        assert self.deployment.page() == 'one'
        lines = str(done.stdout).splitlines()
        assert lines.pop().startswith('www: release 1 (unix, ')
        return lines

    def accepted(self, page: str) -> None:
        done = self.deployment.pull()
        assert 'now runs' in done.stderr
        assert self.deployment.page() == page


BY = 'A Site <site@example.org>'


@pytest.fixture
def trusted(deployment: Deployment) -> Trusted:
    return Trusted(deployment)


@pytest.fixture
def gpg() -> Iterator[signing.Gpg]:
    with signing.gpg() as made:
        yield made


def test_a_commit_signed_by_a_known_key_is_deployed_and_becomes_the_floor(
    trusted: Trusted,
) -> None:
    trusted.deployment.publish(web('two'), 'b' * 40)
    trusted.accepted('two')
    floor = trusted.deployment.state().of('www').floor('master')
    assert floor == git(trusted.site, 'rev-parse', 'HEAD')


def test_an_unsigned_commit_is_refused(trusted: Trusted) -> None:
    signing.sign_with(trusted.site, None)
    trusted.deployment.publish(web('two'), 'b' * 40)
    head = trusted.head()
    assert trusted.refusal() == [
        f'www: REFUSED: commit {head} by {BY} is not signed',
        "  hint: sign it, and all that follow: git rebase --exec 'git commit --amend --no-edit -S' "
        f'{head}~1, and push again',
    ]


def test_an_unsigned_commit_is_refused_though_it_changes_no_image(trusted: Trusted) -> None:
    signing.sign_with(trusted.site, None)
    trusted.deployment.commit('nothing')
    done = trusted.deployment.pull()
    assert f'www: REFUSED: commit {trusted.head()} by {BY} is not signed' in done.stderr


def test_a_refusal_is_told_once_to_cron_and_stays_in_the_history(trusted: Trusted) -> None:
    signing.sign_with(trusted.site, None)
    trusted.deployment.publish(web('two'), 'b' * 40)
    first = trusted.deployment.mirage('pull', '--quiet')
    second = trusted.deployment.mirage('pull', '--quiet')
    assert f'REFUSED: commit {trusted.head()} by {BY} is not signed' in first.stdout
    assert (first.returncode, second.returncode, second.stdout) == (1, 1, '')
    said = [entry.reason for entry in journal.entries(trusted.deployment.state().history)]
    assert said == ['', f'commit {trusted.head()} by {BY} is not signed']


def test_a_key_that_is_made_known_afterwards_is_believed_at_the_next_cron_run(
    trusted: Trusted,
) -> None:
    signing.sign_with(trusted.site, trusted.mallory)
    trusted.deployment.publish(web('two'), 'b' * 40)
    trusted.deployment.pull()
    assert trusted.deployment.page() == 'one'
    with trusted.signers.open('a') as file:
        file.write(f'bob {trusted.stranger}\n')
    assert trusted.deployment.mirage('pull', '--quiet').returncode == 0
    assert trusted.deployment.page() == 'two'


def test_an_unknown_key_is_refused_by_its_fingerprint(trusted: Trusted) -> None:
    signing.sign_with(trusted.site, trusted.mallory)
    trusted.deployment.publish(web('two'), 'b' * 40)
    key = signing.fingerprint(trusted.mallory)
    assert trusted.refusal() == [
        f'www: REFUSED: commit {trusted.head()} by {BY} is signed with the ED25519 key {key}, '
        f'which {trusted.signers} does not know',
        f'  hint: if that key may deploy, add it to {trusted.signers}: '
        'PERSON namespaces="git" PUBLIC-KEY',
    ]


def test_an_expired_key_is_refused_though_the_commit_says_it_is_older(trusted: Trusted) -> None:
    # The commit's own date is 2016: whoever holds the key chooses it.
    trusted.signers.write_text(f'alice valid-before="20200101" {trusted.public}\n')
    trusted.deployment.publish(web('two'), 'b' * 40)
    key = signing.fingerprint(trusted.alice)
    assert trusted.refusal() == [
        f'www: REFUSED: commit {trusted.head()} by {BY} is signed with the ED25519 key {key}, '
        f'which {trusted.signers} knows only until 2020-01-01T00:00:00',
        f'  hint: sign with a key that is valid today, or fix {trusted.signers}',
    ]


def test_a_key_whose_time_has_not_come_is_refused(trusted: Trusted) -> None:
    trusted.signers.write_text(f'alice valid-after="20990101" {trusted.public}\n')
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert trusted.refusal()[0].endswith(
        f'which {trusted.signers} knows only from 2099-01-01T00:00:00'
    )


def test_a_key_that_is_valid_today_is_accepted_whatever_date_the_commit_has(
    trusted: Trusted,
) -> None:
    trusted.signers.write_text(
        f'alice valid-after="20200101",valid-before="20990101" {trusted.public}\n'
    )
    trusted.deployment.publish(web('two'), 'b' * 40)
    trusted.accepted('two')


def test_a_key_for_another_purpose_is_refused(trusted: Trusted) -> None:
    trusted.signers.write_text(f'alice namespaces="file" {trusted.public}\n')
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert trusted.refusal() == [
        f'www: REFUSED: commit {trusted.head()} by {BY} has a signature that does not hold: '
        f'{trusted.signers}:1: key is not permitted for use in signature namespace "git"',
        '  hint: sign it anew, and push again',
    ]


def test_a_revoked_key_is_refused_by_name(trusted: Trusted) -> None:
    revoked = trusted.folder / 'revoked'
    revoked.write_text(f'{trusted.public}\n')
    trusted.trust(signers=str(trusted.signers), revoked=str(revoked))
    trusted.deployment.publish(web('two'), 'b' * 40)
    key = signing.fingerprint(trusted.alice)
    assert trusted.refusal() == [
        f'www: REFUSED: commit {trusted.head()} by {BY} is signed by alice@example.org with the '
        f'ED25519 key {key}, which {revoked} revokes',
        '  hint: sign with another key, and push again',
    ]


def test_a_commit_that_was_changed_after_it_was_signed_is_refused(trusted: Trusted) -> None:
    trusted.deployment.publish(web('two'), 'b' * 40, push=False)
    whole = git(trusted.site, 'cat-file', 'commit', 'HEAD') + '\n'
    forged = subprocess.run(
        ('git', '-C', str(trusted.site), 'hash-object', '-t', 'commit', '-w', '--stdin'),
        input=whole.replace('adding', 'forged'), text=True, capture_output=True, check=True,
    ).stdout.strip()
    git(trusted.site, 'reset', '-q', '--hard', forged)
    git(trusted.site, 'push', '-q', 'origin', '+HEAD:master')
    assert trusted.refusal() == [
        f'www: REFUSED: commit {forged[:12]} by {BY} has a signature that does not hold: '
        'Signature verification failed: incorrect signature',
        '  hint: sign it anew, and push again',
    ]


def test_an_unsigned_commit_below_a_signed_one_is_refused(trusted: Trusted) -> None:
    signing.sign_with(trusted.site, None)
    trusted.deployment.commit('slipped in', push=False)
    slipped = trusted.head()
    signing.sign_with(trusted.site, trusted.alice)
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert f'commit {slipped} by {BY} is not signed' in trusted.refusal()[0]


def test_an_unsigned_commit_that_a_signed_merge_brings_is_refused(trusted: Trusted) -> None:
    git(trusted.site, 'checkout', '-q', '-b', 'side')
    signing.sign_with(trusted.site, None)
    trusted.deployment.publish(web('two'), 'b' * 40, push=False)
    slipped = trusted.head()
    git(trusted.site, 'checkout', '-q', 'master')
    signing.sign_with(trusted.site, trusted.alice)
    git(trusted.site, 'merge', '-q', '--no-ff', '-m', 'merge', 'side')
    git(trusted.site, 'push', '-q', 'origin', '+HEAD:master')
    assert f'commit {slipped} by {BY} is not signed' in trusted.refusal()[0]


STRANGE = 'is signed, but not in the form in which git writes commits:'
HIDES = '  hint: it may hide a parent that nobody signed; make it anew with git, and push again'


def forge(trusted: Trusted, old: bytes, new: bytes) -> str:
    """Publish the site's newest commit with `old` made `new`, whose signature still holds."""
    site = trusted.site
    raw = Repository(site).raw('HEAD')
    assert raw.count(old) == 1
    forged = signing.forged(site, raw.replace(old, new))
    signers = f'gpg.ssh.allowedSignersFile={trusted.signers}'
    git(site, '-c', signers, 'verify-commit', forged)
    git(site, 'push', '-q', 'origin', f'+{forged}:master')
    return forged[:12]


def test_a_signature_between_the_parents_hides_no_unsigned_commit(trusted: Trusted) -> None:
    git(trusted.site, 'checkout', '-q', '-b', 'side')
    signing.sign_with(trusted.site, None)
    trusted.deployment.publish(web('two'), 'b' * 40, push=False)
    slipped = git(trusted.site, 'rev-parse', 'HEAD').encode()
    git(trusted.site, 'checkout', '-q', 'master')
    signing.sign_with(trusted.site, trusted.alice)
    git(trusted.site, 'merge', '-q', '--no-ff', '-m', 'merge', 'side')
    raw = Repository(trusted.site).raw('HEAD')
    signature = raw[raw.index(b'gpgsig'): raw.index(b'\n\n') + 1]
    parent = b'parent ' + slipped
    moved = raw.replace(signature, b'').replace(parent, signature + parent)
    forged = forge(trusted, raw, moved)
    assert trusted.refusal() == [
        f"www: REFUSED: commit {forged} by {BY} {STRANGE} "
        "'gpgsig -----BEGIN SSH SIGNATURE-----' stands where its author should", HIDES,
    ]


def test_a_second_signature_is_refused_though_the_first_holds(trusted: Trusted) -> None:
    trusted.deployment.publish(web('two'), 'b' * 40)
    forged = forge(trusted, b'\n\n', b'\ngpgsig-sha256 x\n\n')
    assert trusted.refusal() == [
        f"www: REFUSED: commit {forged} by {BY} {STRANGE} "
        "'gpgsig-sha256 x' stands where git writes no such header", HIDES,
    ]


def test_a_commit_that_git_follows_elsewhere_than_it_says_is_refused(
    trusted: Trusted, mocker: MockerFixture
) -> None:
    repository = Repository(trusted.deployment.host)
    wanted = config.Trust(signers=str(trusted.signers))
    head = git(trusted.deployment.host, 'rev-parse', 'HEAD')
    ours = trusted.folder / 'programs'
    assert trust.verify(repository, wanted, '', head, ours) == 1
    tree = git(trusted.deployment.host, 'rev-parse', 'HEAD^{tree}')
    mocker.patch.object(Repository, 'links', return_value=(tree, 'f' * 40))
    with pytest.raises(errors.Refused) as refused:
        trust.verify(repository, wanted, '', head, ours)
    assert refused.value.reason == (
        f'commit {head[:12]} by {BY} {STRANGE} git follows other parents than it names'
    )


def test_a_commit_of_a_mebibyte_is_not_read(trusted: Trusted) -> None:
    (trusted.folder / 'long').write_text('x' * objects.COMMIT)
    git(trusted.site, 'commit', '-q', '--allow-empty', '-F', str(trusted.folder / 'long'))
    trusted.deployment.publish(web('two'), 'b' * 40)
    long = git(trusted.site, 'rev-parse', 'HEAD~1')[:12]
    assert trusted.refusal() == [
        f'www: REFUSED: commit {long} has a message or headers of more than 1 MB',
        '  hint: put the branch back to the commit before it',
    ]


def test_a_signed_merge_of_signed_tags_is_deployed(trusted: Trusted) -> None:
    for name in ('left', 'right'):
        git(trusted.site, 'checkout', '-q', '-b', name, 'master')
        trusted.deployment.commit(name, push=False)
        git(trusted.site, 'tag', '-s', '-m', name, f'v-{name}')
    git(trusted.site, 'checkout', '-q', 'master')
    git(trusted.site, 'merge', '-q', '--no-ff', '-m', 'merge', 'v-left', 'v-right')
    trusted.deployment.publish(web('two'), 'b' * 40)
    trusted.accepted('two')


def test_rewound_history_is_refused_until_a_person_says_so(trusted: Trusted) -> None:
    floor = trusted.head()
    git(trusted.site, 'checkout', '-q', '--orphan', 'anew')
    trusted.deployment.publish(web('two'), 'b' * 40)
    said = trusted.refusal()
    assert said == [
        f'www: REFUSED: history was rewound: commit {trusted.head()} does not contain commit '
        f'{floor}, which is deployed',
        '  hint: push a commit that does; or, if that was meant, on this host: '
        f'mirage-hooks -C {trusted.deployment.host} trust --forget',
    ]
    assert trusted.deployment.mirage('trust', '--forget').stdout == 'trust begins anew for www\n'
    assert trusted.deployment.mirage('deploy').returncode == 0
    assert trusted.deployment.page() == 'two'
    history = list(journal.entries(trusted.deployment.state().history))
    assert [(one.event, one.trigger) for one in history[-2:]] == [
        ('trust begun anew', 'trust by operator'), ('deployed', 'deploy by operator'),
    ]


def test_an_image_that_did_not_serve_may_be_rewound(trusted: Trusted) -> None:
    trusted.deployment.publish(web('bad', before='sys.exit(2)'), 'b' * 40)
    assert trusted.deployment.pull().returncode == 0
    git(trusted.site, 'reset', '-q', '--hard', 'HEAD~1')
    trusted.deployment.publish(web('two'), 'c' * 40)
    git(trusted.deployment.host, 'fetch', '-q')
    git(trusted.deployment.host, 'reset', '-q', '--hard', '@{upstream}')
    assert trusted.deployment.mirage('deploy').returncode == 0
    assert trusted.deployment.page() == 'two'


def test_a_replacement_that_was_pushed_stands_in_for_nothing(trusted: Trusted) -> None:
    deployment = trusted.deployment
    deployment.publish(web('two'), 'b' * 40)
    git(deployment.host, 'fetch', '-q')
    git(deployment.host, 'reset', '-q', '--hard', '@{upstream}')
    # What alice signed goes on naming her image, which git would read as another one.
    (trusted.folder / 'evil').write_bytes(web('evil'))
    evil = git(trusted.site, 'hash-object', '-w', str(trusted.folder / 'evil'))
    git(trusted.site, 'replace', f'HEAD:xen/{"b" * 40}/www', evil)
    git(trusted.site, 'push', '-q', str(deployment.host), 'refs/replace/*:refs/replace/*')
    assert deployment.mirage('deploy').returncode == 0
    assert deployment.page() == 'two'


def test_a_shallow_boundary_hides_no_unsigned_commit(trusted: Trusted) -> None:
    site, host = trusted.site, trusted.deployment.host
    git(site, 'checkout', '-q', '-b', 'side')
    signing.sign_with(site, None)
    trusted.deployment.commit('slipped in', push=False)
    slipped = trusted.head()
    signing.sign_with(site, trusted.alice)
    trusted.deployment.publish(web('two'), 'b' * 40, push=False)
    boundary = git(site, 'rev-parse', 'HEAD')
    git(site, 'checkout', '-q', 'master')
    trusted.deployment.commit('meanwhile', push=False)
    git(site, 'merge', '-q', '--no-ff', '-m', 'merge', 'side')
    git(site, 'push', '-q', 'origin', '+HEAD:master')
    git(host, 'fetch', '-q')
    (host / '.git' / 'shallow').write_text(f'{boundary}\n')
    assert f'commit {slipped} by {BY} is not signed' in trusted.refusal()[0]


def test_a_graft_of_the_operator_does_not_hide_a_rewind(trusted: Trusted) -> None:
    floor = git(trusted.site, 'rev-parse', 'HEAD')
    git(trusted.site, 'checkout', '-q', '--orphan', 'anew')
    trusted.deployment.publish(web('two'), 'b' * 40)
    head = git(trusted.site, 'rev-parse', 'HEAD')
    grafts = trusted.deployment.host / '.git' / 'info' / 'grafts'
    grafts.parent.mkdir(exist_ok=True)
    grafts.write_text(f'{head} {floor}\n')
    assert 'history was rewound' in trusted.refusal()[0]


def test_a_shallow_boundary_is_not_taken_for_the_beginning(trusted: Trusted) -> None:
    floor = trusted.head()
    trusted.deployment.commit('more', push=False)
    trusted.deployment.publish(web('two'), 'b' * 40)
    host = trusted.deployment.host
    git(host, 'fetch', '-q', '--depth=1')
    git(host, 'reset', '-q', '--hard', '@{upstream}')
    git(host, 'update-ref', '-d', 'ORIG_HEAD')
    git(host, 'reflog', 'expire', '--expire=now', '--all')
    git(host, 'gc', '-q', '--prune=now')
    done = trusted.deployment.mirage('deploy')
    assert done.stdout.splitlines()[0].startswith(
        f'www: REFUSED: git cannot follow the history of {trusted.head()} back to {floor}: '
    )
    assert '  hint: a shallow clone lacks it: git fetch --unshallow' in done.stdout.splitlines()
    git(host, 'fetch', '-q', '--unshallow')
    assert trusted.deployment.mirage('deploy').returncode == 0
    assert trusted.deployment.page() == 'two'


def test_signers_that_cannot_be_read_refuse_everything(trusted: Trusted) -> None:
    trusted.signers.unlink()
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert trusted.refusal() == [
        f'www: REFUSED: cannot read {trusted.signers}: No such file or directory, '
        'so no commit can be trusted',
        '  hint: make it, or fix `trust: {signers: …}` in mirage.yml',
    ]


def test_revocations_that_cannot_be_read_refuse_everything(trusted: Trusted) -> None:
    gone = trusted.folder / 'gone'
    trusted.trust(signers=str(trusted.signers), revoked=str(gone))
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert trusted.refusal() == [
        f'www: REFUSED: cannot read {gone}: No such file or directory, '
        'so no commit can be trusted',
        '  hint: make it, or fix `trust: {revoked: …}` in mirage.yml',
    ]


def test_empty_signers_know_nobody(trusted: Trusted) -> None:
    trusted.signers.write_text('')
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert trusted.refusal()[0].endswith(f'which {trusted.signers} does not know')


def test_a_host_without_ssh_keygen_deploys_nothing(
    trusted: Trusted, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = programs.find
    monkeypatch.setattr(programs, 'find', lambda one: None if one == 'ssh-keygen' else find(one))
    repository = Repository(trusted.deployment.host)
    wanted = config.Trust(signers=str(trusted.signers))
    with pytest.raises(errors.Refused) as refused:
        trust.verify(repository, wanted, '', 'HEAD', trusted.folder / 'programs')
    assert (refused.value.reason, refused.value.hint) == (
        'ssh-keygen is not installed, so no commit can be trusted', 'apt install openssh-client'
    )


def test_signers_inside_the_work_tree_are_refused(trusted: Trusted) -> None:
    inside = trusted.deployment.host / 'signers'
    shutil.copy(trusted.signers, inside)
    link = trusted.folder / 'link'
    link.symlink_to(inside)
    trusted.trust(signers=str(link))
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert trusted.refusal() == [
        f'www: REFUSED: trust.signers: {link} is inside the repository, '
        'where a push could change it',
        '  hint: move it out, and fix mirage.yml',
    ]


def test_the_operators_own_git_configuration_makes_nobody_known(
    trusted: Trusted, home: Path
) -> None:
    loose = trusted.folder / 'loose'
    loose.write_text(f'mallory {trusted.stranger}\n')
    run('git', 'config', '--global', 'gpg.ssh.allowedSignersFile', str(loose), cwd=trusted.folder)
    run('git', 'config', '--global', 'gpg.ssh.program', '/bin/true', cwd=trusted.folder)
    signing.sign_with(trusted.site, trusted.mallory)
    git(trusted.site, 'config', 'gpg.ssh.program', 'ssh-keygen')
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert trusted.refusal()[0].endswith(f'which {trusted.signers} does not know')


def test_stop_and_rollback_work_while_the_branch_is_not_trusted(trusted: Trusted) -> None:
    trusted.deployment.publish(web('two'), 'b' * 40)
    trusted.accepted('two')
    signing.sign_with(trusted.site, None)
    trusted.deployment.publish(web('three'), 'c' * 40)
    trusted.deployment.pull()
    assert trusted.deployment.mirage('rollback', 'www').returncode == 0
    assert trusted.deployment.page() == 'one'
    assert trusted.deployment.mirage('stop', 'www').returncode == 0
    assert trusted.deployment.page() == ''


def test_what_was_killed_is_started_again_though_the_branch_is_not_trusted(
    trusted: Trusted,
) -> None:
    signing.sign_with(trusted.site, None)
    trusted.deployment.publish(web('two'), 'b' * 40)
    trusted.deployment.pull()
    releases = trusted.deployment.state().of('www')
    live = releases.run(1)
    assert live is not None
    run('kill', '-9', str(live.pid), cwd=trusted.folder)
    trusted.deployment.mirage('pull')
    assert 'runs' in trusted.deployment.mirage('status').stdout


@needs_gpg
def test_a_gpg_key_in_the_keyring_is_believed(trusted: Trusted, gpg: signing.Gpg) -> None:
    gpg.key('bob')
    gpg.know('bob')
    trusted.trust(signers=str(trusted.signers), keyring=str(gpg.keyring))
    gpg.sign_with(trusted.site, 'bob')
    trusted.deployment.publish(web('two'), 'b' * 40)
    trusted.accepted('two')


@needs_gpg
def test_a_gpg_key_that_the_keyring_does_not_hold_is_refused(
    trusted: Trusted, gpg: signing.Gpg
) -> None:
    made = gpg.key('mallory')
    gpg.key('bob')
    gpg.know('bob')
    trusted.trust(keyring=str(gpg.keyring))
    gpg.sign_with(trusted.site, 'mallory')
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert trusted.refusal() == [
        f'www: REFUSED: commit {trusted.head()} by {BY} is signed with the GPG key {made[-16:]}, '
        f'which {gpg.keyring} does not hold',
        f'  hint: if that key may deploy: gpg --homedir {gpg.keyring} --import FILE',
    ]


@needs_gpg
def test_an_expired_gpg_key_is_refused(trusted: Trusted, gpg: signing.Gpg) -> None:
    made = gpg.key('old', when='20200101T000000', expires='1d')
    gpg.know('old')
    trusted.trust(keyring=str(gpg.keyring))
    gpg.sign_with(trusted.site, 'old', when='20200101T010000')
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert trusted.refusal() == [
        f'www: REFUSED: commit {trusted.head()} by {BY} is signed with the GPG key {made[-16:]} '
        'old <old@x.example>, which has expired',
        f'  hint: sign with a key that is valid today, or renew this one in {gpg.keyring}',
    ]


@needs_gpg
def test_a_revoked_gpg_key_is_refused(trusted: Trusted, gpg: signing.Gpg) -> None:
    made = gpg.key('bob')
    gpg.know('bob')
    gpg.revoke(made)
    trusted.trust(keyring=str(gpg.keyring))
    gpg.sign_with(trusted.site, 'bob')
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert trusted.refusal()[0] == (
        f'www: REFUSED: commit {trusted.head()} by {BY} is signed with the GPG key {made[-16:]} '
        'bob <bob@x.example>, which is revoked'
    )


@needs_gpg
def test_a_kind_of_signature_that_is_not_trusted_is_refused(
    trusted: Trusted, gpg: signing.Gpg
) -> None:
    gpg.key('bob')
    gpg.sign_with(trusted.site, 'bob')
    trusted.deployment.publish(web('two'), 'b' * 40)
    assert trusted.refusal() == [
        f'www: REFUSED: commit {trusted.head()} by {BY} is signed with GPG, '
        'for which mirage.yml trusts no key',
        '  hint: name them: trust: {keyring: …}',
    ]


def test_check_looks_at_who_may_write_the_signers(trusted: Trusted) -> None:
    def findings() -> list[str]:
        done = trusted.deployment.mirage('check')
        lines = done.stdout.splitlines()
        return [line for at, line in enumerate(lines)
                if ' trust: ' in line or (at and ' trust: ' in lines[at - 1] and 'hint' in line)]

    program = f'ok       trust: ssh-keygen is {shutil.which("ssh-keygen")}'
    assert findings() == [program, f'ok       trust: signers: {trusted.signers}']
    trusted.signers.chmod(0o666)
    assert findings() == [
        program,
        f'PROBLEM  trust: signers: others than its owner may write {trusted.signers}',
        f'         hint: chmod go-w {trusted.signers}',
    ]
    trusted.signers.unlink()
    assert findings() == [
        program, f'PROBLEM  trust: signers: {trusted.signers}: No such file or directory',
        '         hint: make it',
    ]
