"""SSIM and PSNR of pictures in numpy, as scikit-image and spgvton_training.metrics compute them.

SSIM of Wang et al. 2004 with scikit-image's `gaussian_weights=True, sigma=1.5, use_sample_covariance=False`, on pictures
in [0, 1], over the positions whose 11x11 window lies inside the picture.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
BORDER: Final = 5  # pixels on each side that have no full window
MAX_PSNR: Final = 100.0  # dB, what equal pictures get
_KERNEL: Final = cv2.getGaussianKernel(2 * BORDER + 1, 1.5, cv2.CV_64F)


def _mean(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    blurred = cv2.sepFilter2D(picture, cv2.CV_64F, _KERNEL, _KERNEL)
    return np.asarray(blurred[BORDER:-BORDER, BORDER:-BORDER], np.float64)


def ssim_map(picture: UInt8, target: UInt8) -> NDArray[np.float64]:
    """SSIM at every position with a full window, (H - 10, W - 10), mean of the channels, of RGB pictures (H, W, 3)."""
    a, b = picture / 255.0, target / 255.0
    mean_a, mean_b = _mean(a), _mean(b)
    var_a, var_b = _mean(a * a) - mean_a**2, _mean(b * b) - mean_b**2
    cov = _mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return np.asarray((luminance * (2 * cov + c2) / (var_a + var_b + c2)).mean(2), np.float64)


def inside(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> float:
    """Mean of ssim_map() VALUES where MASK (H, W) is set; NaN where none is."""
    chosen = values[mask[BORDER:-BORDER, BORDER:-BORDER]]
    return float(chosen.mean()) if chosen.size else float("nan")


def psnr(picture: UInt8, target: UInt8) -> float:
    """Peak signal-to-noise ratio in dB, at most MAX_PSNR."""
    error = float(np.square((picture.astype(np.float64) - target) / 255.0).mean())
    return MAX_PSNR if error == 0 else min(MAX_PSNR, -10 * float(np.log10(error)))
