"""The mirror: a camera, a customer, a garment, and a loop that goes on for months.

camera (supervised.py) -> pose + lifecycle -> dresser -> view -> sinks, each in its own thread
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from spgvton.backends import Backend, open_backend
from spgvton.backends.contract import LIVE, POSE
from spgvton.bundle import Bundle
from spgvton.economy import Economy
from spgvton.errors import SpgvtonError, UsageError
from spgvton.hints import Hint, code_of
from spgvton.kiosk.mirror.dresser import Dresser, Session
from spgvton.kiosk.mirror.lifecycle import Lifecycle, State
from spgvton.kiosk.mirror.live_dresser import LiveDresser, OutlivedParser
from spgvton.kiosk.mirror.memory import limit_arenas
from spgvton.kiosk.mirror.source_capture import SourceCapture
from spgvton.kiosk.mirror.still import Still, still_of
from spgvton.kiosk.mirror.view import MirrorView
from spgvton.live.compositor import Compositor
from spgvton.live.compositors import COMPOSITORS, open_compositor
from spgvton.live.network import LiveNetwork
from spgvton.live.tryon import LiveTryOn
from spgvton.machine import cores
from spgvton.perception.parser_options import FOR_PICTURES, FOR_STREAMS, SHIPPED
from spgvton.perception.parsing import Parser
from spgvton.perception.pose import PoseEstimator
from spgvton.session import TryOn
from spgvton.stream.compose import Layout
from spgvton.stream.frames import Frame, Source, Wrapped
from spgvton.stream.latency import LATENCY_BUCKETS_S, RateMeter, RecentLatency
from spgvton.stream.loop import Loop, Perception, View
from spgvton.stream.rotate import Rotated
from spgvton.stream.sink_thread import in_threads
from spgvton.stream.sinks import Sink
from spgvton.stream.slot import Policy
from spgvton.stream.sources import connector
from spgvton.stream.supervised import SupervisedSource

__all__ = ["EXIT_GAVE_UP", "LATENCY_BUCKETS_S", "Mirror", "MirrorStatus"]

LOG: Final = logging.getLogger(__name__)

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mode = Literal["live", "pose"]

EXIT_GAVE_UP: Final = os.EX_TEMPFAIL  # 75: a supervisor such as systemd should start the process again
PATIENCE_S: Final = 120.0
NOTICE_AFTER_S: Final = 1.0  # without a frame the view says so
NOTICE_EVERY_S: Final = 0.5
RATE_S: Final = 5.0


@dataclass(frozen=True)
class MirrorStatus:
    """A moment of a mirror. Times in seconds unless the name says otherwise; rates are of the last second or so.

    mode: of Mirror. hint: what the customer is told, in English; hint_code: see spgvton.hints. answers, answers_per_s: of the networks in live mode, of which there may be fewer than frames.
    frames_synthesised: of frames_out, those whose picture was made for them. frames_again: reason -> those that show the last
    picture again although they could be dressed (spgvton.economy).
    dropped: stage -> frames it had finished and nobody took; "sink NAME" -> frames a sink was too slow for.
    latency_s: stage -> frames per bucket since the start, not cumulative; the upper ends are LATENCY_BUCKETS_S, and the
    last entry counts what is longer. latency_sum_s: stage -> sum of seconds. stages_ms: stage -> {p50, p90, p95, p99} over
    the last minute. Stage "total" is capture to present. frame_age_s: since the newest frame was captured; None before
    run(). dark: the newest frame shows nothing (a covered lens, black frames). restarts: how often source or back end were opened again. garment: its name.
    """

    mode: Mode = "live"
    state: State = "nobody"
    hint: str = ""
    hint_code: str = ""
    garment: str | None = None
    fps_in: float = 0.0
    fps_out: float = 0.0
    frames_in: int = 0
    frames_out: int = 0
    answers: int = 0
    answers_per_s: float = 0.0
    frames_synthesised: int = 0
    frames_again: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    latency_s: dict[str, list[int]] = field(default_factory=dict)
    latency_sum_s: dict[str, float] = field(default_factory=dict)
    stages_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    frame_age_s: float | None = None
    source: str = ""
    source_ok: bool = False
    dark: bool = False
    restarts: int = 0
    backend: dict[str, str] = field(default_factory=dict)
    privacy: bool = False
    recording: bool = False
    last_error: str = ""


class Seen(NamedTuple):
    """What one frame said, before it is dressed. customer: keypoints (18, 3) of the locked customer, in pixels of a frame of SIZE
    (height, width); None where the frame's are not hers, or she is not live. captured: monotonic seconds.
    """

    state: State
    hint: str
    customer: Float | None
    size: tuple[int, int]
    captured: float


class _Shutter(Wrapped):
    """SOURCE, whose frames are black while CLOSED() is true: with privacy on no camera pixel enters the loop. PEEK sees them before."""

    def __init__(self, source: Source, closed: Callable[[], bool], peek: Callable[[Frame], None]) -> None:
        super().__init__(source)
        self.live = True
        self._closed, self._peek = closed, peek

    def read(self) -> Frame | None:
        frame = self._source.read()
        if frame is None or not self._closed():
            return frame
        self._peek(frame)
        return Frame(np.zeros_like(frame.image), frame.index, frame.timestamp, frame.captured)


def _live(
    engine: Callable[[], tuple[Bundle, Backend]],
    parser: Parser | None,
    economy: Economy,
    compositor: Callable[[], Compositor],
) -> Callable[[], LiveTryOn]:
    """Opens what live mode needs; the parser once."""
    outlived = OutlivedParser(parser or SHIPPED[FOR_STREAMS](cores()))

    def open_live() -> LiveTryOn:
        composes = compositor()  # what it lacks is told before engines are built
        bundle, backend = engine()
        return LiveTryOn(LiveNetwork(bundle, backend=backend), parser=outlived, economy=economy, compositor=composes)

    return open_live


def _posing(engine: Callable[[], tuple[Bundle, Backend]], parser: Parser, economy: Economy) -> Callable[[], Session]:
    """Opens what pose mode needs."""

    def open_tryon() -> Session:
        bundle, backend = engine()
        if bundle.label_set != parser.label_set:
            raise SpgvtonError(
                f"the parser gives {parser.label_set} labels, the bundle was trained on {bundle.label_set}"
            )
        return TryOn(bundle, backend=backend, economy=economy)

    return open_tryon


class Mirror:
    """Shows whoever stands before SOURCE_URI in the garment that is set. All methods may be called from any thread.

    source_uri: as spgvton.stream.sources takes it; a file plays at its own pace, again and again, as a camera would.
    mode: "live" dresses the camera's own picture; "pose" shows the customer's source picture in their pose (the paper's way).
    bundle, backend, threads: as LiveTryOn and TryOn take them. warp, plugin: of TensorRT's engine, as open_backend takes them.
    compositor, compositor_library: of live mode, as spgvton.live.compositors.open_compositor takes them.
    policy: "latest" for a mirror; "wait" presents every frame that it reads, in live mode each with an answer of its own.
    wipe_after_s: how long the state of a customer who left is kept. parser: makes the semantic map, in pose mode of the source picture;
    None = the shipped one. rotate: degrees clockwise, of a camera that hangs on its side. mirrored: flip left and right.
    view: "result", or "side-by-side" with the camera. written: hints are written into the picture, in English. economy: what need not be computed again.
    patience_s: how long the source may be away before run() gives up; float("inf") = for ever.
    open_session: instead of TryOn(bundle, ...) or LiveTryOn(bundle, ...), such as LiveTryOn.sibling of one that several mirrors share.
    Raises UsageError for a source of no known kind, SpgvtonError when the models cannot be loaded.

    Examples:
        >>> import threading
        >>> from spgvton import Mirror
        >>> from spgvton.stream.sinks import open_sink
        >>> mirror = Mirror("synthetic://")  # doctest: +SKIP
        >>> mirror.run([open_sink("window", (720, 1280), 30.0)], threading.Event())  # doctest: +SKIP
    """

    def __init__(
        self,
        source_uri: str,
        bundle: str | Path | None = None,
        *,
        mode: Mode = "live",
        backend: str = "onnxruntime",
        threads: int | None = None,
        warp: str | None = None,
        plugin: Path | None = None,
        compositor: str = "cpu",
        compositor_library: Path | None = None,
        policy: Policy = "latest",
        wipe_after_s: float = 10.0,
        parser: Parser | None = None,
        rotate: int = 0,
        mirrored: bool = True,
        view: Layout = "result",
        written: bool = True,
        patience_s: float = PATIENCE_S,
        economy: Economy | None = None,
        open_session: Callable[[], Session] | Callable[[], LiveTryOn] | None = None,
    ) -> None:
        limit_arenas()  # before the first thread
        if mode == "pose" and compositor != COMPOSITORS[0]:
            raise UsageError(f"compositor {compositor} puts garments on the camera's frames: it is for live mode")
        self._connector = connector(source_uri, realtime=True)
        self.written, self.mirrored = written, mirrored
        self._mode, self._rotate, self._policy, self._patience_s = mode, rotate, policy, patience_s
        self._economy = economy or Economy()

        def composer() -> Compositor:
            return open_compositor(compositor, compositor_library)

        def open_engine() -> tuple[Bundle, Backend]:
            opened = Bundle.open(bundle, mode=mode)
            graph = LIVE if mode == "live" else POSE
            return opened, open_backend(backend, opened, mode=graph, threads=threads, warp=warp, plugin=plugin)

        self._pose = PoseEstimator()
        self._view = MirrorView(layout=view, mirrored=mirrored, live=mode == "live", written=written)
        self._lock = threading.RLock()  # of the lifecycle and the switches
        self._dresser: Dresser | LiveDresser
        if mode == "live":
            self._dresser = LiveDresser(
                cast("Callable[[], LiveTryOn] | None", open_session) or _live(open_engine, parser, self._economy, composer),
                latest=policy == "latest", max_age_s=self._economy.max_age_s,
            )  # fmt: skip
            capture = None
        else:
            parser = parser or SHIPPED[FOR_PICTURES](None)
            self._dresser = Dresser(
                cast("Callable[[], Session] | None", open_session) or _posing(open_engine, parser, self._economy)
            )
            capture = SourceCapture(parser, self._dresser.size)
        self._lifecycle = Lifecycle(
            capture, self._dresser, self._pose.follow, self._forget_image, wipe_after_s=wipe_after_s
        )
        self._when_forgotten: list[Callable[[], None]] = []
        self._when_seen: list[Callable[[Seen], None]] = []
        self._when_waiting: list[Callable[[Frame], None]] = []
        self._frame_size = (0, 0)
        self._private = self._waiting = False
        self._garment: str | None = None
        self._worn: object = None  # the same, as the dresser has prepared it
        self._unusable: str | None = None  # why the newest shown frame is not dressed
        self._forget_pose = False
        self._last_error = ""
        self._latency = RecentLatency()
        self._presented = RateMeter()
        self._noticed = 0.0
        self._source: SupervisedSource | None = None
        self._loop: Loop | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the pictures that sinks get; in live mode the camera's, from its first frame on."""
        return self._view.size

    @property
    def fps(self) -> float:
        """Nominal rate of the source, for sinks that want one before the first frame."""
        return self._source.fps if self._source else 30.0

    def set_garment(self, name: str, picture: UInt8, mask: UInt8) -> None:
        """Wear a garment from the next frame on: RGB uint8 (H, W, 3) and mask (H, W), 255 = garment.

        Raises SpgvtonError when sizes differ or the mask is empty; the garment before then stays on.
        """
        garment = self._dresser.prepare(np.ascontiguousarray(picture[..., :3]), mask)
        with self._lock:
            self._dresser.set_garment(garment)  # type: ignore[arg-type]  # what the same dresser has prepared
            self._view.garment = picture
            self._garment = name
            self._worn = garment

    @property
    def garment(self) -> str | None:
        """The name that was given with the garment that is set."""
        return self._garment

    def still(self) -> Still | None:
        """How the customer looks now; None where she is not dressed, or the mirror is private."""
        with self._lock:
            return still_of(self._dresser.shown, self._worn, self._garment, time.monotonic())

    def retake(self) -> None:
        """Take the customer's source picture anew."""
        with self._lock:
            self._lifecycle.retake()

    def set_privacy(self, on: bool) -> None:
        """ON: the customer is forgotten, frames are blackened as they are read, and the view is blank."""
        with self._lock:
            self._private = on
            self._close_shutter()

    def set_waiting(self, on: bool) -> None:
        """ON: as with privacy, until somebody has agreed to be looked at."""
        with self._lock:
            self._waiting = on
            self._close_shutter()

    def _close_shutter(self) -> None:
        closed = self._private or self._waiting
        newly = closed and not self._view.privacy
        self._view.privacy = closed
        if newly or self._private:
            self._lifecycle.wipe()
            self._forget_pose = True

    @property
    def state(self) -> State:
        """Of the customer."""
        return self._lifecycle.state

    def set_recording(self, on: bool) -> None:
        """Show the badge that tells people they are being recorded. Recording itself is a sink's business."""
        self._view.recording = on

    def when_forgotten(self, call: Callable[[], None]) -> None:
        """CALL whenever a customer is forgotten; it holds up the loop, and must return at once."""
        self._when_forgotten.append(call)

    def when_seen(self, call: Callable[[Seen], None]) -> None:
        """CALL for every frame while privacy is off, and now and then while none comes; as quick as the other one."""
        self._when_seen.append(call)

    def when_waiting(self, call: Callable[[Frame], None]) -> None:
        """CALL for every frame while the mirror waits for consent, with the camera's own picture; never while it is private.

        It holds up the camera, and must keep nothing of the frame.
        """
        self._when_waiting.append(call)

    def _peek(self, frame: Frame) -> None:
        if self._waiting and not self._private:
            for call in self._when_waiting:
                call(frame)

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        """Where the shown picture has POINT (x, y) of the newest frame, as shares of its width and height."""
        return self._view.place(point, self._frame_size)

    def _tell(self, customer: Float | None, captured: float) -> None:
        seen = Seen(self._lifecycle.state, self._hint(), customer, self._frame_size, captured)
        for call in self._when_seen:
            call(seen)

    def _hint(self) -> str:
        """What the customer is told now, as Hint says it."""
        if self._lifecycle.state != "live" or self._lifecycle.hint:
            return self._lifecycle.hint
        return Hint.CHOOSE if self._garment is None else self._unusable or ""

    def status(self) -> MirrorStatus:
        """How things are now."""
        now = time.monotonic()
        loop, source = self._loop, self._source
        missed = {f"sink {name}": count for name, count in loop.missed.items()} if loop else {}
        buckets, sums = self._latency.buckets()
        with self._lock:
            lifecycle = self._lifecycle
            hint = self._hint()
            live = self._dresser if isinstance(self._dresser, LiveDresser) else None
            return MirrorStatus(
                mode=self._mode,
                state=lifecycle.state,
                hint=str(hint),
                hint_code=code_of(hint),
                garment=self._garment,
                fps_in=source.measured_fps if source else 0.0,
                fps_out=self._presented.rate(since=now - RATE_S),
                frames_in=loop.report.frames_in if loop else 0,
                frames_out=loop.report.frames_out if loop else 0,
                answers=live.answers if live else 0,
                answers_per_s=live.answers_per_s(now - RATE_S) if live else 0.0,
                frames_synthesised=loop.report.frames_synthesised if loop else 0,
                frames_again=dict(loop.report.again) if loop else {},
                dropped={**loop.dropped_at, **missed} if loop else {},
                latency_s=buckets,
                latency_sum_s=sums,
                stages_ms=self._latency.stages_ms(now),
                frame_age_s=source.frame_age_s if source else None,
                source=self._connector.name,
                source_ok=bool(source and source.ok),
                dark=lifecycle.dark,
                restarts=(source.restarts if source else 0) + self._dresser.rebuilds,
                backend=self._dresser.describe(),
                privacy=self._private,
                recording=self._view.recording,
                last_error=self._last_error or lifecycle.problem,
            )

    def run(self, sinks: Sequence[Sink], stop: threading.Event) -> int:
        """Run until STOP is set or a sink wants to end; closes the sinks. In the main thread where a sink is a window.

        A sink that fails is left out, with one line in the log; the loop goes on, also without any sink.
        Returns 0, or EXIT_GAVE_UP (75) when source or back end could not be healed; the log and last_error say why.
        """
        how = self._connector
        source = SupervisedSource(
            how.open, how.name, patience_s=self._patience_s, replay=not how.may_be_lost, on_loss=self._source_lost
        )
        self._source = source
        turned = Rotated(source, self._rotate) if self._rotate else source
        self._loop = Loop(
            _Shutter(turned, lambda: self._view.privacy, self._peek),
            self._perceive,
            self._dresser,
            self._view,
            in_threads(sinks, self._policy),
            policy=self._policy,
            on_view=self._count,
            on_idle=self._idle,
            on_sink_error=self._sink_failed,
            stop=stop,
            stall_s=float("inf"),  # the source looks after that
            max_age_s=None if self._mode == "live" else self._economy.max_age_s,  # live never shows an older frame
        )
        try:
            self._loop.run()
        except SpgvtonError as e:
            self._last_error = str(e)
            LOG.error("%s", e)
            return EXIT_GAVE_UP
        except Exception as e:
            self._last_error = f"{type(e).__name__}: {e}"
            LOG.exception("the mirror failed")
            return EXIT_GAVE_UP
        finally:
            with self._lock:
                self._lifecycle.wipe()
            if isinstance(self._dresser, LiveDresser):
                self._dresser.close()
        return 0

    def _forget_image(self) -> None:
        if self._loop:
            self._loop.forget()
        for call in self._when_forgotten:
            call()

    def _perceive(self, frame: Frame) -> Perception:
        """The pose stage."""
        if self._forget_pose:
            self._forget_pose = False
            self._pose.reset()
        if self._view.privacy:
            return Perception(np.zeros((18, 3), np.float32), "", keep_last=False)
        keypoints = self._pose(frame.image, frame.timestamp)
        with self._lock:
            if self._view.privacy:  # switched on meanwhile
                return Perception(keypoints, "", keep_last=False)
            said = self._lifecycle.step(frame.image, keypoints, frame.captured)
            self._frame_size = (frame.image.shape[0], frame.image.shape[1])
            self._tell(keypoints if self._lifecycle.dressed else None, frame.captured)
            if self._lifecycle.empty and isinstance(self._dresser, LiveDresser):
                self._dresser.learn_empty_room(frame)
            return said

    def _count(self, view: View) -> None:
        now = time.monotonic()
        self._latency.add(now - view.frame.captured, view.stages_s, now)
        self._presented.add(now)
        self._unusable = view.perception.unusable if view.perception else None

    def _idle(self) -> UInt8 | None:
        """While no frame comes: customers leave all the same, and the view says that the camera is away."""
        assert self._source is not None
        now = time.monotonic()
        if self._source.frame_age_s < NOTICE_AFTER_S or now - self._noticed < NOTICE_EVERY_S:
            return None
        with self._lock:
            self._lifecycle.tick(now)
            if not self._view.privacy:
                self._tell(None, now)
        self._noticed = now
        return self._view.notice("camera off" if self._view.privacy else "waiting for the camera")

    def _source_lost(self, reason: str) -> None:
        self._last_error = reason

    def _sink_failed(self, sink: Sink, error: SpgvtonError) -> None:
        self._last_error = f"{sink.name} is left out: {error}"
        LOG.error("%s", self._last_error)
