"""Two masks -> thin-plate spline by matching their outlines: nothing is learnt [Belongie et al., PAMI 2002; VITON].

Points are sampled on both outlines; each is described by its shape context, a histogram over log-polar bins of where the
others lie; points are assigned to each other at the least chi-squared cost; a regularised spline is fitted to the pairs.
Everything is a fixed number of tensor operations, so that it runs in batches and exports to ONNX. So, other than [Belongie]:
- the assignment is the entropic one (Sinkhorn's iterations [Cuturi, NIPS 2013]), not the Hungarian method;
- descriptors are matched once, not again after each warp;
- the spline has its knots on the project's grid and is fitted by least squares [Donato and Belongie, ECCV 2002].
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from spgvton_training.networks.gmm import moment_map, moments
from spgvton_training.networks.tps import control_points, inverse

POINTS: Final = 64  # on each outline
RINGS: Final = (0.125, 0.25, 0.5, 1.0, 2.0)  # outer radii of the bins, in mean distances between points
SECTORS: Final = 12
PLACE: Final = 0.3  # weight of the squared distance between two points, outlines centred and scaled, beside chi-squared
ENTROPY: Final = 0.01  # of the assignment, in units of the cost
ITERATIONS: Final = 20  # of Sinkhorn's method
STIFFNESS: Final = 0.001  # weight of the spline's bending energy
SOLVER: Final = 24  # steps of the matrix inversion
_BLOCK: Final = 8  # pixels
_LEAST: Final = 16  # pixels of an outline that can be matched


def outline_points(mask: Tensor, count: int = POINTS) -> tuple[Tensor, Tensor]:
    """COUNT points (N, COUNT, 2), normalised (x, y), evenly along the outlines of MASK (N, 1, H, W); and their pixels (N, 1).

    Pixels are counted block by block: in one block lies one piece of outline, mostly. Row by row every other pixel would be of
    the left side.
    """
    n, _, h, w = mask.shape
    inside = (mask > 0.5).float()
    edge = inside * F.max_pool2d(F.pad(1 - inside, (1, 1, 1, 1), value=1.0), 3, 1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    places = torch.stack([x, y]).to(mask.device)  # (2, h, w)

    def blocks(t: Tensor) -> Tensor:
        cells = t.reshape(-1, h // _BLOCK, _BLOCK, w // _BLOCK, _BLOCK).transpose(2, 3)
        return cells.reshape(-1, h * w)

    counted = blocks(edge[:, 0]).cumsum(1)
    total = counted[:, -1:]
    wanted = total * ((torch.arange(count, device=mask.device) + 0.5) / count)
    index = (counted[:, None] < wanted[..., None]).long().sum(2)  # the pixel at which so many are counted
    points = blocks(places).index_select(1, index.clamp(max=h * w - 1).reshape(-1)).reshape(2, n, count)
    return points.permute(1, 2, 0), total


def shape_contexts(points: Tensor) -> Tensor:
    """Histograms (N, K, bins), each of sum 1 at most, of where the other POINTS (N, K, 2) lie, seen from each."""
    n, k, _ = points.shape
    away = points[:, None] - points[:, :, None]  # [n, i, j]: from i to j
    distance = (away.square().sum(3) + 1e-12).sqrt()
    others = 1 - torch.eye(k, device=points.device)
    distance = distance / ((distance * others).sum((1, 2), keepdim=True) / (k * (k - 1))).clamp_min(1e-6)
    radii = torch.tensor([0.0, *RINGS], device=points.device)
    ring = ((distance[..., None] >= radii[:-1]) & (distance[..., None] < radii[1:])).float() * others[..., None]
    angles = torch.arange(SECTORS, device=points.device) * (2 * math.pi / SECTORS)
    along = away @ torch.stack([angles.cos(), angles.sin()])  # the sector is that whose middle is nearest
    sector = (along >= along.amax(3, keepdim=True)).float()
    return (ring.transpose(2, 3) @ sector).reshape(n, k, -1) / (k - 1)


def assignment(cost: Tensor) -> Tensor:
    """Weights (N, K, K), of sum 1 in each row and nearly so in each column, at the least COST (N, K, K)."""
    affinity = -cost / ENTROPY
    columns = torch.zeros_like(cost[:, :1])
    for _ in range(ITERATIONS):
        rows = -(affinity + columns).logsumexp(2, keepdim=True)
        columns = -(affinity + rows).logsumexp(1, keepdim=True)
    return (affinity + columns).softmax(2)


@cache
def _bending(grid_size: int) -> np.ndarray:  # type: ignore[type-arg]
    """B (G*G, G*G): theta B theta' is the bending energy of the spline through the values theta at the control points."""
    return inverse(grid_size)[: grid_size**2]


