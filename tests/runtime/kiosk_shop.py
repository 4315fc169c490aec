"""A whole kiosk on a free port: real loop, real frames, a network of four nodes so that it costs little."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
from numpy.typing import NDArray

from spgvton.demo_assets import DemoAssets
from spgvton.kiosk.service import config as kiosk_config
from spgvton.kiosk.web.server import Running, started

ASSETS = DemoAssets.open().folder
SLOW = "synthetic://?fps=6"  # leaves the processor to what is tested


def wait_for(true: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until TRUE() is; fails after SECONDS, which only a broken kiosk needs."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


@dataclass(frozen=True)
class Served:
    """A running kiosk and a client for it."""

    running: Running
    client: httpx.Client
    folder: Path
    stop: threading.Event

    @property
    def garments(self) -> Path:
        return self.folder / "garments"

    @property
    def address(self) -> tuple[str, int]:
        url = httpx.URL(self.running.url)
        assert url.port
        return url.host, url.port

    def status(self) -> Any:
        return self.client.get("/api/status").json()


def make_shop(folder: Path, bundle: Path, **settings: Any) -> Path:
    """kiosk.yaml with three garments in FOLDER."""
    garments = folder / "garments"
    garments.mkdir(parents=True)
    for number, name in enumerate(("striped", "nova", "flower"), 1):
        shutil.copyfile(ASSETS / f"garment_{number}.jpg", garments / f"{name}.jpg")
        shutil.copyfile(ASSETS / f"garment_{number}_mask.png", garments / f"{name}_mask.png")
    lines = {"source": "synthetic://", "catalogue": "garments", "state": "state", "bundle": bundle} | settings
    path = folder / "kiosk.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return path


@contextmanager
def serve(folder: Path, bundle: Path, **settings: Any) -> Iterator[Served]:
    """The kiosk of make_shop(), live."""
    settings.setdefault("web", "{port: 0, viewers: 60, viewers_per_address: 60}")
    settings.setdefault("mirror", "{max_age_ms: 20000}")  # on a busy machine answers come late
    config = kiosk_config.load(make_shop(folder, bundle, **settings))
    stop = threading.Event()
    with started(config, stop) as running, httpx.Client(base_url=running.url, timeout=60) as client:
        codes: list[int] = []
        loop = threading.Thread(target=lambda: codes.append(running.kiosk.mirror.run(running.sinks, stop)))
        loop.start()
        try:
            wait_for(lambda: running.kiosk.status().frames_out > 2)
            wait_for(lambda: running.kiosk.mirror.garment or all(g.problem for g in running.kiosk.catalogue.garments()))
            yield Served(running, client, folder, stop)
        finally:
            stop.set()
            loop.join(30)
        assert codes == [0]


def encode(picture: NDArray[np.uint8], suffix: str = ".png") -> bytes:
    """PICTURE (any channels, OpenCV's order) as a file."""
    ok, data = cv2.imencode(suffix, picture)
    assert ok
    return data.tobytes()
