"""A clip of one person moving before a mirror: the demo's camera, with exact labels and keypoints of every frame.

The person, the top and the studio are item 0 of the test split of a seed; the camera stands still. The motion is a loop of
key poses through which every angle and direction runs as a monotone cubic: smooth, without overshoot, at rest where it
turns round. On top lie a sway and a breath of whole periods per loop, so the last frame leads back to the first.

    OMP_NUM_THREADS=1 python -m spgvton_training.synthetic.clip --out runtime/spgvton/assets/demo

    clip.mp4                                     384x512 pixels, 12 s, 15 frames a second
    person.jpg, person_parsing.png               its first frame and the label ids of that
    garment_N.jpg, garment_N_mask.png            three in-shop pictures, N = 1, 2, 3, none of them worn in the clip
    clip_keypoints.json                          per frame 18 of [x, y, score]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import files, image
from spgvton.errors import SpgvtonError, UsageError
from spgvton.video import cv2
from spgvton_training.synthetic.garment import Garment, GarmentSpec, make_garment, sample_garment
from spgvton_training.synthetic.pattern import Print
from spgvton_training.synthetic.person import Person, sample_identity
from spgvton_training.synthetic.pose import Limbs, Pose, Skeleton, Vec, arm
from spgvton_training.synthetic.scene import Framing, Photo, aim, pose_person, render
from spgvton_training.synthetic.shading import Studio, sample_studio
from spgvton_training.synthetic.texture import colour_array

SEED: Final = 114
SIZE: Final = (512, 384)
FRAMES: Final = 180
FPS: Final = 15
LOOP: Final = 12.0  # seconds that the motion is made for
FRAMING: Final = Framing(visible=0.67, top=0.06, shift=0.0)
_TEST: Final = 1  # index of the test split in the seeds of items, see dataset.py


@dataclass(frozen=True, eq=False)
class Clip:
    """A rendered clip of n frames."""

    frames: NDArray[np.uint8]  # (n, H, W, 3) RGB
    labels: NDArray[np.uint8]  # (n, H, W) CIHP ids
    keypoints: NDArray[np.float32]  # (n, 18, 3) x, y, score
    garment: Garment  # what the person wears


# ------------------------------------------------------------------ motion
def _limbs(upper: tuple[float, float, float], fore: tuple[float, float, float], curl: float = 0.35) -> Limbs:
    return Limbs(np.array(upper, np.float64), np.array(fore, np.float64), curl=curl)


_CALM: Final = _limbs((0.34, -1, 0.0), (0.26, -1, 0.20))
_BENT: Final = _limbs((0.48, -0.85, 0.16), (0.36, -0.10, 0.80))
_LIFT: Final = _limbs((0.66, -0.62, 0.24), (0.16, 0.95, 0.14), curl=0.28)
_HIP: Final = arm("hip")
_TURN: Final = math.radians(20)

# (second, pose): at rest in the A-pose, a look from both sides, one arm, both arms, hand on hip, back to rest
_KEYS: Final = (
    (0.0, Pose(_CALM, _CALM)),
    (0.4, Pose(_CALM, _CALM)),
    (1.5, Pose(_CALM, _CALM, yaw=_TURN, twist=0.05, head_yaw=-0.22, hip_roll=0.02)),
    (1.7, Pose(_CALM, _CALM, yaw=_TURN, twist=0.05, head_yaw=-0.24, hip_roll=0.02)),
    (3.2, Pose(_CALM, _CALM, yaw=-_TURN, twist=-0.05, head_yaw=0.22, hip_roll=-0.02)),
    (3.4, Pose(_CALM, _CALM, yaw=-_TURN, twist=-0.05, head_yaw=0.24, hip_roll=-0.02)),
    (4.5, Pose(_CALM, _BENT, yaw=-0.05, head_yaw=-0.06)),
    (5.5, Pose(_CALM, _LIFT, yaw=0.02, side=0.02, head_yaw=-0.16, head_roll=-0.03)),
    (6.2, Pose(_BENT, _LIFT, yaw=0.03, head_yaw=0.0)),
    (7.1, Pose(_LIFT, _LIFT, yaw=0.02, head_yaw=0.10)),
    (7.3, Pose(_LIFT, _LIFT, yaw=0.0, head_yaw=0.10)),
    (8.3, Pose(_BENT, _BENT, yaw=0.03, hip_roll=0.02, head_yaw=0.03)),
    (9.6, Pose(_HIP, _CALM, yaw=0.10, hip_roll=0.05, side=0.02, head_yaw=-0.04, head_roll=0.05)),
    (10.2, Pose(_HIP, _CALM, yaw=0.13, hip_roll=0.05, side=0.02, head_yaw=-0.08, head_roll=0.06)),
    (11.7, Pose(_CALM, _CALM)),
)
_ANGLES: Final = tuple(f.name for f in fields(Pose) if f.name not in ("left", "right"))


def _pack(pose: Pose) -> Vec:
    """A pose as one vector: what is interpolated."""
    values = [getattr(pose, name) for name in _ANGLES]
    for limbs in (pose.left, pose.right):
        directions = (v / np.linalg.norm(v) for v in (limbs.upper, limbs.fore))
        values += [*np.concatenate([*directions, limbs.hand]), limbs.pronation, limbs.curl]
    return np.array(values, np.float64)


def _unpack(values: Vec, at_rest: Pose) -> Pose:
    """Inverse of _pack(); the legs are those of AT_REST."""
    angles = {name: float(v) for name, v in zip(_ANGLES, values)}
    left, right = (
        replace(limbs, upper=v[:3], fore=v[3:6], hand=v[6:9], pronation=float(v[9]), curl=float(v[10]))
        for limbs, v in zip((at_rest.left, at_rest.right), values[len(_ANGLES) :].reshape(2, -1))
    )
    return replace(at_rest, left=left, right=right, **angles)


def interpolate_loop(times: Vec, values: Vec, period: float, t: float) -> Vec:
    """Monotone cubic (Fritsch and Carlson) through VALUES (n, c) at TIMES (n,) in [0, PERIOD), periodic, at time T."""
    n = len(times)
    steps = np.diff(np.append(times, times[0] + period))[:, None]
    slopes = (np.roll(values, -1, 0) - values) / steps
    before, gap = np.roll(slopes, 1, 0), np.roll(steps, 1, 0)
    w1, w2 = 2 * steps + gap, steps + 2 * gap  # weighted harmonic mean of the slopes; zero where they change sign
    same = before * slopes > 0
    with np.errstate(over="ignore"):  # a slope next to zero gives the tangent zero, as it should
        mean = (w1 + w2) / (w1 / np.where(same, before, 1) + w2 / np.where(same, slopes, 1))
    tangents = np.where(same, mean, 0)
    t = t % period
    i = int(np.searchsorted(times, t, side="right")) - 1
    j, h = (i + 1) % n, float(steps[i, 0])
    s = (t - float(times[i])) / h
    out = (1 + 2 * s) * (1 - s) ** 2 * values[i] + s * s * (3 - 2 * s) * values[j]
    return np.asarray(out + h * (s * (1 - s) ** 2 * tangents[i] - s * s * (1 - s) * tangents[j]))


def pose_at(phase: float) -> Pose:
    """The pose at PHASE of the loop; 0 and 1 are the same moment."""
    times = np.array([t for t, _ in _KEYS])
    pose = _unpack(
        interpolate_loop(times, np.stack([_pack(p) for _, p in _KEYS]), LOOP, phase * LOOP),
        _KEYS[0][1],
    )
    turn = 2 * math.pi * phase
    sway, breath = math.sin(2 * turn), math.sin(4 * turn)
    return replace(
        pose,
        hip_roll=pose.hip_roll + 0.012 * sway,
        side=pose.side - 0.008 * sway,
        twist=pose.twist + 0.015 * math.sin(3 * turn),
        bend=pose.bend + 0.006 * (1 - math.cos(4 * turn)),
        head_pitch=pose.head_pitch + 0.012 * breath,
        head_yaw=pose.head_yaw + 0.015 * math.sin(2 * turn),
    )


def phases(frames: int, fps: float) -> Vec:
    """Phase (n,) of each frame: whole loops, as many as keep the motion nearest to its natural pace."""
    loops = max(1, round(frames / fps / LOOP))
    return np.arange(frames) * loops / frames % 1.0


# ------------------------------------------------------------------ rendering
def _stream(seed: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, _TEST, 0, purpose])


def render_clip(seed: int, frames: int = FRAMES, fps: float = FPS, size: tuple[int, int] = SIZE) -> Clip:
    """Render FRAMES frames of SIZE (height, width) at FPS. The same arguments give the same clip."""
    if frames < 1 or fps <= 0:
        raise UsageError(f"a clip needs at least one frame and a positive rate, got {frames} frames at {fps}")
    person = Person(sample_identity(_stream(seed, 0)))
    garment = make_garment(sample_garment(_stream(seed, 1)), size)
    studio: Studio = sample_studio(_stream(seed, 5))
    skeletons: list[Skeleton] = [pose_person(person, pose_at(float(p))) for p in phases(frames, fps)]
    camera = aim(person, pose_person(person, pose_at(0.0)), FRAMING, size)
    grain = int(_stream(seed, 6).integers(1 << 30))  # one for all frames: folds belong to the cloth
    photos: list[Photo] = [
        render(person, garment, skeleton, camera, studio, grain)
        for skeleton in tqdm(skeletons, unit="frame", file=sys.stderr, mininterval=1.0)
    ]
    return Clip(
        np.stack([p.image for p in photos]),
        np.stack([p.labels for p in photos]),
        np.stack([p.keypoints for p in photos]).astype(np.float32),
        garment,
    )


def largest_step(keypoints: NDArray[np.float32]) -> float:
    """The largest distance in pixels that a keypoint of (n, 18, 3) moves between two frames, last to first included."""
    following = np.roll(keypoints, -1, 0)
    seen = (keypoints[..., 2] > 0) & (following[..., 2] > 0)
    steps = np.linalg.norm(following[..., :2] - keypoints[..., :2], axis=-1)
    return float(steps[seen].max(initial=0))


# ------------------------------------------------------------------ garments of the demo
def demo_garments(size: tuple[int, int] = SIZE) -> list[Garment]:
    """Three tops that nobody takes for one another: striped long sleeve, tee with a word, V-neck with flowers."""

    def design(pattern: str, *colours: tuple[float, float, float], period: float = 0.5, logo: str = "none") -> Print:
        return Print(pattern, colour_array(*colours), period, block=3.0, logo=logo, word="NOVA", font=2, seed=20)

    striped = design("stripe_h", (244, 242, 236), (28, 48, 104), (28, 48, 104), period=0.62)
    worded = design("plain", (246, 190, 40), (246, 190, 40), (30, 34, 44), logo="text")
    flowery = design("floral", (150, 28, 62), (246, 190, 200), (250, 236, 214))
    return [
        make_garment(GarmentSpec("crew", 2.0, 0.0, 0.45, 0.94, 0.75, striped), size),
        make_garment(GarmentSpec("crew", 0.62, 0.05, 0.6, 0.94, 0.75, worded), size),
        make_garment(GarmentSpec("vneck", 0.52, 0.1, 0.5, 0.95, 1.35, flowery), size),
    ]


# ------------------------------------------------------------------ files
def write_clip(path: Path, frames: NDArray[np.uint8], fps: float) -> None:
    """Write FRAMES (n, H, W, 3) RGB as MP4 (MPEG-4 part 2, which every OpenCV build decodes). Raises SpgvtonError."""
    height, width = frames.shape[1:3]
    with files.atomic_path(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
        try:
            if not writer.isOpened():
                raise SpgvtonError(f"cannot write {path}: this OpenCV has no MPEG-4 encoder")
            for frame in frames:
                writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        finally:
            writer.release()


def write_demo(root: Path, clip: Clip, garments: list[Garment], fps: float = FPS) -> None:
    """Write the files of the demo into ROOT, the clip last: where it is, all is. Raises SpgvtonError."""
    files.make_folder(root)
    image.write(root / "person.jpg", clip.frames[0], quality=95)
    image.write(root / "person_parsing.png", clip.labels[0])
    for i, garment in enumerate(garments, 1):
        image.write(root / f"garment_{i}.jpg", garment.picture, quality=95)
        image.write(root / f"garment_{i}_mask.png", garment.mask)
    rounded = [[[round(float(v), 2) for v in point] for point in frame] for frame in clip.keypoints]
    files.write_text(root / "clip_keypoints.json", json.dumps(rounded, separators=(",", ":")) + "\n")
    write_clip(root / "clip.mp4", clip.frames, fps)


def main(arguments: list[str] | None = None) -> int:
    """`python -m spgvton_training.synthetic.clip`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the files go")
    parser.add_argument("--seed", type=int, default=SEED, metavar="S", help=f"person and studio (default {SEED})")
    args = parser.parse_args(arguments)
    try:
        if args.seed < 0:
            raise UsageError(f"--seed must be at least 0, got {args.seed}")
        files.make_folder(args.out)
        clip = render_clip(args.seed)
        write_demo(args.out, clip, demo_garments())
    except SpgvtonError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2 if isinstance(e, UsageError) else 1
    size = (args.out / "clip.mp4").stat().st_size
    print(
        f"{args.out}: {len(clip.frames)} frames, {size / 1e6:.2f} MB, largest step {largest_step(clip.keypoints):.1f} px"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
