"""The site's side of the command line. Little is imported until it runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..messages import errors

if TYPE_CHECKING:
    from ..messages.report import Reporter
    from .bundle import Wanted
    from .promote import Promoted
    from .prune import Pruned
    from .publish import Published

NAME = r'[A-Za-z0-9][A-Za-z0-9._-]{0,39}'


def commands(command: Callable[..., Any]) -> None:
    """Add them by `command(name, act, text, json)`, which makes a parser."""
    one = command('init', init, 'make a site, its unikernel and its CI, or add what is missing')
    one.add_argument('folder', nargs='?', metavar='DIR', default='.')
    one.add_argument('--name', help='of the site and of the unikernel')
    one.add_argument('--author')
    one.add_argument('--ipv4', metavar='ADDRESS/PREFIX', help='compiled in as its static address')
    one.add_argument('--gateway', metavar='ADDRESS')
    one.add_argument('--deployment', metavar='OWNER/NAME',
                     help='the deployment repository on GitHub, or the address of another')
    one.add_argument('--branch', help='the branch that CI publishes')
    one = command('publish', publish, 'put an image into the deployment repository', json=True)
    one.add_argument('image', nargs='?', metavar='IMAGE', help='left out in CI, the variables '
                     'DEPLOY, XENIMG, MIRDIR and MIRAGE_BACKEND say which, and whether')
    one.add_argument('--to', metavar='REMOTE', default='',
                     help="the deployment repository (in CI: this one's, with -deployment)")
    one.add_argument('--name', default='', help="of the unikernel (the image's)")
    one.add_argument('--source', metavar='COMMIT', default='',
                     help='that it was built from (the one checked out)')
    one.add_argument('--layout', default='{target}/{commit}', metavar='FOLDER',
                     help='where to: {target} {commit} {name} {branch} (%(default)s)')
    one.add_argument('--compress', choices=('bzip2', 'gzip'), default='',
                     help="instead of raw, which git's deltas make smaller")
    one.add_argument('--keep', type=_count, default=0, metavar='N',
                     help='take all but the newest N releases out of the tree')
    one.add_argument('--branch', default='', help="of the deployment repository (its own)")
    one.add_argument('--dry-run', action='store_true', help='do all but the push')
    _promoting(command)
    one = command('prune', prune, 'take old images out of the deployment repository', json=True)
    one.add_argument('--to', metavar='REMOTE', required=True, help='the deployment repository')
    one.add_argument('--keep', type=_count, default=10, metavar='N', help='releases (10)')
    one.add_argument('--branch', default='', help="of the deployment repository (its own)")
    one.add_argument('--history', action='store_true',
                     help='rewrite the history too; what it was stays as a backup reference')
    one.add_argument('--dry-run', action='store_true', help='do all but the push')


def _promoting(command: Callable[..., Any]) -> None:
    one = command('promote', promote, "move the deployed branch on to the canary's, once the host "
                  'that goes first has served that', json=True)
    one.add_argument('--to', metavar='REMOTE', required=True, help='the deployment repository')
    one.add_argument('--from', dest='source', metavar='BRANCH', default='canary',
                     help='what the first host deploys (%(default)s)')
    one.add_argument('--host', metavar='SSH', required=True,
                     help='that host and its clone, as ssh://USER@HOST/REPOSITORY')
    one.add_argument('--branch', default='', help="what all others deploy (the repository's own)")
    one.add_argument('--name', default='', help='of the one unikernel that counts (all)')
    one.add_argument('--after', type=duration, default=600.0, metavar='TIME',
                     help='how long it must have served it (10m)')
    one.add_argument('--deadline', type=duration, default=1800.0, metavar='TIME',
                     help='how long to wait for that at most (30m)')


def init(given: argparse.Namespace) -> int:
    from ..messages.report import Reporter, plain
    from .making import advice, questions, scaffold

    report = Reporter()
    folder = Path(given.repository, given.folder)
    plan = scaffold.plan(folder)
    asked = {key: getattr(given, key) for key in questions.QUESTIONS}
    answers = questions.answers(folder, asked)
    scaffold.make(folder, plan, answers.words)
    for text in advice.lines(folder, plan, answers):
        report.line(plain(text))
    return 0


def publish(given: argparse.Namespace) -> int:
    from ..messages.report import Reporter, plain
    from . import ci, replies
    from . import publish as publishing

    os.chdir(given.repository)
    report = Reporter()
    reason = ci.held_back(os.environ) if given.image is None else ''
    if reason:
        report.line(f'nothing published: {plain(reason)}')
        return 0
    want = wanted(given, os.environ)
    with _pushing(report):
        published = publishing.publish(want)
    verdict = replies.verdict(published.answer, want.name)
    _report(report, published, publishing.told(published, verdict), given.json)
    return int(verdict.refused)


def promote(given: argparse.Namespace) -> int:
    from ..messages.report import Reporter
    from . import canary, replies
    from . import promote as promoting

    if given.deadline <= given.after:
        raise errors.Usage('--deadline must be longer than --after')
    wanted = promoting.Wanted(
        given.to, given.source, canary.place(given.host), given.branch, given.name,
        canary.Wanted(given.after, given.deadline))
    report = Reporter()
    with _pushing(report):
        promoted = promoting.promote(wanted)
    verdict = replies.verdict(promoted.answer, given.name)
    _report(report, promoted, promoting.told(promoted, verdict), given.json)
    return int(verdict.refused)


def prune(given: argparse.Namespace) -> int:
    from ..messages.report import Reporter
    from . import prune as pruning

    os.chdir(given.repository)
    report = Reporter()
    with _pushing(report):
        pruned = pruning.prune(given.to, keep=given.keep, branch=given.branch,
                               history=given.history, dry_run=given.dry_run)
    _report(report, pruned, pruning.told(pruned, given.dry_run), given.json)
    return 0


@contextlib.contextmanager
def _pushing(report: Reporter) -> Iterator[None]:
    """Ended by a signal, as a CI ends a build, the deploy key does not stay behind in its file; and
    what the other side says when it declines is for a person to read."""
    from ..messages.report import plain
    from . import pushing

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    except pushing.Declined as declined:
        for line in declined.answer:
            report.line(f'remote: {plain(line)}')
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(
    report: Reporter, done: Published | Promoted | Pruned, told: list[str], as_json: bool
) -> None:
    if as_json:
        import json

        import msgspec

        told = [json.dumps(msgspec.to_builtins(done))]
    for text in told:
        report.line(text)


def wanted(given: argparse.Namespace, variables: Mapping[str, str]) -> Wanted:
    """The command line, completed from the CI's variables; raises Refused for what is missing."""
    from . import bundle, checkout, ci

    if given.image == '':
        raise errors.Usage('IMAGE is empty')
    path = Path(given.image) if given.image else ci.image(variables)
    bundle.require_file(path)
    to = given.to or ci.remote(variables)
    if not to:
        raise errors.Refused('no deployment repository is given', hint='--to REMOTE names it')
    source = given.source or checkout.source(variables)
    name = given.name or variables.get('XENIMG', '') or _named(path)
    if not re.fullmatch(NAME, name):
        raise errors.Refused(
            f'{name!r} cannot be the name of a unikernel',
            hint='--name: at most 40 letters, digits, dots and dashes, a letter or digit first',
        )
    return bundle.Wanted(
        image=path, to=to, name=name, source=_commit(source), layout=given.layout,
        compress=given.compress, keep=given.keep, branch=given.branch, dry_run=given.dry_run,
    )


def _commit(source: str) -> str:
    from . import layout

    if not source:
        raise errors.Refused(
            'the commit that the image was built from is not known',
            hint='commit the site first, and publish from its folder; or name it: --source COMMIT',
        )
    if not re.fullmatch(layout.COMMIT, source.lower()):
        raise errors.Refused(
            f'the source commit {source!r} is not 7 to 64 hexadecimal digits',
            hint='--source "$(git rev-parse HEAD)"',
        )
    return source.lower()


def _named(path: Path) -> str:
    """`mort.io` of `dist/mir-mort.io.xen.bz2`."""
    stem = re.sub(r'(\.(xen|hvt|spt|virtio))?(\.(bz2|gz|xz|zst))?$', '', path.name)
    return stem.removeprefix('mir-')


def duration(text: str) -> float:
    from ..config import fields

    if not re.fullmatch(r'[0-9]+(ms|s|m|h)', text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number and ms, s, m or h, such as 10m')
    return fields.seconds(text)


def _count(text: str) -> int:
    if not re.fullmatch(r'[1-9][0-9]{0,8}', text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number from 1')
    return int(text)
