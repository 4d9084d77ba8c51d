"""Entry point of the scripts in hooks/."""

from .cli.hooks import main

__all__ = ['main']
