"""Render one photo of a dressed person, with exact labels, keypoints, and the map from worn to flat garment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton import labels
from spgvton.video import cv2
from spgvton_training.synthetic.clothes import cloth
from spgvton_training.synthetic.clothes.garment import Garment
from spgvton_training.synthetic.drawing.arrays import Float
from spgvton_training.synthetic.drawing.raster import Fragments, interpolate, rasterise
from spgvton_training.synthetic.people import body
from spgvton_training.synthetic.people.assets import NOSE_TIP, load
from spgvton_training.synthetic.people.hair import ear_tips, scalp
from spgvton_training.synthetic.people.pose import Pose, Skeleton, solve
from spgvton_training.synthetic.render.assembly import Part, assemble
from spgvton_training.synthetic.render.lens import Lens, expose
from spgvton_training.synthetic.render.paint import Painter, Surface, paint
from spgvton_training.synthetic.render.person import Person
from spgvton_training.synthetic.render.shading import GBuffer, Studio, add_folds, background, shade

SUPERSAMPLING: Final = 2
_FOCAL: Final = np.float32(48)  # decimetres from the camera to the plane z = 0
_JOINT_OF: Final = {
    kp.R_SHOULDER: "upperarm01.R", kp.R_ELBOW: "lowerarm01.R", kp.R_WRIST: "wrist.R",
    kp.L_SHOULDER: "upperarm01.L", kp.L_ELBOW: "lowerarm01.L", kp.L_WRIST: "wrist.L",
    kp.R_HIP: "upperleg01.R", kp.R_KNEE: "lowerleg01.R", kp.R_ANKLE: "foot.R",
    kp.L_HIP: "upperleg01.L", kp.L_KNEE: "lowerleg01.L", kp.L_ANKLE: "foot.L",
}  # fmt: skip
_HIDES: Final = {kp.NOSE: 0.45, kp.R_EYE: 0.45, kp.L_EYE: 0.45, kp.R_EAR: 0.35, kp.L_EAR: 0.35}


@dataclass(frozen=True)
class Framing:
    """How the person fills the frame."""

    visible: float  # share of the body height in the frame: 0.52 hip-up, 0.73 knee-up, 1.06 whole
    top: float  # free share of the frame above the crown
    shift: float  # sideways, share of the width


@dataclass(frozen=True)
class Camera:
    """Weak perspective towards -z; pixels of the final picture, edges at integers."""

    size: tuple[int, int]
    scale: float  # pixels per decimetre at z = 0
    x: float  # world x in the middle of the frame
    y: float

    def project(self, points: Float, *, zoom: int = 1) -> Float:
        """World points (n, 3) -> (n, 3): x, y in pixels of a frame ZOOM times as large, and depth."""
        height, width = self.size
        k = self.scale * zoom * _FOCAL / (_FOCAL - points[:, 2])
        x = width * zoom / 2 + (points[:, 0] - self.x) * k
        y = height * zoom / 2 - (points[:, 1] - self.y) * k
        return np.stack([x, y, points[:, 2]], 1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Photo:
    """A rendered photo."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    labels: NDArray[np.uint8]  # (H, W) CIHP ids
    keypoints: Float  # (18, 3)
    flow: Float  # (H, W, 2) x, y in the in-shop picture of what a pixel shows; NaN where that does not show it

    @property
    def whole(self) -> bool:
        """The whole body is in the frame."""
        return bool((self.keypoints[[kp.R_ANKLE, kp.L_ANKLE], 2] > 0).all())


def sample_framing(rng: np.random.Generator) -> Framing:
    """Mostly hip-up to knee-up, some whole bodies."""
    visible = float(rng.choice([0.52, 0.62, 0.73, 1.06], p=[0.3, 0.4, 0.2, 0.1])) * rng.uniform(0.97, 1.06)
    return Framing(visible, rng.uniform(0.04, 0.09), rng.normal(0, 0.03))


