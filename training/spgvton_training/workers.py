"""Processes of a pool that end with their parent, however that ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def process_pool(workers: int, start: Callable[..., None] | None = None, *arguments: Any) -> ProcessPoolExecutor:
    """A pool of WORKERS new processes, each of which calls START(*ARGUMENTS) first.

    One that is killed (SIGKILL) cannot tell its workers, and they would finish what is queued, gigabytes of it.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        workers, mp_context=context, initializer=_begin, initargs=(os.getpid(), start, arguments)
    )  # fmt: skip


def _begin(parent: int, start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has died before that
            os._exit(1)
    if start:
        start(*arguments)