def fit_spline(target: Tensor, source: Tensor, start: Tensor) -> Tensor:
    """theta (N, 2, G*G) whose spline takes points TARGET (N, K, 2) to SOURCE, as near to the spline START as bending costs.

    start: (N, 2, G*G). Least squares with the bending energy of the difference from START, by the normal equations.
    """
    grid_size = round(start.shape[2] ** 0.5)
    knots = torch.from_numpy(control_points(grid_size)).float().to(target.device)  # (2, G*G)
    coefficients, bending = (
        torch.from_numpy(m).float().to(target.device) for m in (inverse(grid_size), _bending(grid_size))
    )
    r2 = (target[..., None] - knots).square().sum(2)  # (N, K, G*G)
    terms = torch.cat([r2 * r2.clamp_min(1e-12).log(), torch.ones_like(target[..., :1]), target], 2)
    influence = terms @ coefficients
    remaining = source - influence @ start.transpose(1, 2)
    count = target.shape[1]
    normal = influence.transpose(1, 2) @ influence / count + STIFFNESS * bending
    normal = normal + 1e-4 * torch.eye(grid_size**2, device=target.device)
    moved = invert(normal) @ (influence.transpose(1, 2) @ remaining / count)
    return start + moved.transpose(1, 2)


def invert(matrix: Tensor) -> Tensor:
    """The inverse of symmetric positive matrices (N, n, n) by Newton's iterations [Schulz 1933]: ONNX has no other way."""
    size = matrix.abs().sum(2).amax(1)[:, None, None]  # the largest eigenvalue is not above it
    twice = 2 * torch.eye(matrix.shape[2], device=matrix.device)
    x = twice / 2 / size
    for _ in range(SOLVER):
        x = x @ (twice - matrix @ x)
    return x


@torch.no_grad()
def match(source: Tensor, target: Tensor, grid_size: int) -> Tensor:
    """theta (N, 2, G*G) that warps what the mask SOURCE (N, 1, H, W) shows onto TARGET, by their outlines.

    A target without an outline gets the identity.
    """
    (p, _), (q, pixels) = outline_points(source), outline_points(target)
    (source_centre, source_spread), (target_centre, target_spread) = moments(source), moments(target)
    centred = [
        (points - centre[:, None]) / spread.clamp_min(1e-3)[:, None]
        for points, centre, spread in ((p, source_centre, source_spread), (q, target_centre, target_spread))
    ]
    a, b = (shape_contexts(points)[:, :, None] for points in centred)
    b = b.transpose(1, 2)  # [n, i of the source, j of the target]
    chi2 = 0.5 * ((a - b).square() / (a + b + 1e-6)).sum(3)
    apart = (centred[0][:, :, None] - centred[1][:, None]).square().sum(3)
    pairs = assignment((chi2 + PLACE * apart).transpose(1, 2))  # of each point of the target, where it is in the source
    scale, shift = moment_map(source, target)
    identity = torch.from_numpy(control_points(grid_size)).float().to(target.device)
    start = identity * scale[..., None] + shift[..., None]
    theta = fit_spline(q, pairs @ p, start)
    return torch.where(pixels[..., None] >= _LEAST, theta, identity)
