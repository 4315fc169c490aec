"""TensorRT's timing cache: what its builder measured on this GPU, so that the next build measures only what is new.

It only saves time: a file that is damaged, or of another GPU, is left out, and one that cannot be written is told. No build
fails for it. TensorRT-RTX measures nothing while it builds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from spgvton.engine.flavour import Flavour
from spgvton.engine.gpu import Gpu
from spgvton.errors import SpgvtonError
from spgvton.files import write_bytes


class TimingCache:
    """The timings of GPU for TensorRT TRT in FOLDER."""

    def __init__(self, trt: Flavour, gpu: Gpu, folder: Path) -> None:
        self._trt = trt
        self.file = folder / f"timing-{trt.version}-{gpu.slug}.cache"
        self._handle: Any = None  # what the builder writes into; alive until keep()

    def attach(self, config: Any) -> None:
        """CONFIG starts from the file, or from nothing where TensorRT does not take it."""
        try:
            stored = self.file.read_bytes()
        except OSError:
            stored = b""  # the first time
        for data in dict.fromkeys((stored, b"")):
            handle = self._trt.attempt(config.create_timing_cache, data)  # None: damaged
            # False: another GPU, driver or version. TensorRT then takes no cache at all, and has none to give back.
            if handle is not None and config.set_timing_cache(handle, False):
                self._handle = handle
                return

    def keep(self) -> None:
        """Write what the build measured. Never raises."""
        memory = None if self._handle is None else self._handle.serialize()
        if memory is None:
            return
        try:
            write_bytes(self.file, bytes(memory))
        except SpgvtonError as e:
            print(f"the builder's timings are not kept: {e}", file=sys.stderr)
