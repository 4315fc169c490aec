"""CSI cameras: frames through a pipe, from the real gst-launch where there is one, and from one that fails in every way."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from spgvton.errors import SpgvtonError
from spgvton.stream import gstreamer
from spgvton.stream.gstreamer import GstPipe
from spgvton.stream.sources import open_source

# Reads the descriptor's number and the size from its arguments, as gst-launch does, and then does what $FAULT says.
LAUNCHER = """#!{python}
import os, re, sys, time
words = " ".join(sys.argv)
fd, width, height = (int(re.findall(p, words)[-1]) for p in (r"fd=(\\d+)", r"width=(\\d+)", r"height=(\\d+)"))
fault = os.environ["FAULT"]
print("GST_ARGUS: Creating output stream", flush=True)
if fault == "refuse":
    print("ERROR: from element /nvarguscamerasrc0: No cameras available", file=sys.stderr)
    sys.exit(1)
for i in range(10**6):
    if fault == "stall" and i == 3:
        time.sleep(60)
    if fault == "die" and i == 3:
        os.write(fd, bytes(100))
        sys.exit(1)
    data = bytes([i % 250, 2, 3]) * (width * height)
    while data:
        data = data[os.write(fd, data):]
    time.sleep(0.01)
"""


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    script = tmp_path / "gst-launch-1.0"
    script.write_text(LAUNCHER.format(python=sys.executable))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAULT", "none")
    return monkeypatch


def test_frames_come_whole_in_rgb(launcher: pytest.MonkeyPatch) -> None:
    source = open_source("csi://0?size=162x120&fps=30")
    assert source.size == (120, 160)  # rows of a multiple of four bytes
    frames = [source.read() for _ in range(5)]
    for frame in frames:
        assert frame is not None
        assert frame.image.shape == (120, 160, 3)
        assert (frame.image[..., 1:] == (2, 3)).all()
        assert np.ptp(frame.image[..., 0]) == 0  # one frame, not parts of two
    source.close()
    assert source.read() is None


def test_camera_that_is_not_there(launcher: pytest.MonkeyPatch) -> None:
    launcher.setenv("FAULT", "refuse")
    with pytest.raises(SpgvtonError, match=r"csi://1 gives no frames \(from element .*No cameras available\)"):
        open_source("csi://1")


def test_pipeline_that_dies_is_an_error(launcher: pytest.MonkeyPatch) -> None:
    launcher.setenv("FAULT", "die")
    source = GstPipe("csi://0", "x", (16, 16), 30)
    with pytest.raises(SpgvtonError, match="gives no frames"):
        for _ in range(10):
            source.read()
    source.close()


def test_close_ends_a_read_of_a_camera_that_hangs(launcher: pytest.MonkeyPatch) -> None:
    launcher.setenv("FAULT", "stall")
    source = GstPipe("csi://0", "x", (16, 16), 30)
    results: list[object] = []

    def read_on() -> None:
        while (frame := source.read()) is not None:
            results.append(frame)
        results.append(None)

    reader = threading.Thread(target=read_on)
    reader.start()
    while len(results) < 3:
        time.sleep(0.01)
    source.close()
    reader.join(5)
    assert results[-1] is None


def test_without_gstreamer_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SpgvtonError, match=r"apt-get install gstreamer1\.0-tools"):
        open_source("csi://0")


@pytest.mark.skipif(not shutil.which(gstreamer.LAUNCH), reason="apt-get install gstreamer1.0-tools")
def test_the_real_gst_launch() -> None:
    source = GstPipe("test", "videotestsrc is-live=true pattern=red ! video/x-raw,framerate=30/1", (48, 64), 30)
    frames = [source.read() for _ in range(10)]
    assert all(f is not None and (f.image[..., 0] > 200).all() and (f.image[..., 2] < 50).all() for f in frames)
    source.close()
    with pytest.raises(SpgvtonError, match="nosuchelement"):
        GstPipe("test", "nosuchelement", (48, 64), 30)
