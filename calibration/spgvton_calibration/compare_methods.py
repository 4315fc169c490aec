"""The table of results/int8-methods.csv: what each way to choose ranges costs the picture, all candidate layers in INT8.

  python -m spgvton_calibration.compare_methods --data data/synth --out results/int8-methods.csv

Each method gets both runs of the chain (see calibrate.RangeFinder) on the same samples and is judged on the same held-out
samples; no layer is given back to float.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path

import onnxruntime as ort

from spgvton.bundle import Bundle
from spgvton.errors import SpgvtonError
from spgvton.files import write_text
from spgvton.machine import cpu_model
from spgvton_calibration.calibrate import RangeFinder, select
from spgvton_calibration.data import Source, load
from spgvton_calibration.histogram import METHODS
from spgvton_calibration.network import Network
from spgvton_calibration.qdq import insert, quantise_weight
from spgvton_calibration.quality import Judge


def compare(bundle: Bundle, data: Source) -> list[dict[str, object]]:
    """A row per method: SSIM drop of each region against the ground truth; SSIM and PSNR against the float pictures."""
    network = Network(bundle.graph("tryon"))
    layers, _ = select(network, ())
    weights = {x.name: quantise_weight(*network.weights(x), network.element_type(x)) for x in layers}
    judge = Judge(data.held_out, network.model, Network(bundle.graph("g1")).model, bundle.label_set)
    samples = [s.inputs for s in data.calibration]
    finder = RangeFinder(network, layers, weights, samples)
    rows: list[dict[str, object]] = []
    for method in METHODS:
        ranges = finder.find(method)
        images = judge.run(insert(network, layers, ranges.amax, weights), method)
        similar, psnr = judge.fidelity(images)
        drops = {f"drop_{region}": f"{value:.5f}" for region, value in judge.drop(images).items()}
        rows.append(
            {
                "method": method, "ranges_of": ranges.run, **drops, "ssim_to_float": f"{similar:.5f}", "psnr_to_float": f"{psnr:.2f}",
                "layers_int8": len(layers), "samples": len(samples), "held_out": len(images),
                "bundle": bundle.manifest["files"]["tryon.onnx"]["sha256"][:8], "cpu": cpu_model(),
                "onnxruntime": ort.__version__,
            }
        )  # fmt: skip
    return rows


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", help="float bundle (default: the shipped one)")
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--held-out", type=int, default=200)
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args(argv)
    try:
        bundle = Bundle.open(args.bundle)
        rows = compare(bundle, load(args.data, args.samples, args.held_out, bundle.size, bundle.label_set))
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(args.out, text.getvalue())
    except SpgvtonError as e:
        print(f"compare_methods: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
