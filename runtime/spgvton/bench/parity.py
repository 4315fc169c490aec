"""Is a back end right, and how fast is it? Real inputs: the shipped person, garments and poses of the demo."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.bench import statistics
from spgvton.demo_assets import DemoAssets
from spgvton.session import TryOn

POSES: Final = 20
WARM_UP: Final = 20
FRAMES: Final = 200
# Errors of a picture against ONNX Runtime's, of 255: mean over all pixels, and the worst one. Set with CPU figures in mind
# (float16, every rounding emulated: mean 0.017, worst 4; docs/fp16.md) and room above them; TensorRT's float32 uses TF32,
# whose products are as coarse as float16's. INT8: both round to the same levels, but a sum's last bit decides between two
# (the form with integers against the one with Q/DQ: 43 to 45 dB, docs/int8.md); an INT8 bundle (minmax) against its float
# one is 1.0 and 106 off, a pose that is off by one pixel 4.2 and 210. No GPU has been measured.
TOLERANCES: Final = {"fp32": (0.1, 16), "fp16": (0.25, 32), "int8": (1.0, 96)}

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Parity:
    """Two back ends on the same inputs. Errors of 255; psnr_db is None where every pixel agrees."""

    inputs: int
    mean_error: float
    max_error: int
    psnr_db: float | None
    allowed_mean: float
    allowed_max: int

    @property
    def holds(self) -> bool:
        return self.mean_error <= self.allowed_mean and self.max_error <= self.allowed_max

    def as_dict(self) -> dict[str, Any]:
        return {"holds": self.holds, **asdict(self)}


@dataclass(frozen=True)
class Benchmark:
    """Every one of `frames` frames' time, after `warm_up` others (CUDA-graph capture, TensorRT-RTX's compilation)."""

    frames: int
    warm_up: int
    latency_ms: dict[str, float]  # p50, p90, p95, p99, max; nearest rank
    times_ms: tuple[float, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The figures, without the times."""
        return {"frames": self.frames, "warm_up": self.warm_up, "latency_ms": self.latency_ms}


def demo_poses() -> tuple[Float, tuple[int, int]]:
    """Keypoints (180, 18, 3) of the shipped clip, and (height, width) of its frames."""
    assets = DemoAssets.open()
    picture, _ = assets.person()  # has the clip's size
    return assets.keypoints(), (picture.shape[0], picture.shape[1])


def parity(session: TryOn, reference: TryOn, poses: int = POSES) -> Parity:
    """Dress the shipped person in POSES poses, the garments in turn, by both sessions, and compare the pictures."""
    frames, size = demo_poses()
    chosen = frames[np.linspace(0, len(frames) - 1, poses).round().astype(int)]
    garments = DemoAssets.open().garments()
    picture, labels = DemoAssets.open().person()
    for s in (session, reference):
        s.set_person(picture, labels=labels)
    difference = []
    for i, keypoints in enumerate(chosen):
        pictures = []
        for s in (session, reference):
            garment = garments[i % len(garments)]
            s.set_garment(garment.picture, mask=garment.mask)
            pictures.append(s(keypoints, size).astype(np.int16))
        difference.append(np.abs(pictures[0] - pictures[1]))
    errors = np.stack(difference)
    power = float(np.mean(errors.astype(np.float64) ** 2))
    mean, worst = TOLERANCES[session.bundle.precision]
    return Parity(
        poses, round(float(errors.mean()), 5), int(errors.max()),
        round(10 * float(np.log10(255**2 / power)), 2) if power else None, mean, worst,
    )  # fmt: skip


def dress(session: TryOn, number: int = 1) -> None:
    """Give SESSION the shipped person and her garment NUMBER; the framing starts anew."""
    picture, labels = DemoAssets.open().person()
    garment = DemoAssets.open().garment(number)
    session.set_person(picture, labels=labels)
    session.set_garment(garment.picture, mask=garment.mask)


def benchmark(session: TryOn, frames: int = FRAMES, warm_up: int = WARM_UP) -> Benchmark:
    """Time SESSION from keypoints to picture on the host: both copies, the network, waiting for it. No frame is left out.

    Pose estimation, cameras and drawing are not part of it; `spgvton run --json` measures those.
    """
    poses, size = demo_poses()
    dress(session)
    times = []
    for i in range(warm_up + frames):
        begin = time.perf_counter()
        session(poses[i % len(poses)], size)
        times.append(1e3 * (time.perf_counter() - begin))
    latency = statistics.describe(times[warm_up:])
    return Benchmark(frames, warm_up, {k: v for k, v in latency.items() if k != "mean"}, tuple(times[warm_up:]))
