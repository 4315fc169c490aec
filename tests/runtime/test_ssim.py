"""SSIM and PSNR equal scikit-image's."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from spgvton import ssim
from spgvton.demo_assets import DemoAssets


@pytest.mark.parametrize("noise", [3, 40])
def test_equals_scikit_image(noise: int) -> None:
    rng = np.random.default_rng(noise)
    smooth = np.add.outer(np.arange(64), np.arange(48))[..., None] + np.array([0, 30, 60])
    target = smooth.astype(np.uint8)
    picture = np.clip(smooth + rng.normal(0, noise, smooth.shape), 0, 255).astype(np.uint8)
    _, full = structural_similarity(
        picture / 255, target / 255, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    b = ssim.BORDER
    np.testing.assert_allclose(ssim.ssim_map(picture, target), full[b:-b, b:-b].mean(2), atol=1e-9)
    assert ssim.psnr(picture, target) == pytest.approx(peak_signal_noise_ratio(target, picture))


def test_equal_pictures_and_regions() -> None:
    truth, _ = DemoAssets.open().person()
    values = ssim.ssim_map(truth, truth)
    assert values.min() == pytest.approx(1) and ssim.psnr(truth, truth) == ssim.MAX_PSNR
    mask = np.zeros(truth.shape[:2], bool)
    assert np.isnan(ssim.inside(values, mask)), "no such region"
    mask[20:40, 20:40] = True
    values[:] = 0
    values[20 - ssim.BORDER : 40 - ssim.BORDER, 20 - ssim.BORDER : 40 - ssim.BORDER] = 0.5
    assert ssim.inside(values, mask) == 0.5, "the map is cut by the border, the mask is not"
