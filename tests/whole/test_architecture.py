"""The map of the rooms, drawn from the code: imports go down, and nothing grows too long."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import mirage_hooks
from tests.deployment import ROOT, Deployment, git, run, web

PACKAGE = Path(mirage_hooks.__file__).parent

PAGE = ROOT / 'docs' / 'architecture.md'

FLOORS = (
    ('messages',),
    ('config', 'image'),
    ('state',),
    ('git', 'host', 'targets'),
    ('switching',),
    ('deploying', 'demo', 'installing', 'site', 'watching'),
    ('cli',),
)
"""From the ground up; `__init__` holds only the version, which all may know."""

ENTRANCES = {'__main__', 'hook', 'keeper'}
"""Above all floors: what Python, git's hooks and a converge start."""

EDGES = {
    'git': {'site'}, 'sh': {'host'}, 'prometheus_client': {'watching'},
    'jinja2': {'watching'}, 'markupsafe': {'watching'}, 'dns': {'switching'},
    'cryptography': {'state'},
    'yaml': {'config'}, 'elftools': {'image'}, 'tqdm': {'messages'},
}
"""Packages that only some rooms know."""


def room(path: Path) -> str:
    """`targets` of `mirage_hooks/targets/xen.py`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imports(path: Path) -> list[str]:
    """The absolute names of what the file at `path` imports, wherever in it."""
    here = ['mirage_hooks', *path.relative_to(PACKAGE).with_suffix('').parts]
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: -node.level] if node.level else []
            module = '.'.join([*base, *(node.module.split('.') if node.module else [])])
            names += [f'{module}.{one.name}' for one in node.names]
    return names


FILES = sorted(path for path in PACKAGE.rglob('*.py') if 'templates' not in path.parts)


def drawn() -> set[tuple[str, str]]:
    """Every (importer, imported) pair of rooms."""
    rooms = {room(path) for path in FILES}
    return {
        (room(path), name.split('.')[1]) for path in FILES for name in imports(path)
        if name.startswith('mirage_hooks.') and name.split('.')[1] in rooms - {room(path)}
    }


def defined(path: Path) -> set[str]:
    """Every function and class in the file at `path`; none where there is no file."""
    if not path.exists():
        return set()
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {one.name for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, kinds)}


def test_every_room_is_on_a_floor() -> None:
    known = {one for floor in FLOORS for one in floor} | ENTRANCES
    assert {room(path) for path in FILES} - {'__init__'} == known


def test_imports_go_down() -> None:
    floor = {one: index for index, rooms in enumerate((*FLOORS, ENTRANCES)) for one in rooms}
    assert {(a, b) for a, b in drawn() if floor[a] <= floor[b]} == set()


def test_the_page_draws_these_floors() -> None:
    picture = PAGE.read_text().split('```')[1]
    floors = [set(re.findall(r'│ (\w+)', part)) for part in re.split('─+┼─+', picture)]
    assert floors == [set(rooms) for rooms in (ENTRANCES, *reversed(FLOORS))]


def test_the_page_names_what_there_is() -> None:
    """As `deploying/deploy.py` `converge`, `_unchanged`: a file, and what it defines."""
    found = re.findall(r'`([\w/]+\.py)`((?:,? `\w+`)+)', PAGE.read_text())
    named = [(file, name) for file, names in found for name in re.findall(r'\w+', names)]
    lost = [(file, name) for file, name in named if name not in defined(PACKAGE / file)]
    assert named and lost == []


def test_only_the_edges_know_their_packages() -> None:
    found = {
        (name.split('.')[0], room(path)) for path in FILES for name in imports(path)
        if name.split('.')[0] in EDGES
    }
    assert found == {(package, one) for package, rooms in EDGES.items() for one in rooms}


def test_only_the_doors_run_programs() -> None:
    """Next to `host`: git is asked without GitPython, `hooks` runs the earlier hook, `keeper` a
    converge, `launcher` only names the type; the demo is a program of its own."""
    found = {path.relative_to(PACKAGE).as_posix() for path in FILES for name in imports(path)
             if name.split('.')[0] == 'subprocess' and room(path) != 'host'}
    assert found == {
        'cli/hooks.py', 'demo/transcript.py', 'git/catfile.py', 'git/discovery.py',
        'git/objects.py', 'keeper.py', 'state/fastpath.py', 'switching/launcher.py',
    }


LONGEST = {'file': 250, 'class': 150, 'function': 40}
"""Lines, from the first to the last."""


def test_nothing_is_too_long_to_be_read() -> None:
    found = {
        f'{path.relative_to(PACKAGE)}: {kind} {name} has {length} lines'
        for path in FILES for kind, name, length in lengths(path) if length > LONGEST[kind]
    }
    assert found == set()


def lengths(path: Path) -> Iterator[tuple[str, str, int]]:
    """The kind, name and lines of the file at `path`, and of all that is defined in it."""
    text = path.read_text()
    yield 'file', path.stem, len(text.splitlines())
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            kind = 'class' if isinstance(node, ast.ClassDef) else 'function'
            yield kind, node.name, (node.end_lineno or 0) - node.lineno + 1


def test_the_fast_path_imports_the_standard_library_alone() -> None:
    program = (
        'import sys; before = set(sys.modules); from mirage_hooks import hook; '
        'print(*sorted(m for m in set(sys.modules) - before '
        'if m.split(".")[0] not in sys.stdlib_module_names))'
    )
    done = run(sys.executable, '-I', '-c', program, cwd=ROOT)
    assert done.stdout.split() == [f'mirage_hooks{one}' for one in (
        '', '.cli', '.cli.hooks', '.hook', '.state', '.state.caller', '.state.fastpath',
        '.state.ownership', '.state.pipe', '.state.proc',
    )]


def test_the_state_is_opened_by_its_door_alone() -> None:
    """`store.opened` looks whose it is; `Store` itself believes."""
    found = {path.name for path in FILES if re.search(r'\bStore\(', path.read_text())}
    assert found == {'store.py'}


def test_targets_plan_and_do_nothing() -> None:
    """A target gets all that it knows by its request: no file, no process, no network."""
    acts = {'subprocess', 'socket', 'shutil', 'psutil', 'sh', 'pathlib'}
    found = {name for path in FILES if room(path) == 'targets' for name in imports(path)}
    assert {name for name in found if name.split('.')[0] in acts} == set()


HEAVY = {
    'git', 'gitdb', 'yaml', 'sh', 'asyncio', 'ssl', 'http', 'email', 'urllib.request', 'ctypes',
    'backports', 'tqdm', 'prometheus_client', 'jinja2', 'markupsafe',
    'cryptography', 'dns', 'tarfile', 'xml',
}
"""What takes long to import, and a deployment needs none of: GitPython first."""


def heavy(deployment: Deployment, *command: str) -> tuple[set[str], str]:
    """What of HEAVY `mirage-hooks` has loaded at its end, and what it printed."""
    program = (
        'import sys; from mirage_hooks.cli.main import main; code = main(sys.argv[1:]); '
        f'print(code, *sorted(set(sys.modules) & {HEAVY!r}))'
    )
    done = run(sys.executable, '-I', '-c', program, '-C', str(deployment.host), *command, cwd=ROOT)
    said, _, last = done.stdout.rstrip('\n').rpartition('\n')
    code, *loaded = last.split(' ')
    assert code == '0', done.stdout
    return set(loaded), said


def test_a_deployment_imports_nothing_heavy(serving: Deployment) -> None:
    """Where mirage.yml is as it was: else it is read as YAML. Only an answer loads ctypes."""
    serving.publish(web('two'), 'b' * 40)
    git(serving.host, 'fetch', '-q')
    git(serving.host, 'update-ref', 'refs/heads/master', 'refs/remotes/origin/master')
    loaded, said = heavy(serving, 'deploy')
    assert said.endswith('now runs')
    assert loaded == {'ctypes'}
    loaded, said = heavy(serving, 'rollback', 'www')
    assert said.endswith('`deploy`')
    assert loaded == {'ctypes'}
    assert heavy(serving, 'status')[0] == {'ctypes'}
    assert heavy(serving, 'probe', 'www')[0] == {'ctypes'}
