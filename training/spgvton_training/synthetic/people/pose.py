"""Poses: what a person does, how it is sampled, and the bone transforms it gives.

A limb is given by the *directions* of its two segments, not by joint angles: directions interpolate well and keep their
meaning on every body shape. Directions are in the frame of the chest (arms) or the hips (legs), with +x outwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.people.assets import BONE, BONES, load

Vec = NDArray[np.float64]


def _vec(*v: float) -> Vec:
    return np.array(v, np.float64)


@dataclass(frozen=True)
class Limbs:
    """One arm and the leg of the same side."""

    upper: Vec  # direction shoulder -> elbow
    fore: Vec  # direction elbow -> wrist
    pronation: float = 0.0  # radians about the forearm
    curl: float = 0.35  # radians per finger joint
    hand: Vec = field(default_factory=lambda: np.zeros(3))  # pulls the hand this way; zero: straight wrist
    thigh: Vec = field(default_factory=lambda: _vec(0.06, -1, 0.02))
    shin: Vec = field(default_factory=lambda: _vec(0.03, -1, -0.06))


@dataclass(frozen=True)
class Pose:
    """A whole pose; angles in radians. Yaw turns the body, positive to the person's left."""

    left: Limbs
    right: Limbs
    yaw: float = 0.0
    twist: float = 0.0
    bend: float = 0.02
    side: float = 0.0
    hip_roll: float = 0.0
    head_yaw: float = 0.0
    head_pitch: float = 0.0
    head_roll: float = 0.0
    phone: bool = False  # the right hand holds one before the body


@dataclass(frozen=True)
class Skeleton:
    """A posed skeleton."""

    bones: Float  # (B, 3, 4) [R | t] from the rest pose
    heads: Float  # (B, 3) posed bone heads
    phone: bool = False  # the right hand holds one

    def head(self, bone: str) -> Float:
        """Posed position (3,) of the head of BONE."""
        return self.heads[BONE[bone]]


# ------------------------------------------------------------------ sampling
_ARMS: Final[dict[str, Limbs]] = {
    "down": Limbs(_vec(0.20, -1, -0.05), _vec(0.10, -1, 0.18), pronation=-0.2),
    "hanging": Limbs(_vec(0.13, -1, -0.02), _vec(0.03, -1, 0.10), pronation=-0.3),
    "hip": Limbs(_vec(0.75, -0.8, -0.28), _vec(-0.72, -0.40, 0.50), curl=0.5, hand=_vec(-0.45, -0.45, 0.45)),
    "bent": Limbs(_vec(0.25, -1, -0.1), _vec(0.15, 0.12, 1)),
    "across": Limbs(_vec(0.28, -1, 0.12), _vec(-1, 0.10, 0.62), pronation=0.3),
    "out": Limbs(_vec(0.7, -0.75, 0), _vec(0.62, -0.55, 0.35)),
    "back": Limbs(_vec(0.35, -0.9, -0.45), _vec(-0.35, -0.8, -0.5)),
    "phone": Limbs(_vec(0.24, -1, 0.34), _vec(-0.42, 0.70, 0.75), pronation=0.2, curl=0.6),
    "front": Limbs(_vec(0.18, -1, 0.35), _vec(-0.62, 0.35, 0.70), pronation=0.4, curl=0.5),
    "chin": Limbs(_vec(0.25, -0.85, 0.45), _vec(-0.28, 0.95, 0.25), curl=0.7),
}
_ARM_CHANCES: Final = ("down", "hanging", "hip", "bent", "across", "out", "back", "chin", "front")
_BOTH_HANG: Final = 0.35  # share of people who just stand there, as before a mirror
_TURN: Final = math.radians(60)
_PHONE: Final = 0.07  # share of people who take a picture of themselves in the mirror


def arm(kind: str) -> Limbs:
    """A typical arm: down, hanging, hip (hand on hip), bent, across, out, back, front, phone or chin; the leg stands straight."""
    return _ARMS[kind]


def sample_pose(rng: np.random.Generator) -> Pose:
    """A standing pose as before a mirror or in a shop's catalogue: one in four may be turned by up to 60 degrees."""
    lean = rng.choice([-1, 1]) * rng.uniform(0, 0.06)
    both_hang = rng.random() < _BOTH_HANG

    def limbs(sign: int) -> Limbs:
        kind = "hanging" if both_hang else str(rng.choice(_ARM_CHANCES))
        base = _ARMS[kind]
        upper, fore = base.upper + rng.normal(0, 0.05, 3), base.fore + rng.normal(0, 0.05, 3)
        curl = rng.uniform(0.2, 0.55)
        spread = rng.uniform(0, 0.10)
        return replace(
            base,
            upper=upper,
            fore=fore,
            curl=base.curl if kind in ("hip", "chin") else curl,
            thigh=_vec(spread + sign * lean * 1.5, -1, rng.uniform(-0.02, 0.14)),
            shin=_vec(spread * 0.5 + sign * lean, -1, rng.uniform(-0.14, -0.02)),
        )

    left, right = limbs(1), limbs(-1)
    phone = bool(rng.random() < _PHONE)
    if phone:
        right = replace(_ARMS["phone"], thigh=right.thigh, shin=right.shin)
    yaw = rng.uniform(-_TURN, _TURN) if rng.random() < 0.25 else float(np.clip(rng.normal(0, 0.30), -0.8, 0.8))
    return Pose(
        left=left,
        right=right,
        yaw=yaw,
        twist=rng.normal(0, 0.08),
        bend=rng.normal(0.02, 0.03),
        side=rng.normal(0, 0.03),
        hip_roll=float(lean),
        head_yaw=rng.normal(0, 0.25),
        head_pitch=rng.normal(0, 0.08),
        head_roll=rng.normal(0, 0.05),
        phone=phone,
    )


