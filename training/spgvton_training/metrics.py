"""Image and mask metrics of section IV-B, computed per image on tensors in [-1, 1].

SSIM is that of Wang et al. [47] with the settings that scikit-image calls `gaussian_weights=True, sigma=1.5,
use_sample_covariance=False, data_range=1`: per RGB channel, on images in [0, 1], over the positions whose 11x11 window
lies inside the picture.

Two readings of "SSIM of a region" stand side by side, because they differ much:

mask_ssim    the paper's, as far as it can be known. "Mask-SSIM" comes from Ma et al. (Pose Guided Person Image
             Generation, 2017) by way of MG-VTON [7]: everything outside the region is set to 0 in both pictures, and
             SSIM is averaged over the *whole* picture, of which the black, equal rest counts as 1. So the paper's clothes
             Mask-SSIM (0.872) can stand far above its SSIM of whole pictures (0.752). Its face figure (0.801 +- 0.127)
             cannot be this: a face with its windows covers some 8% of a picture, which leaves 0.92 at the worst. It was
             perhaps cut out first; section IV-B says no more than "for the extracted regions".
region_ssim  stricter: the SSIM map of the untouched pictures, averaged inside the region alone. Use it to compare how
             well a region is made; it does not depend on how large the region is.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_WINDOW, _SIGMA = 11, 1.5
MAX_PSNR = 100.0  # dB, what equal images get


def _blur(x: Tensor) -> Tensor:
    """Gaussian mean of every 11x11 window, valid positions only: (N, C, H, W) -> (N, C, H - 10, W - 10).

    By shifted sums along each axis: as fast as a convolution, and exact where cuDNN's would round to TF32, of which
    var = E[x^2] - E[x]^2 would make wrong scores.
    """
    weights = [math.exp(-((i - _WINDOW // 2) ** 2) / (2 * _SIGMA**2)) for i in range(_WINDOW)]
    for axis in (2, 3):
        length = x.shape[axis] - _WINDOW + 1
        total = torch.zeros_like(x.narrow(axis, 0, length))
        for i, weight in enumerate(weights):
            total.add_(x.narrow(axis, i, length), alpha=weight / sum(weights))
        x = total
    return x


def ssim_map(image: Tensor, target: Tensor) -> Tensor:
    """SSIM at every valid position, (N, 3, H - 10, W - 10), of images (N, 3, H, W) in [-1, 1]."""
    a, b = (image.clamp(-1, 1) + 1) / 2, (target.clamp(-1, 1) + 1) / 2
    mean_a, mean_b, aa, bb, ab = _blur(torch.cat([a, b, a * a, b * b, a * b], 1)).split(a.shape[1], 1)
    var_a, var_b, cov = aa - mean_a * mean_a, bb - mean_b * mean_b, ab - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
    return luminance * (2 * cov + c2) / (var_a + var_b + c2)


def ssim(image: Tensor, target: Tensor) -> Tensor:
    """SSIM [47] per image (N,), at most 1, of images (N, 3, H, W) in [-1, 1]."""
    return ssim_map(image, target).mean((1, 2, 3))


def extract(image: Tensor, mask: Tensor) -> Tensor:
    """The region MASK (N, 1, H, W) in {0, 1} of images (N, 3, H, W) in [-1, 1]; the rest is black (-1)."""
    return (image + 1) * mask - 1


def mask_ssim(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """The paper's Mask-SSIM per image (N,), see above; NaN where MASK (N, 1, H, W) is empty."""
    values = ssim(extract(image, mask), extract(target, mask))
    return values.masked_fill(mask.sum((1, 2, 3)) == 0, torch.nan)


def region_ssim(values: Tensor, mask: Tensor) -> Tensor:
    """The mean (N,) of ssim_map() VALUES inside MASK (N, 1, H, W); NaN where no valid position is inside it."""
    r = _WINDOW // 2
    inside = mask[:, :, r:-r, r:-r]
    return (values * inside).mean(1).sum((1, 2)) / inside.sum((1, 2, 3))


def psnr(image: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio per image (N,) in dB, at most MAX_PSNR, of images (N, 3, H, W) in [-1, 1]."""
    mse = ((image.clamp(-1, 1) - target) / 2).square().mean((1, 2, 3))
    return -10 * mse.clamp_min(10 ** (-MAX_PSNR / 10)).log10()


def mask_iou(mask: Tensor, target: Tensor) -> Tensor:
    """Intersection over union per image (N,) of masks (N, 1, H, W), thresholded at 0.5; two empty masks agree (1)."""
    a, b = mask > 0.5, target > 0.5
    union = (a | b).sum((1, 2, 3))
    return torch.where(union > 0, (a & b).sum((1, 2, 3)) / union.clamp_min(1), 1.0)


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
