"""A certificate is renewed, or goes wrong: what serves goes on, and takes the good one at once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mirage_hooks.state import fastpath, pair
from tests.deployment import Deployment
from tests.secure import Secure, Visitor, image
from tests.switching.test_next_to import TROUBLE

RENEWALS = int(os.environ.get('MIRAGE_HOOKS_RENEWALS', '3'))
NEXT_TO = pytest.mark.skipif(bool(TROUBLE), reason=TROUBLE or '-')


@pytest.fixture
def secure(deployment: Deployment) -> Secure:
    """A host that serves release 1 by HTTP and HTTPS."""
    found = Secure(deployment)
    found.issue()
    deployment.publish(image('one'))
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout
    return found


def said(done: object) -> tuple[int, list[str]]:
    """The exit code, and what was printed without the steps."""
    lines = [line for line in done.stdout.splitlines() if ' s  ' not in line[:12]]  # type: ignore[attr-defined]
    return done.returncode, lines  # type: ignore[attr-defined]


def row(deployment: Deployment) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        deployment.mirage('status', '--json').stdout)['unikernels'][0]
    return found


def console(deployment: Deployment, number: int) -> str:
    return (deployment.state().of('www').folder(number) / 'console.log').read_text()


def test_without_a_certificate_it_begins_by_http_alone_and_takes_one_when_it_is_there(
    deployment: Deployment
) -> None:
    secure = Secure(deployment)
    deployment.publish(image('one'))
    deployment.clone()
    done = deployment.mirage('deploy')
    assert done.returncode == 0, done.stdout
    chain = secure.live / 'fullchain.pem'
    assert (f'www: no certificate yet: {chain} is not there. It serves by HTTP alone until it is\n'
            in done.stdout)
    assert (deployment.page(), 'without a certificate' in console(deployment, 1)) == ('one', True)
    assert row(deployment)['certificate'] == {'wrong': f'by HTTP alone: {chain} is not there'}
    assert deployment.mirage('status').returncode == 0
    assert said(deployment.mirage('pull', '--quiet')) == (0, [])
    one = secure.issue()
    done = deployment.mirage('pull', '--quiet')  # which brings nothing
    until = one.certificate.not_valid_after_utc.strftime('%Y-%m-%d %H:%M UTC')
    serial = f'{one.certificate.serial_number:x}'
    code, lines = said(done)
    assert (code, lines[0]) == (
        0, f'www: with a certificate: www.example.org, until {until}, serial {serial[:8]}')
    assert lines[1].startswith('www: release 2 (') and lines[1].endswith(' now runs')
    assert secure.presented() == serial


@NEXT_TO
def test_a_renewed_pair_is_taken_by_cron_and_at_once_by_deploy(secure: Secure) -> None:
    deployment = secure.deployment
    assert said(deployment.mirage('pull', '--quiet')) == (0, [])
    for number, command in ((2, ('pull', '--quiet')), (3, ('deploy', 'www'))):
        one = secure.issue()
        code, lines = said(deployment.mirage(*command))
        assert (code, lines[0][:51]) == (0, 'www: the certificate was renewed: www.example.org, ')
        assert f'release {number} ' in lines[1]
        assert secure.presented() == f'{one.certificate.serial_number:x}'
    assert deployment.events() == [('deployed', 1), ('deployed', 2), ('deployed', 3)]
    assert deployment.history()[-1].reason.startswith('the certificate was renewed: ')
    os.utime(secure.live / 'privkey.pem')
    assert said(deployment.mirage('pull', '--quiet')) == (0, [])
    certificate = row(deployment)['certificate']
    assert isinstance(certificate, dict)
    assert (certificate['names'], certificate['issuer'], certificate['left']) == (
        ['www.example.org'], 'An intermediate', '89 days left')
    assert certificate['serial'] == secure.presented() and 'wrong' not in certificate
    assert ('  certificate: www.example.org, by An intermediate, 89 days left\n'
            in deployment.mirage('status').stdout)


def mismatched(secure: Secure) -> str:
    (secure.live / 'privkey.pem').write_bytes(secure.authority.issue().private())
    return 'is not that of the certificate in'


def expired(secure: Secure) -> str:
    secure.issue(begins=timedelta(days=-3), lasts=timedelta(days=1))
    return 'expired on'


def coming(secure: Secure) -> str:
    secure.issue(begins=timedelta(days=3))
    return 'is not valid before'


def of_another(secure: Secure) -> str:
    secure.issue('www.example.com')
    return ('is not for www.example.org, which health: asks: it is for www.example.com')


def lone(secure: Secure) -> str:
    one = secure.issue()
    secure.authority.written(secure.live, one, one.pem)
    return 'lacks the certificate of who issued it, An intermediate'


def turned(secure: Secure) -> str:
    one = secure.issue()
    own = secure.authority
    own.written(secure.live, one, one.pem + own.root.pem + own.intermediate.pem)
    return 'number 3 did: they are in the wrong order'


def gone(secure: Secure) -> str:
    (secure.live / 'privkey.pem').unlink()
    return 'privkey.pem is gone, and release 1 serves with that certificate'


@pytest.mark.parametrize(
    'spoil', [mismatched, expired, *(pytest.param(one, marks=pytest.mark.long) for one in (
        coming, of_another, lone, turned, gone))], ids=lambda one: one.__name__)
def test_a_wrong_pair_is_refused_once_aloud_and_what_serves_goes_on(
    secure: Secure, spoil: Callable[[Secure], str]
) -> None:
    deployment, before = secure.deployment, secure.presented()
    why = spoil(secure)
    code, lines = said(deployment.mirage('pull', '--quiet'))
    assert (code, 'REFUSED' in lines[0], why in lines[0]) == (1, True, True), lines
    assert lines[-1].endswith(' goes on running') and any('  hint: ' in one for one in lines)
    assert said(deployment.mirage('pull', '--quiet')) == (1, [])
    assert (secure.presented(), deployment.current().number) == (before, 1)
    assert why in deployment.mirage('check').stdout
    one = secure.issue()  # it is tried again by itself
    assert said(deployment.mirage('pull', '--quiet'))[0] == 0
    assert secure.presented() == f'{one.certificate.serial_number:x}'
    assert 'refused' not in row(deployment)


def test_what_presents_another_certificate_or_half_a_chain_does_not_come_to_serve(
    secure: Secure
) -> None:
    deployment, before = secure.deployment, secure.presented()
    other = secure.authority.issue()
    stuck = (other.pem + secure.authority.intermediate.pem + other.private()).decode()
    short = "text = os.pread(memory, 65536, 0).split(b'-----BEGIN ')"
    for content, why in (
        (f'os.ftruncate(memory, 0); os.pwrite(memory, {stuck!r}.encode(), 0)',
         'presents another certificate than that of `certificate:` within 1s'),
        (f"{short}; os.ftruncate(memory, 0); "
         "os.pwrite(memory, b''.join(b'-----BEGIN ' + text[at] for at in (1, 3)), 0)",
         'presents its certificate, but not the chain of `certificate:` behind it (1 of 2 '
         'certificates) within 1s'),
    ):
        secure.configure(health=[
            {'http': f'https://127.0.0.1:{secure.port}/', 'host': 'www.example.org',
             'within': '1s'}])
        deployment.publish(image('bad', content), str(len(why)) * 20)
        assert deployment.pull().returncode == 0  # git's own
        text = deployment.mirage('status', '--json').stdout
        assert json.loads(text)['unikernels'][0]['refused']['reason'] == (
            f'https://127.0.0.1:{secure.port}/ {why}')
        assert (secure.presented(), deployment.page()) == (before, 'one')


def test_an_image_that_does_not_take_the_pair_says_why(secure: Secure) -> None:
    deployment = secure.deployment
    deployment.publish(image('bad', "print('tls: no EC keys here', flush=True); sys.exit(78)"),
                       '2' * 40)
    deployment.pull()
    refused = row(deployment)['refused']
    assert isinstance(refused, dict)
    assert refused['reason'] == 'it ended with exit code 78: its configuration is wrong'
    assert refused['hint'] == (
        'it does not take the pair of `certificate:` in mirage.yml; it says: no EC keys here')


@pytest.mark.long
def test_renewals_are_no_place_to_roll_back_to_and_push_no_image_out(secure: Secure) -> None:
    deployment = secure.deployment
    deployment.publish(image('two'), '2' * 40)
    assert deployment.pull().returncode == 0
    for _ in range(3):
        secure.issue()
        assert deployment.mirage('deploy', 'www').returncode == 0
    done = deployment.mirage('rollback', 'www')
    assert (done.returncode, deployment.page()) == (0, 'one'), done.stdout
    today = secure.presented()
    certificate = row(deployment)['certificate']
    assert isinstance(certificate, dict) and certificate['serial'] == today
    found = pair.served(deployment.state().of('www').folder(1))
    assert found is not None and found.serial == today  # and not the one that it had then
    one = secure.issue()
    done = deployment.mirage('pull', '--quiet')
    assert (done.returncode, deployment.page()) == (0, 'one'), done.stdout
    assert secure.presented() == f'{one.certificate.serial_number:x}'
    assert row(deployment)['pinned'] is True
    assert said(deployment.mirage('pull', '--quiet')) == (0, [])


@pytest.mark.long
def test_what_crashes_while_the_pair_is_wrong_serves_by_http_until_it_is_right(
    secure: Secure
) -> None:
    deployment = secure.deployment
    mismatched(secure)
    deployment.crash()
    assert deployment.mirage('pull', '--quiet').returncode == 1
    assert (deployment.page(), 'without a certificate' in console(deployment, 1)) == ('one', True)
    certificate = row(deployment)['certificate']
    assert isinstance(certificate, dict)
    assert certificate['wrong'].startswith('by HTTP alone: the key in ')
    one = secure.issue()
    assert deployment.mirage('pull', '--quiet').returncode == 0
    assert secure.presented() == f'{one.certificate.serial_number:x}'


def test_the_fast_path_sees_a_pair_come_and_change(deployment: Deployment) -> None:
    secure = Secure(deployment)
    deployment.publish(image('one'))
    deployment.clone()
    git_dir = deployment.host / '.git'
    assert deployment.mirage('deploy').returncode == 0
    assert fastpath.holds(git_dir)
    secure.issue()
    assert not fastpath.holds(git_dir)
    assert deployment.mirage('deploy').returncode == 0
    deployment.mirage('stop', 'www')
    deployment.mirage('start', 'www')  # so that nobody is drained
    assert fastpath.holds(git_dir)
    secure.issue()
    assert not fastpath.holds(git_dir)


def test_der_and_names_of_ones_own_reach_the_image(deployment: Deployment) -> None:
    secure = Secure(deployment)
    own = {'chain': str(secure.live / 'fullchain.pem'), 'key': str(secure.live / 'privkey.pem')}
    secure.configure(certificate={**own, 'form': 'der'})
    secure.issue()
    deployment.publish(image('one'))
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    assert 'tls form der' in console(deployment, 1)
    planned = deployment.mirage('deploy', '--dry-run', '--json').stdout
    kept = [path.read_bytes() for path in deployment.state().root.rglob('*.json')]
    assert not any(b'PRIVATE KEY' in one for one in (*kept, planned.encode()))
    pem = {'chain': 'cert', 'key': 'key'}
    secure.configure(certificate={**own, 'arguments': pem})
    done = deployment.mirage('deploy')
    assert (done.returncode, deployment.page()) == (1, 'one')  # which the image does not know


@pytest.mark.skipif(shutil.which('bwrap') is None, reason='not installed: bubblewrap')
def test_a_disk_brings_both_too(deployment: Deployment) -> None:
    secure = Secure(deployment)
    secure.configure(certificate={
        'chain': str(secure.live / 'fullchain.pem'), 'key': str(secure.live / 'privkey.pem'),
        'form': 'disk'})
    deployment.publish(image('one'))
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    assert 'without a certificate' in console(deployment, 1)
    for _ in range(2):
        one = secure.issue()
        assert deployment.mirage('pull', '--quiet').returncode == 0
        assert secure.presented() == f'{one.certificate.serial_number:x}'
    command = ' '.join(deployment.processes()[0][1].cmdline())
    assert 'tls-key' not in command
    assert (deployment.state().of('www').folder(3) / 'tls.tar').stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize('spoiled', [False, True])
def test_what_takes_the_port_alone_is_tried_with_a_spare_one_for_https_too(
    secure: Secure, spoiled: bool
) -> None:
    deployment, before = secure.deployment, secure.presented()
    secure.configure(switch='replace')
    if spoiled:
        deployment.publish(image('two', "print('tls: no', flush=True); sys.exit(78)"), '2' * 40)
    else:
        deployment.publish(image('two'), '2' * 40)
    one = secure.issue()
    text = deployment.pull().stderr
    assert 'cannot be asked of a trial' not in text
    if spoiled:  # and so the old one was never stopped
        assert (secure.presented(), deployment.page()) == (before, 'one')
        assert 'stopping release 1' not in text
    else:
        assert secure.presented() == f'{one.certificate.serial_number:x}'
        assert deployment.page() == 'two'


def test_the_dry_run_says_which_certificate_comes(secure: Secure) -> None:
    one = secure.issue()
    done = secure.deployment.mirage('deploy', '--dry-run')
    assert f'serial {f"{one.certificate.serial_number:x}"[:8]}\n' in done.stdout
    assert [line[:16] for line in done.stdout.splitlines()[1:3]] == [
        '  - certificate:', '  + certificate:']
    assert secure.deployment.current().number == 1


def test_a_certificate_that_ends_is_told_everywhere(deployment: Deployment) -> None:
    secure = Secure(deployment)
    secure.issue(begins=timedelta(days=-80))
    deployment.publish(image('one'))
    deployment.clone()
    assert deployment.mirage('deploy').returncode == 0
    certificate = row(deployment)['certificate']
    assert isinstance(certificate, dict) and certificate['wrong'] == '9 days left'
    assert ('www: the certificate is for www.example.org, by An intermediate, 9 days left'
            in deployment.mirage('check').stdout)
    metrics = deployment.mirage('metrics').stdout
    labels = f'{{repository="{deployment.host}",unikernel="www"}}'
    assert f'mirage_hooks_unikernel_certificate_ending{labels} 1.0' in metrics
    line = next(one for one in metrics.splitlines()
                if one.startswith('mirage_hooks_unikernel_certificate_expiry_timestamp_seconds{'))
    assert float(line.rpartition(' ')[2]) == certificate['ends']
    page = deployment.mirage('page').stdout
    assert 'its certificate ends soon' in page and 'by An intermediate, 9 days left' in page


@NEXT_TO
def test_a_visitor_notices_no_renewal(secure: Secure, tmp_path: Path) -> None:
    root = tmp_path / 'root.pem'
    root.write_bytes(secure.authority.root.pem)
    with Visitor(secure.port, root) as visitor:
        for number in range(2, 2 + RENEWALS):
            secure.issue()
            done = secure.deployment.mirage(*(('deploy', 'www'), ('pull', '--quiet'))[number % 2])
            assert (done.returncode, secure.deployment.current().number) == (0, number)
    # One that is drained may get a last visitor while it is taken out, hence once more.
    assert (visitor.failed, len(set(visitor.seen))) == ([], 1 + RENEWALS), visitor.requests
