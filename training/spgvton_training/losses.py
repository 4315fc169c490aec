"""The losses of sections III-B to III-D, each named after its equation. Images in [-1, 1], masks in [0, 1].

Eqs. 4 and 12 (perceptual) and the encoder of Eq. 15 are pretrained networks: `spgvton_training.pretrained`. Eq. 17, the
weighted sum, is `objective.py`. Eqs. 1, 3, 13 and 14 are printed with logarithms, but section IV-C trains with LSGAN
[51] and the gradient penalty of [52]; the latter is what is here.
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


def conductible_cycle(warped: Tensor, target_clothes: Tensor, restored: Tensor | None, cloth: Tensor) -> Tensor:
    """L_cond of Eq. 8: |C_w - C_t| + |C^ - C|; without RESTORED only the first (ablation w/o Cycle, section IV-F)."""
    forth = F.l1_loss(warped, target_clothes)
    return forth if restored is None else forth + F.l1_loss(restored, cloth)


def composition_l1(
    image: Tensor, target: Tensor, composition: Tensor, mask_target: Tensor | None = None,
    alpha: tuple[float, float] = (2.0, 0.5),
) -> Tensor:  # fmt: skip
    """L_recon^t of Eq. 11: alpha_1 |I^_t - I_t| + alpha_2 |1 - M|.

    With MASK_TARGET (extension) the regulariser is |M - M_t^C|: it does not ask for garment outside the clothes.
    """
    wanted = torch.ones_like(composition) if mask_target is None else mask_target
    return alpha[0] * F.l1_loss(image, target) + alpha[1] * F.l1_loss(composition, wanted)


def lsgan_generator(fake: list[Tensor]) -> Tensor:
    """Generator's side of Eqs. 1, 3, 13, 14 by LSGAN: sum over scales of (D(fake) - 1)^2."""
    return torch.stack([(score - 1).square().mean() for score in fake]).sum()


def lsgan_discriminator(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Discriminator's side: sum over scales of ((D(real) - 1)^2 + D(fake)^2) / 2."""
    terms = [((r - 1).square().mean() + f.square().mean()) / 2 for r, f in zip(real, fake)]
    return torch.stack(terms).sum()


def r1_penalty(real: list[Tensor], inputs: Tensor) -> Tensor:
    """R1 of [52]: E |grad D(x)|^2 / 2 at real INPUTS (N, C, H, W), which must require gradients. Times gamma in use.

    D is the sum over scales of the mean over patches, so that the penalty does not grow with the picture.
    """
    score = torch.stack([r.mean((1, 2, 3)) for r in real]).sum()
    (gradient,) = torch.autograd.grad(score, inputs, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2


def face_identity(embedding: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """L_id of Eq. 15: L1 between the face embeddings (N, D), of the samples (N,) whose head is in the picture."""
    if not valid.any():
        return embedding.sum() * 0
    return (embedding[valid] - target[valid]).abs().mean()


def region_l1(image: Tensor, target: Tensor, region: Tensor) -> Tensor:
    """Extension: L1 of the images' gradients and colours inside REGION (N, 1, H, W) of 0 and 1, per pixel of it."""
    area = region.sum().clamp_min(1) * image.shape[1]
    difference = (image - target) * region
    dx, dy = (difference.diff(dim=d).abs().sum() for d in (2, 3))
    return (difference.abs().sum() + 0.5 * (dx + dy)) / area


def changed_region(old: Tensor, new: Tensor) -> Tensor:
    """Weights (N, 1, H, W) of the part of a picture that a garment exchange changes: OLD or NEW clothes, masks of 0 and 1.

    1 inside and up to two pixels around them, 2 within two pixels of the new clothes' border, 0 elsewhere.
    """

    def dilated(mask: Tensor) -> Tensor:
        return F.max_pool2d(mask, 5, 1, 2)

    border = dilated(new) + dilated(1 - new) - 1
    return dilated(torch.maximum(old, new)) + border


def region_structure(similarity: Tensor, region: Tensor) -> Tensor:
    """Extension: 1 - box_ssim() SIMILARITY, averaged with the weights REGION (N, 1, H, W)."""
    weight = F.avg_pool2d(region, *_BOX)
    return ((1 - similarity).mean(1, keepdim=True) * weight).sum() / weight.sum().clamp_min(1)


def structure(image: Tensor, target: Tensor, similarity: Tensor) -> Tensor:
    """Extension, in place of the perceptual term where no VGG is given: image gradients, and box_ssim() SIMILARITY."""
    dx = F.l1_loss(image[..., 1:] - image[..., :-1], target[..., 1:] - target[..., :-1])
    dy = F.l1_loss(image[..., 1:, :] - image[..., :-1, :], target[..., 1:, :] - target[..., :-1, :])
    return 0.5 * (dx + dy) + 0.25 * (1 - similarity.mean())


_BOX = (7, 2)  # size and stride of the windows


def box_ssim(a: Tensor, b: Tensor) -> Tensor:
    """SSIM (N, 3, h, w) of images (N, 3, H, W) in [-1, 1] over square windows: cheaper than metrics.ssim_map()."""

    def mean(t: Tensor) -> Tensor:
        return F.avg_pool2d(t, *_BOX)

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2  # data range 2
    return ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2))


def warp_flow(grid: Tensor, flow: Tensor) -> Tensor:
    """Extension: L1 of the sampling grid (N, H, W, 2) to the renderer's exact worn-to-flat map, where it is not NaN."""
    known = flow.isfinite().all(-1)
    if not known.any():
        return grid.sum() * 0
    difference = (grid - torch.where(known[..., None], flow, grid.detach())).abs().sum(-1)
    return difference.sum() / known.sum()


def flow_smoothness(flow: Tensor) -> Tensor:
    """Extension: mean second difference of FLOW (N, 2, h, w), normalised, along rows, columns and both [Charbonnier et al. 1994].

    So a straight line of a print may be turned and stretched, but costs where it is bent. Below _BEND, a quarter of a pixel of 256,
    it is a square: an absolute value alone would hold a flow of zero against any small gain.
    """
    rows, columns = flow.diff(dim=2), flow.diff(dim=3)
    bends = (rows.diff(dim=2), columns.diff(dim=3), rows.diff(dim=3))
    return torch.stack([((b.square() + _BEND**2).sqrt() - _BEND).mean() for b in bends]).sum()


_BEND = 0.002


def theta_smoothness(theta: Tensor, grid_size: int) -> Tensor:
    """Extension: mean absolute second difference of the TPS control values along rows and columns."""
    q = theta.reshape(-1, 2, grid_size, grid_size)
    rows = q[..., 2:] - 2 * q[..., 1:-1] + q[..., :-2]
    columns = q[..., 2:, :] - 2 * q[..., 1:-1, :] + q[..., :-2, :]
    return rows.abs().mean() + columns.abs().mean()
