"""The mirror: a camera, a customer, a garment, and a loop that goes on for months.

camera (supervised.py) -> pose + lifecycle -> dresser -> view -> sinks, each in its own thread
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from spgvton.economy import Economy
from spgvton.errors import SpgvtonError
from spgvton.hints import Hint, code_of
from spgvton.kiosk.mirror.dresser import Dresser, Session
from spgvton.kiosk.mirror.lifecycle import Lifecycle, State
from spgvton.kiosk.mirror.live_dresser import LiveDresser
from spgvton.kiosk.mirror.memory import limit_arenas
from spgvton.kiosk.mirror.networks import Networks
from spgvton.kiosk.mirror.shutter import Shutter
from spgvton.kiosk.mirror.status import MirrorStatus, Mode, Seen
from spgvton.kiosk.mirror.still import Still, still_of
from spgvton.kiosk.mirror.view import MirrorView
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.parsing import Parser
from spgvton.perception.pose import PoseEstimator
from spgvton.stream.compose import Layout
from spgvton.stream.frames import Frame
from spgvton.stream.latency import RateMeter, RecentLatency
from spgvton.stream.loop import Loop, Perception, View
from spgvton.stream.rotate import Rotated
from spgvton.stream.sink_thread import in_threads
from spgvton.stream.sinks import Sink
from spgvton.stream.slot import Policy
from spgvton.stream.sources import connector
from spgvton.stream.supervised import SupervisedSource

LOG: Final = logging.getLogger(__name__)

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

EXIT_GAVE_UP: Final = os.EX_TEMPFAIL  # 75: a supervisor such as systemd should start the process again
PATIENCE_S: Final = 120.0
NOTICE_AFTER_S: Final = 1.0  # without a frame the view says so
NOTICE_EVERY_S: Final = 0.5
RATE_S: Final = 5.0


class Mirror:
    """Shows whoever stands before SOURCE_URI in the garment that is set. All methods may be called from any thread.

    source_uri: as spgvton.stream.sources takes it; a file plays at its own pace, again and again, as a camera would.
    mode: "live" dresses the camera's own picture; "pose" shows the customer's source picture in their pose (the paper's way).
    bundle, backend, threads: as LiveTryOn and TryOn take them. warp, plugin: of TensorRT's engine, as open_backend takes them.
    compositor, compositor_library: of live mode, as spgvton.live.compositors.open_compositor takes them.
    policy: "latest" for a mirror; "wait" presents every frame that it reads, in live mode each with an answer of its own.
    wipe_after_s: how long the state of a customer who left is kept. parser: makes the semantic map, in pose mode of the source picture;
    None = the shipped one. rotate: degrees clockwise, of a camera that hangs on its side. mirrored: flip left and right.
    view: "result", or "side-by-side" with the camera. written: hints are written into the picture, in English. economy: what need not be
    computed again.
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
        self._economy = economy or Economy()
        networks = Networks(
            bundle, mode, backend, threads, warp, plugin, compositor, compositor_library, parser, self._economy
        )
        self._connector = connector(source_uri, realtime=True)
        self.written, self.mirrored = written, mirrored
        self._mode, self._rotate, self._policy, self._patience_s = mode, rotate, policy, patience_s
        self._pose = PoseEstimator()
        self._view = MirrorView(layout=view, mirrored=mirrored, live=mode == "live", written=written)
        self._lock = threading.RLock()  # of the lifecycle and the switches
        self._dresser: Dresser | LiveDresser
        capture = None
        if mode == "live":
            open_live = cast("Callable[[], LiveTryOn] | None", open_session)
            self._dresser = networks.live_dresser(open_live, latest=policy == "latest")
        else:
            self._dresser, capture = networks.dresser(cast("Callable[[], Session] | None", open_session))
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
            Shutter(turned, lambda: self._view.privacy, self._peek),
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
