"""Extension `fill_background`: what may be behind the source person, guessed from the background that can be seen.

Where the person stood in the source picture and does not stand in the target pose, nobody has seen the background. Left
empty, it becomes a pale ghost of them; filled with the colours around, most of it is right before G2 begins.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_STRIDES = (4, 8, 16, 32)  # of the pyramid; network sizes are multiples of 32
_MARGIN = 2  # pixels of a picture 256 high


def away_from_person(visible: Tensor) -> Tensor:
    """VISIBLE (N, 1, H, W), 1 where the map says background, without a margin of 2/256 of the height around the person.

    Pixels at the person's edge are partly theirs. Left in place when the person moves, they draw the old outline, and colour what is
    filled.
    """
    margin = max(1, round(_MARGIN * visible.shape[2] / 256))
    return visible * (1 - F.max_pool2d(1 - visible, 2 * margin + 1, 1, margin))


def estimate_background(image: Tensor, visible: Tensor) -> Tensor:
    """Smooth background everywhere, from IMAGE (N, 3, H, W) where VISIBLE (N, 1, H, W) in [0, 1] is set.

    Push-pull interpolation (Gortler et al., The Lumigraph, SIGGRAPH 1996): averages of ever larger cells, then back
    down, each cell keeping its own average as far as it has seen any. Without any visible pixel it is 0. No gradients.
    """
    with torch.no_grad():
        weighted = torch.cat([image * visible, visible], 1)
        total = weighted.mean((2, 3), keepdim=True)
        estimate = (total[:, :3] / total[:, 3:].clamp_min(1e-6)).expand(-1, -1, *(s // 32 for s in image.shape[2:]))
        for stride in reversed(_STRIDES):
            cells = F.avg_pool2d(weighted, stride)
            if stride != _STRIDES[-1]:
                estimate = F.interpolate(estimate, scale_factor=2.0, mode="bilinear", align_corners=False)
            trust = (4 * cells[:, 3:]).clamp(max=1)  # a quarter of a cell is enough to know its colour
            estimate = trust * cells[:, :3] / cells[:, 3:].clamp_min(1e-6) + (1 - trust) * estimate
        return F.interpolate(estimate, scale_factor=float(_STRIDES[0]), mode="bilinear", align_corners=False)
