"""Live 2-D pose: MoveNet Lightning on a crop that follows the person, as the 18 keypoints of the contract.

The network and the crop rule are Google's (MoveNet single pose, tensorflow.org/hub/tutorials/movenet); it yields the 17
COCO keypoints, the neck is added as the middle of the shoulders, as OpenPose defines it.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton import keypoints as kp
from spgvton.errors import SpgvtonError
from spgvton.hints import Hint
from spgvton.image import SIZE
from spgvton.perception.one_euro import OneEuroFilter
from spgvton.perception.onnx_session import open_session, shipped_model
from spgvton.video import cv2

Keypoints = NDArray[np.float32]

# Where each of the 18 keypoints stands among COCO's 17; the neck (-1) is computed.
FROM_COCO: Final = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
TRACKING_SCORE: Final = 0.2  # a keypoint counts for the crop above this (MoveNet's own value)
HEAD: Final = (kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR)
FACE: Final = (kp.NOSE, kp.R_EYE, kp.L_EYE)
TORSO: Final = (kp.R_SHOULDER, kp.L_SHOULDER, kp.R_HIP, kp.L_HIP)
FENCED_FRAMES: Final = 30
MIN_KEYPOINTS: Final = 6  # fewer than this is chance: MoveNet always answers, also where nobody is
MIN_TORSO: Final = 14.0  # pixels where the picture is 256 high: below it there is nothing to see of a person


class Region(NamedTuple):
    """A square of the frame, in pixels; it may reach beyond the frame."""

    x: float  # centre
    y: float
    side: float

    @staticmethod
    def whole(size: tuple[int, int]) -> Region:
        """The smallest square round a frame of SIZE (height, width)."""
        h, w = size
        return Region((w - 1) / 2, (h - 1) / 2, float(max(h, w)))


def next_region(k: Keypoints, size: tuple[int, int]) -> Region | None:
    """The crop for the next frame, from this frame's keypoints (18, 3); None where the person is lost.

    The rule is MoveNet's: a square round the torso that keeps 1.9 times the torso and 1.2 times the body. It wants the
    hips; a customer close to the mirror shows none, so the shoulders alone do, with room for the body below them.
    """
    seen = k[:, 2] > TRACKING_SCORE
    shoulders, hips = seen[[kp.R_SHOULDER, kp.L_SHOULDER]], seen[[kp.R_HIP, kp.L_HIP]]
    torso = k[[i for i in TORSO if seen[i]], :2]
    if not shoulders.any() or len(torso) < 2 or seen.sum() < 4:
        return None
    if hips.any():
        centre = k[[i for i in (kp.R_HIP, kp.L_HIP) if seen[i]], :2].mean(0)
        half = 1.9 * np.abs(torso - centre).max()
    else:
        width = float(np.linalg.norm(torso[0] - torso[1]))
        centre = torso.mean(0) + np.array([0.0, width])
        half = 3.0 * width
    half = max(half, 1.2 * np.abs(k[seen, :2] - centre).max())
    whole = Region.whole(size)
    return whole if 2 * half > whole.side else Region(float(centre[0]), float(centre[1]), float(2 * half))


def crop(frame: NDArray[np.uint8], region: Region, side: int, border: int = cv2.BORDER_CONSTANT) -> NDArray[np.uint8]:
    """REGION of FRAME resampled to (side, side, 3); outside the frame black, or what OpenCV's BORDER mode makes of its edge."""
    h, w = frame.shape[:2]
    half = region.side / 2
    x0, y0 = max(0, int(region.x - half)), max(0, int(region.y - half))
    x1, y1 = min(w, int(region.x + half) + 2), min(h, int(region.y + half) + 2)
    if x0 >= x1 or y0 >= y1:
        return np.zeros((side, side, 3), np.uint8)
    factor = max(1, int(region.side / side))
    # A whole number of blocks, for OpenCV's fast path; what is cut off is less than a pixel of the crop.
    x1, y1 = max(x0 + 1, x1 - (x1 - x0) % factor), max(y0 + 1, y1 - (y1 - y0) % factor)
    patch = frame[y0:y1, x0:x1]
    if factor > 1:  # area-average first: plain bilinear sampling would alias
        reduced = (max(1, patch.shape[1] // factor), max(1, patch.shape[0] // factor))
        patch = np.asarray(cv2.resize(patch, reduced, interpolation=cv2.INTER_AREA))
    fx, fy = patch.shape[1] / (x1 - x0), patch.shape[0] / (y1 - y0)
    sx, sy = side / region.side / fx, side / region.side / fy
    # Edges, not centres, scale: (u + 0.5) = s * (x + 0.5) + shift.
    left = (x0 - 0.5 - (region.x - half)) * side / region.side
    top = (y0 - 0.5 - (region.y - half)) * side / region.side
    matrix = np.array([[sx, 0, left + 0.5 * sx - 0.5], [0, sy, top + 0.5 * sy - 0.5]])
    return cv2.warpAffine(  # type: ignore[return-value]
        patch, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border
    )


def from_coco(coco: NDArray[np.float32]) -> Keypoints:
    """COCO's 17 keypoints (17, 3) -> the contract's 18; the neck is the middle of the shoulders, with the lower score."""
    k = coco[list(FROM_COCO)].astype(np.float32)
    k[kp.NECK, :2] = k[[kp.R_SHOULDER, kp.L_SHOULDER], :2].mean(0)
    k[kp.NECK, 2] = k[[kp.R_SHOULDER, kp.L_SHOULDER], 2].min()
    return k


def seen_from_behind(k: Keypoints) -> bool:
    """True where the person's right shoulder clearly stands right of the left one in the picture."""
    return frontality(k) < -0.2


def frontality(k: Keypoints) -> float:
    """How wide the shoulders stand for the torso: about 0.7 from the front, 0 from the side, -0.7 from behind."""
    torso = kp.torso_length(k)
    return float(k[kp.L_SHOULDER, 0] - k[kp.R_SHOULDER, 0]) / torso if torso > 0 else 0.0


def _surroundings(k: Keypoints) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a box that holds the person of KEYPOINTS (18, 3) and where they may be a moment later."""
    seen = k[k[:, 2] > 0, :2]
    margin = 0.5 * kp.torso_length(k)
    (x0, y0), (x1, y1) = seen.min(axis=0) - margin, seen.max(axis=0) + margin
    return max(0, int(x0)), max(0, int(y0)), max(0, int(x1) + 1), max(0, int(y1) + 1)


def person_present(k: Keypoints) -> bool:
    """True where keypoints (18, 3) show a person: some of the head, some of the torso, and enough points in all."""
    seen = k[:, 2] > 0
    return bool(seen.sum() >= MIN_KEYPOINTS and seen[list(HEAD)].any() and seen[list(TORSO)].any())


def why_unusable(k: Keypoints, size: tuple[int, int]) -> Hint | None:
    """Why keypoints (18, 3) of a picture of SIZE (height, width) cannot be dressed, in a few words; None if they can."""
    if not person_present(k):
        portrait = (k[list(HEAD), 2] > 0).sum() >= 4
        return Hint.NO_SHOULDERS if portrait else Hint.NOBODY
    if k[kp.NECK, 2] <= 0:
        return Hint.NO_SHOULDERS
    if kp.torso_length(k) * SIZE[0] / size[0] < MIN_TORSO:
        return Hint.TOO_SMALL
    return None


class PoseEstimator:
    """Finds the 18 keypoints of one person in each frame of a stream (or in single pictures: call reset() between).

    threads: ONNX Runtime threads. smooth: One-Euro filter over time. min_score: keypoints below are missing.

    Examples:
        >>> from spgvton import image
        >>> estimate = PoseEstimator(smooth=False)
        >>> keypoints = estimate(image.read("me.jpg"))  # (18, 3): x, y, score
        >>> bool(keypoints[:8, 2].all())  # head and arms are in view
        True
    """

    def __init__(self, threads: int = 1, smooth: bool = True, min_score: float = 0.3) -> None:
        self.min_score = min_score
        self._session = open_session(shipped_model("movenet_lightning.onnx"), threads)
        self._input = self._session.get_inputs()[0].name
        self._side = int(self._session.get_inputs()[0].shape[1])
        self._filter = OneEuroFilter(min_cutoff=1.5, beta=4.0) if smooth else None
        self.reset()

    def reset(self) -> None:
        """Forget the person: the next frame is searched whole and not smoothed."""
        self._region: Region | None = None
        self._size: tuple[int, int] | None = None
        self._fence: tuple[int, int, int, int] | None = None
        self._fenced = 0  # frames for which the fence still stands
        if self._filter:
            self._filter.reset()

    def follow(self, keypoints: Keypoints, size: tuple[int, int]) -> None:
        """Look for the person where KEYPOINTS (18, 3) of a frame of SIZE (height, width) show them, and nowhere else.

        For the next FENCED_FRAMES frames all that is far from them is blacked out before the network sees it: it would
        otherwise choose the nearest person in its crop.
        """
        self.reset()
        self._size, self._region = size, next_region(keypoints, size)
        self._fence, self._fenced = _surroundings(keypoints), FENCED_FRAMES

    def __call__(self, frame: NDArray[np.uint8], timestamp: float | None = None) -> Keypoints:
        """Keypoints of FRAME, RGB uint8 (H, W, 3), taken at TIMESTAMP (seconds, increasing; by default now).

        Returns float32 (18, 3) as (x, y, score) in pixels of the frame; a missing keypoint is (0, 0, 0). A frame without
        a person gives few or no keypoints: see person_present(). Raises SpgvtonError for a frame of another shape or
        type, or a time stamp that does not increase.
        """
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
            raise SpgvtonError(f"a frame must be RGB uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
        now = time.monotonic() if timestamp is None else timestamp
        size = (frame.shape[0], frame.shape[1])
        if size != self._size:
            self.reset()
            self._size = size
        k = self._gate(self._locate(self._behind_fence(frame)))
        if self._fence and person_present(k):
            self._fence = _surroundings(k)
        if self._filter:
            seen = k[:, 2] > 0
            k[:, :2] = self._filter(k[:, :2], seen, now, scale=kp.torso_length(k) or max(size) / 4)
            if k[kp.NECK, 2] > 0:  # filtered on its own it would leave the line between the shoulders
                k[kp.NECK, :2] = k[[kp.R_SHOULDER, kp.L_SHOULDER], :2].mean(axis=0)
            k[~seen] = 0
        return k

    def _behind_fence(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """FRAME, black outside the fence while one stands."""
        if self._fence is None or not self._fenced:
            self._fence = None
            return frame
        self._fenced -= 1
        x0, y0, x1, y1 = self._fence
        out = np.zeros_like(frame)
        out[y0:y1, x0:x1] = frame[y0:y1, x0:x1]
        return out

    def _locate(self, frame: NDArray[np.uint8]) -> Keypoints:
        """One pass on the tracked crop; where there is none or the person left it, the whole frame and then its crop."""
        size = self._size or (frame.shape[0], frame.shape[1])
        if self._region is not None:
            k = self._infer(frame, self._region)
            self._region = next_region(k, size)
            if self._region is not None:
                return k
            if self._filter:
                self._filter.reset()
        whole = Region.whole(size)
        k = self._infer(frame, whole)
        self._region = next_region(k, size)
        if self._region is not None and self._region != whole:
            closer = self._infer(frame, self._region)
            region = next_region(closer, size)
            if region is not None:
                k, self._region = closer, region
        return k

    def _infer(self, frame: NDArray[np.uint8], region: Region) -> Keypoints:
        picture = crop(frame, region, self._side)
        coco = self._session.run(None, {self._input: picture[None].astype(np.int32)})[0][0, 0]  # 17 x (y, x, score)
        xy = coco[:, 1::-1] * region.side + (region.x - region.side / 2, region.y - region.side / 2)
        return from_coco(np.concatenate([xy, coco[:, 2:]], axis=1).astype(np.float32))

    def _gate(self, k: Keypoints) -> Keypoints:
        """Zero what is not credible: low scores, points outside the frame, a face seen from behind."""
        h, w = self._size or (0, 0)
        x, y, score = k.T
        k[(score < self.min_score) | (x < -0.5) | (y < -0.5) | (x > w - 0.5) | (y > h - 0.5)] = 0
        if k[kp.R_SHOULDER, 2] == 0 or k[kp.L_SHOULDER, 2] == 0:
            k[kp.NECK] = 0
        if seen_from_behind(k):  # MoveNet invents a face there
            k[list(FACE)] = 0
        return k
