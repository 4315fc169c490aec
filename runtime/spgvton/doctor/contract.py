"""What a step is, what it works on, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.backends import open_backend, tell
from spgvton.backends.contract import LIVE
from spgvton.bench.trend import Trend
from spgvton.bundle import Bundle
from spgvton.engine.flavour import MODULES
from spgvton.engine.gpu import Gpu, free_memory
from spgvton.errors import SpgvtonError
from spgvton.live.network import LiveNetwork
from spgvton.live.tryon import LiveTryOn
from spgvton.session import TryOn

PASSED: Final = "passed"
Lines = tuple[NDArray[np.float64], dict[str, tuple[NDArray[np.float64], Trend]]]  # see spgvton.bench.plot.draw()


class Skipped(Exception):
    """A step cannot run here; its text says why, and what would help. Never a fault of the GPU."""


@dataclass(frozen=True)
class Rig:
    """What is examined: BUNDLE on a back end. others: bundles of other precisions that are examined beside it.

    replays, frames, live_frames, seconds: how much is run. gpu: None for a back end of the CPU.
    """

    bundle: Bundle
    backend: str
    gpu: Gpu | None = None
    warp: str | None = None
    plugin: Path | None = None
    others: tuple[Bundle, ...] = ()
    replays: int = 10_000
    frames: int = 200
    live_frames: int = 300
    seconds: float = 10.0
    say: Callable[[str], None] = tell

    @property
    def is_gpu(self) -> bool:
        return self.backend in MODULES

    def session(self, bundle: Bundle | None = None, *, warp: str | None = None) -> TryOn:
        """A session on BUNDLE (the rig's own), its engine from the cache or built now; the caller closes it."""
        bundle = bundle or self.bundle
        opened = open_backend(
            self.backend, bundle, warp=warp or self.warp, plugin=None if warp == "function" else self.plugin, say=_quiet
        )
        return TryOn(bundle, backend=opened)

    def reference(self, bundle: Bundle | None = None) -> TryOn:
        """The same on ONNX Runtime."""
        bundle = bundle or self.bundle
        return TryOn(bundle, backend=open_backend("onnxruntime", bundle))

    def live(self) -> LiveTryOn:
        """Live mode on the rig's bundle. Raises Skipped for a bundle that has none, SpgvtonError."""
        try:
            self.bundle.graph(LIVE.joint)
        except SpgvtonError as e:
            raise Skipped(str(e)) from e
        backend = open_backend(self.backend, self.bundle, mode=LIVE, warp=self.warp, plugin=self.plugin, say=_quiet)
        return LiveTryOn(LiveNetwork(self.bundle, backend=backend))

    def free_memory(self) -> int | None:
        """Bytes that are free on the GPU; None where they cannot be read, and on the CPU."""
        return free_memory() if self.is_gpu else None


def _quiet(_: str) -> None:
    """Where an engine came from is in the steps' facts."""


@dataclass(frozen=True)
class Outcome:
    """What a step found. words: one line for people. facts: JSON types. fault: what is wrong, "" where nothing is.

    times: title -> every time in ms, in order; lines: what is drawn over time. Both are for the picture.
    """

    words: str
    facts: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    times: Mapping[str, list[float]] = field(default_factory=dict)
    lines: Lines | None = None


Step = Callable[[Rig], Outcome]  # raises Skipped where it cannot run, SpgvtonError where it fails


@dataclass(frozen=True)
class Verdict:
    """A step that was asked to run. verdict: "passed", "failed: why" or "skipped: why"."""

    step: str
    verdict: str
    seconds: float
    outcome: Outcome | None = None

    @property
    def passed(self) -> bool:
        return self.verdict == PASSED

    @property
    def failed(self) -> bool:
        return self.verdict.startswith("failed")
