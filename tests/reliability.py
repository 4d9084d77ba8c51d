"""Runs the long reliability tests and writes docs/reliability.md: python -m tests.reliability

Options set how long: --kills 1000 --at-once 50 --switches 100 --bad 100 --fuzz 5000
--stride 1, the numbers that the figures are meant to have. What fails or is skipped is written
down as such."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PAGE = ROOT / 'docs' / 'reliability.md'
NOBODY = 65534
PARTS = {
    'Killed anywhere': ('whole/test_killed.py',),
    'All at once': ('deploying/test_concurrency.py',),
    'Under load': ('switching/test_load.py', 'switching/test_overlap.py'),
    'Under load, as an ordinary user': ('switching/test_load.py',),
    'By DHCP': ('switching/test_leasing.py',),
    'Faults of the host': ('deploying/test_faults.py',),
    'Hostile repositories': ('whole/test_hostile.py', 'whole/test_bad_inputs.py'),
    'Fuzz': ('whole/test_fuzz.py', 'image/test_image_fuzz.py'),
}
ABOUT = {
    'Killed anywhere': 'After each kill one converge follows; then exactly one healthy release '
    'runs and nothing else is left: no process, tap, rule, temporary file, release or lock. Old '
    'releases are pruned at every switch.',
    'Under load': 'A visitor asks every 2 ms. By `replace` a boot lies between the end of the old '
    'release and the first answer of the new one. `overlap` boots the new one next to the old one.',
    'By DHCP': 'A visitor asks every 2 ms, from the wire and from beyond the gateway. Between any '
    'two switches comes an image that crashes. Each server has one address to lease.',
    'Hostile repositories': 'Every program that a push and a pull execute is traced and compared '
    'with the few that may run; all that is printed is searched for what a terminal would obey.',
}


class Result(NamedTuple):
    """What a test file came to."""

    passed: int
    failed: list[str]
    skipped: list[str]
    figures: list[tuple[str, str]]
    seconds: float


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m tests.reliability', description=__doc__)
    for name, number in (('kills', 1000), ('at-once', 50), ('switches', 100), ('bad', 100),
                         ('fuzz', 5000), ('stride', 1)):
        parser.add_argument(f'--{name}', type=int, default=number, metavar='N')
    parser.add_argument('parts', nargs='*', metavar='PART', help='only these; the others stay')
    given = vars(parser.parse_args())
    parts = given.pop('parts') or list(PARTS)
    for name, number in given.items():
        os.environ[f'MIRAGE_HOOKS_{name.upper()}'] = str(number)
    numbers = ' '.join(f'--{name.replace("_", "-")} {number}' for name, number in given.items())
    how = f'{machine()} Made by `python -m tests.reliability {numbers}`.\n'
    failed = False
    for title in parts:
        print(f'== {title}', flush=True)
        found = [result for file in PARTS[title]
                 if (result := ran(file, 'user' in title)) is not None]
        failed = failed or any(result.failed for result in found)
        kept = sections()
        kept[title] = f'{section(title, found)}\n{how}'
        PAGE.write_text('\n'.join(['# Reliability\n', *(
            kept.get(title, f'## {title}\n\nNot measured yet.\n') for title in PARTS)]))
    return int(failed)


def sections() -> dict[str, str]:
    """The page's sections as they are now, by title."""
    text = PAGE.read_text() if PAGE.exists() else ''
    found = [f'## {part.rstrip()}\n' for part in text.split('\n## ')[1:]]
    return {part[3 : part.index('\n')]: part for part in found}


def machine() -> str:
    """When and where this was measured."""
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    names = [line.partition(':')[2].strip() for line in
             Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')]
    load = os.getloadavg()[0]
    return (
        f'{time.strftime("%Y-%m-%d")}, Linux {platform.release()}, {os.cpu_count()} CPUs '
        f'({names[0] if names else platform.machine()}), {memory:.0f} GiB of memory, '
        f'Python {platform.python_version()}, {version("git")}; load {load:.1f} when it began.'
    )


def version(program: str) -> str:
    said = subprocess.run((program, '--version'), capture_output=True, text=True, check=False)
    return said.stdout.strip()


def ran(file: str, as_user: bool) -> Result | None:
    """The result of tests/`file`, None when there is none; as nobody where root asks `as_user`."""
    path = ROOT / 'tests' / file
    if not path.exists():
        return None
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, 'report.xml')
        command = (sys.executable, '-m', 'pytest', '-q', '--all', f'--junitxml={report}', str(path))
        if as_user and os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
            command = ('setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups',
                       'env', f'HOME={folder}', *command, '-p', 'no:cacheprovider')
        subprocess.run(command, cwd=ROOT, check=False)
        # Our own pytest wrote it: no hostile XML.
        return _read(ElementTree.parse(report).getroot())


def _read(root: ElementTree.Element) -> Result:
    cases = list(root.iter('testcase'))
    bad = [case.get('name', '') for case in cases
           if case.find('failure') is not None or case.find('error') is not None]
    skipped = sorted({str(one.get('message')) for case in cases for one in case.iter('skipped')})
    figures = [(str(one.get('name')), str(one.get('value')))
               for case in cases for one in case.iter('property')]
    left_out = sum(case.find('skipped') is not None for case in cases)
    seconds = sum(float(case.get('time', 0)) for case in cases)
    return Result(len(cases) - len(bad) - left_out, bad, skipped, figures, seconds)


def section(title: str, results: list[Result]) -> str:
    lines = [f'## {title}\n']
    if title in ABOUT:
        lines += [f'{ABOUT[title]}\n']
    if not results:
        return '\n'.join([*lines, 'Not measured.\n'])
    figures = [figure for result in results for figure in result.figures]
    if figures:
        lines += ['| what | found |', '|---|---|',
                  *(f'| {what} | {found} |' for what, found in figures), '']
    lines += [f'{sum(one.passed for one in results)} tests passed in '
              f'{sum(one.seconds for one in results):.0f} s.']
    lines += [f'FAILED: {name}' for one in results for name in one.failed]
    lines += [f'Skipped: {reason}' for one in results for reason in one.skipped]
    return '\n'.join([*lines, ''])


if __name__ == '__main__':
    sys.exit(main())
