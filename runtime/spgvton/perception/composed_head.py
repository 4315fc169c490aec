"""Head of the composed parse: the face's frame, this person's skin colour read off it, then face, hair and neck."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spgvton.labels import FACE, HAIR, TORSO_SKIN
from spgvton.perception import blazepose as bp
from spgvton.perception.composed_body import Body, Float, Mask, PartMap


@dataclass(frozen=True)
class FaceFrame:
    """Where the face is: its axes, and for every pixel the coordinates in it and the value of its ellipse (1 = outline)."""

    chin: Float  # (2,)
    up: Float  # (2,) from the mouth to the eyes
    eye_mouth: float  # distance from the eyes to the mouth, the unit of the face
    height: Float  # (H, W) along up, from the middle between eyes and mouth
    across: Float  # (H, W)
    half_width: float
    ellipse: Float  # (H, W)

    @staticmethod
    def build(body: Body) -> FaceFrame:
        p = body.points
        eyes, mouth = (p[bp.L_EYE] + p[bp.R_EYE]) / 2, (p[bp.L_MOUTH] + p[bp.R_MOUTH]) / 2
        unit = max(float(np.linalg.norm(eyes - mouth)), 1.0)
        up = (eyes - mouth) / unit
        if float(up @ up) < 0.5:  # eyes and mouth coincide
            up = body.up
        right = np.array([-up[1], up[0]], np.float32)
        centre = (eyes + mouth) / 2
        dx, dy = body.x - centre[0], body.y - centre[1]
        across, height = dx * right[0] + dy * right[1], dx * up[0] + dy * up[1]
        half_width = max(0.51 * float(np.linalg.norm(p[bp.L_EAR] - p[bp.R_EAR])), 0.85 * unit)
        vertical = np.where(height > 0, height / (1.45 * unit), height / (1.3 * unit))
        ellipse = (across / half_width) ** 2 + vertical**2
        return FaceFrame(centre - up * 1.3 * unit, up, unit, height, across, half_width, ellipse)

    def above_chin(self, body: Body) -> Float:
        """Height (H, W) above the chin, in pixels; negative below."""
        return (body.x - self.chin[0]) * self.up[0] + (body.y - self.chin[1]) * self.up[1]


@dataclass
class SkinModel:
    """How much each pixel looks like this person's skin. likeness (H, W) in [0, 1]; z: squared distance from the face's colour."""

    lab: Float
    likeness: Float = field(init=False)
    z: Float = field(init=False)

    def start(self, colour: NDArray[np.floating]) -> None:
        self.likeness, self.z = self._match(colour)

    def extend(self, colour: NDArray[np.floating]) -> None:
        """Accept a second colour: arms are lit differently from the face."""
        self.likeness = np.maximum(self.likeness, self._match(colour)[0])

    def _match(self, colour: NDArray[np.floating]) -> tuple[Float, Float]:
        light = self.lab[..., 0]
        # Chroma grows with lightness: scaled, so that shaded limbs still match the face.
        gain = np.clip(colour[0] / np.clip(light, 35, 235), 0.9, 2.2)
        a, b = (self.lab[..., 1] - 128) * gain, (self.lab[..., 2] - 128) * gain
        z = ((light - colour[0]) / 55) ** 2 + ((a - (colour[1] - 128)) / 7) ** 2 + ((b - (colour[2] - 128)) / 9) ** 2
        return np.clip(1.6 * np.exp(-0.5 * z), 0, 1).astype(np.float32), z.astype(np.float32)


def skin_from_face(body: Body, face: FaceFrame) -> SkinModel:
    """The skin model of the cheeks and nose; where the face is not seen, of the hands."""
    model = SkinModel(body.lab)
    samples = np.empty((0, 3), np.float32)
    if not body.from_behind:
        core = (np.abs(face.across) < 0.75 * face.half_width) & (face.height > -0.35 * face.eye_mouth)
        core &= body.person & (face.height < 0.75 * face.eye_mouth) & (face.ellipse < 0.8)
        samples = body.lab[core]
        if len(samples) < 30:
            samples = body.lab[body.person & (face.ellipse < 1)]
    if len(samples) < 30:
        samples = hand_samples(body)
    colour = np.median(samples, axis=0) if len(samples) else np.array([170.0, 145.0, 150.0])
    for _ in range(3):  # drop eyes, brows and lips
        close = (np.abs(samples - colour) < (35, 11, 13)).all(axis=1)
        if close.sum() > 20:
            colour = np.median(samples[close], axis=0)
    model.start(colour)
    return model


def hand_samples(body: Body) -> Float:
    """Lab colours (N, 3) round the wrists and knuckles that are seen."""
    near = np.zeros(body.person.shape, bool)
    for i in (15, 16, 17, 18, 19, 20):
        if body.visible[i] > 0.5:
            near |= np.hypot(body.x - body.points[i, 0], body.y - body.points[i, 1]) < 0.06 * body.torso
    return body.lab[near & body.person]


def hair_distance(body: Body, face: FaceFrame, head: Mask, skin: SkinModel) -> Float:
    """Squared distance (H, W) of each pixel from the hair's colour, read off the crown; infinite on a bald head."""
    crown = head & (face.height > 1.5 * face.eye_mouth) & (body.from_behind | (skin.likeness < 0.4))
    if crown.sum() < 50:
        return np.full(head.shape, np.inf, np.float32)
    colour = np.median(body.lab[crown], axis=0)
    return (((body.lab - colour) ** 2) / np.square([40, 7, 9])).sum(axis=2).astype(np.float32)


