"""A sink in a thread of its own: the slowest disk or client takes what frames it can, and slows nobody."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from spgvton.errors import SpgvtonError
from spgvton.stream.sinks import FileSink, Sink, UInt8
from spgvton.stream.slot import Closed, Policy, Slot

IDLE_S: Final = 0.05
FINISH_S: Final = 30.0  # how long close() waits for the last frame and the end of a file


class SinkThread(Sink):
    """SINK, written by another thread through a slot of one frame, latest wins. SINK sees a single thread, close() included.

    An error of SINK is raised by the next write(), or by close().
    """

    def __init__(self, sink: Sink) -> None:
        self.name, self._sink = sink.name, sink
        self._slot: Slot[tuple[UInt8, float]] = Slot("latest")
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"spgvton-{sink.name}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that SINK was too slow for."""
        return self._slot.dropped

    def _run(self) -> None:
        try:
            while True:
                item = self._slot.get(IDLE_S)
                if item is None:
                    self._sink.idle()
                else:
                    self._sink.write(*item)
        except Closed:
            pass
        except BaseException as e:  # noqa: BLE001 - raised in the caller's thread
            self._error = e
        self._slot.close(discard=True)
        try:
            self._sink.close()
        except BaseException as e:  # noqa: BLE001 - the first error counts
            self._error = self._error or e

    def write(self, image: UInt8, timestamp: float) -> None:
        try:
            self._slot.put((image, timestamp))
        except Closed:
            self._raise()
        self.wants_stop = self._sink.wants_stop

    def idle(self) -> None:
        self.wants_stop = self._sink.wants_stop

    def _raise(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        self._slot.close()
        self._thread.join(FINISH_S)
        if self._thread.is_alive():
            raise SpgvtonError(f"{self.name} did not finish within {FINISH_S:.0f} s: is its disk or network stuck?")
        self._raise()


def in_threads(sinks: Sequence[Sink], policy: Policy) -> list[Sink]:
    """Each sink in its own thread, but for those that may not be, and for files that must not lose a frame (policy wait)."""
    return [
        SinkThread(sink) if sink.own_thread and not (policy == "wait" and isinstance(sink, FileSink)) else sink
        for sink in sinks
    ]