# ------------------------------------------------------------------ rotations
def _cross(a: Vec, b: Vec) -> Vec:
    return _vec(a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _unit(a: Vec) -> Vec:
    return a / (math.sqrt(a @ a) + 1e-12)


def _rotation(axis: Vec, angle: float) -> Vec:
    x, y, z = _unit(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * k + (1 - math.cos(angle)) * (k @ k)


def _rx(angle: float) -> Vec:
    return _rotation(_vec(1, 0, 0), angle)


def _ry(angle: float) -> Vec:
    return _rotation(_vec(0, 1, 0), angle)


def _rz(angle: float) -> Vec:
    return _rotation(_vec(0, 0, 1), angle)


def _between(a: Vec, b: Vec) -> Vec:
    """The smallest rotation that turns A to B."""
    a, b = _unit(a), _unit(b)
    axis = _cross(a, b)
    s = math.sqrt(axis @ axis)
    return np.eye(3) if s < 1e-8 else _rotation(axis, math.atan2(s, float(a @ b)))


def _hinge_frame(upper: Vec, fore: Vec) -> Vec:
    u = _unit(upper)
    n = _unit(_cross(u, fore))
    return np.stack([u, n, _cross(u, n)], 1)


# ------------------------------------------------------------------ skeleton
class _Solver:
    """Sets global bone rotations parents first; a bone turns about its own (already moved) head."""

    def __init__(self, heads: Float, tails: Float, girth: tuple[float, float]) -> None:
        self.girth = girth
        self.rest, self.tails = heads.astype(np.float64), tails.astype(np.float64)
        self.parents = load().parents
        self.rotation = np.tile(np.eye(3), (len(BONES), 1, 1))
        self.shift = np.zeros((len(BONES), 3))

    def set(self, bone: str, rotation: Vec) -> None:
        i = BONE[bone]
        p = self.parents[i]
        head = self.rest[i]
        moved = head if p < 0 else self.rotation[p] @ head + self.shift[p]
        self.rotation[i], self.shift[i] = rotation, moved - rotation @ head

    def at(self, bone: str) -> Vec:
        return self.rest[BONE[bone]]


def _keep_off_torso(solver: _Solver, limbs: Limbs, side: str, sign: int) -> Vec:
    """The forearm direction, turned out of the torso (an ellipse at each height) where it would enter it."""
    shoulder = solver.at(f"upperarm01.{side}") * (sign, 1, 1)
    elbow_at, wrist_at = solver.at(f"lowerarm01.{side}"), solver.at(f"wrist.{side}")
    upper_length = np.linalg.norm(elbow_at - solver.at(f"upperarm01.{side}"))
    fore_length, hand_length = float(np.linalg.norm(wrist_at - elbow_at)), 1.5
    elbow = shoulder + _unit(limbs.upper) * upper_length
    samples = (0.55, 1.0, (fore_length + hand_length * 0.5) / fore_length, (fore_length + hand_length) / fore_length)
    fore = _unit(limbs.fore)
    for _ in range(14):
        worst = 9.0
        for k in samples:
            x, y, z = elbow + fore * fore_length * k
            if y <= 5.2:
                a, b, middle = (1.55, 1.05, 0.45) if y < 1.6 else (1.30, 1.0, 0.50)
                a, b = a * solver.girth[0] + 0.22, b * solver.girth[1] + 0.38  # plus cloth and the hand itself
                worst = min(worst, math.hypot(x / a, (z - middle) / b))
        if worst >= 1:
            break
        step = min(1.0, (1 - worst) / 0.15)  # smaller near the surface, so that a moving arm does not jump
        in_front = elbow[2] + fore[2] * fore_length > 0
        fore = _unit(fore + step * (_vec(0.05, 0, 0.16) if in_front else _vec(0.12, 0, -0.10)))
    return fore


def _solve_arm(solver: _Solver, limbs: Limbs, side: str, sign: int, chest: Vec) -> None:
    mirror = _vec(sign, 1, 1)
    upper = _unit(chest @ (_unit(limbs.upper) * mirror))
    fore = _unit(chest @ (_keep_off_torso(solver, limbs, side, sign) * mirror))
    lift = max(0.0, float((chest.T @ upper)[1]) + 0.35) * 0.35  # the collar bone follows a raised arm
    collar = chest @ _rz(sign * lift)
    solver.set(f"clavicle.{side}", collar)
    solver.set(f"shoulder01.{side}", collar)
    shoulder, elbow, wrist = (solver.at(f"{b}.{side}") for b in ("upperarm01", "lowerarm01", "wrist"))
    u0, f0 = elbow - shoulder, wrist - elbow
    swing = _between(collar @ u0, upper) @ collar
    # twist the upper arm so that the elbow bends about its hinge; a straight arm has no hinge direction
    bend = math.acos(float(np.clip(upper @ fore, -1, 1)))
    before, after = _hinge_frame(swing @ u0, swing @ f0), _hinge_frame(upper, fore)
    twist = math.atan2(float(_cross(before[:, 1], after[:, 1]) @ upper), float(before[:, 1] @ after[:, 1]))
    twist *= float(np.clip((bend - 0.15) / 0.5, 0, 1))
    # spread the twist along the arm: linear blend skinning collapses under a sudden one
    solver.set(f"upperarm01.{side}", _rotation(upper, twist * 0.45) @ swing)
    solver.set(f"upperarm02.{side}", _rotation(upper, twist * 0.8) @ swing)
    turned = _rotation(upper, twist) @ swing
    forearm = _between(turned @ f0, fore) @ turned
    solver.set(f"lowerarm01.{side}", forearm)
    pronation = limbs.pronation * sign
    solver.set(f"lowerarm02.{side}", _rotation(fore, pronation * 0.5) @ forearm)
    hand = _rotation(fore, pronation) @ forearm
    pointing = _unit(hand @ (solver.tails[BONE[f"finger3-3.{side}"]] - wrist))
    hand = _between(pointing, pointing * 0.3 + chest @ (limbs.hand * mirror)) @ hand
    solver.set(f"wrist.{side}", hand)
    knuckles = hand @ (solver.at(f"finger5-1.{side}") - solver.at(f"finger2-1.{side}"))
    for i in range(1, 6):
        finger = hand
        for j in (1, 2, 3):
            if (i, j) != (1, 1):
                finger = _rotation(knuckles, -sign * limbs.curl * (0.5 if i == 1 else 0.8)) @ finger
            solver.set(f"finger{i}-{j}.{side}", finger)


def _solve_leg(solver: _Solver, limbs: Limbs, side: str, sign: int, hips: Vec) -> None:
    mirror = _vec(sign, 1, 1)
    solver.set(f"pelvis.{side}", hips)
    hip, knee, ankle = (solver.at(f"{b}.{side}") for b in ("upperleg01", "lowerleg01", "foot"))
    thigh = _between(hips @ (knee - hip), hips @ (limbs.thigh * mirror)) @ hips
    shin = _between(thigh @ (ankle - knee), hips @ (limbs.shin * mirror)) @ thigh
    for bone, rotation in (("upperleg01", thigh), ("upperleg02", thigh), ("lowerleg01", shin), ("lowerleg02", shin)):
        solver.set(f"{bone}.{side}", rotation)
    solver.set(f"foot.{side}", hips @ _ry(sign * 0.25))


def solve(heads: Float, tails: Float, pose: Pose, *, girth: tuple[float, float] = (1.0, 1.0)) -> Skeleton:
    """Bone transforms of POSE for a body whose bones have HEADS and TAILS (B, 3) in the rest pose.

    GIRTH is the width and depth of the torso relative to the base mesh; arms stay outside of it.
    """
    solver = _Solver(heads, tails, girth)
    hips = _ry(pose.yaw) @ _rz(pose.hip_roll)
    solver.set("root", hips)
    r = hips
    for i, bone in enumerate(("spine05", "spine04", "spine03", "spine02", "spine01")):
        roll = pose.side / 5 - (pose.hip_roll / 3 if i < 3 else 0)  # the spine straightens what the hips tilt
        r = r @ _ry(pose.twist / 5) @ _rx(pose.bend / 5) @ _rz(roll)
        solver.set(bone, r)
    chest = r
    for bone in ("neck01", "neck02", "neck03", "head"):
        r = r @ _ry(pose.head_yaw / 4) @ _rx(pose.head_pitch / 4) @ _rz(pose.head_roll / 4)
        solver.set(bone, r)
    for side, sign, limbs in (("L", 1, pose.left), ("R", -1, pose.right)):
        _solve_arm(solver, limbs, side, sign, chest)
        _solve_leg(solver, limbs, side, sign, hips)
    bones = np.concatenate([solver.rotation, solver.shift[:, :, None]], 2).astype(np.float32)
    posed = np.einsum("bij,bj->bi", solver.rotation, solver.rest) + solver.shift
    return Skeleton(bones, posed.astype(np.float32), pose.phone)