def label_head(labels: NDArray[np.uint8], body: Body, parts: PartMap, face: FaceFrame, skin: SkinModel) -> Float:
    """Write face, hair and neck into LABELS. Returns hair_distance()."""
    above = face.above_chin(body)
    head = body.person & (parts.of("head") | ((parts.distance["head"] < 1.5) & (above > 0)))
    hair_z = hair_distance(body, face, head, skin)
    if body.from_behind:
        nape = head & (above <= 0) & (skin.likeness >= 0.35) & (skin.z < hair_z)
        labels[head] = HAIR
        labels[nape] = TORSO_SKIN
        return hair_z
    # Light and shadow stretch the skin's colours: what is not clearly hair counts as skin where a face is to be expected.
    skin_like = (skin.likeness > 0.12) | (skin.z < hair_z)
    features = (face.ellipse < 0.45) | (
        (face.ellipse < 0.8) & (face.height < 0.8 * face.eye_mouth)
    )  # eyes, brows, beard
    is_face = head & (face.ellipse < 1) & (skin_like | features)
    is_face |= head & (face.ellipse < 1.6) & (above > 0) & ((skin.likeness > 0.45) | (2 * skin.z < hair_z))
    below = body.person & parts.of("neck", "head", "torso") & (above <= 0.05 * face.eye_mouth) & ~is_face
    cloth = cloth_distance(body, parts, skin)
    throat = (parts.distance["neck"] < 0.9) & (np.abs(face.across) < 0.9 * face.half_width)
    neck = below & (parts.distance["neck"] < 1.3) & (skin.likeness > 0.35)
    neck |= below & throat & (skin.z < np.minimum(np.minimum(hair_z + 2, 0.5 * cloth), 9))  # the chin's shadow
    hair = head & ~is_face & ~neck & ~((above < 0) & (skin.likeness > 0.4))
    labels[is_face] = FACE
    labels[hair] = HAIR
    labels[neck] = TORSO_SKIN
    return hair_z


def cloth_distance(body: Body, parts: PartMap, skin: SkinModel) -> Float:
    """Squared distance (H, W) of each pixel from the colour of the chest's clothes; infinite where none are seen."""
    chest = body.person & parts.of("torso") & (body.height > 0.3) & (body.height < 0.75) & (skin.likeness < 0.5)
    if chest.sum() < 50:
        return np.full(chest.shape, np.inf, np.float32)
    colour = np.median(body.lab[chest], axis=0)
    return (((body.lab - colour) ** 2) / np.square([40, 6, 7])).sum(axis=2).astype(np.float32)