def pose_person(person: Person, pose: Pose) -> Skeleton:
    """The skeleton of PERSON in POSE."""
    return solve(*person.joints, pose, girth=person.girth)


def aim(person: Person, skeleton: Skeleton, framing: Framing, size: tuple[int, int]) -> Camera:
    """The camera that frames a posed person."""
    height, width = size
    skull = scalp()
    crown = float(body.skin(skull.at(person.vertices), skeleton.bones, skull.weights)[:, 1].max())
    scale = min(height * (1 - framing.top) / (framing.visible * person.height), width / 5.2)
    middle = float(skeleton.head("neck01")[0] * 0.6 + skeleton.head("root")[0] * 0.4)
    x = middle - framing.shift * width / scale
    return Camera(size, scale, x, crown - height * (0.5 - framing.top) / scale)


def render(
    person: Person, garment: Garment, skeleton: Skeleton, camera: Camera, studio: Studio, seed: int, *,
    lens: Lens | None = None, film: int | None = None,
) -> Photo:  # fmt: skip
    """Render a photo. SEED varies folds only, FILM (by default SEED) the noise: labels, keypoints and flow depend on neither.

    LENS: what takes it, by default a studio's camera.
    """
    size, ss = camera.size, SUPERSAMPLING
    parts = assemble(person, garment, skeleton)
    found, (left, top, right, bottom) = _see(parts, camera)
    crop = ((bottom - top) * ss, (right - left) * ss)
    buffer, flow = _paint_parts(parts, found, crop, Painter(person.identity, garment, seed))
    unit = size[0] / 256
    lit = shade(buffer, studio, supersampling=ss, unit=unit, scale=camera.scale)
    box = (slice(top, bottom), slice(left, right))
    image = background(studio, size)
    image[box] = _composite(image[box], lit, found.pixel, crop)

    def sampled(values: NDArray[Any], beside: float) -> NDArray[Any]:
        """VALUES of the fragments in the final frame, BESIDE where there is none."""
        fine = np.full(crop[0] * crop[1], beside, values.dtype)
        fine[found.pixel] = values
        out = np.full(size, beside, values.dtype)
        out[box] = fine.reshape(crop)[ss // 2 :: ss, ss // 2 :: ss]
        return out

    worn_to_flat = np.full((*size, 2), np.nan, np.float32)
    worn_to_flat[box] = _reduce_flow(flow.reshape(*crop, 2))
    depth = sampled(found.depth.astype(np.float32), -np.inf)
    return Photo(
        image=expose(image, lens or Lens(), seed if film is None else film),
        labels=sampled(buffer.labels, labels.BACKGROUND),
        keypoints=find_keypoints(person, skeleton, camera, depth),
        flow=worn_to_flat,
    )


def _see(parts: list[Part], camera: Camera) -> tuple[Fragments, tuple[int, int, int, int]]:
    """What CAMERA sees of PARTS in a part of the frame, super-sampled, and that part: left, top, right, bottom in final pixels."""
    ss = SUPERSAMPLING
    points = camera.project(np.concatenate([p.world for p in parts]), zoom=ss)
    points[:, 2] += np.repeat(np.array([p.bias for p in parts], np.float32), [len(p.world) for p in parts])
    left, top, right, bottom = _bounds(points, camera.size)
    starts = np.cumsum([0] + [len(p.world) for p in parts])
    faces = np.concatenate([p.triangles + start for p, start in zip(parts, starts)])
    origin = np.array([left * ss, top * ss, 0], np.float32)
    crop = ((bottom - top) * ss, (right - left) * ss)
    found = rasterise(points - origin, faces, crop, cut=np.concatenate([p.cut for p in parts]))
    return found, (left, top, right, bottom)


def _paint_parts(
    parts: list[Part], found: Fragments, crop: tuple[int, int], painter: Painter
) -> tuple[GBuffer, Float]:  # fmt: skip
    """The painted fragments, and where the garment's picture shows what each pixel of the CROP does (h * w, 2), else NaN."""
    garment, count = painter.garment, len(found.pixel)
    normals, colours = np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32)
    label, gloss = np.zeros(count, np.uint8), np.zeros(count, np.float32)
    flow = np.full((crop[0] * crop[1], 2), np.nan, np.float32)
    first_face = np.cumsum([0] + [len(p.triangles) for p in parts])
    owner = np.searchsorted(first_face, found.triangle, side="right") - 1
    for i, part in enumerate(parts):
        rows = np.flatnonzero(owner == i)
        if not len(rows):
            continue
        local, bary = found.triangle[rows] - first_face[i], found.bary[rows]
        corners = part.triangles[local]
        front = None if part.front is None else part.front[local]
        surface = Surface(part, interpolate(part.rest, corners, bary), corners, bary, front)
        normals[rows] = interpolate(part.normals, corners, bary)
        colours[rows], label[rows], gloss[rows] = paint(painter, surface)
        _fold(normals, rows, surface, garment, painter.seed)
        if front is not None:
            shown = front & (label[rows] != labels.BACKGROUND)  # not below a strap
            seen = garment.seen_at(corners[shown] + part.uv_start, bary[shown], inner=part.name == "inner")
            flow[found.pixel[rows[shown]]] = seen
    return GBuffer(crop, found.pixel, found.depth, body.unit(normals), colours, gloss, label), flow


