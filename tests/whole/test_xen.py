"""Real Xen, end to end: mirage-hooks inside dom0 boots what is pushed there and what cron pulls."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import guests, rig
from tests.guests.scene import CACHE, needs
from tests.rig import wheels

pytestmark = needs('gcc')

SETTINGS = r"""
unikernels:
  www:
    image: xen/latest
    network: {mode: static, bridge: xenbr0, ipv4: 10.99.0.2/24}
    arguments: ['--message=hello "you"', --port=80]
    health: {http: 'http://10.99.0.2/', contains: hello, within: 10m}
    drain: 2s
"""
BLOG = r"""
unikernels:
  blog:
    image: xen/latest
    network: {mode: static, bridge: xenbr0, ipv4: 10.99.0.3/24}
    arguments: ['--message=good evening', --port=80]
    mirage: '3.8'
    health: {console: '^listening on 80/TCP', within: 10m}
    drain: 2s
"""

# www is a bare repository that its site pushes to; blog a clone that cron pulls from a hub.
INSTALL = f"""
{wheels.OFFLINE}
set -e
export PIP_NO_COMPILE=0  # means yes; under emulation each file costs
cd
git config --global user.name site
git config --global user.email site@example.org
git config --global init.defaultBranch master
for name in www blog; do
    git init -q $name-site
    git -C $name-site commit -q --allow-empty -m 'a site'
    git clone -q --bare $name-site $name.git
    git -C $name-site remote add origin ../$name.git
