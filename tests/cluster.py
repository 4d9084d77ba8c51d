"""Three hosts on this machine, and a real cluster on them: each is a network, PID, mount, UTS and
IPC namespace over an overlay of this system, with Debian's corosync and Pacemaker, and no systemd.
Their bridges share a wire, on which a visitor asks; a second network is the cluster's own.

Who fences is the test: the fence agent on a host asks for it in a folder that all share, and the
host's first process, and so every process of it, is ended from outside."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from tests.deployment import git, run
from tests.patience import PATIENCE, until
from tests.wired import ADDRESS, GATEWAY, Asking, act, guest

NAMES = ('alpha', 'beta', 'gamma')
REPOSITORY = Path('/srv/www')
PROGRAMS = ('corosync', 'pacemakerd', 'pcs', 'crm_resource', 'nsenter', 'unshare', 'gcc', 'nft')
SBIN = f'{os.environ.get("PATH", "")}:/usr/sbin:/sbin'

# What is process 1 of a host: it takes up what has lost its parent.
FIRST = """import os, time
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
"""

BOOT = """set -e
mount -t tmpfs tmpfs "$own"
mkdir "$own/up" "$own/work" "$own/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$own/up,workdir=$own/work" "$own/root"
cd "$own/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs tmpfs run
mount --bind "$shared" ".$shared"
mkdir -p .old run/crm run/lock srv
pivot_root . .old
umount -l /.old
rm -rf /var/lib/pacemaker/cib/* /var/lib/pacemaker/pengine/* /var/lib/corosync/* /srv/www
chown hacluster:haclient /run/crm
hostname "$name"
exec "$python" -ISc "$first"
"""

COROSYNC = """totem {{
    version: 2
    cluster_name: test
    token: 1000
    secauth: off
    crypto_cipher: none
    crypto_hash: none
}}
system {{
    sched_rr: no
    move_to_root_cgroup: no
}}
logging {{
    to_logfile: yes
    logfile: /var/log/corosync.log
    to_syslog: no
}}
quorum {{
    provider: corosync_votequorum
}}
nodelist {{
{nodes}}}
"""

FENCE = """#!/bin/sh
# Asks the test to end a host, and waits until it has.
action='' port=''
while read -r line; do
    case $line in
        action=*) action=${line#*=} ;;
        port=*|nodename=*|plug=*) port=${line#*=} ;;
    esac
done
case ${1-} in -o) action=$2 ;; esac
case $action in
metadata)
    cat <<END
<?xml version="1.0" ?>
<resource-agent name="fence_test" shortdesc="the test's">
<longdesc>Ends a host of the test.</longdesc>
<vendor-url>https://example.org/</vendor-url>
<parameters>
<parameter name="port" unique="0" required="1">
<getopt mixed="-n"/><content type="string"/><shortdesc lang="en">the host</shortdesc>
</parameter>
</parameters>
<actions><action name="on"/><action name="off"/><action name="reboot"/><action name="status"/>
<action name="monitor"/><action name="metadata"/></actions>
</resource-agent>
END
    exit ;;
monitor|status|on|validate-all) exit 0 ;;
esac
[ ! -e "SHARED/broken" ] || exit 1
: >"SHARED/end-$port"
while [ -e "SHARED/end-$port" ]; do sleep 0.05; done
"""


def missing() -> str:
    """What this machine lacks for such a test; '' for nothing."""
    if os.geteuid() != 0:
        return 'wants root, for namespaces'
    for program in PROGRAMS:
        if shutil.which(program, path=SBIN) is None:
            return f'{program} is missing'
    return '' if Path('/dev/net/tun').exists() else '/dev/net/tun is missing'


class Host:
    """One of the three, `number` from 1."""

    def __init__(self, cluster: Cluster, number: int, name: str) -> None:
        self.cluster, self.number, self.name = cluster, number, name
        self.own = cluster.folder / 'hosts' / name
        self.own.mkdir(parents=True)
        self.pid = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What www has there: the same on all hosts, unless it runs on all at once."""
        apart = self.cluster.keys.get('placement', {}).get('clone')
        return f'10.9.0.{20 + self.number}' if apart else ADDRESS

    def boot(self) -> None:
        """Make its namespaces, its file systems and its networks; nothing of the cluster runs."""
        told = {**os.environ, 'own': str(self.own), 'shared': str(self.cluster.shared),
                'name': self.name, 'python': sys.executable, 'first': FIRST, 'PATH': SBIN}
        log = (self.cluster.folder / f'{self.name}.log').open('ab')
        self.process = subprocess.Popen(
            ('unshare', '--mount', '--pid', '--fork', '--uts', '--ipc', '--net', '--kill-child',
             'sh', '-c', BOOT), env=told, stdout=log, stderr=log)
        log.close()
        until(self._first)
        self._plug()
        self.put('/usr/sbin/fence_test', FENCE.replace('SHARED', str(self.cluster.shared)), 0o755)
        self.put('/etc/corosync/corosync.conf', self.cluster.corosync())
        self.put('/etc/mirage-hooks/mirage.yml', self.cluster.settings(self))
        # By which hardware addresses are made: a unikernel has another one on each host.
        self.put('/etc/machine-id', f'{self.number:032x}\n')

    def _first(self) -> bool:
        """Whether its first process has set it up."""
        assert self.process is not None and self.process.poll() is None, self.log()
        children = Path(f'/proc/{self.process.pid}/task/{self.process.pid}/children').read_text()
        if not children.split():
            return False
        self.pid = int(children.split()[0])
        return FIRST.encode() in Path(f'/proc/{self.pid}/cmdline').read_bytes()

    def _plug(self) -> None:
        """Its end of the two cables, and its bridge."""
        for kind in ('ring', 'wire'):
            act('ip', '-n', self.cluster.switch, 'link', 'add', f'{kind}{self.number}', 'type',
                'veth', 'peer', 'name', kind, 'netns', str(self.pid))
            act('ip', '-n', self.cluster.switch, 'link', 'set', f'{kind}{self.number}', 'master',
                kind, 'up')
        for line in (
            'link set lo up', f'addr add 10.55.0.{self.number}/24 dev ring', 'link set ring up',
            'link add br0 type bridge', f'addr add 10.9.0.{100 + self.number}/24 dev br0',
            'link set br0 up', 'link set wire master br0 up',
        ):
            self.act('ip', *line.split())

    def join(self) -> None:
        """Start corosync and Pacemaker."""
        self.act('corosync')
        self.act('sh', '-c', 'pacemakerd >/var/log/pacemakerd.log 2>&1 &')

    def clone(self) -> None:
        """A clone of its own of what is deployed, with hooks, and the agent."""
        if not self.run('test', '-e', str(REPOSITORY)).returncode:
            return
        self.act('git', 'clone', '-q', f'file://{self.cluster.hub}', str(REPOSITORY))
        self.act('git', '-C', str(REPOSITORY), 'config', 'mirage.config',
                 '/etc/mirage-hooks/mirage.yml')
        self.act('git', '-C', str(REPOSITORY), 'config', 'mirage.cron', 'none')
        self.mirage('install', '--pacemaker', str(REPOSITORY))

    def put(self, path: str, text: str, mode: int = 0o644) -> None:
        place = Path(f'/proc/{self.pid}/root{path}')
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def run(self, *command: str) -> Any:
        """Run `command` on it."""
        return run('nsenter', '-t', str(self.pid), '-m', '-u', '-i', '-n', '-p', 'env',
                   f'PATH={SBIN}', *command, cwd=Path('/'))

    def act(self, *command: str) -> str:
        done = self.run(*command)
        assert done.returncode == 0, (self.name, command, done.stdout, done.stderr)
        return str(done.stdout)

    def mirage(self, *arguments: str) -> Any:
        """Run `mirage-hooks` on its clone."""
        return self.run(sys.executable, '-I', '-m', 'mirage_hooks', '-C', str(REPOSITORY),
                        *arguments)

    def die(self) -> None:
        """End every process of it at once; its networks and what was in memory go with it."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def log(self) -> str:
        return (self.cluster.folder / f'{self.name}.log').read_text()

    def events(self) -> list[tuple[str, int]]:
        """What happened to www there, as (event, release)."""
        said = self.mirage('history', '--json', '-n', '1000').stdout
        return [(one['event'], one.get('release', 0)) for one in json.loads(said)]

    def serves(self) -> bool:
        """Whether a release of www runs there, on trial included, asked of its processes."""
        return bool(self._marked())

    def kill_www(self) -> None:
        """Kill every process of a release there, by its number there."""
        self.act('kill', '-KILL', *(path.parent.name for path in self._marked()))

    def silence(self) -> None:
        """Let www live on, and nothing reach it."""
        for name in self.act('ls', '/sys/class/net/br0/brif').split():
            if name != 'wire':
                self.act('ip', 'link', 'set', name, 'down')

    def on_the_wire(self) -> bool:
        """Whether a tap of a release of www is on its bridge."""
        taps = Path(f'/proc/{self.pid}/root/sys/class/net/br0/brif')
        try:
            return any(one.name.startswith('www') for one in taps.iterdir())
        except OSError:
            return False

    def _marked(self) -> list[Path]:
        found = []
        for path in Path(f'/proc/{self.pid}/root/proc').glob('[0-9]*/environ'):
            with contextlib.suppress(OSError):
                if b'MIRAGE_HOOKS_RELEASE=' in path.read_bytes():
                    found.append(path)
        return found


