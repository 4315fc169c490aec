"""synthetic://: the person of the shipped clip, moving without end, paced as a camera; for demonstrations and soak tests."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass

from spgvton.demo_assets import DemoAssets
from spgvton.errors import UsageError
from spgvton.stream.capture import open_file
from spgvton.stream.frames import Frame, Pacer, Source, UInt8, frame_of


@dataclass(frozen=True, slots=True)
class Scene:
    """fps: frames per second, the clip's own rate where None. stay, away: seconds for which the person is there, then is not."""

    fps: float | None = None
    stay: float = float("inf")
    away: float = 0.0

    @staticmethod
    def parse(rest: str, query: str, uri: str) -> Scene:
        """From the parts of URI, synthetic://?fps=30&stay=20&away=5. Raises UsageError."""
        values: dict[str, float] = {}
        for part in filter(None, query.split("&")):
            found = re.fullmatch(r"(fps|stay|away)=(\d{1,4}(?:\.\d+)?)", part)
            if not found or float(found[2]) <= 0:
                raise UsageError(f"'{part}' in '{uri}' is not understood: write synthetic://?fps=30&stay=20&away=5")
            values[found[1]] = float(found[2])
        if rest or ("stay" in values) != ("away" in values):
            raise UsageError(f"'{uri}' is not understood: write synthetic:// or synthetic://?stay=20&away=5")
        return Scene(**values)


class Synthetic(Source):
    """The clip ends where it begins, so the person moves smoothly for ever. Away, the empty room is left."""

    name = "synthetic://"
    live = True

    def __init__(self, scene: Scene) -> None:
        assets = DemoAssets.open()
        self._scene, self._path = scene, assets.clip
        self._closing, self._index = threading.Event(), 0
        self._clip = open_file(self._path, realtime=False)
        self.fps, self.size = scene.fps or self._clip.fps, self._clip.size
        self._pacer = Pacer(realtime=True)
        self._room = assets.room() if scene.away else None

    def _picture(self) -> UInt8:
        frame = self._clip.read()
        if frame is None:
            self._clip.close()
            self._clip = open_file(self._path, realtime=False)
            frame = self._clip.read()
            assert frame is not None  # open_file() has decoded it
        return frame.image

    def read(self) -> Frame | None:
        """The next frame; None after close()."""
        seconds = self._index / self.fps
        if not self._pacer.wait(seconds, self._closing):
            return None
        captured = time.monotonic()
        picture = self._picture()
        if self._room is not None and seconds % (self._scene.stay + self._scene.away) >= self._scene.stay:
            picture = self._room.copy()
        self._index += 1
        return frame_of(picture, self._index - 1, None, captured)

    def close(self) -> None:
        self._closing.set()
        self._clip.close()
