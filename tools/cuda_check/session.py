"""Contexts, stream, pinned memory and CUDA graphs on the real driver, as the GPU session uses them; the network is a copy.

Step 7 of tools/cuda_check.sh: spgvton.backends.cuda and .replay on PyCUDA, opened and closed three times: a plain frame, its
capture, 10,000 replays from changing threads, and another thread that uses the legacy stream while a capture is under way
(error 906 where the stream were a blocking one). Exit code 1 where a picture is wrong or memory grows.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Final

import numpy as np

from spgvton.backends.cuda import Cuda, import_driver
from spgvton.backends.replay import Bindings, GraphReplay
from spgvton.bench.soak import usage
from spgvton.engine.gpu import free_memory

BYTES: Final = 256 * 192 * 3
REPLAYS: Final = 10_000
ROUNDS: Final = 3
ALLOWED: Final = 4 << 20  # bytes that may be lost from the second round on


class CopySession:
    """A frame is copied to the device, there, and back."""

    def __init__(self) -> None:
        self.cuda, self._driver = Cuda(), import_driver()
        with self.cuda.current():
            self.given = self.cuda.pinned((BYTES,), np.dtype(np.uint8))
            self.made = self.cuda.pinned((BYTES,), np.dtype(np.uint8))
            self._addresses = self.cuda.allocate(BYTES), self.cuda.allocate(BYTES)
        self.said: list[str] = []
        self._replay = GraphReplay(self.cuda, self.said.append)
        self._bindings = Bindings(1, (("given", self._addresses[0]), ("made", self._addresses[1])))
        self.disturb = False

    def _work(self) -> None:
        first, second = self._addresses
        self.cuda.to_device(first, self.given)
        if self.disturb:  # somebody else, on the legacy stream
            thread = threading.Thread(target=self._legacy)
            thread.start()
            thread.join()
        self._driver.memcpy_dtod_async(second, first, BYTES, self.cuda._stream)
        self.cuda.to_host(self.made, second)

    def _legacy(self) -> None:
        with self.cuda.current():
            other = self._driver.mem_alloc(64)
            self._driver.memset_d8(other, 0, 64)
            other.free()

    def frame(self, value: int) -> bool:
        """Whether a frame full of VALUE comes back as it is."""
        with self.cuda.current():
            self.given[:] = value
            self.made[:] = 255 - value
            replayed = self._replay.launch(self._bindings)
            if not replayed:
                self._work()
            self.cuda.synchronize()
            if not replayed:
                self.disturb = True
                self._replay.prepare(self._bindings, self._work)
                self.disturb = False
            return bool((self.made == value).all())

    @property
    def state(self) -> str:
        return self._replay.state

    def close(self) -> None:
        with self.cuda.current():
            self._replay.drop()
        self.cuda.close()


def one_round() -> list[str]:
    """What is wrong with a session; empty where nothing is."""
    session, wrong = CopySession(), list[str]()
    try:
        if not session.frame(7) or session.state != "replayed":
            wrong.append(f"capture: {session.state}; {'; '.join(session.said)}")
        bad = sum(not session.frame(i % 251) for i in range(REPLAYS - 100))
        results: list[bool] = []
        for i in range(100):
            thread = threading.Thread(target=lambda i=i: results.append(session.frame(i)))  # type: ignore[misc]
            thread.start()
            thread.join()
        bad += results.count(False) + 100 - len(results)
        if bad:
            wrong.append(f"{bad} of {REPLAYS} frames came back wrong")
    finally:
        session.close()
    return wrong


def main() -> int:
    wrong: list[str] = []
    seen: list[Any] = []
    for i in range(ROUNDS):
        wrong += [f"round {i + 1}: {fault}" for fault in one_round()]
        seen.append((free_memory() or 0, usage()[0] * 2**20))
        print(
            f"round {i + 1}: {REPLAYS} replays; free on the GPU {seen[-1][0] >> 20} MiB, resident {seen[-1][1] / 2**20:.0f} MiB"
        )
    lost = seen[1][0] - seen[-1][0], seen[-1][1] - seen[1][1]
    if max(lost) > ALLOWED:
        wrong.append(f"memory grows: {lost[0] >> 10} KiB of the GPU's, {lost[1] / 1024:.0f} KiB of the process's")
    print("\n".join(wrong) or "contexts, capture, replays, threads, reopening: all right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
