"""What each layer's INT8 costs the picture, and which layers stay float so that the picture stays within a budget."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from tqdm import tqdm

from spgvton.errors import SpgvtonError
from spgvton_calibration.execution import Inputs, Runner
from spgvton_calibration.network import Layer, Network
from spgvton_calibration.qdq import Int8Weight, insert
from spgvton_calibration.quality import Judge

INT8_SPEEDUP: Final = 2.0  # of tensor cores against FP16, on paper; it scales every layer's milliseconds alike


@dataclass(frozen=True)
class Cost:
    """What quantising LAYER alone does: SSIM lost and PSNR (dB) left of the final picture against the float graph's.

    ms_saved: an estimate, the layer's share of the MACs of the float graph's time on this CPU, halved (INT8_SPEEDUP).
    """

    layer: str
    gmac: float
    ssim_lost: float
    psnr: float
    ms_saved: float

    @property
    def cost(self) -> float:
        """SSIM lost per millisecond saved."""
        return self.ssim_lost / max(self.ms_saved, 1e-9)


def gmacs(network: Network, layers: Sequence[Layer], inputs: Inputs) -> dict[str, float]:
    """Multiply-accumulates of LAYERS in 10^9, from the sizes that they have on INPUTS."""
    made = Runner(network.model, [layer.conv for layer in layers])(inputs)
    weights = {layer.name: network.tensors[network.made_by[layer.conv].input[1]].dims for layer in layers}
    return {x.name: float(np.prod(weights[x.name]) * np.prod(made[x.conv].shape[2:])) / 1e9 for x in layers}


def sensitivity(
    network: Network, layers: Sequence[Layer], amax: Mapping[str, float], weights: Mapping[str, Int8Weight], judge: Judge,
    count: int,
) -> list[Cost]:  # fmt: skip
    """The cost of each of LAYERS alone, on COUNT of JUDGE's samples."""
    inputs = judge.samples[0].inputs
    work = gmacs(network, network.layers, inputs)
    runner, times = Runner(network.model), []
    for _ in range(5):
        start = time.perf_counter()
        runner(inputs)
        times.append(1e3 * (time.perf_counter() - start))
    saved_per_gmac = float(np.median(times[1:])) / sum(work.values()) * (1 - 1 / INT8_SPEEDUP)
    costs = []
    for layer in tqdm(layers, desc="sensitivity", unit="layer", disable=None):
        images = judge.run(insert(network, [layer], amax, weights), layer.name, count)
        similar, psnr = judge.fidelity(images)
        costs.append(Cost(layer.name, work[layer.name], 1 - similar, psnr, work[layer.name] * saved_per_gmac))
    return costs


def as_csv(costs: Sequence[Cost]) -> str:
    """The costs in order of computation, as CSV."""
    text = io.StringIO()
    rows = [{**asdict(c), "ssim_lost_per_ms": c.cost} for c in costs]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def choose(
    layers: Sequence[Layer],
    costs: Sequence[Cost],
    drop: Callable[[Sequence[Layer]], Mapping[str, float]],
    budget: float,
) -> tuple[list[Layer], Mapping[str, float]]:
    """The layers to quantise, and the drop of each region with these, none above BUDGET.

    Layers go back to float in order of cost per millisecond saved, the dearest first. How many: by bisection, so that
    DROP, which runs a graph, is called a few times; what is returned has been measured. Raises SpgvtonError when nothing
    is left to quantise.
    """
    dear = sorted(costs, key=lambda c: -c.cost)

    def without(count: int) -> list[Layer]:
        floating = {c.layer for c in dear[:count]}
        return [layer for layer in layers if layer.name not in floating]

    fails, fits, best = 0, len(dear), None
    while fits - fails > 1:
        middle = (fails + fits) // 2
        drops = drop(without(middle))
        if max(drops.values()) <= budget:
            fits, best = middle, drops
        else:
            fails = middle
    if best is None:
        raise SpgvtonError(
            f"no layer can be quantised within an SSIM drop of {budget:g}: raise --max-ssim-drop, try another --method, "
            "or give more --samples"
        )
    return without(fits), best
