"""SSIM against scikit-image; the other metrics on known cases."""

import numpy as np
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from spgvton_training import metrics


def pair(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    a = torch.rand(2, 3, 64, 48, generator=g) * 2 - 1
    return a, (a + 0.3 * torch.randn(a.shape, generator=g)).clamp(-1, 1)


def test_ssim_and_psnr_equal_scikit_image() -> None:
    a, b = pair()
    for i in range(2):
        x, y = ((t[i].permute(1, 2, 0).numpy() + 1) / 2 for t in (a, b))
        want = structural_similarity(
            x, y, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        # scikit-image pads and then crops 5 pixels, as the valid convolution does
        assert abs(float(metrics.ssim(a, b)[i]) - want) < 1e-4
        assert abs(float(metrics.psnr(b, a)[i]) - peak_signal_noise_ratio(x, y, data_range=1)) < 1e-3


def test_mask_ssim_sees_only_the_mask() -> None:
    a, b = pair()
    mask = torch.zeros(2, 1, 64, 48)
    mask[:, :, :20] = 1
    b[:, :, 26:] = 0  # far below the mask: windows inside it never see this
    a_top, b_top = a.clone(), b.clone()
    a_top[:, :, 26:] = b_top[:, :, 26:] = 0.5
    assert torch.allclose(metrics.ssim(a, b, mask), metrics.ssim(a_top, b_top, mask))
    assert torch.allclose(metrics.ssim(a, a, mask), torch.ones(2), atol=1e-5)
    assert metrics.ssim(a, b, torch.zeros_like(mask)).isnan().all()


def test_iou_and_confusion() -> None:
    a = torch.zeros(1, 1, 4, 4)
    a[..., :2] = 1
    b = torch.zeros(1, 1, 4, 4)
    b[..., 1:3] = 1
    assert torch.isclose(metrics.mask_iou(a, b), torch.tensor([4 / 12])).all()
    predicted, target = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    matrix = metrics.confusion(predicted, target, 3)
    assert matrix.tolist() == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert np.isclose(metrics.mean_iou(matrix), (1 / 2 + 2 / 3) / 2)
