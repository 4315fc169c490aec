"""What several files of tests need."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np

from spgvton.stream.sources import open_source


def frames_of(path: Path) -> list[np.ndarray]:
    """Every frame of a video or folder, RGB."""
    source = open_source(str(path))
    frames = []
    while frame := source.read():
        frames.append(frame.image)
    source.close()
    return frames


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
