"""What mirage.yml may say, as frozen data; `reading` makes it from YAML. Knows nothing of this host
and of git, and touches the one file that it is given."""

from .acme import Acme
from .certificate import Certificate, Options
from .fields import Duration, Endpoint, File, Interface, Mac, Name, Port, Target, Url, seconds
from .health import Dns, Health
from .network import Block, Direct, Network, Socket, Static
from .placement import Placement
from .rollout import Rollout
from .settings import Notify, Settings, Trust
from .unikernel import Unikernel, serving
from .watch import Watch

__all__ = [
    'Acme', 'Block', 'Certificate', 'Direct', 'Dns', 'Duration', 'Endpoint', 'File', 'Health',
    'Interface', 'Mac', 'Name', 'Network', 'Notify', 'Options', 'Placement', 'Port', 'Rollout',
    'Settings', 'Socket', 'Static', 'Target', 'Trust', 'Unikernel', 'Url', 'Watch', 'seconds',
    'serving',
]
