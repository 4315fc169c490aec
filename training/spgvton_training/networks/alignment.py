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


def _similarity(source: Tensor, target: Tensor, points: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Least-squares similarity from target to source pixels over POINTS that both have.

    source, target: (N, 18, 3). Returns the matrix (N, 2, 3) and whether it is well determined (N,).
    In complex numbers: s = a t + b, a = sum conj(t') s' / sum |t'|^2 with t', s' centred.
    """
    s, t = source[:, list(points)], target[:, list(points)]
    weight = ((s[..., 2] > 0) & (t[..., 2] > 0)).float()
    total = weight.sum(1).clamp_min(1e-6)
    s_mean = (s[..., :2] * weight[..., None]).sum(1) / total[:, None]
    t_mean = (t[..., :2] * weight[..., None]).sum(1) / total[:, None]
    ds, dt = s[..., :2] - s_mean[:, None], t[..., :2] - t_mean[:, None]
    spread = (weight * dt.square().sum(-1)).sum(1)
    divisor = spread.clamp_min(1e-3)
    real = (weight * (dt[..., 0] * ds[..., 0] + dt[..., 1] * ds[..., 1])).sum(1) / divisor
    imaginary = (weight * (dt[..., 0] * ds[..., 1] - dt[..., 1] * ds[..., 0])).sum(1) / divisor
    scale = (real.square() + imaginary.square()).clamp_min(1e-8).sqrt()
    determined = (total >= 2) & (spread > _MIN_SPREAD) & (scale > 0.3) & (scale < 3.0)
    linear = torch.stack([torch.stack([real, -imaginary], 1), torch.stack([imaginary, real], 1)], 1)
    shift = s_mean - (linear @ t_mean[:, :, None])[:, :, 0]
    return torch.cat([linear, shift[:, :, None]], 2), determined


def _select(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(condition[:, None, None], a, b)


def _bone(source: Tensor, target: Tensor, points: tuple[int, ...], thickness: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Map from target to source that takes bone to bone: its length follows the bones, its thickness THICKNESS (N,).

    Returns the matrix (N, 2, 3), whether both pictures have the bone (N,), and the row (N, 3) that gives the position
    along the target bone: 0 at its first point, 1 at its second.
    """
    (s0, s1), (t0, t1) = ((k[:, points[0]], k[:, points[1]]) for k in (source, target))
    present = (s0[:, 2] > 0) & (s1[:, 2] > 0) & (t0[:, 2] > 0) & (t1[:, 2] > 0)
    vs, vt = s1[:, :2] - s0[:, :2], t1[:, :2] - t0[:, :2]
    ls, lt = vs.square().sum(1).clamp_min(1.0).sqrt(), vt.square().sum(1).clamp_min(1.0).sqrt()
    us, ut = vs / ls[:, None], vt / lt[:, None]
    stretch = (ls / lt).clamp(0.4, 2.5)
    across_s, across_t = torch.stack([-us[:, 1], us[:, 0]], 1), torch.stack([-ut[:, 1], ut[:, 0]], 1)
    linear = (
        stretch[:, None, None] * us[:, :, None] * ut[:, None, :]
        + thickness[:, None, None] * across_s[:, :, None] * across_t[:, None, :]
    )
    shift = s0[:, :2] - (linear @ t0[:, :2, None])[:, :, 0]
    along = torch.cat([ut / lt[:, None], -(ut * t0[:, :2]).sum(1, keepdim=True) / lt[:, None]], 1)
    return torch.cat([linear, shift[:, :, None]], 2), present, along


def _transform(part: Part, source: Tensor, target: Tensor, torso: Tensor) -> tuple[Tensor, Tensor | None]:
    """PART's map from target to source pixels (N, 2, 3), and for a bone the row (N, 3) of the position along it.

    A similarity that the keypoints do not determine falls back to TORSO; a bone that is not there gets a row outside
    every part's range.
    """
    if part.bone is None:
        matrix, known = _similarity(source, target, part.points)
        return _select(known, matrix, torso), None
    thickness = torso[:, :, :2].square().sum((1, 2)).div(2).sqrt()
    matrix, present, along = _bone(source, target, part.points, thickness)
    nowhere = torch.tensor([0.0, 0.0, 1e3], device=along.device).expand_as(along)
    return matrix, torch.where(present[:, None], along, nowhere)


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


def _move(layer: Tensor, matrix: Tensor, along: Tensor | None, part: Part, pixels: Tensor, stride: int) -> Tensor:
    """LAYER (N, C, h, w), a raster of stride STRIDE, resampled by MATRIX; outside a bone's range it is zero."""
    n, _, h, w = layer.shape
    grid = ((matrix @ pixels).transpose(1, 2).reshape(n, h, w, 2) + 0.5) / stride  # pixel edges of the layer
    grid = grid * (2.0 / torch.tensor([w, h], device=layer.device)) - 1.0
    moved = F.grid_sample(layer, grid, "bilinear", "zeros", align_corners=False)
    if along is None or part.bone is None:
        return moved
    position = (along @ pixels).reshape(n, 1, h, w)
    return moved * ((position > part.bone[0]) & (position < part.bone[1])).to(moved.dtype)


def align(
    reference: Tensor, head: Tensor, body: Tensor, source: Tensor, target: Tensor, stride: int = 1
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Move S'_s (N, 20, H, W), A_s (N, 2, H, W) and I_s without clothes (N, 3, H, W) to the pose TARGET.

    source, target: keypoints (N, 18, 3) in pixels of H x W. Returns the two maps at 1/STRIDE of the resolution (what
    G1 takes), the body at full resolution, moved, and how far each pixel of it is empty (N, 1, H, W). No gradients.
    """
    with torch.no_grad():
        size = (body.shape[2], body.shape[3])
        torso, known = _similarity(source, target, TORSO)
        torso = _select(known, torso, torch.eye(2, 3, device=body.device).expand_as(torso))

        maps = torch.cat([reference, head], 1)  # 20 labels, then face and hair, whose own channels S'_s leaves empty
        small = F.avg_pool2d(maps, stride) if stride > 1 else maps
        channel = {label: lb.NUM_LABELS + i for i, label in enumerate(lb.HEAD)}
        movable = sorted({channel.get(label, label) for part in PARTS for label in part.labels})
        planes = {c: small[:, c : c + 1] * (c not in movable) for c in range(maps.shape[1])}
        out_body = body * (1 - maps[:, movable].sum(1, keepdim=True))
        kept = [c for c in range(maps.shape[1]) if c not in movable]
        empty = 1 - maps[:, kept].sum(1, keepdim=True)
        pixels = {s: _pixels(size, s, body.device) for s in {1, stride}}

        for part in PARTS:
            matrix, along = _transform(part, source, target, torso)
            channels = [channel.get(label, label) for label in part.labels]
            moved = _move(small[:, channels], matrix, along, part, pixels[stride], stride)
            under = 1 - moved.sum(1, keepdim=True)
            planes = {c: plane * under for c, plane in planes.items()}
            for i, c in enumerate(channels):
                planes[c] = planes[c] + moved[:, i : i + 1]
            alpha = maps[:, channels].sum(1, keepdim=True)
            painted = _move(torch.cat([body * alpha, alpha], 1), matrix, along, part, pixels[1], 1)
            out_body = out_body * (1 - painted[:, 3:]) + painted[:, :3]
            empty = empty * (1 - painted[:, 3:])
        out_maps = torch.cat([planes[c] for c in range(maps.shape[1])], 1)
        return out_maps[:, : lb.NUM_LABELS], out_maps[:, lb.NUM_LABELS :], out_body, empty
