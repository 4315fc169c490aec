"""Temporal flicker of the try-on: what changes from picture to picture beyond the motion that the camera saw.

The motion is measured on the camera's frames, in the network's framing: dense optical flow by DIS (Kroeger et al., ECCV
2016; cv2.DISOpticalFlow). The last result is warped along it and compared with the new one. The same sum on the camera's
own frames is the floor: what noise, light and the flow's own errors leave. What is hidden or comes into view is left out: there
the flow forth and back does not lead home.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]
Mask = NDArray[np.bool_]

HOME: Final = 1.0  # pixels by which forth and back may miss
TORSO: Final = (kp.NECK, kp.R_SHOULDER, kp.L_SHOULDER, kp.R_HIP, kp.L_HIP)
MARGIN: Final = 0.2  # of the torso's length, around it: sleeves and hem


def _grey(picture: UInt8) -> UInt8:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)  # type: ignore[return-value]


class Motion:
    """Motion between successive camera pictures RGB uint8 (H, W, 3) of one size."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def between(self, before: UInt8, now: UInt8) -> tuple[Float, Mask]:
        """(H, W, 2) where in BEFORE, in pixels (x, y), each pixel of NOW was; (H, W) whether that is to be believed."""
        a, b = _grey(before), _grey(now)
        back = self._flow.calc(b, a, None)
        forth = self._flow.calc(a, b, None)
        h, w = a.shape
        grid = np.stack(np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32)), axis=-1)
        where = grid + back
        home = back + cv2.remap(forth, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        inside = ((where >= 0) & (where <= (w - 1, h - 1))).all(axis=-1)
        return where, inside & (np.linalg.norm(home, axis=-1) < HOME)


def along(picture: UInt8, where: Float) -> UInt8:
    """PICTURE (H, W, 3) resampled at WHERE (H, W, 2), as between() gives it."""
    return cv2.remap(picture, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload,no-any-return]


def torso(keypoints: Float, size: tuple[int, int]) -> Mask:
    """(H, W) the box round the torso of KEYPOINTS (18, 3), in pixels of SIZE; all False where it is not seen."""
    out = np.zeros(size, np.bool_)
    points = keypoints[[i for i in TORSO if keypoints[i, 2] > 0], :2]
    if len(points) > 1:
        pad = MARGIN * kp.torso_length(keypoints)
        x0, y0 = np.maximum(0, np.floor(points.min(axis=0) - pad)).astype(int)
        x1, y1 = np.maximum(0, np.ceil(points.max(axis=0) + pad)).astype(int) + 1
        out[y0:y1, x0:x1] = True
    return out


@dataclass
class Flicker:
    """Sums up a stream. Figures are mean absolute differences per channel, of 255."""

    _motion: Motion = field(default_factory=Motion)
    _before: tuple[UInt8, UInt8] | None = None
    _rows: list[tuple[float, ...]] = field(default_factory=list)

    def add(self, camera: UInt8, result: UInt8, keypoints: Float) -> None:
        """One moment: CAMERA and RESULT RGB uint8 (H, W, 3) in the same framing, KEYPOINTS (18, 3) in its pixels."""
        if self._before is not None:
            camera_before, result_before = self._before
            where, believed = self._motion.between(camera_before, camera)
            differences = [
                np.abs(along(before, where).astype(np.float32) - now).mean(axis=-1)
                for before, now in ((result_before, result), (camera_before, camera))
            ]
            row = [float(believed.mean())]
            for region in (believed, believed & torso(keypoints, believed.shape)):
                row += [float(d[region].mean()) if region.any() else float("nan") for d in differences]
            self._rows.append(tuple(row))
        self._before = camera, result

    @property
    def pairs(self) -> int:
        """How many pairs of successive pictures the figures are made of."""
        return len(self._rows)

    def as_dict(self) -> dict[str, float]:
        """Means over the pairs: `picture` and `torso` of the result, `*_floor` of the camera, `*_excess` their difference,
        and `believed`, the part of the pixels that counts. NaN without pairs."""
        names = ("believed", "picture", "picture_floor", "torso", "torso_floor")
        rows = np.array(self._rows) if self._rows else np.full((1, len(names)), np.nan)
        out = dict(zip(names, np.nanmean(rows, axis=0).tolist())) if self._rows else dict.fromkeys(names, float("nan"))
        for name in ("picture", "torso"):
            out[f"{name}_excess"] = out[name] - out[f"{name}_floor"]
        return {name: round(value, 4) for name, value in out.items()}
