"""Head region and head crops, for the face identity loss (Eq. 15) and the local discriminator (Eq. 14).

Convention
    Boxes are (x0, y0, x1, y1) in pixels, x right, y down, measured at pixel EDGES: pixel (0, 0) covers [0, 1] x [0, 1], and
    the whole picture is (0, 0, W, H). This is align_corners=False on both sides, so the crop of the whole picture to its
    own size is the picture itself, whatever the sizes are. Boxes may reach beyond the picture.

The region and its box come from the predicted semantic map and only guide: no gradient goes through them. Otherwise the
identity loss could be lowered by predicting no head. Compare two pictures within the same region and the same box.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from spgvton.labels import HEAD

NEUTRAL = 0.0  # mid-grey in [-1, 1]


def head_mask(semantic: Tensor) -> Tensor:
    """Face and hair (N, 1, H, W), 0 or 1, of a semantic map (N, 20, H, W): one-hot, probabilities or logits."""
    label = semantic.detach().argmax(1, keepdim=True)
    return torch.isin(label, torch.tensor(HEAD, device=label.device)).to(torch.float32)


def isolate(image: Tensor, mask: Tensor, neutral: float = NEUTRAL) -> Tensor:
    """IMAGE (N, C, H, W) inside MASK (N, 1, H, W) in [0, 1], and NEUTRAL outside."""
    mask = mask.detach().to(image.dtype)
    return image * mask + neutral * (1 - mask)


def head_boxes(
    mask: Tensor,
    aspect: float = 1.0,
    margin: float = 0.15,
    shift: float = 0.0,
    min_pixels: int = 16,
    trim: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) float32 around the masks (N, 1, H, W) in [0, 1], and valid (N,) bool.

    aspect: width / height of all boxes: the network's input, so that faces are not distorted. margin: free border on each
    side as a part of the region's extent. shift: how far the box then moves down, as a part of its height. trim: on each
    of the four sides, this part of the mask's area is ignored, so that stray pixels of a predicted map do not blow up the
    box. A mask with fewer than MIN_PIXELS pixels above 0.5 (a person seen from behind, head out of the picture) is not
    valid, and its box surrounds the whole picture: use VALID to leave it out of the loss.
    """
    if mask.ndim != 4 or mask.shape[1] != 1:
        raise ValueError(f"mask must be (N, 1, H, W), got {tuple(mask.shape)}")
    inside = mask.detach()[:, 0] > 0.5
    valid = inside.sum((1, 2)) >= max(min_pixels, 1)
    inside = inside | ~valid[:, None, None]
    x0, x1 = _extent(inside.sum(1), trim)
    y0, y1 = _extent(inside.sum(2), trim)
    width, height = (x1 - x0) * (1 + 2 * margin), (y1 - y0) * (1 + 2 * margin)
    height = torch.maximum(height, width / aspect)
    half = torch.stack([height * aspect, height], 1) / 2
    centre = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2 + shift * height], 1)
    return torch.cat([centre - half, centre + half], 1), valid


def _extent(counts: Tensor, trim: float) -> tuple[Tensor, Tensor]:
    """First and last edge (N,) of what remains of the counts (N, L) when TRIM of their sum is cut off at either end."""
    before = counts.cumsum(1).float()
    total = before[:, -1:]
    start = (before <= trim * total).sum(1)  # pixels that can go from the start
    after = (before >= (1 - trim) * total).float().argmax(1) + 1
    return start.float(), after.float()


def crop(image: Tensor, boxes: Tensor, size: tuple[int, int], neutral: float = NEUTRAL) -> Tensor:
    """The boxes (N, 4) of IMAGE (N, C, H, W), bilinear, resized to SIZE (height, width); NEUTRAL beyond the picture.

    Differentiable in the image and in the boxes. Computed in float32 (float64 for float64 images), returns the image's
    type. Sampling is bilinear without low-pass filter: SIZE should not be much smaller than the boxes.
    """
    n, channels, h, w = image.shape
    if boxes.shape != (n, 4):
        raise ValueError(f"boxes must be ({n}, 4) for {n} images, got {tuple(boxes.shape)}")
    dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
    x0, y0, x1, y1 = boxes.to(dtype).unbind(1)
    zero = torch.zeros_like(x0)
    rows = [(x1 - x0) / w, zero, (x0 + x1) / w - 1, zero, (y1 - y0) / h, (y0 + y1) / h - 1]
    grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), [n, channels, *size], align_corners=False)
    # grid_sample pads with zeros: shifted so that NEUTRAL is zero
    out = F.grid_sample(image.to(dtype) - neutral, grid, "bilinear", "zeros", align_corners=False) + neutral
    return out.to(image.dtype)
