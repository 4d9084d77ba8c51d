"""A cluster's part: the resource agent on this host, and what Pacemaker is told of the unikernels
that mirage.yml has it place."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from .. import __version__, config
from ..git.repository import Repository
from ..host import pacemaker, programs
from ..messages import errors
from ..state import files, store
from . import installation

ROOT = '/usr/lib/ocf'  # where Pacemaker looks, but for OCF_ROOT
AGENT = 'resource.d/mirage-hooks/unikernel'
PREFERRED = 1000  # points for the first of the hosts that are preferred; one that runs has 100
PATIENCE = 60.0  # seconds that a change of the cluster's configuration may take

Command = tuple[str, ...]
Constraint = tuple[str, dict[str, str]]
"""An element of the CIB's, and those of its attributes that make it what it is."""


def install(path: Path, apply: bool) -> list[str]:
    """Put the agent on this host, and have Pacemaker told of what mirage.yml of the repository at
    `path` has it place: say the commands, or, with `apply`, run them. What was done, for a person.
    Raises Refused where nothing is to be placed, or a command fails."""
    where = Repository(path)
    wanted = store.settings(where.config_path()).unikernels
    chosen = {name: one for name, one in wanted.items() if one.placed is not None}
    if not chosen:
        raise errors.Refused(
            'mirage.yml has Pacemaker place nothing',
            hint='write `placement: pacemaker` for a unikernel; see docs/several-hosts.md')
    said = [*_put_agent(Path(os.environ.get('OCF_ROOT', ROOT), AGENT))]
    if not apply:
        said.append('once the agent and mirage.yml are on every host, on one of them (or with '
                    '--apply):')
        return [*said, *(f'  {shlex.join(command)}' for name, one in chosen.items()
                         for command in commands(where.folder, name, one))]
    for name, one in chosen.items():
        said += _applied(where.folder, name, one)
    return said


def commands(repository: Path, name: str, wanted: config.Unikernel) -> Iterator[Command]:
    """What tells Pacemaker of `wanted`, which is called `name` in mirage.yml of `repository`."""
    placed = wanted.placed or config.Placement()
    resource = placed.called(name)
    longest = f'{2 * config.serving(wanted) + 60:.0f}s'  # a start may try two releases
    yield (
        # Started before its constraints are there it might run on the wrong host.
        'pcs', 'resource', 'create', '--disabled', resource, 'ocf:mirage-hooks:unikernel',
        f'repository={repository}', f'name={name}',
        'op', 'start', 'interval=0s', f'timeout={longest}',
        'stop', 'interval=0s', f'timeout={longest}',
        'monitor', f'interval={placed.monitor}', f'timeout={longest}',
        *_deep(wanted, placed, longest),
        # Where it runs it stays; a host on which it ended thrice is left for ten minutes.
        'meta', 'resource-stickiness=100', 'migration-threshold=3', 'failure-timeout=600s',
        *(('clone', 'interleave=true') if placed.clone else ()),
    )
    yield from (command for _, command in _constraints(resource, placed))
    yield 'pcs', 'resource', 'enable', resource


def _constraints(resource: str, placed: config.Placement) -> Iterator[tuple[Constraint, Command]]:
    """Where and after what `resource` may run: what the cluster's configuration has of each, and
    the command that puts it there."""
    resource += '-clone' if placed.clone else ''
    add = ('pcs', 'constraint')
    for other in dict.fromkeys((*placed.after, *placed.together)):
        yield (('rsc_order', {'first': other, 'then': resource}),
               (*add, 'order', other, 'then', resource))
    for other in placed.together:
        yield (('rsc_colocation', {'rsc': resource, 'with-rsc': other}),
               (*add, 'colocation', 'add', resource, 'with', other))
    for rank, node in enumerate(placed.prefer):
        score = PREFERRED * (len(placed.prefer) - rank)
        yield (('rsc_location', {'rsc': resource, 'node': node}),
               (*add, 'location', resource, 'prefers', f'{node}={score}'))


def _deep(wanted: config.Unikernel, placed: config.Placement, longest: str) -> Command:
    """That Pacemaker asks it, too, where the watcher does not restart what is silent: else both
    would."""
    if wanted.watched is not None and wanted.watched.heal != 'never':
        return ()
    every = 3 * config.seconds(placed.monitor)
    return ('monitor', f'interval={every:.0f}s', f'timeout={longest}', 'OCF_CHECK_LEVEL=10')


def _put_agent(agent: Path) -> Iterator[str]:
    text = Path(__file__).with_name('unikernel.sh').read_text()
    text = text.replace('@PYTHON@', shlex.quote(str(installation.programs()[0])))
    text = text.replace('@VERSION@', __version__)
    if agent.exists() and agent.read_text(errors='replace') == text:
        yield f'agent: unchanged in {agent}'
        return
    files.require_writable(agent.parent)
    with files.writing(agent):
        agent.parent.mkdir(parents=True, exist_ok=True)
        fresh = agent.with_name('.unikernel.new')  # Pacemaker takes what begins with a dot for none
        fresh.write_text(text)
        fresh.chmod(0o755)
        fresh.replace(agent)
    yield f'agent: {agent}, as ocf:mirage-hooks:unikernel'


def _applied(repository: Path, name: str, wanted: config.Unikernel) -> Iterator[str]:
    placed = wanted.placed or config.Placement()
    resource, run = placed.called(name), list(commands(repository, name, wanted))
    if _is_there(resource):
        yield (f'{resource}: Pacemaker has it already, and it is left as it is; to change it: pcs '
               f'resource update {resource} …; where it is disabled: pcs resource enable '
               f'{resource}')
        there = pacemaker.constraints()
        run = [command for (kind, wanted_), command in _constraints(resource, placed)
               if not any(kind == one and wanted_.items() <= has.items() for one, has in there)]
    for command in run:
        programs.run(*command, timeout=PATIENCE)
        yield shlex.join(command)


def _is_there(resource: str) -> bool:
    """Whether the cluster has a resource of this name; raises Unavailable where none runs here."""
    found = programs.run('crm_resource', '--list-raw', timeout=PATIENCE)
    return any(line.partition(':')[0] == resource for line in found.split())

