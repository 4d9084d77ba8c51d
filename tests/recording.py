"""python -m tests.recording: play the demo, and put what it shows of a good and of a broken version
into README.md."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.deployment import ROOT

README = ROOT / 'README.md'
BEGIN, END = '<!-- python -m tests.recording makes this -->\n```text\n', '```\n<!-- to here -->\n'


def played() -> str:
    """The demo's two steps, without its folder, its port and its indentation; raises
    CalledProcessError when it fails."""
    with tempfile.TemporaryDirectory(prefix='recording-') as folder:
        done = subprocess.run(
            (sys.executable, '-I', '-m', 'mirage_hooks.demo', folder), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True, check=True,
        )
        Path(folder).mkdir(exist_ok=True)  # the demo removed it
    steps = done.stdout.partition('\n== Version 2')[2].partition('\n== Back to')[0]
    text = re.sub(r'127\.0\.0\.1:\d+', '127.0.0.1:8080', f'== Version 2{steps}'.rstrip())
    return re.sub(r'^ {3}', '', text, flags=re.MULTILINE) + '\n'


def recorded() -> str:
    """What README.md shows."""
    return README.read_text().partition(BEGIN)[2].partition(END)[0]


def pattern(line: str) -> str:
    """What `line` of a page stands for: … for anything, numbers and commits for any others."""
    parts = re.split(r'(…|\b[0-9a-f]{12}\b|\d+(?:\.\d+)?)', line)
    kinds = {'…': '.*', 'commit': '[0-9a-f]{12}', 'number': r'\d+(\.\d+)?'}
    return ''.join(
        re.escape(part) if index % 2 == 0 else kinds.get(part) or
        kinds['commit' if len(part) == 12 else 'number'] for index, part in enumerate(parts)
    )


def main() -> None:
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f'{before}{BEGIN}{played()}{END}{after}')


if __name__ == '__main__':
    main()
