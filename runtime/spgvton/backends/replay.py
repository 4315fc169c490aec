"""When a frame is enqueued, when it is captured as a CUDA graph, and when the graph is replayed.

A CUDA graph holds addresses and shapes. So the first frame with new ones is enqueued plainly (TensorRT also does its
deferred work then, which must not happen while capturing), after it the same work is captured, and all further frames
replay it. A capture that fails is told once and costs nothing but speed: the frames are enqueued plainly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from spgvton.errors import SpgvtonError


@dataclass(frozen=True)
class Bindings:
    """What a graph is good for: the batch, and the device address of each tensor by name."""

    batch: int
    addresses: tuple[tuple[str, int], ...]


class GraphDriver(Protocol):
    """The part of spgvton.backends.cuda.Cuda that is needed here."""

    def capture(self, work: Callable[[], None]) -> Any:
        """Record what WORK enqueues, without running it. Raises SpgvtonError; the stream is usable afterwards."""

    def launch(self, graph: Any) -> None: ...

    def destroy(self, graph: Any) -> None: ...


class GraphReplay:
    """The CUDA graph of one session, if it has one. off: why none is to be captured."""

    def __init__(self, driver: GraphDriver, say: Callable[[str], None], *, off: str | None = None) -> None:
        self._driver, self._say, self._off = driver, say, off
        self._graph: Any = None
        self._for: Bindings | None = None  # bindings of the graph, or those whose capture was refused
        self._refusal: str | None = None

    def launch(self, bindings: Bindings) -> bool:
        """Replay the graph of BINDINGS; False, and nothing done, when there is none."""
        if self._graph is None or self._for != bindings:
            return False
        self._driver.launch(self._graph)
        return True

    def prepare(self, bindings: Bindings, work: Callable[[], None]) -> None:
        """After WORK ran plainly for BINDINGS: capture it for the frames to come, unless that was refused before."""
        if self._off or (self._for == bindings and (self._graph is not None or self._refusal)):
            return
        self.drop()
        self._for = bindings
        try:
            self._graph = self._driver.capture(work)
        except SpgvtonError as e:
            self._refusal = str(e)
            self._say(f"no CUDA graph, frames are enqueued one by one: {e}")

    def drop(self) -> None:
        """Forget the graph: the next frame is enqueued plainly, and captured anew."""
        graph, self._graph, self._for, self._refusal = self._graph, None, None, None
        if graph is not None:
            self._driver.destroy(graph)

    @property
    def state(self) -> str:
        """For reports: "replayed", "not captured yet", or why there is none."""
        return self._off or self._refusal or ("replayed" if self._graph is not None else "not captured yet")
