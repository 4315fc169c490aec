"""Convert a checkpoint into a model bundle: ONNX graphs of G1, G2, the GMMs, G3 and the joint graph, and their weights.

  spgvton export --checkpoint runs/mini/model.safetensors --out bundles/mini
  spgvton export --preset paper --out bundles/paper-untrained

Every graph is run by ONNX Runtime on the shipped demo person and garment and compared with PyTorch; a difference above
tolerance is an error and leaves no bundle.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from spgvton import image as im
from spgvton.bundle import WEIGHTS, shipped
from spgvton.demo_assets import DemoAssets
from spgvton.person import Garment, PersonRepresentation
from spgvton_export.onnx_export import export
from spgvton_training.checkpoint import Checkpoint
from spgvton_training.networks.config import PRESETS, NetworkConfig, preset
from spgvton_training.networks.joint import Inputs, build_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--checkpoint", type=Path, default=shipped() / WEIGHTS, help="default: the shipped weights")
    source.add_argument("--preset", choices=sorted(PRESETS), help="an untrained network, for latency work")
    parser.add_argument("--out", required=True, type=Path, help="folder of the bundle")
    parser.add_argument("--storage", choices=("fp32", "fp16"), default="fp32", help="how weights are stored")
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def real_inputs(config: NetworkConfig) -> Inputs:
    """The shipped demo person, garment and two poses of the clip as a batch of two at CONFIG's size."""
    assets = DemoAssets.open()
    picture, labels = assets.person()
    keypoints = assets.keypoints()
    person = PersonRepresentation.of(picture, labels, keypoints[0], label_set=config.label_set, size=config.size)
    garment = Garment.of(*assets.garment(1), size=config.size)
    box = im.Letterbox.fit((picture.shape[0], picture.shape[1]), config.size)
    poses = np.stack([box.points(keypoints[i]) for i in (len(keypoints) // 4, len(keypoints) // 2)])

    def twice(a: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.stack([a, a]))

    return Inputs(
        twice(person.reference_map), twice(person.head), twice(person.body), twice(person.keypoints),
        twice(garment.image), twice(garment.mask), torch.from_numpy(poses),
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    if args.preset:
        config = preset(args.preset)
        torch.manual_seed(0)
        weights = dict(build_model(config).state_dict())
        checkpoint = Checkpoint(config, weights, {"untrained": f"preset {args.preset}, seed 0"})
    else:
        checkpoint = Checkpoint.load(args.checkpoint)
    bundle = export(checkpoint, args.out, real_inputs(checkpoint.config), half_storage=args.storage == "fp16")
    report = bundle.manifest["error_against_pytorch"]
    for name, outputs in report.items():
        for output, error in outputs.items():
            print(f"{name:6} {output:13} max {error['max']:.2e}  mean {error['mean']:.2e}", file=sys.stderr)
    print(f"wrote {bundle.folder}", file=sys.stderr)
    if args.json:
        files = bundle.manifest["files"]
        graphs = {
            name: {**files[f"{name}.onnx"], "max_abs_error": max(e["max"] for e in outputs.values())}
            for name, outputs in report.items()
        }
        print(json.dumps({"bundle": str(bundle.folder), "graphs": graphs}))
    return 0
