"""xl's own parser of its files, libxlutil, called as xl calls it: no Xen has to run."""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path

import pytest

FOLDERS = (Path('/usr/lib/x86_64-linux-gnu'), Path('/usr/lib/aarch64-linux-gnu'), Path('/usr/lib'))


class Parser:
    """libxlutil of whichever Xen is installed; a test without one is skipped."""

    def __init__(self) -> None:
        found = [path for folder in FOLDERS for path in sorted(folder.glob('libxlutil.so.*'))]
        if not found:
            pytest.skip('libxlutil is missing: apt install libxenmisc4.17')
        self.xlu = ctypes.CDLL(str(found[0]))
        self.libc = ctypes.CDLL(None)
        self.libc.fopen.restype = self.xlu.xlu_cfg_init.restype = ctypes.c_void_p
        self.report = ctypes.c_void_p(self.libc.fopen(b'/dev/null', b'w'))

    def read(self, text: str) -> ctypes.c_void_p:
        """A configuration; its text must be one that xl takes."""
        config = ctypes.c_void_p(self.xlu.xlu_cfg_init(self.report, b'xl.cfg'))
        raw = text.encode()
        assert self.xlu.xlu_cfg_readdata(config, raw, len(raw)) == 0, text
        return config

    def string(self, text: str, key: str) -> str:
        """The string that `key` has in the file `text`."""
        config, found = self.read(text), ctypes.c_char_p()
        assert self.xlu.xlu_cfg_get_string(config, key.encode(), ctypes.byref(found), 0) == 0
        value = (found.value or b'').decode()
        self.xlu.xlu_cfg_destroy(config)
        return value

    def strings(self, text: str, key: str) -> list[str]:
        """The list that `key` has in the file `text`."""
        config, items, count = self.read(text), ctypes.c_void_p(), ctypes.c_int()
        assert self.xlu.xlu_cfg_get_list(
            config, key.encode(), ctypes.byref(items), ctypes.byref(count), 0
        ) == 0
        self.xlu.xlu_cfg_get_listitem.restype = ctypes.c_char_p
        found = [self.xlu.xlu_cfg_get_listitem(items, index) for index in range(count.value)]
        self.xlu.xlu_cfg_destroy(config)
        return [value.decode() for value in found]

    def disk(self, text: str) -> tuple[str, str]:
        """Path and virtual device of a disk line."""
        config = ctypes.c_void_p(self.xlu.xlu_cfg_init(self.report, b'xl.cfg'))
        # libxl_device_disk begins with a domain number and its name; path and device follow.
        struct = (ctypes.c_char_p * 64)()
        line = (ctypes.c_char_p * 1)(text.encode())
        assert self.xlu.xlu_disk_parse(config, 1, line, ctypes.byref(struct)) == 0, text
        found = ((struct[2] or b'').decode(), (struct[3] or b'').decode())
        self.xlu.xlu_cfg_destroy(config)
        return found