done
git clone -q blog.git blog
cp /share/*.yml .
printf '#!/bin/sh\\nsed 1,/^$/d >>/root/mail\\n' >/usr/sbin/sendmail
chmod +x /usr/sbin/sendmail
for name in www.git blog; do
    /share/mirage-hooks/install.sh --config ${{name%.git}}.yml --cron '* * * * *' $name
done >log 2>&1 || cat log
crontab -l
"""
INSTALLED = """\
* * * * * /opt/mirage-hooks/bin/mirage-hooks -C /root/www.git pull --quiet # mirage-hooks: /root/www.git
@reboot sleep 20; /opt/mirage-hooks/bin/mirage-hooks -C /root/www.git pull --quiet # mirage-hooks: /root/www.git
* * * * * /opt/mirage-hooks/bin/mirage-hooks -C /root/blog pull --quiet # mirage-hooks: /root/blog
@reboot sleep 20; /opt/mirage-hooks/bin/mirage-hooks -C /root/blog pull --quiet # mirage-hooks: /root/blog
"""  # noqa: E501

WORDS = r"""
exec 2>&1
cd
bridge() {
    ip link add xenbr0 type bridge
    ip link set xenbr0 address 02:00:00:00:00:01 up
    ip address add 10.99.0.1/24 dev xenbr0
}
told() {  # what a person reads, without times and sizes
    sed -E 's/^remote: //; s/ +$//; s/(by itself at).*:$/\1 …:/; /^ +[0-9.]+ s  /d
        s/xen.[0-9a-f]{40}.//
        s/[0-9.]+ kB, commit [0-9a-f]+/…/; s/mac=[0-9a-f:]+/mac=…/; s/at byte [0-9]+/at byte …/'
}
publish() {  # SITE IMAGE: as CI does
    commit=$(echo "$2" | sha1sum | cut -c-40)
    mkdir -p "$1-site/xen/$commit"
    bzip2 <"/share/$2" >"$1-site/xen/$commit/$1.xen.bz2"
    echo "$commit" >"$1-site/xen/latest"
    git -C "$1-site" add -A
    git -C "$1-site" commit -qm "adding $commit for xen"
    git -C "$1-site" push -q origin master 2>&1 | told
}
cron_is() {  # start or stop
    if [ -d /run/systemd/system ]; then systemctl "$1" cron
    elif [ "$1" = start ]; then cron
    else kill "$(cat /run/crond.pid)"
    fi
}
cron_is stop  # it runs when the test wants it: under emulation a minute is short
while pgrep -f CRON >/dev/null; do sleep 0.1; done  # nor what it began at boot
cron_run() {  # brings on cron's next minute, and waits until its jobs are done; what it mailed
    date -s "@$(($(date +%s) / 60 * 60 + 52))" >/dev/null
    cron_is start
    until pgrep -f CRON >/dev/null; do sleep 0.1; done
    sleep 5  # both lines
    cron_is stop  # its jobs go on
    while pgrep -f CRON >/dev/null; do sleep 0.5; done
    told <mail
    : >mail
}
page() { curl -s --max-time 60 "http://10.99.0.$1"; }
domains() { xl list | awk 'NR > 2 { print $1, $5 ~ /[scd]/ ? "dead" : "alive" }' | sort; }
gone() { while xl domid "$1" >/dev/null 2>&1; do sleep 1; done; }
www() { mirage-hooks -C www.git "$@" 2>&1 | told; }
"""

LIVE = r"""
bridge
: >mail
echo '- a push boots'
publish www www-1
page 2/args
www logs www | sed -E 's/started [^,]+, image [0-9a-f]+/started …, image …/'
echo '- cron pulls and boots'
publish blog blog-1
cron_run
page 3/args
domains
echo '- a push replaces'
publish www www-2
page 2/
gone www-1
domains
echo '- an image that crashes is refused, without a loop'
publish www www-crashes
page 2/
domains
before=$(xl domid www-2)
[ "$before" -le 5 ] || echo "loops: $before"
echo '- half an image is refused, and nothing is touched'
publish www www-half
[ "$(xl domid www-2)" = "$before" ] || echo touched
echo '- what crashes is back without cron, and cron says so'
page 2/crash
while now=$(xl domid www-2 2>/dev/null || echo none); [ "$now" = "$before" ] || [ "$now" = none ]
do sleep 1; done
until page 2/ >/dev/null; do sleep 1; done
page 2/
domains
cron_run
www history | grep -c '(keeper)$'
echo '- stop and start'
www stop www
cron_run
domains
www start www
page 2/
cut-power
"""
LIVED = """\
- a push boots
www: release 1 (xen pvh (Solo5 ABI 1), …) now runs
--ipv4=10.99.0.2/24
--ipv4-only=true
--message=hello "you"
--port=80
— release 1, started …, image … —
Dual TCP/IP stack assembled: mac=…,ip=10.99.0.2/24
listening on 80/TCP
- cron pulls and boots
blog: release 1 (xen pv, …) now runs
ipv4=10.99.0.3/24
message=good evening
port=80
blog-1 alive
www-1 alive
- a push replaces
www: release 2 (xen pvh (Solo5 ABI 1), …) now runs
2 hello "you"
blog-1 alive
www-2 alive
- an image that crashes is refused, without a loop
www: REFUSED: it ended
    | Solo5: ABORT
  its console: mirage-hooks logs www --failed
www: release 2 (xen pvh (Solo5 ABI 1), …) goes on running
2 hello "you"
blog-1 alive
www-2 alive
- half an image is refused, and nothing is touched
www: REFUSED: www.xen.bz2 is a truncated ELF file: a segment should end at byte … of 4000
  hint: build and publish the image again
www: release 2 (xen pvh (Solo5 ABI 1), …) goes on running
- what crashes is back without cron, and cron says so
2 hello "you"
blog-1 alive
www-2 alive
the keeper did this by itself at …:
www: release 2 had ended, and was started again
www: still refused: www.xen.bz2 is a truncated ELF file: a segment should end at byte … of 4000
  hint: build and publish the image again
www: release 2 (xen pvh (Solo5 ABI 1), …) goes on running
1
- stop and start
www: release 2 was ended
www: stopped
blog-1 alive
www: release 2 was started again
www: still refused: www.xen.bz2 is a truncated ELF file: a segment should end at byte … of 4000
  hint: build and publish the image again
www: release 2 (xen pvh (Solo5 ABI 1), …) goes on running
2 hello "you"
"""

AGAIN = r"""
cat /proc/1/comm
echo '- cron at host boot, with the network not yet there'
told <mail | sort -u  # cron may have come twice, where dom0 is slow
: >mail
domains
bridge
cron_run | sort
page 2/
page 3/
domains
echo '- a push and a pull replace'
publish www www-1
publish blog blog-2
cron_run
page 2/
page 3/
gone www-2
gone blog-1
domains
echo '- taken out of mirage.yml'
sed -i '/unikernels:/,$d' blog.yml
echo 'unikernels: {}' >>blog.yml
cron_run
domains
ip -o link show master xenbr0 | wc -l
"""
AGAINED = """\
systemd
- cron at host boot, with the network not yet there
  hint: make it (ip link add xenbr0 type bridge), or fix `bridge:` in mirage.yml
blog: REFUSED: the bridge xenbr0 does not exist
blog: nothing runs
www: REFUSED: www.xen.bz2 is a truncated ELF file: a segment should end at byte … of 4000; \
and release 2 does not start: the bridge xenbr0 does not exist
www: nothing runs
  hint: build and publish the image again
blog: release 1 (xen pv, …) runs again
www: release 2 (xen pvh (Solo5 ABI 1), …) goes on running
www: release 2 had ended, and was started again
www: still refused: www.xen.bz2 is a truncated ELF file: a segment should end at byte … of 4000
2 hello "you"
1 good evening
blog-1 alive
www-2 alive
- a push and a pull replace
www: release 5 (xen pvh (Solo5 ABI 1), …) now runs
blog: release 2 (xen pv, …) now runs
1 hello "you"
2 good evening
blog-2 alive
www-5 alive
- taken out of mirage.yml
blog: stopped: it is no longer in mirage.yml
www-5 alive
1
"""

# Here the test is Pacemaker, on one host: no cluster is needed to call its agent.
PLACED = r"""
bridge
publish www www-1
export OCF_ROOT=/root/ocf OCF_RESKEY_repository=/root/www.git OCF_RESKEY_name=www
agent() {  # ACTION: as Pacemaker calls it, and its exit code
    "$OCF_ROOT/resource.d/mirage-hooks/unikernel" "$1" 2>&1 | told
    echo "$1: ${PIPESTATUS[0]}"
}
echo '- what runs is handed to Pacemaker, which looks after it from now on'
before=$(xl domid www-1)
sed -i 's/^    drain: 2s/&\n    placement: pacemaker/' www.yml
www deploy
mirage-hooks install --pacemaker www.git | sed -n 1p
agent monitor
OCF_CHECK_LEVEL=10 agent monitor
[ "$(xl domid www-1)" = "$before" ] || echo touched
echo '- ended, it is not running, and what is pushed is proved on the stage alone'
agent stop
agent monitor
publish www www-2
domains
echo '- started, and destroyed behind its back: nobody but Pacemaker starts it again'
agent start
page 2/
domains
xl destroy www-2 2>/dev/null
agent monitor
www pull
domains
echo '- a start that was killed leaves nothing after a stop'
"$OCF_ROOT/resource.d/mirage-hooks/unikernel" start >/dev/null 2>&1 &
starting=$!
until pgrep -f '^xl create|/xl create' >/dev/null; do sleep 0.1; done
pkill -KILL -f 'mirage_hooks ocf start'
wait "$starting"
agent stop
domains
echo '- without its bridge it is not well here, and does not start'
agent start
page 2/
ip link del xenbr0
agent monitor | grep -x 'monitor: 0'
agent stop
agent start
domains
"""
PLACED_SAID = """\
www: release 1 (xen pvh (Solo5 ABI 1), …) now runs
- what runs is handed to Pacemaker, which looks after it from now on
www: release 1 (xen pvh (Solo5 ABI 1), …) runs, nothing to do
agent: /root/ocf/resource.d/mirage-hooks/unikernel, as ocf:mirage-hooks:unikernel
monitor: 0
monitor: 0
- ended, it is not running, and what is pushed is proved on the stage alone
stop: 0
monitor: 7
www: release 2 (xen pvh (Solo5 ABI 1), …) is now ready here: Pacemaker decides where it runs
- started, and destroyed behind its back: nobody but Pacemaker starts it again
start: 0
2 hello "you"
www-2 alive
monitor: 7
www: release 2 (xen pvh (Solo5 ABI 1), …) is ready here: Pacemaker decides where it runs
- a start that was killed leaves nothing after a stop
stop: 0
- without its bridge it is not well here, and does not start
start: 0
2 hello "you"
stop: 0
ocf-exit-reason:the bridge xenbr0 does not exist; make it \
(ip link add xenbr0 type bridge), or fix `bridge:` in mirage.yml
start: 1
"""


@pytest.fixture(scope='module')
def installed(xen: rig.Rig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with mirage-hooks installed in dom0, offline."""
    folder = tmp_path_factory.mktemp('installed')
    wheels.carry(folder)
    (folder / 'www.yml').write_text(SETTINGS)
    (folder / 'blog.yml').write_text(BLOG)
    disk = folder.with_name('installed.qcow2')
    assert xen.run(folder, INSTALL, disk=disk, timeout=3600) == rig.Result(0, INSTALLED)
    return disk


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """What is published, by name."""
    images = {
        'www-1': guests.build('pvh', CACHE),
        'www-2': guests.build('pvh', CACHE, '2'),
        'www-crashes': guests.build('pvh', CACHE, '3', fail='CRASH'),
        'blog-1': guests.build('pv', CACHE),
        'blog-2': guests.build('pv', CACHE, '2'),
    }
    for name, image in images.items():
        shutil.copy(image, tmp_path / name)
    (tmp_path / 'www-half').write_bytes(images['www-2'].read_bytes()[:4000])
    return tmp_path


@pytest.mark.long
@pytest.mark.proves('xen PVH', 'static', 'Xen in QEMU, push, cron, host boot; page fetched')
@pytest.mark.proves('xen PV', 'static', 'Xen in QEMU, push, cron, host boot; page fetched')
def test_push_and_cron_boot_replace_and_bring_back_across_a_host_reboot(
    xen: rig.Rig, installed: Path, share: Path
) -> None:
    disk = share / 'disk.qcow2'
    shutil.copy(installed, disk)
    lived = xen.run(share, WORDS + LIVE, disk=disk, timeout=3600)
    assert (lived.output, lived.code) == (LIVED, 0)
    again = xen.run(share, WORDS + AGAIN, disk=disk, systemd=True, timeout=3600)
    assert (again.output, again.code) == (AGAINED, 0)


@pytest.mark.long
@pytest.mark.proves('xen PVH', 'static', 'Xen in QEMU, by the resource agent of Pacemaker; page '
                    'fetched')
def test_the_resource_agent_starts_looks_after_and_ends_a_domain(
    xen: rig.Rig, installed: Path, share: Path
) -> None:
    disk = share / 'disk.qcow2'
    shutil.copy(installed, disk)
    placed = xen.run(share, WORDS + PLACED, disk=disk, timeout=3600)
    assert (placed.output, placed.code) == (PLACED_SAID, 0)
