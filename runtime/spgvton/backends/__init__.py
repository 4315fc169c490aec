"""What runs a bundle's joint graphs. A back end is chosen by name and never replaced silently by another."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from spgvton.backends.contract import POSE, Backend, Mode
from spgvton.bundle import Bundle
from spgvton.engine.flavour import MODULES
from spgvton.errors import UsageError

__all__ = ["BACKENDS", "CPU_BACKENDS", "Backend", "open_backend", "tell"]

CPU_BACKENDS: Final = ("onnxruntime", "openvino", "openvino-bf16")
BACKENDS: Final = (*CPU_BACKENDS, *MODULES, "auto")


def tell(words: str) -> None:
    """A line for people, on stderr."""
    print(words, file=sys.stderr)


def open_backend(
    name: str, bundle: Bundle, *, threads: int | None = None, warp: str | None = None, plugin: Path | None = None,
    mode: Mode = POSE, batch: int = 1, form: str = "pair", say: Callable[[str], None] = tell,
) -> Backend:  # fmt: skip
    """The back end NAME, one of BACKENDS, for BUNDLE and MODE; the precision is the bundle's, or bfloat16 by openvino-bf16.

    mode: whose joint graph it runs. `auto` measures which of those that are installed is fastest, see
    spgvton.backends.auto. threads, batch (frames of a run), form ("pair" or "joint", see OnnxRuntimeBackend): of those on
    the CPU. warp, plugin: of the engine, see `spgvton build`; the engine comes from the cache or is built now, which takes
    minutes. say: is told where the engine came from, why CUDA graphs are not used where they are not, and what `auto` chose
    and why. Raises UsageError for an unknown NAME, SpgvtonError when the graph cannot be loaded, for a bundle without MODE,
    or when there is no GPU, driver or package for NAME.

    Examples:
        >>> from spgvton import Bundle, open_backend
        >>> backend = open_backend("onnxruntime", Bundle.open("realtime"), threads=1)
        >>> backend.describe()["backend"]
        'onnxruntime'
        >>> backend.close()
    """
    if name in MODULES:
        if threads is not None or batch != 1:
            raise UsageError(f"--threads is for --backend {', '.join(CPU_BACKENDS)}")
        from spgvton.backends.tensorrt import open_tensorrt

        return open_tensorrt(name, bundle, mode=mode, warp=warp, plugin=plugin, say=say)
    if name not in BACKENDS:
        raise UsageError(f"back end '{name}' is unknown: use one of {', '.join(BACKENDS)}")
    if warp or plugin:
        raise UsageError(f"--warp and --plugin are for --backend {' and '.join(MODULES)}")
    if name == "auto":
        from spgvton.backends.auto import open_fastest

        return open_fastest(bundle, open_backend, mode=mode, threads=threads, say=say)
    if name == "onnxruntime":
        from spgvton.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend(bundle, mode=mode, threads=threads, batch=batch, form=form)
    from spgvton.backends.openvino import OpenVinoBackend

    return OpenVinoBackend(
        bundle, mode=mode, threads=threads, bf16=name == "openvino-bf16", batch=batch, form=form, say=say
    )
