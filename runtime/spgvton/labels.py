"""The 20 semantic labels of a person, and the groups made of them (paper, section III-A).

Two label sets share the ids. They differ in one of them, id 10: torso skin (neck and chest) in CIHP, jumpsuits in LIP.
A semantic map is a uint8 array (H, W) of these ids.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError

NUM_LABELS: Final = 20

BACKGROUND, HAT, HAIR, GLOVE, SUNGLASSES, UPPER_CLOTHES, DRESS, COAT, SOCKS, PANTS = range(10)
TORSO_SKIN, SCARF, SKIRT, FACE, LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG, LEFT_SHOE, RIGHT_SHOE = range(10, 20)
JUMPSUITS: Final = TORSO_SKIN  # what id 10 means in LIP

_CIHP: Final = (
    "background", "hat", "hair", "glove", "sunglasses", "upper-clothes", "dress", "coat", "socks", "pants",
    "torso-skin", "scarf", "skirt", "face", "left-arm", "right-arm", "left-leg", "right-leg", "left-shoe", "right-shoe",
)  # fmt: skip
LABEL_SETS: Final[dict[str, tuple[str, ...]]] = {
    "cihp": _CIHP,
    "lip": tuple("jumpsuits" if name == "torso-skin" else name for name in _CIHP),
}

HEAD: Final = (FACE, HAIR)  # A_s = {M_f, M_h}, in this order


def clothes(label_set: str = "cihp") -> tuple[int, ...]:
    """Ids of the clothes that a try-on replaces. LIP adds jumpsuits (id 10), which in CIHP is skin.

    Examples:
        >>> from spgvton import labels
        >>> [labels.LABEL_SETS["cihp"][i] for i in labels.clothes()]
        ['upper-clothes', 'dress', 'coat']
    """
    check_label_set(label_set)
    return (UPPER_CLOTHES, DRESS, COAT) + ((JUMPSUITS,) if label_set == "lip" else ())


# Left and right exchange under a horizontal flip.
FLIP: Final[NDArray[np.uint8]] = np.arange(NUM_LABELS, dtype=np.uint8)
FLIP[[LEFT_ARM, RIGHT_ARM, LEFT_LEG, RIGHT_LEG, LEFT_SHOE, RIGHT_SHOE]] = [
    RIGHT_ARM, LEFT_ARM, RIGHT_LEG, LEFT_LEG, RIGHT_SHOE, LEFT_SHOE,
]  # fmt: skip
FLIP.flags.writeable = False

# RGB, the colours of the LIP/CIHP visualisations, so that maps look familiar.
PALETTE: Final[NDArray[np.uint8]] = np.array(
    [
        (0, 0, 0), (128, 0, 0), (255, 0, 0), (0, 85, 0), (170, 0, 51), (255, 85, 0), (0, 0, 85), (0, 119, 221),
        (85, 85, 0), (0, 85, 85), (200, 120, 200), (52, 86, 128), (0, 128, 0), (0, 0, 255), (51, 170, 221),
        (0, 255, 255), (85, 255, 170), (170, 255, 85), (255, 255, 0), (255, 170, 0),
    ],
    dtype=np.uint8,
)  # fmt: skip
PALETTE.flags.writeable = False


def check_label_set(label_set: str) -> str:
    """Return LABEL_SET, or raise SpgvtonError when it is neither "cihp" nor "lip"."""
    if label_set not in LABEL_SETS:
        raise SpgvtonError(f"label set '{label_set}' is unknown: use one of {', '.join(LABEL_SETS)}")
    return label_set


def check_semantic_map(labels: NDArray[np.generic], name: str = "semantic map") -> NDArray[np.uint8]:
    """Return LABELS as uint8 (H, W), or raise SpgvtonError for a wrong rank, type, or an id above 19.

    Examples:
        >>> import numpy as np
        >>> from spgvton import labels
        >>> labels.check_semantic_map(np.full((2, 2), 13)).dtype
        dtype('uint8')
        >>> labels.check_semantic_map(np.full((2, 2), 20))
        Traceback (most recent call last):
        spgvton.errors.SpgvtonError: semantic map holds label id 20; ids run from 0 to 19 (is it a colour visualisation ...
    """
    a = np.asarray(labels)
    if a.ndim != 2 or a.size == 0:
        raise SpgvtonError(f"{name} must be one channel of label ids (H, W), got shape {a.shape}")
    if not np.issubdtype(a.dtype, np.integer):
        raise SpgvtonError(f"{name} must hold integers, got {a.dtype}")
    low, high = int(a.min()), int(a.max())
    if low < 0 or high >= NUM_LABELS:
        raise SpgvtonError(
            f"{name} holds label id {high if high >= NUM_LABELS else low}; ids run from 0 to {NUM_LABELS - 1} "
            "(is it a colour visualisation instead of label ids?)"
        )
    return a.astype(np.uint8, copy=False)


def colourise(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label ids (H, W) -> RGB picture (H, W, 3) uint8.

    Examples:
        >>> import numpy as np
        >>> from spgvton import labels
        >>> labels.colourise(np.array([[labels.FACE]], np.uint8)).tolist()
        [[[0, 0, 255]]]
    """
    return PALETTE[labels]
