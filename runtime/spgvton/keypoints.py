"""The 18 body keypoints (OpenPose COCO order), their skeleton, OpenPose JSON, and the pose heat maps (section III-A).

Keypoints are a float32 array (18, 3) of (x, y, score): x right and y down in pixels, pixel centres at integers, score in
[0, 1]. Score 0 means missing. "Left" and "right" are the person's own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.files import read_file

NAMES: Final = (
    "nose", "neck", "right-shoulder", "right-elbow", "right-wrist", "left-shoulder", "left-elbow", "left-wrist",
    "right-hip", "right-knee", "right-ankle", "left-hip", "left-knee", "left-ankle",
    "right-eye", "left-eye", "right-ear", "left-ear",
)  # fmt: skip
NUM_KEYPOINTS: Final = len(NAMES)
(NOSE, NECK, R_SHOULDER, R_ELBOW, R_WRIST, L_SHOULDER, L_ELBOW, L_WRIST, R_HIP, R_KNEE, R_ANKLE,
 L_HIP, L_KNEE, L_ANKLE, R_EYE, L_EYE, R_EAR, L_EAR) = range(18)  # fmt: skip

SKELETON: Final = (
    (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
# Order of the keypoints after a horizontal flip.
FLIP: Final = (0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16)
MAX_BYTES: Final = 2**20  # of a keypoint file
OTHER_ORDERS: Final = {25: "BODY_25", 17: "COCO", 33: "BlazePose"}
HEAT_MAP_RADIUS: Final = 4.0  # pixels at 256x192; other sizes scale it with the height


def check_keypoints(keypoints: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return KEYPOINTS as float32 (18, 3), or raise SpgvtonError for a wrong shape, NaN or infinity."""
    k = np.asarray(keypoints, dtype=np.float32)
    if k.shape != (NUM_KEYPOINTS, 3):
        raise SpgvtonError(f"keypoints must have shape (18, 3) as (x, y, score), got {k.shape}")
    if not np.isfinite(k).all():
        raise SpgvtonError("keypoints hold NaN or infinity: mark a missing keypoint by score 0")
    return k


def heat_maps(
    keypoints: NDArray[np.float32], size: tuple[int, int], *, radius: float | None = None, min_score: float = 0.0
) -> NDArray[np.float32]:
    """Pose heat maps P: one disc of ones per keypoint (section III-A).

    keypoints: (18, 3) in pixels of SIZE. size: (height, width). radius: pixels; by default 4 at height 256, scaled with
    the height. Keypoints with score <= MIN_SCORE give an empty channel. Returns float32 (18, H, W) of zeros and ones.

    Examples:
        >>> import numpy as np
        >>> from spgvton import keypoints
        >>> person = np.zeros((18, 3), np.float32)
        >>> person[keypoints.NECK] = 96, 80, 1
        >>> maps = keypoints.heat_maps(person, (256, 192))
        >>> maps.shape, float(maps.sum()), float(maps[keypoints.NECK, 80, 96])
        ((18, 256, 192), 49.0, 1.0)
    """
    k = check_keypoints(keypoints)
    h, w = size
    r = HEAT_MAP_RADIUS * h / 256 if radius is None else radius
    y, x = np.ogrid[:h, :w]
    inside = (x - k[:, 0, None, None]) ** 2 + (y - k[:, 1, None, None]) ** 2 <= r * r
    return (inside & (k[:, 2, None, None] > min_score)).astype(np.float32)


def flip(keypoints: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Keypoints of the horizontally flipped picture of WIDTH pixels; left and right are exchanged.

    Examples:
        >>> import numpy as np
        >>> from spgvton import keypoints
        >>> person = np.zeros((18, 3), np.float32)
        >>> person[keypoints.R_WRIST] = 10, 50, 1
        >>> keypoints.flip(person, 192)[keypoints.L_WRIST].tolist()
        [181.0, 50.0, 1.0]
    """
    k = keypoints[list(FLIP)].copy()
    k[:, 0] = np.where(k[:, 2] > 0, width - 1 - k[:, 0], k[:, 0])
    return k


def torso_length(k: NDArray[np.float32]) -> float:
    """Length of the torso in pixels: neck to hips where they are seen, at least 1.2 shoulder widths; 0 without shoulders."""
    if k[NECK, 2] <= 0:
        return 0.0
    length = 1.2 * float(np.linalg.norm(k[R_SHOULDER, :2] - k[L_SHOULDER, :2]))
    hips = [i for i in (R_HIP, L_HIP) if k[i, 2] > 0]
    if hips:
        length = max(length, float(np.linalg.norm(k[hips, :2].mean(0) - k[NECK, :2])))
    return length


def load_openpose(path: str | Path) -> NDArray[np.float32]:
    """Read the one person of an OpenPose JSON file (`people[0].pose_keypoints_2d`). Raises SpgvtonError, which names PATH."""
    data = read_file(path, MAX_BYTES, "keypoint files")
    try:
        people = json.loads(data.decode("utf-8-sig"))["people"]
        found = [np.asarray(person["pose_keypoints_2d"], dtype=np.float32).reshape(-1, 3) for person in people]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, AttributeError) as e:
        raise SpgvtonError(f"{path} is not an OpenPose keypoint file ({type(e).__name__}: {e})") from e
    found = [k for k in found if len(k)]
    if not found:
        raise SpgvtonError(f"{path} holds no person")
    if len(found) > 1:
        raise SpgvtonError(f"{path} holds {len(found)} people: keep the one whom the semantic map shows")
    if len(found[0]) in OTHER_ORDERS:
        raise SpgvtonError(
            f"{path} holds {len(found[0])} keypoints, as {OTHER_ORDERS[len(found[0])]}: give OpenPose's 18 of its COCO model"
        )
    try:
        return check_keypoints(found[0])
    except SpgvtonError as e:
        raise SpgvtonError(f"{path}: {e}") from e


def to_openpose(keypoints: NDArray[np.float32]) -> str:
    """The OpenPose JSON text of one person; missing keypoints are written as zeros.

    Examples:
        >>> import numpy as np
        >>> from spgvton import keypoints
        >>> keypoints.to_openpose(np.zeros((18, 3), np.float32))[:48]
        '{"version": 1.0, "people": [{"pose_keypoints_2d"'
    """
    k = np.where(keypoints[:, 2:] > 0, keypoints, 0)
    flat = [round(float(v), 3) for v in k.ravel()]
    return json.dumps({"version": 1.0, "people": [{"pose_keypoints_2d": flat}]})
