"""A back end of your own: whatever has the five methods of spgvton.backends.contract.Backend can run the networks.

This one counts and times the frames and leaves the work to ONNX Runtime; put your engine in its place.
python examples/own_backend.py ME.jpg SHIRT.jpg OUT.jpg
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from spgvton import Bundle, LiveTryOn, image, open_backend
from spgvton.backends.contract import LIVE, Array, Backend, RunsPoses


class Timed(RunsPoses):
    """INNER, with the milliseconds of every frame in `times`."""

    def __init__(self, inner: Backend) -> None:
        self.inner, self.times = inner, list[float]()

    def set_static(self, name: str, value: NDArray[np.float32]) -> None:
        """What stays until it is set again: `cloth` (1, 3, H, W) in [-1, 1] and `cloth_mask` (1, 1, H, W)."""
        self.inner.set_static(name, value)

    def infer(self, frame: Mapping[str, Array]) -> dict[str, Array]:
        """`picture` uint8 (1, H, W, 3), `labels` uint8 (1, H, W), `keypoints` float32 (1, 18, 3) -> LIVE.outputs by name."""
        begin = time.perf_counter()
        result = self.inner.infer(frame)
        self.times.append(1e3 * (time.perf_counter() - begin))
        return result

    def describe(self) -> dict[str, str]:
        return {**self.inner.describe(), "timed": "yes"}

    def close(self) -> None:
        self.inner.close()


def main(me: str, shirt: str, out: str) -> Timed:
    bundle = Bundle.open("live")
    backend = Timed(open_backend("onnxruntime", bundle, mode=LIVE))
    live = LiveTryOn(bundle, backend=backend)
    live.set_garment(image.read(shirt))
    image.write(out, live(image.read(me)))
    print(f"{live.describe()['backend']}: {backend.times[0]:.0f} ms")
    return backend


if __name__ == "__main__":
    main(*sys.argv[1:4])
