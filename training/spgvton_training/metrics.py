"""Image and mask metrics of section IV-B, computed per image on tensors in [-1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_WINDOW, _SIGMA = 11, 1.5


def _gaussian(channels: int, device: torch.device) -> Tensor:
    x = torch.arange(_WINDOW, device=device, dtype=torch.float32) - _WINDOW // 2
    g = torch.exp(-(x**2) / (2 * _SIGMA**2))
    g = g / g.sum()
    return (g[:, None] * g[None]).expand(channels, 1, _WINDOW, _WINDOW).contiguous()


def ssim(image: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """SSIM [47] per image (N,): Gaussian 11x11 window, sigma 1.5, per RGB channel, valid positions only.

    image, target: (N, 3, H, W) in [-1, 1]. With MASK (N, 1, H, W) the SSIM map is averaged inside it (Mask-SSIM); an
    empty mask gives NaN.
    """
    a, b = (image.clamp(-1, 1) + 1) / 2, (target.clamp(-1, 1) + 1) / 2
    kernel = _gaussian(a.shape[1], a.device)

    def mean(t: Tensor) -> Tensor:
        return F.conv2d(t, kernel, groups=t.shape[1])

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    values = ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    if mask is None:
        return values.mean((1, 2, 3))
    r = _WINDOW // 2
    inside = mask[:, :, r:-r, r:-r].expand_as(values)
    return (values * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3))


def psnr(image: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per image (N,) in dB of images (N, 3, H, W) in [-1, 1]."""
    mse = ((image.clamp(-1, 1) - target) / 2).square().mean((1, 2, 3))
    return -10 * mse.clamp_min(1e-10).log10()


def mask_iou(mask: Tensor, target: Tensor) -> Tensor:
    """Intersection over union per image (N,) of masks (N, 1, H, W), thresholded at 0.5."""
    a, b = mask > 0.5, target > 0.5
    return (a & b).sum((1, 2, 3)) / (a | b).sum((1, 2, 3)).clamp_min(1)


def confusion(predicted: Tensor, target: Tensor, classes: int) -> Tensor:
    """Confusion matrix (classes, classes), rows = target, of label maps of equal shape."""
    index = target.ravel() * classes + predicted.ravel()
    return torch.bincount(index, minlength=classes**2).reshape(classes, classes)


def mean_iou(matrix: Tensor) -> float:
    """Mean intersection over union over the classes that the target holds."""
    hit = matrix.diag().double()
    union = matrix.sum(0) + matrix.sum(1) - matrix.diag()
    present = matrix.sum(1) > 0
    return float((hit[present] / union[present]).mean())
