"""The original's host scripts, rewritten from their description: what ours is measured against.

As they were: every merge reads xen/latest, destroys the domain, unpacks and creates it again;
`xl` is a stub: it does nothing, so that only the scripts' own cost is seen, or runs the image as a
process of this host."""

from __future__ import annotations

from pathlib import Path

HOOK = """#!/bin/sh
set -e
unset GIT_DIR
PATH={stubs}:$PATH
release=$(cat xen/latest)
kernel=$PWD/xen/$release/{name}
sed -e "s,@NAME@,{name},; s,@KERNEL@,$kernel," > xl.conf <<'CONF'
name = '@NAME@'
kernel = '@KERNEL@'
builder = 'linux'
memory = 256
on_crash = 'restart'
vif = ['bridge=xenbr0']
CONF
xl destroy {name} || true
[ ! -f "$kernel.bz2" ] || bunzip2 -kf "$kernel.bz2"
xl create xl.conf
"""

# `xl create` came back when the domain was built, not when it served.
RUNS = """#!/bin/sh
case $1 in
    destroy) [ ! -e {folder}/pid ] || kill "$(cat {folder}/pid)" ;;
    create)
        kernel=$(sed -n "s/^kernel = '\\(.*\\)'/\\1/p" "$2")
        setsid "$kernel" --ipv4=127.0.0.1/8 --port={port} </dev/null >/dev/null 2>&1 &
        echo $! >{folder}/pid ;;
esac
"""


def install(clone: Path, folder: Path, name: str = 'www', port: int | None = None) -> None:
    """Put the original's post-merge hook into `clone`, with a stub `xl` below `folder`; with a
    `port` it runs the image there."""
    stubs = folder / 'stubs'
    stubs.mkdir(exist_ok=True)
    text = '#!/bin/sh\nexit 0\n' if port is None else RUNS.format(folder=stubs, port=port)
    (stubs / 'xl').write_text(text)
    (stubs / 'xl').chmod(0o755)
    hook = clone / '.git' / 'hooks' / 'post-merge'
    hook.write_text(HOOK.format(stubs=stubs, name=name))
    hook.chmod(0o755)
