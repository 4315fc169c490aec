"""CSI cameras of a Jetson: raw frames from a gst-launch-1.0 process, so that no GStreamer-enabled OpenCV is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections import deque
from typing import Final

import numpy as np

from spgvton.errors import SpgvtonError
from spgvton.stream.frames import CameraOptions, Frame, Source, check_size, frame_of

LAUNCH: Final = "gst-launch-1.0"
OPEN_TIMEOUT_S: Final = 10.0


class GstPipe(Source):
    """Frames of a GStreamer pipeline's source elements, converted to RGB of a fixed size, through an anonymous pipe.

    elements: as gst-launch takes them. size: (height, width); GStreamer pads rows to four bytes, so the width is rounded
    down to a multiple of 4. Raises SpgvtonError when gst-launch-1.0 is missing or no frame comes.
    """

    live = True

    def __init__(self, name: str, elements: str, size: tuple[int, int], fps: float) -> None:
        height, width = size[0], size[1] // 4 * 4
        self.name, self.fps, self.size = name, fps, (height, width)
        check_size(np.empty((height, width, 0), np.uint8), name)
        if not shutil.which(LAUNCH):
            raise SpgvtonError(f"{name} needs {LAUNCH}: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-good")
        self._closing, self._lock, self._index = threading.Event(), threading.Lock(), 0
        reader, writer = os.pipe()
        # The leaky queue is the buffer of one. Its own descriptor: nvarguscamerasrc prints to stdout whatever one says.
        command = (
            f"{LAUNCH} -q {elements} ! videoconvert ! videoscale ! video/x-raw,format=RGB,width={width},height={height} "
            f"! queue leaky=downstream max-size-buffers=1 ! fdsink fd={writer} sync=false"
        )
        self._process = subprocess.Popen(
            command.split(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            pass_fds=(writer,), start_new_session=True,
        )  # fmt: skip
        os.close(writer)
        self._pipe = os.fdopen(reader, "rb", buffering=0)
        self._said: deque[str] = deque(maxlen=20)
        self._listener = threading.Thread(target=self._listen, name=f"{name} stderr", daemon=True)
        self._listener.start()
        timer = threading.Timer(OPEN_TIMEOUT_S, self._process.kill)
        timer.start()
        try:
            self._ahead = self._next()
        finally:
            timer.cancel()

    def _listen(self) -> None:
        """Keep the last lines of stderr: the pipe must not fill up, and they tell why a pipeline fails."""
        assert self._process.stderr
        with self._process.stderr as stderr:
            for line in stderr:
                self._said.append(line.decode(errors="replace").strip())

    def _next(self) -> Frame | None:
        picture = np.empty((*self.size, 3), np.uint8)
        view = picture.data.cast("B")
        while view:
            count = self._pipe.readinto(view)
            if not count:
                if self._closing.is_set():
                    return None
                self._end()
                errors = [line.partition(": ")[2] for line in self._said if line.startswith(("ERROR: ", "WARNING: "))]
                reason = f" ({errors[0]})" if errors else ""
                raise SpgvtonError(f"{self.name} gives no frames{reason}: check its cable, restart nvargus-daemon")
            view = view[count:]
        self._index += 1
        return frame_of(picture, self._index - 1, None, time.monotonic())

    def read(self) -> Frame | None:
        """The next frame; None after close(). Raises SpgvtonError when the pipeline ended."""
        with self._lock:  # close() must not take the descriptor away from a read() under way
            try:
                if self._closing.is_set():
                    return None
                frame, self._ahead = self._ahead, None
                return frame or self._next()
            finally:
                if self._closing.is_set():
                    self._pipe.close()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._listener.join(1.0)

    def close(self) -> None:
        self._closing.set()
        self._end()  # wakes a reader: the pipe has no writer left
        with self._lock:
            self._pipe.close()


def open_csi(sensor: int, options: CameraOptions) -> Source:
    """CSI camera SENSOR by NVIDIA's nvarguscamerasrc. Raises SpgvtonError."""
    height, width = options.size
    elements = (
        f"nvarguscamerasrc sensor-id={sensor} ! video/x-raw(memory:NVMM),width={width},height={height},"
        f"framerate={round(options.fps)}/1 ! nvvidconv ! video/x-raw,format=BGRx"
    )
    return GstPipe(f"csi://{sensor}", elements, options.size, options.fps)
