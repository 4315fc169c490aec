"""Keeps the C library from taking a heap for every thread that comes and goes.

glibc gives a thread an arena of its own, up to eight per core, and each keeps what its largest moment needed: with camera
connections and parsers in threads of their own, a process settles at several times what it uses, in steps over hours.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

M_ARENA_MAX: Final = -8  # malloc.h
ARENAS: Final = 2


def limit_arenas() -> bool:
    """Share two arenas between all threads that start from now on; $MALLOC_ARENA_MAX goes first. False without glibc."""
    if "MALLOC_ARENA_MAX" in os.environ:
        return False
    try:
        return bool(ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS))
    except (OSError, AttributeError, TypeError):  # musl, macOS, Windows
        return False
