"""SSIM against scikit-image; the other picture metrics on known cases; IS, FID and KID against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from spgvton_training import distribution_metrics as dm
from spgvton_training import metrics

Float = NDArray[np.floating]


def pair(seed: int = 0, noise: float = 0.3, size: tuple[int, int] = (64, 48)) -> tuple[torch.Tensor, torch.Tensor]:
    """Two smooth pictures (2, 3, H, W) that differ by noise."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, 8, 6, generator=g) * 2 - 1
    a = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(-1, 1)
    return a, (a + noise * torch.randn(a.shape, generator=g)).clamp(-1, 1)


def picture(t: torch.Tensor) -> Float:
    """(3, H, W) in [-1, 1] -> (H, W, 3) in [0, 1]."""
    return (t.permute(1, 2, 0).numpy() + 1) / 2


def skimage_ssim(x: Float, y: Float) -> tuple[float, Float]:
    value, values = structural_similarity(
        x, y, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return value, values


def box(top: int, bottom: int, left: int, right: int, size: tuple[int, int] = (64, 48)) -> torch.Tensor:
    mask = torch.zeros(2, 1, *size)
    mask[:, :, top:bottom, left:right] = 1
    return mask


def test_ssim_and_psnr_equal_scikit_image() -> None:
    a, b = pair()
    for i in range(2):
        x, y = picture(a[i]), picture(b[i])
        # scikit-image pads and then crops 5 pixels, as the valid convolution does
        assert abs(float(metrics.ssim(a, b)[i]) - skimage_ssim(x, y)[0]) < 1e-5
        assert abs(float(metrics.psnr(b, a)[i]) - peak_signal_noise_ratio(x, y, data_range=1)) < 1e-3


def test_both_region_scores_equal_scikit_image() -> None:
    a, b = pair(3)
    mask = box(10, 40, 0, 30)
    for i in range(2):
        x, y = picture(a[i]), picture(b[i])
        m = mask[i, 0].numpy().astype(bool)
        masked = skimage_ssim(x * m[..., None], y * m[..., None])[0]
        assert abs(float(metrics.mask_ssim(a, b, mask)[i]) - masked) < 1e-5
        inner = np.zeros_like(m)
        inner[5:-5, 5:-5] = m[5:-5, 5:-5]
        inside = skimage_ssim(x, y)[1][inner].mean()
        found = float(metrics.region_ssim(metrics.ssim_map(a, b), mask)[i])
        assert abs(found - inside) < 1e-5
        assert found < masked - 0.1, "the paper's reading counts the black rest as equal"


def test_region_scores_see_nothing_outside_the_region() -> None:
    a, b = pair()
    mask = box(0, 20, 0, 48)
    other = b.clone()
    other[:, :, 26:] = 0.5  # farther from the region than a window reaches
    assert torch.equal(metrics.mask_ssim(a, b, mask), metrics.mask_ssim(a, other, mask))
    there, same = (metrics.region_ssim(metrics.ssim_map(a, x), mask) for x in (b, other))
    assert torch.allclose(there, same)
    other[:, :, 5:15] = 0.5
    assert (metrics.mask_ssim(a, other, mask) < metrics.mask_ssim(a, b, mask)).all()


def test_an_empty_region_has_no_score() -> None:
    a, b = pair()
    mask = box(0, 20, 0, 48)
    mask[1] = 0
    for found in (metrics.mask_ssim(a, b, mask), metrics.region_ssim(metrics.ssim_map(a, b), mask)):
        assert found[0].isfinite() and found[1].isnan()


def test_equal_pictures() -> None:
    a, _ = pair()
    mask = box(5, 40, 5, 40)
    one = torch.ones(2)
    assert torch.allclose(metrics.ssim(a, a), one, atol=1e-6)
    assert torch.allclose(metrics.mask_ssim(a, a, mask), one, atol=1e-6)
    assert torch.allclose(metrics.region_ssim(metrics.ssim_map(a, a), mask), one, atol=1e-6)
    assert torch.allclose(metrics.psnr(a, a), torch.tensor(metrics.MAX_PSNR)), "capped, not infinite"
    assert (metrics.mask_iou(mask, mask) == 1).all()
    nothing = torch.zeros_like(mask)
    assert (metrics.mask_iou(nothing, nothing) == 1).all() and (metrics.mask_iou(mask, nothing) == 0).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), noise=st.floats(0, 2), top=st.integers(0, 30), height=st.integers(12, 30))
def test_ssim_is_symmetric_and_bounded(seed: int, noise: float, top: int, height: int) -> None:
    a, b = pair(seed, noise, (40, 32))
    b = -b if seed % 2 else b
    mask = box(top, top + height, 0, 32, (40, 32))
    for f in (metrics.ssim, lambda x, y: metrics.mask_ssim(x, y, mask)):
        there, back = f(a, b), f(b, a)
        assert torch.allclose(there, back, atol=1e-5)
        assert (there <= 1 + 1e-5).all() and (there >= -1 - 1e-5).all()


