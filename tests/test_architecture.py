"""The map of the rooms, drawn from the code: imports go down."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import mirage_hooks
from tests.deployment import ROOT, run

PACKAGE = Path(mirage_hooks.__file__).parent

FLOORS = (
    ('model', 'errors', 'settled'),
    ('alarm', 'config', 'store', 'journal', 'secret', 'image', 'tree', 'discovery', 'objects',
     'references', 'repository', 'host', 'commitform'),
    ('targets', 'trust'),
    ('report', 'switching'),
    ('deploying',),
    ('deploy', 'drainer', 'keeper', 'pull', 'view', 'notify', 'checking', 'installing', 'site',
     'demo'),
    ('cli', 'hook', '__main__'),
)
"""From the ground up; `__init__` holds only the version, which all may know."""

LEVEL = {
    ('host', 'store'), ('journal', 'store'), ('objects', 'alarm'), ('objects', 'discovery'),
    ('references', 'objects'), ('repository', 'discovery'), ('repository', 'objects'),
    ('repository', 'references'), ('repository', 'tree'), ('checking', 'installing'),
    ('cli', 'hook'), ('hook', 'cli'), ('__main__', 'cli'),
}
"""Imports on one floor; a new one is to be thought over."""

EDGES = {
    'git': {'repository', 'site'}, 'sh': {'host'},
    'yaml': {'config'}, 'elftools': {'image'},
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


def test_every_room_is_on_a_floor() -> None:
    known = {one for floor in FLOORS for one in floor}
    assert {room(path) for path in FILES} - {'__init__'} == known


def test_imports_go_down() -> None:
    floor = {one: index for index, rooms in enumerate(FLOORS) for one in rooms}
    assert {(a, b) for a, b in drawn() if floor[a] <= floor[b]} == LEVEL


def test_only_the_edges_know_their_packages() -> None:
    found = {
        (name.split('.')[0], room(path)) for path in FILES for name in imports(path)
        if name.split('.')[0] in EDGES
    }
    assert found == {(package, one) for package, rooms in EDGES.items() for one in rooms}


def test_only_the_doors_run_programs() -> None:
    """`settled`, `discovery`, `objects` and `hook` ask git without GitPython, `hook` runs the
    earlier hook, `keeper` a converge, `launcher` in `switching` only names the type; the demo is
    a program of its own."""
    found = {room(path) for path in FILES for name in imports(path)
             if name.split('.')[0] == 'subprocess'}
    assert found == {
        'host', 'settled', 'discovery', 'objects', 'hook', 'switching', 'demo', 'keeper'
    }


def test_the_quick_way_imports_the_standard_library_alone() -> None:
    program = (
        'import sys; before = set(sys.modules); from mirage_hooks import hook, settled; '
        'print(sorted(m for m in set(sys.modules) - before '
        'if m.split(".")[0] not in sys.stdlib_module_names))'
    )
    done = run(sys.executable, '-I', '-c', program, cwd=ROOT)
    assert done.stdout == "['mirage_hooks', 'mirage_hooks.hook', 'mirage_hooks.settled']\n"


def test_the_state_is_opened_by_its_door_alone() -> None:
    """`store.opened` looks whose it is; `Store` itself believes."""
    found = {path.name for path in FILES if re.search(r'\bStore\(', path.read_text())}
    assert found == {'store.py'}


def test_targets_plan_and_do_nothing() -> None:
    """A target gets all that it knows by its request: no file, no process, no network."""
    acts = {'subprocess', 'socket', 'shutil', 'psutil', 'sh', 'pathlib'}
    found = {name for path in FILES if room(path) == 'targets' for name in imports(path)}
    assert {name for name in found if name.split('.')[0] in acts} == set()
