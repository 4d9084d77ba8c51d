"""Entry point of the scripts in hooks/."""

import gc

gc.disable()  # a hook that finds nothing to do makes no garbage; `running` looks for it again

from .cli.hooks import main  # noqa: E402

__all__ = ['main']
