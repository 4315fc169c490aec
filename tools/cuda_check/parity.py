"""The warp's kernel on a GPU: against PyTorch in float64, CUDA's limits, NaN, capture and replay, times.

  python tools/cuda_check/parity.py [--small] build/cuda-check/libtps_gpu.so

Step 3 of tools/cuda_check.sh; --small is what compute-sanitizer and ncu run. Exit code 1 where something does not hold.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from spgvton_training.networks.tps import control_points, tps_grid_sample

PADDINGS: Final = ("zeros", "border")
# Largest error of a picture in [0, 1], by how far control points are moved (sigma); host build: 7.7e-4 at 0.1, docs of the audit.
ALLOWED: Final = {0.0: 1e-3, 0.1: 2e-3, 0.5: 5e-3}
HALF: Final = 1e-3  # more, where the picture is float16
SHAPES: Final = ((2, 3, 256, 192), (1, 1, 7, 5), (3, 4, 33, 65), (1, 2, 1024, 768))
INVALID_CONFIGURATION: Final = 9

Kernel = Callable[[Tensor, Tensor, int, bool, str], tuple[int, Tensor]]


def open_kernel(path: str) -> Kernel:
    """The library at PATH as (image, theta, grid, align_corners, padding) -> (cudaError_t, picture), on the current stream."""
    function = ctypes.CDLL(path).tps_kernel_gpu
    pointer, number = ctypes.c_void_p, ctypes.c_int
    function.argtypes = (pointer, pointer, number, number, pointer, *[number] * 7, pointer)

    def warp(image: Tensor, theta: Tensor, grid: int, align: bool, padding: str) -> tuple[int, Tensor]:
        out = torch.full_like(image, float("nan"))
        n, channels, h, w = image.shape
        status = function(
            image.data_ptr(), out.data_ptr(), channels, image.dtype == torch.half, theta.data_ptr(),
            theta.dtype == torch.half, n, h, w, grid, align, PADDINGS.index(padding),
            torch.cuda.current_stream().cuda_stream,
        )  # fmt: skip
        return status, out

    return warp


def thetas(n: int, grid: int, fold: float) -> Tensor:
    """Control points (n, 2, grid * grid), moved by FOLD (sigma)."""
    points = torch.as_tensor(control_points(grid), dtype=torch.float32, device="cuda").reshape(-1, 2).T
    return (points[None] + fold * torch.randn(n, 2, grid * grid, device="cuda")).contiguous()


def against_float64(warp: Kernel, small: bool) -> bool:
    """Whether every case keeps to ALLOWED; prints the largest error by fold and type."""
    worst: dict[tuple[float, str], float] = {}
    shapes = ((2, 2, 40, 33),) if small else SHAPES
    cases = itertools.product(
        (2, 5) if small else (2, 3, 4, 5), (True, False), PADDINGS, shapes, ALLOWED, (False, True)
    )
    for grid, align, padding, shape, fold, half in cases:
        image, theta = torch.rand(shape, device="cuda"), thetas(shape[0], grid, fold)
        if half:
            image, theta = image.half(), theta.half()
        status, found = warp(image, theta, grid, align, padding)
        if status:
            print(f"launch failed with {status}: {shape}, grid {grid}")
            return False
        true = tps_grid_sample(image.double(), theta.double(), grid, align, padding)
        key = fold, "half" if half else "float"
        worst[key] = max(worst.get(key, 0.0), float((found.double() - true).abs().max()))
    for (fold, kind), error in worst.items():
        print(f"largest error, control points moved by {fold}, {kind}: {error:.2e}")
    return all(error <= ALLOWED[fold] + HALF * (kind == "half") for (fold, kind), error in worst.items())


def survives(warp: Kernel) -> bool:
    """Whether a theta that is no number leaves a picture that is finite."""
    good = True
    for bad, padding in itertools.product((float("nan"), float("inf"), -3e38), PADDINGS):
        theta = thetas(2, 5, 0.0)
        theta[0, :, 12] = bad
        status, found = warp(torch.rand(2, 3, 256, 192, device="cuda"), theta, 5, True, padding)
        good &= not status and bool(torch.isfinite(found).all())
    print(f"NaN and infinity in theta: {'finite pictures' if good else 'NOT FINITE'}")
    return good


def limits(warp: Kernel) -> bool:
    """Whether the largest batch runs, and the next one is refused by the launch rather than run wrongly."""
    image, theta = torch.rand(65536, 1, 8, 8, device="cuda"), thetas(65536, 2, 0.0)
    fits, beyond = warp(image[:65535], theta[:65535], 2, True, "border")[0], warp(image, theta, 2, True, "border")[0]
    print(f"batch 65535: status {fits}; 65536: {beyond}")
    return fits == 0 and beyond == INVALID_CONFIGURATION


def replayed(warp: Kernel) -> bool:
    """Whether a captured launch gives what a plain one gives."""
    image, theta = torch.rand(1, 3, 256, 192, device="cuda"), thetas(1, 5, 0.1)
    _, plain = warp(image, theta, 5, True, "border")
    torch.cuda.synchronize()
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        _, found = warp(image, theta, 5, True, "border")
    graph.replay()
    torch.cuda.synchronize()
    same = torch.equal(plain, found)
    print(f"replay equals plain: {same}")
    return same


def times(warp: Kernel) -> None:
    """Print microseconds of a launch beside torch's grid_sample on a grid that is given."""

    def clock(work: Callable[[], Any], count: int = 300) -> float:
        for _ in range(20):
            work()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(count):
            work()
        end.record()
        end.synchronize()
        return 1e3 * begin.elapsed_time(end) / count

    for channels, h, w, kind in ((3, 256, 192, torch.float), (3, 256, 192, torch.half), (3, 1024, 768, torch.float)):
        image, theta = torch.rand(1, channels, h, w, device="cuda").to(kind), thetas(1, 5, 0.1)
        grid = (torch.rand(1, h, w, 2, device="cuda") * 2 - 1).to(kind)
        ours = clock(lambda image=image, theta=theta: warp(image, theta, 5, True, "border"))  # type: ignore[misc]
        torchs = clock(lambda image=image, grid=grid: F.grid_sample(image, grid, align_corners=True))  # type: ignore[misc]
        print(f"{channels}x{h}x{w} {kind}: kernel with a fill {ours:.1f} us, grid_sample alone {torchs:.1f} us")


def main(arguments: list[str]) -> int:
    small = "--small" in arguments
    files = [word for word in arguments if word != "--small"]
    if len(files) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    warp = open_kernel(files[0])
    torch.manual_seed(0)
    held = against_float64(warp, small)
    if not small:
        held &= survives(warp) & limits(warp) & replayed(warp)
        times(warp)
    torch.cuda.synchronize()
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
