"""Git hooks that turn a push, or cron's pull, into a running MirageOS unikernel."""

__version__ = '0.1.0'