class Cluster:
    """The hosts, their hub, and the wire."""

    def __init__(self, folder: Path, **keys: Any) -> None:
        self.folder, self.keys = folder, keys
        self.others = dict[str, dict[str, Any]]()  # what else mirage.yml names, on all hosts
        self.switch, self.outer = f'mhs{os.getpid()}', f'mhv{os.getpid()}'
        self.shared = folder / 'shared'
        self.hub, self.site = self.shared / 'hub.git', folder / 'site'
        self.version = 0
        self.fenced: list[tuple[str, float]] = []  # who, and when (monotonic)
        self.over = threading.Event()
        self.shared.mkdir()
        git(folder, 'init', '-q', '--bare', '-b', 'master', str(self.hub))
        git(folder, 'init', '-q', '-b', 'master', str(self.site))
        git(self.site, 'remote', 'add', 'origin', str(self.hub))
        self.hosts = [Host(self, number, name) for number, name in enumerate(NAMES, 1)]
        self._wires()
        self.fencing = threading.Thread(target=self._fence)
        self.fencing.start()

    def _wires(self) -> None:
        for name in (self.switch, self.outer):
            act('ip', 'netns', 'add', name)
        for line in (
            'link set lo up', 'link add ring type bridge', 'link set ring up',
            'link add wire type bridge', f'addr add {GATEWAY}/24 dev wire', 'link set wire up',
            f'link add visitor type veth peer name eth0 netns {self.outer}',
            'link set visitor master wire up',
        ):
            act('ip', '-n', self.switch, *line.split())
        for line in ('link set lo up', 'addr add 10.9.0.9/24 dev eth0', 'link set eth0 up'):
            act('ip', '-n', self.outer, *line.split())

    def corosync(self) -> str:
        nodes = (f'    node {{\n        name: {one.name}\n        nodeid: {one.number}\n'
                 f'        ring0_addr: 10.55.0.{one.number}\n    }}\n' for one in self.hosts)
        return COROSYNC.format(nodes=''.join(nodes))

    def settings(self, host: Host) -> str:
        """The mirage.yml of `host`."""
        address = host.address
        network = {'mode': 'static', 'bridge': 'br0', 'ipv4': f'{address}/24', 'gateway': GATEWAY}
        www = {'image': 'unix/www', 'network': network, 'confirm': '50ms', 'drain': '2s',
               'health': {'http': f'http://{address}:8080/', 'within': '10s'},
               'placement': {'monitor': '2s'}, **self.keys}
        return str(yaml.safe_dump({'unikernels': {'www': www, **self.others}}))

    def start(self) -> None:
        """All hosts are up, in one cluster with fencing, and have release 1 ready."""
        self.release()
        for host in self.hosts:
            host.boot()
            host.clone()
            done = host.mirage('deploy')
            assert done.returncode == 0, done.stdout + done.stderr
        self.gather()

    def gather(self) -> None:
        """Start the cluster on all hosts, with fencing."""
        for host in self.hosts:
            host.join()
        self.whole()
        for line in (
            'property set stonith-timeout=30s',
            'stonith create fence fence_test pcmk_host_check=none pcmk_delay_max=0 op monitor '
            'interval=600s',
        ):
            self.hosts[0].act('pcs', *line.split())

    def mend(self) -> None:
        """Have all hosts in it again, each with the newest image that is good ready or running."""
        until(lambda: self._revived() and len(self.online()) == len(NAMES), pause=0.2)

    def _revived(self) -> bool:
        """Boot who is dead. Pacemaker may fence a host once more that just came back."""
        for host in self.hosts:
            if not host.lives:
                host.boot()
                host.clone()
                host.mirage('deploy')
                host.join()
        return True

    def pull(self) -> dict[str, Any]:
        """What a pull said on each host; the cron lines of three hosts."""
        return {host.name: host.mirage('pull') for host in self.hosts}

    def serving(self) -> list[str]:
        """The hosts on which www runs."""
        return [host.name for host in self.hosts if host.lives and host.serves()]

    def settled(self) -> None:
        """Wait until Pacemaker has nothing to do."""
        until(lambda: not self.asked().run('crm_resource', '--wait').returncode)

    def whole(self, hosts: int = len(NAMES)) -> None:
        """Wait until so many hosts are in it."""
        until(lambda: len(self.online()) == hosts, pause=0.2)

    def asked(self) -> Host:
        """A host that lives, and can be asked."""
        return next(one for one in self.hosts if one.lives)

    def online(self) -> list[str]:
        """Who is in the cluster, by the word of the first host that lives."""
        return self.online_by(self.asked())

    def online_by(self, host: Host) -> list[str]:
        """The same by the word of `host`."""
        said = host.run('crm_mon', '-1', '--exclude=all', '--include=nodes').stdout
        return sorted(str(said).partition('Online: [')[2].partition(']')[0].split())

    def on_the_wire(self) -> list[str]:
        """The hosts from which www reaches the wire."""
        return [host.name for host in self.hosts if host.lives and host.on_the_wire()]

    def kill_agents(self) -> None:
        """Kill the agents that start or end something now."""
        for host in self.hosts:
            if host.lives:
                host.run('pkill', '-KILL', '-f', 'mirage_hooks ocf st')

    def active(self, name: str = 'www') -> str:
        """Where Pacemaker has the resource `name`; '' for nowhere."""
        said = str(self.asked().run('crm_resource', '--resource', name, '--locate').stdout)
        return said.rpartition('is running on: ')[2].split()[0] if 'running on' in said else ''

    def host(self, name: str) -> Host:
        return self.hosts[NAMES.index(name)]

    def release(self, image: bytes | None = None) -> None:
        """Publish the next version of www, or `image`."""
        self.version += 1
        self.publish('unix/www', guest(self.version) if image is None else image)

    def publish(self, image: str, content: bytes) -> None:
        """Publish `content` as the file `image`, as mirage.yml calls it."""
        path = self.site / image
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755)
        git(self.site, 'add', '-A')
        git(self.site, 'commit', '-q', '--allow-empty', '-m', f'{image} of release {self.version}')
        git(self.site, 'push', '-q', 'origin', '+HEAD:master')

    def outside(self) -> tuple[str, ...]:
        return ('ip', 'netns', 'exec', self.outer)

    def asking(self, address: str = ADDRESS) -> Asking:
        return Asking(self.outside(), 0, address=address)

    def remember(self, seconds: int) -> None:
        """Let the visitor believe for so long whom it knows by a hardware address."""
        act(*self.outside(), 'sysctl', '-q', '-w',
            f'net.ipv4.neigh.eth0.base_reachable_time_ms={seconds * 1000}')

    def page(self, address: str = ADDRESS) -> str:
        done = run(*self.outside(), 'curl', '-s', '-m', '2', f'http://{address}:8080/',
                   cwd=self.folder)
        return str(done.stdout).strip()

    def _fence(self) -> None:
        """End the hosts that a fence agent asks for."""
        while not self.over.wait(0.02):
            for path in self.shared.glob('end-*'):
                name = path.name.removeprefix('end-')
                if name in NAMES:
                    self.host(name).die()
                    self.fenced.append((name, time.monotonic()))
                path.unlink()

    def end(self) -> None:
        self.over.set()
        self.fencing.join(PATIENCE)
        for host in self.hosts:
            host.die()
        for name in (self.switch, self.outer):
            run('ip', 'netns', 'delete', name, cwd=Path('/'))

