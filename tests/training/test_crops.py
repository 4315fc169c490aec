"""Head region, boxes and crops."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from spgvton import labels as lb
from spgvton_training.crops import crop, head_boxes, head_mask, isolate

whole = st.integers(min_value=0, max_value=60)


def rectangle(x0: int, y0: int, x1: int, y1: int, size: tuple[int, int] = (64, 48)) -> torch.Tensor:
    mask = torch.zeros(1, 1, *size)
    mask[:, :, y0:y1, x0:x1] = 1
    return mask


def test_the_head_is_face_and_hair_and_only_guides() -> None:
    labels = torch.arange(20).view(1, 4, 5)
    semantic = F.one_hot(labels, 20).permute(0, 3, 1, 2).float().requires_grad_()
    for scores in (semantic, semantic * 9 - 5):  # probabilities, logits
        mask = head_mask(scores)
        assert mask.shape == (1, 1, 4, 5) and not mask.requires_grad
        assert labels[mask[:, 0] > 0].tolist() == sorted(lb.HEAD)
    image = torch.randn(1, 3, 4, 5, requires_grad=True)
    seen = isolate(image, mask, neutral=-0.25)
    inside = mask.expand_as(seen) > 0
    assert torch.equal(seen[inside], image[inside]) and (seen[~inside] == -0.25).all()
    (gradient,) = torch.autograd.grad(seen.sum(), image)
    assert torch.equal(gradient, mask.expand_as(image))


def test_boxes_by_hand() -> None:
    mask = rectangle(10, 20, 18, 40)
    boxes, valid = head_boxes(mask, aspect=0.5, margin=0, trim=0)
    assert valid.tolist() == [True] and boxes.tolist() == [[9, 20, 19, 40]]  # widened from 8 to 20 * 0.5
    boxes, _ = head_boxes(mask, aspect=1, margin=0.25, trim=0)
    assert boxes.tolist() == [[-1, 15, 29, 45]]  # 20 * 1.5 = 30 high and wide, beyond the picture
    boxes, _ = head_boxes(mask, aspect=1, margin=0.25, shift=0.1, trim=0)
    assert boxes.tolist() == [[-1, 18, 29, 48]]
    boxes, _ = head_boxes(rectangle(0, 0, 48, 8), aspect=2, margin=0, trim=0)
    assert boxes.tolist() == [[0, -8, 48, 16]]


def test_stray_pixels_do_not_move_the_box_and_masks_without_a_head_are_not_valid() -> None:
    head = rectangle(16, 10, 32, 30)
    speckled = head.clone()
    speckled[0, 0, 63, 47] = speckled[0, 0, 60, 0] = 1
    few = rectangle(0, 0, 5, 3)
    masks = torch.cat([head, speckled, few, torch.zeros_like(head), head * 0.4])
    boxes, valid = head_boxes(masks)
    assert valid.tolist() == [True, True, False, False, False]
    assert torch.equal(boxes[0], boxes[1])
    untrimmed, _ = head_boxes(masks, trim=0)
    assert untrimmed[1, 3] > boxes[1, 3] + 20
    pictures = crop(torch.ones(5, 1, 64, 48), boxes, (32, 32))
    assert boxes.isfinite().all() and pictures.isfinite().all()
    x0, y0, x1, y1 = boxes[3].tolist()
    assert x0 <= 0 and y0 <= 0 and x1 >= 48 and y1 >= 64
    with pytest.raises(ValueError, match="N, 1, H, W"):
        head_boxes(torch.zeros(1, 2, 8, 8))


@settings(max_examples=100, deadline=None)
@given(
    whole, whole, st.integers(1, 40), st.integers(1, 40), st.floats(0.3, 3), st.floats(0, 0.5), st.floats(-0.3, 0.3)
)  # fmt: skip
def test_boxes_of_any_rectangle(
    x: int, y: int, w: int, h: int, aspect: float, margin: float, shift: float
) -> None:  # fmt: skip
    size = (104, 101)
    mask = rectangle(x, y, x + w, y + h, size)
    boxes, valid = head_boxes(mask, aspect, margin, min_pixels=1, trim=0)
    x0, y0, x1, y1 = boxes[0].tolist()
    assert valid.all() and (x1 - x0) / (y1 - y0) == pytest.approx(aspect, rel=1e-4)
    assert (x0 + x1) / 2 == pytest.approx(x + w / 2, abs=1e-3) and (y0 + y1) / 2 == pytest.approx(y + h / 2, abs=1e-3)
    slack = (x1 - x0 - w * (1 + 2 * margin), y1 - y0 - h * (1 + 2 * margin))
    assert min(slack) == pytest.approx(0, abs=1e-3)  # the smallest such box that holds region and margin
    moved, _ = head_boxes(mask, aspect, margin, shift, min_pixels=1, trim=0)
    assert moved[0, 1].item() == pytest.approx(y0 + shift * (y1 - y0), abs=1e-3)
    flipped, _ = head_boxes(mask.flip(3), aspect, margin, min_pixels=1, trim=0)
    assert flipped[0].tolist() == pytest.approx([size[1] - x1, y0, size[1] - x0, y1], abs=1e-3)


def test_the_whole_picture_is_the_identity_and_whole_pixels_are_a_slice() -> None:
    image = torch.randn(2, 3, 17, 12, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[0.0, 0, 12, 17]]).expand(2, 4)
    assert torch.allclose(crop(image, boxes, (17, 12)), image, atol=1e-5)
    boxes = torch.tensor([[2.0, 5, 9, 11], [5, 0, 12, 6]])
    pieces = crop(image, boxes, (6, 7))
    assert torch.allclose(pieces[0], image[0, :, 5:11, 2:9], atol=1e-5)
    assert torch.allclose(pieces[1], image[1, :, 0:6, 5:12], atol=1e-5)
    # to half the size, each output pixel lies between 2 x 2 input pixels
    halved = crop(image, torch.tensor([[2.0, 4, 10, 16]] * 2), (6, 4))
    assert torch.allclose(halved, F.avg_pool2d(image[:, :, 4:16, 2:10], 2), atol=1e-5)


def test_beyond_the_picture_is_neutral() -> None:
    image = torch.ones(1, 1, 8, 8)
    piece = crop(image, torch.tensor([[-4.0, -2, 4, 6]]), (8, 8), neutral=-0.5)
    assert torch.allclose(piece[0, 0, 2:, 4:], torch.ones(6, 4)) and torch.allclose(piece[0, 0, :2], torch.tensor(-0.5))
    assert torch.allclose(piece[0, 0, :, :4], torch.tensor(-0.5))
    with pytest.raises(ValueError, match="boxes"):
        crop(image, torch.zeros(2, 4), (8, 8))


def test_gradients() -> None:
    g = torch.Generator().manual_seed(1)
    image = torch.randn(2, 2, 6, 5, dtype=torch.float64, generator=g, requires_grad=True)
    boxes = torch.tensor([[0.3, 0.7, 4.1, 5.2], [-1.4, 1.1, 3.3, 7.9]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda i, b: crop(i, b, (4, 3), 0.25), (image, boxes))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_samples_at_full_precision(dtype: torch.dtype) -> None:
    image = torch.linspace(-1, 1, 256).to(dtype).expand(1, 3, 192, 256)
    box = torch.tensor(
        [[200.25, 10, 232.25, 42]]
    )  # in float16, 200.25 / 256 * 2 - 1 would be off by a third of a pixel
    piece = crop(image, box, (32, 32))
    assert piece.dtype == dtype
    assert torch.equal(piece, crop(image.float(), box, (32, 32)).to(dtype))
