"""Build a TensorRT engine from a bundle, or find it in the cache.

The precision is that of the bundle's graphs, since TensorRT networks are strongly typed; of a float32 bundle --precision fp16
makes the float16 one first, once, as `spgvton export --precision fp16` does, and keeps it beside the engines. Beside each
engine lies a JSON file that says what it was built from; when any of that changes the engine is built again, and the
reason is told.

--warp says who computes the thin-plate spline: the CUDA plugin (cmake -B build/native && cmake --build build/native) or
the standard operators of the graph's function. Default: the plugin with tensorrt where --plugin or $SPGVTON_PLUGIN names it,
else the function.

examples:
  spgvton build --precision fp32 --plugin build/native/libspgvton_plugin.so
  spgvton build --precision fp16 --backend tensorrt-rtx --sm 86 89
  spgvton build --bundle bundles/realtime-int8 --precision int8
  spgvton build --bundle bundles/parser-fp16 --precision fp16     human_parser.onnx of spgvton export --parser
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from spgvton.bundle import GRAPHS, PARSER, RESIDUAL, Bundle
from spgvton.engine.build import Built, Options, build, explain
from spgvton.engine.flavour import MODULES, WARPS
from spgvton.engine.half import in_half
from spgvton.engine.parts import PARTS
from spgvton.errors import SpgvtonError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", help="folder of the bundle (default: the shipped one)")
    parser.add_argument(
        "--graph", choices=(*GRAPHS, *PARTS, RESIDUAL, PARSER),
        help=f"default: tryon; of a parser's bundle {PARSER}. Live mode runs {' and '.join(PARTS)}, cut out of live",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("fp32", "fp16", "int8"), default="fp32",
        help="the bundle's; fp16 also of an fp32 bundle (default: fp32)",
    )  # fmt: skip
    parser.add_argument("--backend", choices=tuple(MODULES), default="tensorrt")
    parser.add_argument("--warp", choices=WARPS, help="default: plugin with tensorrt where one is given, else function")
    parser.add_argument("--plugin", type=Path, metavar="FILE", help="libspgvton_plugin.so (default: $SPGVTON_PLUGIN)")
    parser.add_argument("--max-batch", type=int, default=1, metavar="N", help="largest batch (default: 1)")
    parser.add_argument(
        "--sm", nargs="+", default=[], metavar="SM", help="tensorrt-rtx: GPUs such as 86 89 (default: any)"
    )
    parser.add_argument("--workspace", type=int, metavar="MB", help="limit of the builder's scratch memory on the GPU")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="engine folder (default: below ~/.cache/spgvton)")
    parser.add_argument(
        "--explain", action="store_true", help="print precision and fusions of each layer (needs the GPU)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """`spgvton build`. Returns the exit code."""
    bundle = Bundle.open(args.bundle)
    if args.precision == "fp16" and bundle.precision == "fp32" and not bundle.is_parser:
        source, bundle = bundle, in_half(bundle)
        print(f"spgvton build: {source.folder.name} in float16: {bundle.folder}", file=sys.stderr)
    graph = args.graph or (PARSER if bundle.is_parser else Options.graph)
    options = Options(
        args.precision, args.backend, graph, args.warp, args.plugin, args.max_batch, tuple(args.sm), args.workspace,
        args.out, args.explain,
    )  # fmt: skip
    built = build(bundle, options)
    report = built.report()
    if args.json:
        print(json.dumps(report, indent=1))
    else:
        layers = ", ".join(f"{n} {name}" for name, n in report["layers"].items())
        print(f"{built.cache}: {built.engine} ({report['bytes'] / 1e6:.1f} MB)")
        for line in built.advice:
            print(f"spgvton build: {line}", file=sys.stderr)
        print(f"{report['plugin_layers']} plugin layers; layers before fusion by type of output: {layers}")
    if args.explain:
        _print_layers(built)
    return 0


def _print_layers(built: Built) -> None:
    try:
        for layer in explain(built):
            print(json.dumps(layer), file=sys.stderr)
    except SpgvtonError as e:
        print(f"spgvton build: not explained: {e}", file=sys.stderr)
