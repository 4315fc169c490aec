"""Extension `align_source`: move the parts of the source person onto the target pose before G1 and G2 see them.

The paper feeds S'_s, A_s and I_s without clothes as they stand in the source picture, and the convolutions must carry
them to the target pose. Here each body part is first moved by a closed-form transform between the two sets of keypoints
(the idea of deformable skips, paper reference [33], applied to the input): a least-squares similarity for the head, the
neck and the lower body, and a bone-to-bone map for each upper arm and forearm. What no part covers stays empty (zeros).
Nothing here is learnt, and it exports to a few ONNX GridSample nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from spgvton import keypoints as kp
from spgvton import labels as lb


@dataclass(frozen=True)
class Part:
    """Labels that move together, and the keypoints that move them: a bone (two points) or a set for a similarity."""

    labels: tuple[int, ...]
    points: tuple[int, ...]
    bone: tuple[float, float] | None = (
        None  # range along the bone that belongs to the part, 0 = first point, 1 = second
    )


# Painted in this order, later over earlier.
PARTS: Final = (
    Part(
        (lb.PANTS, lb.SKIRT, lb.SOCKS, lb.LEFT_LEG, lb.RIGHT_LEG, lb.LEFT_SHOE, lb.RIGHT_SHOE),
        (kp.R_HIP, kp.L_HIP, kp.R_KNEE, kp.L_KNEE, kp.R_ANKLE, kp.L_ANKLE),
    ),
    Part((lb.TORSO_SKIN, lb.SCARF), (kp.NECK, kp.R_SHOULDER, kp.L_SHOULDER, kp.NOSE)),
    Part((lb.LEFT_ARM,), (kp.L_SHOULDER, kp.L_ELBOW), (-0.3, 1.05)),
    Part((lb.RIGHT_ARM,), (kp.R_SHOULDER, kp.R_ELBOW), (-0.3, 1.05)),
    Part((lb.HAIR, lb.FACE, lb.HAT, lb.SUNGLASSES), (kp.NOSE, kp.R_EYE, kp.L_EYE, kp.R_EAR, kp.L_EAR, kp.NECK)),
    Part((lb.LEFT_ARM,), (kp.L_ELBOW, kp.L_WRIST), (-0.05, 2.0)),
    Part((lb.RIGHT_ARM,), (kp.R_ELBOW, kp.R_WRIST), (-0.05, 2.0)),
)
TORSO: Final = (kp.NECK, kp.R_SHOULDER, kp.L_SHOULDER, kp.R_HIP, kp.L_HIP)
_MIN_SPREAD: Final = 9.0  # pixels^2: closer points say nothing about scale and rotation
_MIN_SHARE: Final = 0.02  # of a cell that a part must fill to be painted there
_MAX_ACROSS: Final = 0.4  # of the longest bone: a hand's half width with some room for misplaced keypoints


_SIMILAR: Final = tuple(i for i, part in enumerate(PARTS) if part.bone is None)
_BONES: Final = tuple(i for i, part in enumerate(PARTS) if part.bone is not None)


def _similarities(source: Tensor, target: Tensor, sets: list[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """Least-squares similarities from target to source pixels, each over the points of one of SETS that both have.

    source, target: (N, 18, 3). Returns matrices (N, P, 2, 3) and whether each is well determined (N, P).
    In complex numbers: s = a t + b, a = sum conj(t') s' / sum |t'|^2 with t', s' centred.
    """
    chosen = torch.zeros(len(sets), kp.NUM_KEYPOINTS, device=source.device)
    for row, points in zip(chosen, sets):
        row[list(points)] = 1
    weight = ((source[:, :, 2] > 0) & (target[:, :, 2] > 0)).float()[:, None] * chosen  # (N, P, 18)
    s, t = source[:, :, :2], target[:, :, :2]
    total = weight.sum(2, keepdim=True).clamp_min(1e-6)
    s_mean, t_mean = (weight @ s) / total, (weight @ t) / total  # (N, P, 2)
    ds, dt = s[:, None] - s_mean[:, :, None], t[:, None] - t_mean[:, :, None]  # (N, P, 18, 2)
    spread = (weight * dt.square().sum(3)).sum(2)
    divisor = spread.clamp_min(1e-3)
    real = (weight * (dt * ds).sum(3)).sum(2) / divisor
    imaginary = (weight * (dt[..., 0] * ds[..., 1] - dt[..., 1] * ds[..., 0])).sum(2) / divisor
    scale = (real.square() + imaginary.square()).clamp_min(1e-8).sqrt()
    determined = (total[:, :, 0] >= 2) & (spread > _MIN_SPREAD) & (scale > 0.3) & (scale < 3.0)
    linear = torch.stack([torch.stack([real, -imaginary], 2), torch.stack([imaginary, real], 2)], 2)
    shift = s_mean[..., None] - linear @ t_mean[..., None]
    return torch.cat([linear, shift], 3), determined


def _bones(source: Tensor, target: Tensor, thickness: Tensor) -> tuple[Tensor, Tensor]:
    """Maps from target to source that take bone to bone: the length follows the bone, the thickness is THICKNESS (N,).

    Returns matrices (N, B, 2, 3) and rows (N, 2, B, 3) that give a pixel's position in the target bone: along it, 0 at
    its first point and 1 at its second, and across it, where -1 to 1 belongs to the part. Without a limit across, a bent
    arm's hand lies in the range of its upper arm and is painted twice. A bone that is missing in either picture gets a
    row along it outside every part's range.
    """
    ends = [torch.tensor([PARTS[i].points[end] for i in _BONES], device=source.device) for end in (0, 1)]
    (s0, s1), (t0, t1) = ([k.index_select(1, end) for end in ends] for k in (source, target))  # (N, B, 3) each
    present = (s0[..., 2] > 0) & (s1[..., 2] > 0) & (t0[..., 2] > 0) & (t1[..., 2] > 0)
    vs, vt = s1[..., :2] - s0[..., :2], t1[..., :2] - t0[..., :2]
    ls, lt = (v.square().sum(2, keepdim=True).clamp_min(1.0).sqrt() for v in (vs, vt))
    us, ut = vs / ls, vt / lt
    stretch = (ls / lt).clamp(0.4, 2.5)
    across_s, across_t = (torch.stack([-u[..., 1], u[..., 0]], 2) for u in (us, ut))
    linear = (
        stretch[..., None] * us[..., None] * ut[:, :, None]
        + thickness[:, None, None, None] * across_s[..., None] * across_t[:, :, None]
    )
    shift = s0[..., :2, None] - linear @ t0[..., :2, None]
    limit = _MAX_ACROSS * (ls[..., 0] * present).amax(1).clamp_min(1.0) / thickness  # in pixels of the target
    rows = torch.stack([ut / lt, across_t / limit[:, None, None]], 1)  # (N, 2, B, 2)
    rows = torch.cat([rows, -(rows * t0[:, None, :, :2]).sum(3, keepdim=True)], 3)
    nowhere = torch.tensor([0.0, 0.0, 1e3], device=rows.device).expand_as(rows)
    return torch.cat([linear, shift], 3), torch.where(present[:, None, :, None], rows, nowhere)


def _transforms(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Every part's map from target to source pixels (N, parts, 2, 3), and the bones' rows (N, 2, B, 3) of _bones().

    A similarity that the keypoints do not determine falls back to the torso's, and that to the identity.
    """
    matrices, known = _similarities(source, target, [TORSO, *(PARTS[i].points for i in _SIMILAR)])
    known = known[..., None, None]
    torso = torch.where(known[:, :1], matrices[:, :1], torch.eye(2, 3, device=source.device))
    similar = torch.where(known[:, 1:], matrices[:, 1:], torso)
    thickness = torso[:, 0, :, :2].square().sum((1, 2)).div(2).sqrt()
    bones, rows = _bones(source, target, thickness)
    order = torch.tensor([(*_SIMILAR, *_BONES).index(i) for i in range(len(PARTS))], device=source.device)
    return torch.cat([similar, bones], 1).index_select(1, order), rows


def _pixels(size: tuple[int, int], stride: int, device: torch.device) -> Tensor:
    """Homogeneous coordinates (3, h*w), in full-resolution pixels, of a raster of stride STRIDE over SIZE."""
    h, w = size[0] // stride, size[1] // stride
    centre = (stride - 1) / 2
    y, x = torch.meshgrid(
        torch.arange(h, device=device, dtype=torch.float32) * stride + centre,
        torch.arange(w, device=device, dtype=torch.float32) * stride + centre,
        indexing="ij",
    )
    return torch.stack([x, y, torch.ones_like(x)]).reshape(3, -1)


def _to_grid(matrices: Tensor, size: tuple[int, int]) -> Tensor:
    """MATRICES (N, P, 2, 3), to pixels of pictures of SIZE, as maps to [-1, 1] between the pictures' edges.

    On the small matrices rather than on the grids that they give: that spared `mini` a twentieth of its time.
    """
    scale = torch.tensor([[2.0 / size[1]], [2.0 / size[0]]], device=matrices.device)
    half, one = torch.tensor([[0.0, 0.0, 0.5], [0.0, 0.0, 1.0]], device=matrices.device)
    return (matrices + half) * scale - one


class _Raster:
    """Where every part's pixels come from, on the raster of stride STRIDE over pictures of SIZE."""

    def __init__(self, matrices: Tensor, rows: Tensor, size: tuple[int, int], stride: int) -> None:
        h, w = size[0] // stride, size[1] // stride
        pixels = _pixels(size, stride, matrices.device)
        grids = _to_grid(matrices, size) @ pixels
        self._grids = grids.transpose(2, 3).reshape(-1, len(PARTS), h, w, 2)
        self._positions = (rows.flatten(1, 2) @ pixels).reshape(-1, 2, len(_BONES), h, w)

    def move(self, layer: Tensor, part: int) -> Tensor:
        """LAYER (N, C, h, w) resampled by the map of PARTS[part]; outside a bone's range it is zero."""
        moved = F.grid_sample(layer, self._grids[:, part], "bilinear", "zeros", align_corners=False)
        bone = PARTS[part].bone
        if bone is None:
            return moved
        i = _BONES.index(part)
        along, across = self._positions[:, :1, i], self._positions[:, 1:, i]
        return moved * ((along > bone[0]) & (along < bone[1]) & (across.abs() < 1)).to(moved.dtype)


def _paint_once(canvas: Tensor, body: Tensor, matrices: Tensor, shares: list[Tensor], stride: int) -> Tensor:
    """BODY (N, 4, H, W), premultiplied, over CANVAS by one resampling: each pixel by the map of the part it shows most of.

    shares: how much of each part shows (N, 1, H / stride, W / stride), in the order of PARTS. Seven resamplings at full
    resolution take a tenth of a small network's time. What is lost is the mixture of two parts in one pixel.
    """
    size = (canvas.shape[2], canvas.shape[3])
    share = torch.cat(shares, 1)
    most = share.amax(1, keepdim=True)
    shown = ((share >= most) & (share > _MIN_SHARE)).to(share.dtype)
    shown = shown / shown.sum(1, keepdim=True).clamp_min(1)  # equal shares: the mean of their maps
    n, _, h, w = share.shape
    maps = (_to_grid(matrices, size).flatten(2).transpose(1, 2) @ shown.flatten(2)).reshape(n, 6, h, w)
    maps = torch.cat([maps, shown.sum(1, keepdim=True)], 1)
    if stride > 1:
        maps = F.interpolate(maps, scale_factor=float(stride), mode="nearest")
    x, y, _ = _pixels(size, 1, canvas.device).reshape(3, 1, *size)
    grid = torch.stack([maps[:, 0] * x + maps[:, 1] * y + maps[:, 2], maps[:, 3] * x + maps[:, 4] * y + maps[:, 5]], 3)
    painted = F.grid_sample(body, grid, "bilinear", "zeros", align_corners=False) * maps[:, 6:]
    return canvas * (1 - painted[:, 3:]) + painted


def align(
    reference: Tensor,
    head: Tensor,
    body: Tensor,
    source: Tensor,
    target: Tensor,
    stride: int = 1,
    once: bool = False,
    background: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Move S'_s (N, 20, H, W), A_s (N, 2, H, W) and I_s without clothes (N, 3, H, W) to the pose TARGET.

    source, target: keypoints (N, 18, 3) in pixels of H x W. once: see _paint_once(). background: what to keep of it
    (N, 1, H, W), all by default. Returns the two maps at 1/STRIDE of the resolution (what G1 takes), the body at full
    resolution, moved, and how far each pixel of it is empty (N, 1, H, W). No gradients.
    """
    with torch.no_grad():
        size = (body.shape[2], body.shape[3])
        matrices, rows = _transforms(source, target)
        raster = _Raster(matrices, rows, size, stride)

        maps = torch.cat([reference, head], 1)  # 20 labels, then face and hair, whose own channels S'_s leaves empty
        small = F.avg_pool2d(maps, stride) if stride > 1 else maps
        channel = {label: lb.NUM_LABELS + i for i, label in enumerate(lb.HEAD)}
        channels = [tuple(channel.get(label, label) for label in part.labels) for part in PARTS]
        movable = sorted({c for part in channels for c in part})
        kept = [c for c in range(maps.shape[1]) if c not in movable]
        moving = maps[:, movable].sum(1, keepdim=True)

        # The maps, from the topmost part down: of each, what the parts above leave free.
        free = torch.ones_like(small[:, :1])
        planes: dict[tuple[int, ...], Tensor] = {}
        shares = []
        for i, labels in reversed(list(enumerate(channels))):
            moved = raster.move(small[:, labels], i)
            seen = moved * free
            shares.append(seen.sum(1, keepdim=True))
            planes[labels] = planes[labels] + seen if labels in planes else seen
            free = free * (1 - moved.sum(1, keepdim=True))
        planes[tuple(kept)] = small[:, kept] * free
        found = [c for labels in planes for c in labels]
        order = torch.tensor([found.index(c) for c in range(maps.shape[1])], device=body.device)
        out = torch.cat(list(planes.values()), 1).index_select(1, order)

        # The body, premultiplied by what is known of it (fourth channel).
        canvas = torch.cat([body * (1 - moving), maps[:, kept].sum(1, keepdim=True)], 1)
        if background is not None:
            canvas = canvas * (1 - maps[:, lb.BACKGROUND : lb.BACKGROUND + 1] + background)
        if once:
            canvas = _paint_once(canvas, torch.cat([body * moving, moving], 1), matrices, shares[::-1], stride)
        else:
            full = raster if stride == 1 else _Raster(matrices, rows, size, 1)
            for i in range(len(PARTS)):  # painted over each other
                alpha = maps[:, channels[i]].sum(1, keepdim=True)
                painted = full.move(torch.cat([body * alpha, alpha], 1), i)
                canvas = canvas * (1 - painted[:, 3:]) + painted
        return out[:, : lb.NUM_LABELS], out[:, lb.NUM_LABELS :], canvas[:, :3], 1 - canvas[:, 3:]