def empty(studio: Studio, size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """What render() with these arguments shows where nobody stands, (H, W, 3) RGB."""
    return expose(background(studio, size), Lens(), seed)


def _bounds(points: Float, size: tuple[int, int], margin: int = 3) -> tuple[int, int, int, int]:
    """left, top, right, bottom in final pixels of the part of the frame that the person may cover."""
    (left, right), (top, bottom) = (
        (
            min(max(int(v.min() / SUPERSAMPLING) - margin, 0), length - 1),
            max(min(int(v.max() / SUPERSAMPLING) + 1 + margin, length), 1),
        )
        for v, length in zip(points.T[:2], size[::-1])
    )
    return left, top, right, bottom


def _composite(behind: Float, lit: Float, pixel: NDArray[np.intp], crop: tuple[int, int]) -> Float:
    """Put the lit pixels over BEHIND (h, w, 3), softened like a lens and averaged over the super-samples."""
    layer = np.zeros((crop[0] * crop[1], 4), np.float32)
    layer[pixel, :3] = np.clip(lit, 0, 255)
    layer[pixel, 3] = 1
    layer = cv2.GaussianBlur(layer.reshape(*crop, 4), (0, 0), 0.55 * SUPERSAMPLING / 2)
    layer = cv2.resize(layer, (behind.shape[1], behind.shape[0]), interpolation=cv2.INTER_AREA)
    return layer[..., :3] + behind * (1 - layer[..., 3:])


def _reduce_flow(flow: Float) -> Float:
    """Super-sampled flow -> final one: the mean of a pixel's samples where they agree, else its label sample."""
    label_sample = flow[SUPERSAMPLING // 2 :: SUPERSAMPLING, SUPERSAMPLING // 2 :: SUPERSAMPLING]
    samples = [flow[i::SUPERSAMPLING, j::SUPERSAMPLING] for i in range(SUPERSAMPLING) for j in range(SUPERSAMPLING)]
    offset = sum(s - label_sample for s in samples) / len(samples)  # NaN where a sample is not cloth
    agree = (np.abs(offset) < 2).all(-1, keepdims=True)
    return np.where(agree, label_sample + offset, label_sample)


def _fold(normals: Float, rows: NDArray[np.intp], surface: Surface, garment: Garment, seed: int) -> None:
    """Wrinkle the cloth: at the waist, the arm pits, elbows and knees more than elsewhere."""
    name, (x, y, _) = surface.part.name, surface.rest.T
    if name in ("top", "inner", "dress"):
        uv = interpolate(garment.canvas.uv, surface.corners + surface.part.uv_start, surface.bary)
        picture = garment.picture_coordinates(uv)
        height, width = garment.mask.shape
        u, v = picture[:, 0] / width * 200, picture[:, 1] / height * 256
        lean = np.clip((u - 100) / 60, -1, 1)  # folds run outwards and down on both sides
        amount = 0.35 + 0.7 * np.exp(-(((np.abs(x) - 1.6) / 0.5) ** 2)) * (y > 2)
        if garment.spec.dress is None:
            amount += 0.9 * np.exp(-(((y - 2.2) / 1.1) ** 2))
        if name == "dress":
            amount = np.full(len(x), 0.35, np.float32)
            hang = np.clip((1.6 - y) / 2.5, 0, 1)
            normals[rows, 0] += 0.5 * hang * np.sin(np.arctan2(x, surface.rest[:, 2] - 0.2) * 9 + 1.3)
        # across and down to the sides, where it is gathered; down from the chest, where it hangs
        add_folds(normals, rows, u * 0.45 + v * 0.3 * lean, v * 1.3 - u * 0.5 * lean, amount * 1.5, seed + 1, cell=30)
        hanging = 0.25 + 0.45 * garment.spec.fit * np.clip((4.6 - y) / 1.5, 0, 1)
        add_folds(normals, rows, u * 1.5 + v * 0.12 * lean, v * 0.42, hanging, seed + 2, cell=26)
        if garment.spec.long and name == "top":
            along = interpolate(cloth.fine().along_arm, surface.corners, surface.bary)
            gather = np.exp(-(((along - 1.0) / 0.22) ** 2)) + 0.5 * np.exp(-(((along - 1.85) / 0.12) ** 2))
            normals[rows, 1] += gather * 0.55 * np.sin(along * 55 + 2 * np.sin(u * 0.2))
    elif name in ("pants", "skirt"):
        amount = np.exp(-((y + 3.7) ** 2)) + np.exp(-(((y - 0.1) / 0.7) ** 2)) + 0.35
        amount = amount * (0.7 if name == "pants" else 0.35)
        add_folds(normals, rows, x * 26 + 100, x * 10 - y * 34 + 500, amount, seed + 3, cell=26)


@cache
def _eye_vertices() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Vertices of the left and the right eye."""
    eyes = np.unique(load().quads["eyes"])
    x = load().vertices[eyes, 0]
    return eyes[x > 0], eyes[x < 0]


def find_keypoints(person: Person, skeleton: Skeleton, camera: Camera, depth: Float) -> Float:
    """The 18 keypoints (18, 3). Zeros where out of the frame, or, for face points, hidden by DEPTH (H, W)."""
    weights, bones = load().weights, skeleton.bones

    def at(vertices: NDArray[np.intp]) -> Float:
        return body.skin(person.vertices[vertices], bones, weights[vertices]).mean(0)

    left_ear, right_ear = ear_tips()
    left_eye, right_eye = _eye_vertices()
    world = np.zeros((kp.NUM_KEYPOINTS, 3), np.float32)
    for i, bone in _JOINT_OF.items():
        world[i] = skeleton.head(bone)
    world[kp.NECK] = (world[kp.R_SHOULDER] + world[kp.L_SHOULDER]) / 2
    world[kp.NOSE] = at(np.array([NOSE_TIP]))
    world[kp.R_EYE], world[kp.L_EYE] = at(right_eye), at(left_eye)
    world[kp.R_EAR], world[kp.L_EAR] = at(np.array([right_ear])), at(np.array([left_ear]))
    projected = camera.project(world)
    out = np.zeros((kp.NUM_KEYPOINTS, 3), np.float32)
    height, width = camera.size
    for i, (px, py, z) in enumerate(projected):
        x, y = px - 0.5, py - 0.5
        if not (0 <= x < width and 0 <= y < height):
            continue
        hidden = i in _HIDES and depth[int(py) if py < height else height - 1, min(int(px), width - 1)] > z + _HIDES[i]
        if not hidden:
            out[i] = x, y, 1
    return out