@settings(max_examples=30, deadline=None)
@given(bits=st.lists(st.tuples(st.booleans(), st.booleans()), min_size=9, max_size=9))
def test_iou_counts(bits: list[tuple[bool, bool]]) -> None:
    a, b = (torch.tensor([[v[i] for v in bits]], dtype=torch.float32).view(1, 1, 3, 3) for i in (0, 1))
    either = sum(x or y for x, y in bits)
    want = sum(x and y for x, y in bits) / either if either else 1
    assert float(metrics.mask_iou(a, b)) == pytest.approx(want)
    assert float(metrics.mask_iou(a, b)) == float(metrics.mask_iou(b, a))


def test_confusion_and_mean_iou() -> None:
    predicted, target = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    matrix = metrics.confusion(predicted, target, 3)
    assert matrix.tolist() == [[1, 0, 0], [1, 2, 0], [0, 0, 0]]
    assert np.isclose(metrics.mean_iou(matrix), (1 / 2 + 2 / 3) / 2)


def test_inception_score_between_its_bounds() -> None:
    """Equal predictions: 1. Ten sure and balanced classes: 10, less what a split of few pictures lacks of balance."""
    same = torch.randn(1, 1008).expand(200, -1)
    assert dm.inception_score(same) == pytest.approx((1, 0), abs=1e-4)
    sure = torch.zeros(5000, 10)
    sure[torch.arange(5000), torch.arange(5000) % 10] = 50
    mean, std = dm.inception_score(sure)
    assert 9.5 < mean <= 10 and 0 < std < 0.2
    assert dm.inception_score(sure) == (mean, std), "shuffled the same way every time"
    assert dm.inception_score(sure * 8)[0] == pytest.approx(mean, abs=1e-6), "probabilities below float32's least"


def test_inception_score_equals_its_definition() -> None:
    """exp(mean KL(p(y|x) || p(y))) of each of 10 splits, in the order that torchmetrics shuffles to."""
    logits = 3 * torch.randn(230, 20, generator=torch.Generator().manual_seed(1))
    mean, std = dm.inception_score(logits)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        p = logits[torch.randperm(230)].softmax(1).double().numpy()
    scores = [np.exp((q * np.log(q / q.mean(0))).sum(1).mean()) for q in np.split(p, range(23, 230, 23))]
    assert mean == pytest.approx(np.mean(scores), rel=1e-4) and std == pytest.approx(np.std(scores, ddof=1), rel=1e-3)


def test_fid_equals_its_definition() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8))
    b = rng.normal(size=(200, 8)) * 2 + 1
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    want = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    x, y = (torch.from_numpy(v).float() for v in (a, b))
    assert dm.frechet_distance(x, y) == pytest.approx(want, rel=1e-4)
    assert dm.frechet_distance(x, x) == pytest.approx(0, abs=1e-3)


def test_kid_is_near_zero_for_the_same_distribution_only() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(400, 64, generator=g), torch.randn(400, 64, generator=g)
    assert dm.kid_subset(400, 400) == 200 and dm.kid_subset(9000, 5000) == 1000
    near, spread = dm.kernel_distance(a, b)
    far, _ = dm.kernel_distance(a, b + 0.5)
    assert abs(near) < 3 * spread and far > 0.5
    assert dm.kernel_distance(a, b) == (near, spread)


def test_distribution_scores_collect_and_leave_empty_regions_out() -> None:
    """On a small random network: the same pictures as generated and real, a shift of them, and too few."""
    g = torch.Generator().manual_seed(0)
    matrix = torch.randn(3 * 16 * 12, 24, generator=g) / 8

    def network(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = images.flatten(1) @ matrix
        return features, 3 * features[:, :10]

    images = torch.rand(120, 3, 16, 12, generator=g) * 2 - 1
    mask = torch.ones(120, 1, 16, 12)
    mask[:30] = 0
    same, shifted = dm.DistributionScores(network), dm.DistributionScores(network)
    for part in torch.arange(120).split(50):
        for sets, offset in ((same, 0.0), (shifted, 0.5)):
            sets.update("real", images[part], {"face": mask[part]})
            sets.update("generated", (images[part] + offset).clamp(-1, 1), {"face": mask[part]})
    scores, missing = same.compute(("face",))
    assert scores["is"] == dm.inception_score(network(images)[1]) == scores["real_is"]
    assert scores["fid"][0] == pytest.approx(0, abs=1e-3)
    assert set(missing) == {"mask_is.face", "real_mask_is.face"}, "90 of 120 pictures have a face"
    assert "at least 100 pictures, there are 90" in missing["mask_is.face"]
    moved, _ = shifted.compute(("face",))
    assert moved["fid"][0] > 1 and moved["kid"][0] > 0.5 > scores["kid"][0]

    overflowing = dm.DistributionScores(lambda x: (network(x)[0], 1e5 * network(x)[1]))
    for kind in ("real", "generated"):
        overflowing.update(kind, images, {})
    scores, missing = overflowing.compute(())
    assert "is" not in scores and "not a finite number" in missing["is"] and "fid" in scores

    few = dm.DistributionScores(network)
    for kind in ("real", "generated"):
        few.update(kind, images[:3], {"face": mask[:3]})
    scores, missing = few.compute(("face",))
    assert not scores and {"is", "fid", "kid"} < set(missing)
