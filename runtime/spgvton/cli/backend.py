"""--backend, --warp and --plugin: how `run`, `demo` and `doctor --gpu` choose what runs the network; --compositor of `run`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spgvton.engine.flavour import WARPS

if TYPE_CHECKING:  # at run time when they are needed: `doctor` must start where their packages are broken
    from spgvton.bundle import Bundle
    from spgvton.economy import Economy
    from spgvton.live.tryon import LiveTryOn
    from spgvton.perception.parsing import Parser
    from spgvton.session import TryOn


def add_arguments(parser: argparse.ArgumentParser, choices: Sequence[str]) -> None:
    """The arguments; the first of CHOICES is the default of --backend."""
    parser.add_argument(
        "--backend", choices=choices, default=choices[0],
        help=f"what runs the network (default: {choices[0]}); the precision is the bundle's. auto measures once which one is "
        "fastest here; openvino-bf16 computes convolutions in bfloat16",
    )  # fmt: skip
    parser.add_argument("--warp", choices=WARPS, help="of TensorRT's engine, see spgvton build --help")
    parser.add_argument("--plugin", type=Path, metavar="FILE", help="libspgvton_plugin.so (default: $SPGVTON_PLUGIN)")


def add_compositor(parser: argparse.ArgumentParser) -> None:
    """The arguments that say who composites live mode's frames."""
    parser.add_argument(
        "--compositor", choices=("cpu", "cuda"),
        help="live mode: what puts the garment on the frame. cpu (default), or an NVIDIA GPU, which has never been tried",
    )  # fmt: skip
    parser.add_argument(
        "--compositor-library",
        type=Path,
        metavar="FILE",
        help="libspgvton_compositor.so (default: $SPGVTON_COMPOSITOR)",
    )


def open_session(
    args: argparse.Namespace, bundle: Bundle, *, threads: int | None = None, parser: Parser | None = None,
    economy: Economy | None = None,
) -> TryOn:  # fmt: skip
    """A session of BUNDLE on the back end that ARGS ask for. Raises UsageError, SpgvtonError."""
    from spgvton.backends import open_backend
    from spgvton.session import TryOn

    backend = open_backend(args.backend, bundle, threads=threads, warp=args.warp, plugin=args.plugin)
    return TryOn(bundle, backend=backend, parser=parser, economy=economy)


def open_live(
    args: argparse.Namespace, bundle: Bundle, *, threads: int | None = None, parser: Parser | None = None,
    economy: Economy | None = None,
) -> LiveTryOn:  # fmt: skip
    """Live mode of BUNDLE on the back end, and with the compositor, that ARGS ask for. Raises UsageError, SpgvtonError."""
    from spgvton.backends import open_backend
    from spgvton.backends.contract import LIVE
    from spgvton.live.compositors import COMPOSITORS, open_compositor
    from spgvton.live.network import LiveNetwork
    from spgvton.live.tryon import LiveTryOn

    bundle.graph(LIVE.joint)  # says what to do about a bundle without live mode
    compositor = open_compositor(
        getattr(args, "compositor", None) or COMPOSITORS[0], getattr(args, "compositor_library", None)
    )
    backend = open_backend(args.backend, bundle, mode=LIVE, threads=threads, warp=args.warp, plugin=args.plugin)
    network = LiveNetwork(bundle, backend=backend)
    return LiveTryOn(network, threads=threads, parser=parser, economy=economy, compositor=compositor)
