"""Real systemd, as PID 1 of the rig's dom0: it keeps a release alive, and not one that would end
so again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import guests, rig
from tests.guests.scene import CACHE, needs
from tests.rig import wheels

pytestmark = needs('gcc')

SETTINGS = """
unikernels:
  www:
    image: unix/www
    network: {mode: socket, port: 8080, ipv4: 127.0.0.1/8}
    secrets: {message: /root/message}
    health: {http: 'http://127.0.0.1:8080/', within: 5m}
"""

SCRIPT = r"""
exec 2>&1
# Unpacked, not installed: pip itself would take minutes here.
for wheel in wheels/*.whl; do python3 -m zipfile -e "$wheel" /opt/site; done
export PYTHONPATH=/opt/site
cp /share/www /share/mirage.yml /root
cd /root
(umask 077; echo "it's \$5 \$\$ 50%" >message)
git config --global user.name site
git config --global user.email site@example.org
git init -qb master host
git -C host config mirage.config /root/mirage.yml
publish() {  # what follows the image's own bytes makes it another one
    mkdir -p host/unix
    { cat www; echo "$1"; } >host/unix/www
    chmod +x host/unix/www
    git -C host add -A
    git -C host commit -qm "$1"
}
told() { sed -E '/^ +[0-9.]+ s  /d; s/[0-9.]+ (kB|bytes), commit [0-9a-f]+/…/'; }
m() { python3 -m mirage_hooks -C host "$@" 2>&1 | told; }
unit() { systemctl list-units --all --plain --no-legend "mirage-hooks-*${1-}" | cut -d' ' -f1; }
shown() { systemctl show --value --property="$1" "$(unit)"; }
page() { curl -s --max-time 60 "http://127.0.0.1:8080/$1"; }
until_page() { for _ in $(seq 1500); do page "" >/dev/null && break; sleep 0.2; done; page "$1"; }

echo '- a release is a unit, and its secret is in its arguments alone'
publish one
m deploy
unit | sed 's/-[0-9a-f]*-www/-…-www/'
page args
systemctl show "$(unit)" | grep -cF '$5'
grep -rlF '$5' /run/systemd/transient
echo '- what is killed is started again by systemd'
kill -9 "$(shown MainPID)"
until_page args | tail -1
shown NRestarts
m deploy
echo '- stopped'
m stop www
unit | wc -l
echo '- one that ends is refused at once, though systemd would start it again'
{ head -1 mirage.yml; echo 'unikernels: {job: {image: unix/job}}'; } >job.yml
git -C host config mirage.config /root/job.yml
job() {  # without a network there is nothing to try it on
    printf '#!/bin/sh\nsleep %s\nexit %s\n' "$1" "$2" >host/unix/job
    git -C host add -A
    git -C host commit -qm "$*"
    m deploy
}
job 0.3 2
unit -job-* | wc -l
echo '- one that would end so again is not started again'
job 15 1
while [ "$(shown ActiveState)" = active ]; do sleep 0.5; done
m pull --quiet | sed -E 's/ [0-9]+ s after/ … s after/'
shown NRestarts
echo '- a timer pulls, and what it started outlives its run'
printf '#!/bin/sh\nPYTHONPATH=/opt/site exec python3 -m mirage_hooks "$@"\n' >/usr/bin/mirage-hooks
chmod +x /usr/bin/mirage-hooks
publish two
git clone -q host 'a 100% $HOME clone'
cd 'a 100% $HOME clone'
git config mirage.config /root/mirage.yml
install() { mirage-hooks install "$@" . 2>&1 | told | sed 's/pull-[0-9a-f]*/pull-…/'; }
install --timer | grep timer
pull=$(cd /etc/systemd/system; basename mirage-hooks-pull-*.timer .timer)
until_page "" >/dev/null
while [ "$(systemctl show --value --property=ActiveState "$pull")" = activating ]
do sleep 0.5; done
systemctl show --value --property=Result "$pull"
systemctl is-enabled "$pull.timer"
systemctl is-active "$pull.timer"
page "" >/dev/null && echo 'the page is there'
install --uninstall --stop
{ unit -www-*; unit "${pull#mirage-hooks-}*"; } | wc -l
ls /etc/systemd/system | grep -c mirage-hooks
page "" || echo 'no page'
"""
SAID = """\
- a release is a unit, and its secret is in its arguments alone
www: release 1 (unix, …) now runs
mirage-hooks-…-www-1.service
--ipv4=127.0.0.1/8
--port=8080
--message=it's $5 $$ 50%
0
- what is killed is started again by systemd
--message=it's $5 $$ 50%
1
www: release 1 (unix, …) runs, nothing to do
- stopped
www: release 1 was ended
www: stopped
0
- one that ends is refused at once, though systemd would start it again
www: stopped: it is no longer in mirage.yml
job: REFUSED: it ended with exit code 2
job: nothing runs
0
- one that would end so again is not started again
job: release 2 (unix, …) now runs
job: REFUSED: release 2 ended … s after its start, and would end so again: it ended with exit code 1
  hint: publish another image, or try it all the same: mirage-hooks start job
job: nothing runs
0
- a timer pulls, and what it started outlives its run
timer: at boot and 7min after each run; what it said: journalctl -u mirage-hooks-pull-….service
success
enabled
active
the page is there
timer: it is out
watcher: its unit is out
hooks: post-merge, post-receive, post-rewrite, pre-receive taken out of \
/root/a 100% $HOME clone/.git/hooks
www: release 1 was ended
kept: /root/mirage.yml
kept: git config mirage.config, which was set by hand
kept: /root/a 100% $HOME clone/.git/mirage-hooks, with the releases and the history
0
0
no page
"""


@pytest.mark.long
@pytest.mark.proves('unix/socket', "the host's port", 'a unit of systemd, PID 1 of the Xen rig; '
                    'killed, started again')
def test_systemd_keeps_what_serves_and_gives_up_what_does_not(
    xen: rig.Rig, tmp_path: Path
) -> None:
    wheels.carry(tmp_path)
    (tmp_path / 'mirage.yml').write_text(SETTINGS)
    shutil.copy(guests.build('socket', CACHE), tmp_path / 'www')
    assert xen.run(tmp_path, SCRIPT, systemd=True, timeout=3600) == rig.Result(0, SAID)
