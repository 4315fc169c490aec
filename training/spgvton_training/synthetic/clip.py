"""A clip of one person moving before a mirror: the demo's camera, with exact labels and keypoints of every frame.

The person is that of item 0 of the test split of a seed, in a plain tee and jeans, in the room of render/room.py; the camera stands
still. The motion is a loop of key poses through which every angle and direction runs as a monotone cubic: smooth, without
overshoot, at rest where it turns round. On top lie a sway and a breath of whole periods per loop, so the last frame leads
back to the first.

    OMP_NUM_THREADS=1 python -m spgvton_training.synthetic.clip --out runtime/spgvton/assets/demo

    clip.mp4                                     720 high, 540 wide, 12 s, 15 frames a second
    person.jpg, person_parsing.png               its first frame and the label ids of that
    room.jpg                                     what the camera sees when nobody is there
    garment_N.jpg, garment_N_mask.png            three in-shop pictures, 1024 high, N = 1, 2, 3, none of them worn in the clip
    clip_keypoints.json                          per frame 18 of [x, y, score]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton import files, image
from spgvton.errors import SpgvtonError, UsageError
from spgvton.video import cv2
from spgvton_training.synthetic.clothes.garment import Garment, make_garment
from spgvton_training.synthetic.clothes.garment_spec import GarmentSpec
from spgvton_training.synthetic.clothes.pattern import Print
from spgvton_training.synthetic.drawing.texture import colour_array
from spgvton_training.synthetic.people.accessories import Accessories
from spgvton_training.synthetic.people.identity import sample_identity
from spgvton_training.synthetic.people.pose import Limbs, Pose, Skeleton, Vec, arm
from spgvton_training.synthetic.render.person import Person
from spgvton_training.synthetic.render.room import room
from spgvton_training.synthetic.render.scene import Framing, Photo, aim, empty, pose_person, render
from spgvton_training.synthetic.render.shading import sample_studio

SEED: Final = 608
SIZE: Final = (720, 540)
GARMENT_SIZE: Final = (1024, 768)
FRAMES: Final = 180
FPS: Final = 15
LOOP: Final = 12.0  # seconds that the motion is made for
FRAMING: Final = Framing(visible=0.75, top=0.07, shift=0.0)
_LIPS: Final = (176, 88, 84)
_JEANS: Final = (48, 64, 98)
_OWN: Final = (88, 122, 146)  # the tee's colour
_TEST: Final = 1  # index of the test split in the seeds of items, see dataset.py


@dataclass(frozen=True, eq=False)
class Clip:
    """A rendered clip of n frames."""

    frames: NDArray[np.uint8]  # (n, H, W, 3) RGB
    labels: NDArray[np.uint8]  # (n, H, W) CIHP ids
    keypoints: NDArray[np.float32]  # (n, 18, 3) x, y, score
    garment: Garment  # what the person wears
    room: NDArray[np.uint8]  # (H, W, 3) RGB without the person


# ------------------------------------------------------------------ motion
def _limbs(upper: tuple[float, float, float], fore: tuple[float, float, float], curl: float = 0.35) -> Limbs:
    return Limbs(np.array(upper, np.float64), np.array(fore, np.float64), curl=curl)


_CALM: Final = _limbs((0.27, -1, -0.02), (0.17, -1, 0.20))
_BENT: Final = _limbs((0.48, -0.85, 0.16), (0.36, -0.10, 0.80))
_LIFT: Final = _limbs((0.66, -0.62, 0.24), (0.16, 0.95, 0.14), curl=0.28)
_OPEN: Final = _limbs((0.62, -0.80, 0.10), (0.52, -0.62, 0.42), curl=0.25)
_HIP: Final = arm("hip")
_TURN: Final = math.radians(22)


@dataclass(frozen=True)
class _Key:
    """second: of the loop. step: where the person stands, decimetres to their left."""

    second: float
    pose: Pose
    step: float = 0.0


# at rest, a look from both sides, one arm, both arms, a step aside with a hand on the hip, and back
_KEYS: Final = (
    _Key(0.0, Pose(_CALM, _CALM)),
    _Key(0.4, Pose(_CALM, _CALM)),
    _Key(1.5, Pose(_CALM, _CALM, yaw=_TURN, twist=0.05, head_yaw=-0.22, hip_roll=0.02)),
    _Key(1.7, Pose(_CALM, _CALM, yaw=_TURN, twist=0.05, head_yaw=-0.24, hip_roll=0.02)),
    _Key(3.2, Pose(_CALM, _CALM, yaw=-_TURN, twist=-0.05, head_yaw=0.22, hip_roll=-0.02)),
    _Key(3.4, Pose(_CALM, _CALM, yaw=-_TURN, twist=-0.05, head_yaw=0.24, hip_roll=-0.02)),
    _Key(4.5, Pose(_CALM, _BENT, yaw=-0.05, head_yaw=-0.06)),
    _Key(5.4, Pose(_CALM, _LIFT, yaw=0.02, side=0.02, head_yaw=-0.16, head_roll=-0.03)),
    _Key(6.1, Pose(_BENT, _LIFT, yaw=0.03, head_yaw=0.0)),
    _Key(7.0, Pose(_LIFT, _LIFT, yaw=0.02, head_yaw=0.10)),
    _Key(7.2, Pose(_LIFT, _LIFT, yaw=0.0, head_yaw=0.10)),
    _Key(8.2, Pose(_OPEN, _OPEN, yaw=0.03, hip_roll=0.01, head_yaw=0.03), 0.1),
    _Key(9.4, Pose(_HIP, _CALM, yaw=0.10, hip_roll=0.05, side=0.02, head_yaw=-0.04, head_roll=0.05), 0.8),
    _Key(10.1, Pose(_HIP, _CALM, yaw=0.13, hip_roll=0.05, side=0.02, head_yaw=-0.08, head_roll=0.06), 0.8),
    _Key(11.7, Pose(_CALM, _CALM)),
)
_ANGLES: Final = tuple(f.name for f in fields(Pose) if f.name not in ("left", "right", "phone"))


def _pack(pose: Pose) -> Vec:
    """A pose as one vector: what is interpolated."""
    values = [getattr(pose, name) for name in _ANGLES]
    for limbs in (pose.left, pose.right):
        directions = (v / np.linalg.norm(v) for v in (limbs.upper, limbs.fore))
        values += [*np.concatenate([*directions, limbs.hand]), limbs.pronation, limbs.curl]
    return np.array(values, np.float64)


def _unpack(values: Vec, at_rest: Pose) -> Pose:
    """Inverse of _pack(); the legs are those of AT_REST."""
    angles: dict[str, Any] = {name: float(v) for name, v in zip(_ANGLES, values)}
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


def motion_at(phase: float) -> tuple[Pose, float]:
    """The pose at PHASE of the loop, and the step aside (decimetres); 0 and 1 are the same moment."""
    times = np.array([key.second for key in _KEYS])
    values = np.stack([np.append(_pack(key.pose), key.step) for key in _KEYS])
    found = interpolate_loop(times, values, LOOP, phase * LOOP)
    pose, step = _unpack(found[:-1], _KEYS[0].pose), float(found[-1])
    turn = 2 * math.pi * phase
    sway, breath = math.sin(2 * turn), math.sin(4 * turn)
    pose = replace(
        pose,
        hip_roll=pose.hip_roll + 0.012 * sway,
        side=pose.side - 0.008 * sway,
        twist=pose.twist + 0.015 * math.sin(3 * turn),
        bend=pose.bend + 0.006 * (1 - math.cos(4 * turn)),
        head_pitch=pose.head_pitch + 0.012 * breath,
        head_yaw=pose.head_yaw + 0.015 * math.sin(2 * turn),
    )
    return pose, step


def phases(frames: int, fps: float) -> Vec:
    """Phase (n,) of each frame: whole loops, as many as keep the motion nearest to its natural pace."""
    loops = max(1, round(frames / fps / LOOP))
    return np.arange(frames) * loops / frames % 1.0


# ------------------------------------------------------------------ rendering
def skeleton_at(person: Person, phase: float) -> Skeleton:
    """The skeleton of PERSON at PHASE of the loop."""
    pose, step = motion_at(phase)
    still = pose_person(person, pose)
    bones, heads = still.bones.copy(), still.heads.copy()
    bones[:, 0, 3] += step
    heads[:, 0] += step
    return Skeleton(bones, heads)


def _stream(seed: int, purpose: int) -> np.random.Generator:
    return np.random.default_rng([seed, _TEST, 0, purpose])


def render_clip(seed: int, frames: int = FRAMES, fps: float = FPS, size: tuple[int, int] = SIZE) -> Clip:
    """Render FRAMES frames of SIZE (height, width) at FPS. The same arguments give the same clip."""
    if frames < 1 or fps <= 0:
        raise UsageError(f"a clip needs at least one frame and a positive rate, got {frames} frames at {fps}")
    sampled = sample_identity(_stream(seed, 0))
    face = replace(sampled.face, lips=np.array(_LIPS, np.float32), lip_share=0.6, brow_height=0.0, brow_arch=0.05)
    identity = replace(
        sampled, face=face, accessories=Accessories(None, None), bottom="pants", denim=True, tucked=False,
        bottom_colour=np.array(_JEANS, np.float32),
    )  # fmt: skip
    person = Person(identity)
    garment = make_garment(GarmentSpec("crew", 0.72, 0.0, 0.45, 0.92, 0.78, _design("plain", _OWN, _OWN, _OWN)), size)
    studio = replace(sample_studio(_stream(seed, 5)), wall=room(size))
    skeletons = [skeleton_at(person, float(p)) for p in phases(frames, fps)]
    camera = aim(person, skeleton_at(person, 0.0), FRAMING, size)
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
        empty(studio, size, grain),
    )


def largest_step(keypoints: NDArray[np.float32]) -> float:
    """The largest distance in pixels that a keypoint of (n, 18, 3) moves between two frames, last to first included."""
    following = np.roll(keypoints, -1, 0)
    seen = (keypoints[..., 2] > 0) & (following[..., 2] > 0)
    steps = np.linalg.norm(following[..., :2] - keypoints[..., :2], axis=-1)
    return float(steps[seen].max(initial=0))


# ------------------------------------------------------------------ garments of the demo
def _design(
    pattern: str, *colours: tuple[float, float, float], period: float = 0.5, logo: str = "none", seed: int = 20
) -> Print:
    return Print(pattern, colour_array(*colours), period, block=3.0, logo=logo, word="NOVA", font=2, seed=seed)


def demo_garments(size: tuple[int, int] = GARMENT_SIZE) -> list[Garment]:
    """Three tops that nobody takes for one another: stripes, a word, a V-neck with flowers."""
    striped = _design("stripe_h", (244, 242, 236), (28, 48, 104), (28, 48, 104), period=0.62)
    worded = _design("plain", (246, 190, 40), (246, 190, 40), (30, 34, 44), logo="text")
    flowery = _design("floral", (150, 28, 62), (246, 190, 200), (250, 236, 214))
    return [
        make_garment(GarmentSpec("crew", 0.66, 0.0, 0.5, 0.94, 0.75, striped), size),
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
    image.write(root / "room.jpg", clip.room, quality=95)
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
    parser.add_argument("--seed", type=int, default=SEED, metavar="S", help=f"person and light (default {SEED})")
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
