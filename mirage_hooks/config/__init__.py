"""What mirage.yml may say, as frozen data; `reading` makes it from YAML. Knows nothing of this host
and of git, and touches the one file that it is given."""

from .fields import Duration, Endpoint, File, Interface, Mac, Name, Port, Target, Url, seconds
from .health import Health
from .network import Block, Direct, Network, Socket, Static
from .placement import Placement
from .rollout import Rollout
from .settings import Notify, Settings, Trust
from .unikernel import Unikernel
from .watch import Watch

__all__ = [
    'Block', 'Direct', 'Duration', 'Endpoint', 'File', 'Health', 'Interface', 'Mac', 'Name',
    'Network', 'Notify', 'Placement', 'Port', 'Rollout', 'Settings', 'Socket', 'Static', 'Target',
    'Trust', 'Unikernel', 'Url', 'Watch', 'seconds',
]
