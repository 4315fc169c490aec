"""The loop's web sink: each frame is encoded once, in the sink's own thread, and only while someone looks.

    loop --slot--> sink's thread: JPEG --> any number of viewers (asyncio)

The slot is stream/sink_thread.py's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spgvton.kiosk.pictures import jpeg, smaller
from spgvton.kiosk.service.broadcast import Broadcast
from spgvton.stream.sinks import Sink

UInt8 = NDArray[np.uint8]


class WebSink(Broadcast, Sink):
    """Holds the latest frame as JPEG for viewers.

    quality: of the JPEG, 0 to 100. max_side: pixels of a larger picture's long side; then a viewer costs little, whatever the camera.
    """

    name = "web"

    def __init__(self, quality: int = 80, max_side: int = 1280) -> None:
        super().__init__()
        self._quality, self._max_side = quality, max_side

    def write(self, image: UInt8, timestamp: float) -> None:
        if self.viewers:
            self.publish(jpeg(smaller(image, self._max_side), self._quality))

    def close(self) -> None:
        self.end()
