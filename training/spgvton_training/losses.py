"""Reconstruction losses of the three stages (sections III-B to III-D). Images in [-1, 1], masks in [0, 1].

The adversarial, perceptual and face identity terms are not here yet; neither is Eq. 17's full sum.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def focal(logits: Tensor, labels: Tensor, class_weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """L_fl of Eq. 2: focal loss of logits (N, 20, H, W) against labels (N, H, W) int64.

    class_weights (20,) is an extension: small classes (arms, shoes) count more.
    """
    log_p = F.log_softmax(logits, 1).gather(1, labels[:, None])[:, 0]
    loss = -((1 - log_p.exp()) ** gamma) * log_p
    return (loss if class_weights is None else loss * class_weights[labels]).mean()


def semantic_l1(probabilities: Tensor, target: Tensor) -> Tensor:
    """L_recon^s of Eq. 2: L1 between predicted probabilities and the one-hot target map (N, 20, H, W)."""
    return F.l1_loss(probabilities, target)


def coarse_l1(image: Tensor, target: Tensor, mask: Tensor, target_mask: Tensor) -> Tensor:
    """L_recon^p of Eq. 5: L1 of the coarse image plus L1 of the predicted clothes mask."""
    return F.l1_loss(image, target) + F.l1_loss(mask, target_mask)


def conductible_cycle(warped: Tensor, target_clothes: Tensor, restored: Tensor, cloth: Tensor) -> Tensor:
    """L_cond of Eq. 8: |C_w - C_t| + |C^ - C|."""
    return F.l1_loss(warped, target_clothes) + F.l1_loss(restored, cloth)


def composition_l1(
    image: Tensor, target: Tensor, composition: Tensor, mask_target: Tensor | None = None,
    alpha: tuple[float, float] = (2.0, 0.5),
) -> Tensor:  # fmt: skip
    """L_recon^t of Eq. 11: alpha_1 |I^_t - I_t| + alpha_2 |1 - M|.

    With MASK_TARGET (extension) the regulariser is |M - M_t^C|: it does not ask for garment outside the clothes.
    """
    wanted = torch.ones_like(composition) if mask_target is None else mask_target
    return alpha[0] * F.l1_loss(image, target) + alpha[1] * F.l1_loss(composition, wanted)


def structure(image: Tensor, target: Tensor) -> Tensor:
    """Extension, in place of the perceptual term where no VGG is given: image gradients and 7x7 box SSIM."""
    dx = F.l1_loss(image[..., 1:] - image[..., :-1], target[..., 1:] - target[..., :-1])
    dy = F.l1_loss(image[..., 1:, :] - image[..., :-1, :], target[..., 1:, :] - target[..., :-1, :])
    return 0.5 * (dx + dy) + 0.25 * (1 - _box_ssim(image, target))


def _box_ssim(a: Tensor, b: Tensor) -> Tensor:
    def mean(t: Tensor) -> Tensor:
        return F.avg_pool2d(t, 7, 2)

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2  # data range 2
    return (((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2))).mean()


def warp_flow(grid: Tensor, flow: Tensor) -> Tensor:
    """Extension: L1 of the sampling grid (N, H, W, 2) to the renderer's exact worn-to-flat map, where it is not NaN."""
    known = flow.isfinite().all(-1)
    if not known.any():
        return grid.sum() * 0
    difference = (grid - torch.where(known[..., None], flow, grid.detach())).abs().sum(-1)
    return difference.sum() / known.sum()


def theta_smoothness(theta: Tensor, grid_size: int) -> Tensor:
    """Extension: mean absolute second difference of the TPS control values along rows and columns."""
    q = theta.reshape(-1, 2, grid_size, grid_size)
    rows = q[..., 2:] - 2 * q[..., 1:-1] + q[..., :-2]
    columns = q[..., 2:, :] - 2 * q[..., 1:-1, :] + q[..., :-2, :]
    return rows.abs().mean() + columns.abs().mean()
