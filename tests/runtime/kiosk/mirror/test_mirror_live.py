"""The whole mirror in live mode: real pose, parser, compositor and loop on the synthetic person, with a network of ten nodes."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from test_mirror import PATIENCE_S, Running, Shown

from spgvton.backends import open_backend
from spgvton.backends.contract import LIVE
from spgvton.bundle import Bundle, write_manifest
from spgvton.demo_assets import DemoAssets
from spgvton.economy import Economy
from spgvton.errors import SpgvtonError
from spgvton.image import Letterbox
from spgvton.kiosk.mirror import mirror
from spgvton.kiosk.mirror.live_dresser import LiveDresser
from spgvton.kiosk.mirror.mirror import EXIT_GAVE_UP, Mirror
from spgvton.kiosk.mirror.status import MirrorStatus
from spgvton.live.network import LiveNetwork
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.multiclass import MulticlassParser
from spgvton.perception.parse import Parse
from spgvton.stream.frames import Frame, Source
from spgvton.stream.sinks import Sink
from spgvton.stream.sources import Connector
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
ASSETS = DemoAssets.open()
CALM = Economy(max_age_s=20)  # on a busy machine answers come late
SIZE = ASSETS.person()[0].shape[:2]


class Gate(MulticlassParser):
    """The shipped parser, which waits where it is told to, and fails as it is told to."""

    def __init__(self) -> None:
        super().__init__(threads=2)
        self.go, self.inside = threading.Event(), threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def framed(self, picture: UInt8, keypoints: NDArray[np.float32], box: Letterbox) -> Parse:
        self.inside.set()
        assert self.go.wait(PATIENCE_S)
        if self.error:
            raise self.error
        return super().framed(picture, keypoints, box)


@pytest.fixture
def start(tiny_bundle: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(source: str, *sinks: Sink, garment: int | None = 2, **options: object) -> Running:
        options = {"threads": 1, "economy": CALM, **options}
        made = Mirror(source, tiny_bundle, **options)  # type: ignore[arg-type]
        if garment:
            made.set_garment("shirt", *ASSETS.garment(garment))
        running.append(Running(made, *sinks))
        return running[-1]

    yield begin
    for r in running:
        r.end()


class Camera(Source):
    """Shows the picture that it is told to."""

    name, fps, live, size = "camera", 10.0, True, SIZE

    def __init__(self) -> None:
        self.picture, self.index = ASSETS.person()[0], 0

    def read(self) -> Frame | None:
        time.sleep(0.1)
        self.index += 1
        now = time.monotonic()
        return Frame(self.picture.copy(), self.index, now, now)

    def close(self) -> None:
        pass


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> Camera:
    """What `synthetic://` opens."""
    camera, real = Camera(), mirror.connector

    def connector(uri: str, *, realtime: bool) -> Connector:
        return real(uri, realtime=realtime)._replace(open=lambda: camera)

    monkeypatch.setattr(mirror, "connector", connector)
    return camera


def dressed(status: MirrorStatus) -> bool:
    return status.state == "live" and status.hint == "" and status.answers > 0 and status.frames_synthesised > 2


def is_yellow(picture: UInt8) -> bool:
    """Whether someone wears garment 2."""
    r, g, b = picture.reshape(-1, 3).astype(int).T
    return float(((r > b + 80) & (g > b + 60)).mean()) > 0.05


def until_shown(run: Running, shown: Shown, what: Callable[[UInt8], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not what(shown.latest):
        assert time.monotonic() < end and run.thread.is_alive(), run.mirror.status()
        time.sleep(0.01)


def dresser_of(run: Running) -> LiveDresser:
    assert isinstance(run.mirror._dresser, LiveDresser)
    return run.mirror._dresser


def test_a_customer_is_dressed_at_the_cameras_size_without_any_picture_taken(start: Callable[..., Running]) -> None:
    shown = Shown()
    run = start("synthetic://", shown, garment=None)
    status = run.until(lambda s: s.state == "live")
    assert (status.mode, status.hint) == ("live", "choose a garment")
    run.frames(3)
    assert shown.latest.shape == (*SIZE, 3) == (*run.mirror.size, 3) and not is_yellow(shown.latest)
    run.mirror.set_garment("nova", *ASSETS.garment(2))
    status = run.until(dressed)
    until_shown(run, shown, is_yellow)
    run.until(lambda s: s.answers_per_s > 0)
    status = run.mirror.status()
    assert {"pose", "parse", "synthesis", "compose"} <= set(status.stages_ms)
    run.mirror.set_garment("flower", *ASSETS.garment(3))
    until_shown(run, shown, lambda picture: not is_yellow(picture))
    run.mirror.retake()
    run.until(dressed)
    assert run.end() == 0
    stage = dresser_of(run)._stage
    assert stage is None and dresser_of(run)._live.plate.is_empty, "nothing is kept after the end"
    assert not [t for t in threading.enumerate() if t.name == "spgvton-answers"]


def test_a_turned_camera_and_the_mirror_image(start: Callable[..., Running], tmp_path: Path) -> None:
    film = tmp_path / "side.mp4"
    writer = cv2.VideoWriter(str(film), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 30, SIZE)
    frame = cv2.rotate(ASSETS.person()[0], cv2.ROTATE_90_COUNTERCLOCKWISE)
    for _ in range(60):
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    shown, plain = Shown(), Shown()
    run = start(str(film), shown, rotate=90)
    run.until(dressed)
    until_shown(run, shown, is_yellow)
    assert shown.latest.shape == (*SIZE, 3)
    other = start(str(film), plain, rotate=90, mirrored=False, garment=None)
    other.until(lambda s: s.state == "live")
    other.frames(2)
    flipped = plain.latest[:400, ::-1].astype(int)
    assert np.abs(ASSETS.person()[0][:400].astype(int) - plain.latest[:400]).mean() < 8
    assert np.abs(shown.latest[:90].astype(int) - flipped[:90]).mean() < 4 < np.abs(flipped - plain.latest[:400]).mean()


def test_privacy_while_an_answer_is_under_way_drops_it_and_the_room(start: Callable[..., Running]) -> None:
    parser, shown = Gate(), Shown()
    run = start("synthetic://", shown, parser=parser)
    run.until(dressed)
    parser.inside.clear()
    parser.go.clear()
    assert parser.inside.wait(PATIENCE_S)
    begin = time.monotonic()
    run.mirror.set_privacy(True)
    assert time.monotonic() - begin < 10, "it does not wait for the parser"
    stage = dresser_of(run)._stage
    assert stage is not None and stage._said is None and stage._live.plate._mean is None
    run.frames(4)
    assert np.array_equal(shown.latest, run.mirror._view.notice("camera off"))
    assert shown.latest.shape == (*SIZE, 3)
    parser.go.set()
    run.until(lambda _: not stage.busy_s)
    run.frames(2)
    assert stage._said is None and stage._live.plate._mean is None and stage._live._framing._box is None
    assert run.mirror._loop is not None and run.mirror._loop._last_good is None
    assert run.mirror.status().answers == stage.answers
    run.mirror.set_privacy(False)
    until_shown(run, shown, is_yellow)


def test_who_leaves_is_forgotten_and_the_empty_room_is_learnt(start: Callable[..., Running], camera: Camera) -> None:
    run = start("synthetic://", wipe_after_s=1.0)
    run.until(dressed)
    camera.picture = np.broadcast_to(camera.picture[:8].mean((0, 1)), camera.picture.shape).astype(np.uint8)
    run.until(lambda s: s.state == "nobody")
    dresser = dresser_of(run)
    assert dresser._stage is not None
    live = dresser._live

    def learnt(_: MirrorStatus) -> bool:
        return not live.plate.is_empty

    run.until(learnt)
    with live.plate._lock:
        assert live.plate._mean is not None
        seen = live.plate._mean[live.plate._seen > 0]
    assert seen.min() > 150, "the wall, and nobody"
    assert dresser._stage._said is None and dresser._stage._last is None


def test_a_camera_that_changes_its_resolution_is_followed(start: Callable[..., Running], camera: Camera) -> None:
    shown = Shown()
    run = start("synthetic://", shown)
    until_shown(run, shown, is_yellow)
    camera.picture = np.asarray(cv2.resize(ASSETS.person()[0], (480, 640)), np.uint8)
    until_shown(run, shown, lambda picture: picture.shape == (640, 480, 3) and is_yellow(picture))
    assert run.mirror.size == (640, 480) and run.mirror.status().restarts == 0


def test_a_parser_that_fails_in_mid_stream_is_outlived_and_said(start: Callable[..., Running]) -> None:
    parser, shown = Gate(), Shown()
    run = start("synthetic://", shown, parser=parser)
    run.until(dressed)
    parser.error = RuntimeError("out of memory")
    status = run.until(lambda s: "out of memory" in s.last_error)
    assert "the parser failed: RuntimeError" in status.last_error
    until_shown(run, shown, lambda picture: not is_yellow(picture))
    parser.error = None
    until_shown(run, shown, is_yellow)
    assert run.until(lambda s: not s.last_error).restarts == 0


class Breaking:
    """A back end that fails when it is told to."""

    def __init__(self, bundle: Path) -> None:
        self._inner = open_backend("onnxruntime", Bundle.open(bundle), mode=LIVE, threads=1)
        self.fails = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def infer(self, frame: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.fails:
            raise RuntimeError("CUDA error 700")
        return self._inner.infer(frame)


def test_a_back_end_that_fails_is_opened_anew_and_one_that_cannot_be_healed_ends_it(tiny_bundle: Path) -> None:
    opened: list[Breaking] = []

    def open_live() -> LiveTryOn:
        opened.append(Breaking(tiny_bundle))
        return LiveTryOn(LiveNetwork(tiny_bundle, backend=opened[-1]))  # type: ignore[arg-type]

    made, shown = Mirror("synthetic://", open_session=open_live, economy=CALM), Shown()
    made.set_garment("shirt", *ASSETS.garment(2))
    run = Running(made, shown)
    try:
        until_shown(run, shown, is_yellow)
        opened[0].fails = True
        run.until(lambda s: s.restarts == 1 and len(opened) == 2)
        until_shown(run, shown, lambda picture: not is_yellow(picture))
        until_shown(run, shown, is_yellow)  # by the new one, which knows the garment
        opened[1].fails = True
        run.until(lambda s: s.restarts == 2 and len(opened) == 3)
        opened[2].fails = True
        run.thread.join(PATIENCE_S)
        assert run.code == EXIT_GAVE_UP and "CUDA error 700" in made.status().last_error
    finally:
        run.end()


def test_mirrors_share_one_engine(tiny_bundle: Path) -> None:
    live = LiveTryOn(tiny_bundle, threads=1)
    shown = [Shown(), Shown()]
    runs = []
    for number, sink in zip((2, 3), shown):
        made = Mirror("synthetic://?fps=5", open_session=live.sibling, economy=CALM)
        made.set_garment(f"garment {number}", *ASSETS.garment(number))
        runs.append(Running(made, sink))
    try:
        for run in runs:
            run.until(dressed)
        until_shown(runs[0], shown[0], is_yellow)
        assert not is_yellow(shown[1].latest)
    finally:
        for run in runs:
            run.end()


def test_a_bundle_without_live_mode_is_refused_in_one_line(tmp_path: Path, tiny_bundle: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "old")
    (tmp_path / "old" / "live.onnx").unlink()
    write_manifest(tmp_path / "old", {"network": {"label_set": "cihp", "height": 256, "width": 192}}, ["tryon.onnx"])
    with pytest.raises(SpgvtonError, match="has no live mode"):
        Mirror("synthetic://", tmp_path / "old")
