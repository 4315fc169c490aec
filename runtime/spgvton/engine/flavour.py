"""TensorRT or TensorRT-RTX: which one, its errors as one line, and the plugin in its registry."""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from spgvton.errors import SpgvtonError, UsageError

MODULES: Final = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}  # back end (and pip extra): module
WARPS: Final = ("plugin", "function")  # who computes TpsGridSample
PLUGIN: Final = ("TpsGridSample", "1", "")  # name, version, namespace
RTX_LIBRARY: Final = "libtensorrt_rtx.so"
# What pip offers as tensorrt has no wheel for Jetson, and cannot be built there.
JETSON: Final = "it is part of JetPack: python3 -m venv --system-site-packages, then pip install 'spgvton[jetson]'"
RTX_LEAST_SM: Final = 80  # for Turing (75) TensorRT-RTX 1.7 compiles no float32 matrix product; every graph has some


@dataclass(frozen=True)
class Flavour:
    """An imported TensorRT: its name among MODULES, its Python module, its logger, and the errors that this has taken."""

    name: str
    trt: Any
    logger: Any
    errors: list[str] = field(default_factory=list)

    @property
    def version(self) -> str:
        return str(self.trt.__version__)

    @property
    def is_rtx(self) -> bool:
        return self.name == "tensorrt-rtx"

    def attempt(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """FUNCTION's result. What was logged before it is forgotten, so that first_error() explains this call."""
        self.errors.clear()
        return function(*arguments)

    def first_error(self, otherwise: str) -> str:
        """What went wrong first in the last attempt(), as one line; OTHERWISE where TensorRT logged nothing."""
        text = self.errors[0] if self.errors else otherwise
        self.errors.clear()
        return " ".join(text.split())[:300]


def load(name: str) -> Flavour:
    """Import TensorRT by back end NAME. Raises UsageError, or SpgvtonError that names the pip extra to install."""
    if name not in MODULES:
        raise UsageError(f"back end '{name}' builds no engines: use one of {', '.join(MODULES)}")
    module = MODULES[name]
    try:
        trt = importlib.import_module(module)
    except ModuleNotFoundError as e:
        where = f" (Jetson: {JETSON})" if name == "tensorrt" else ""
        raise SpgvtonError(f"{e.name} is missing: pip install 'spgvton[{name}]'{where}") from e
    except (ImportError, OSError, RuntimeError) as e:
        raise SpgvtonError(f"{module} is installed but cannot be loaded: {str(e).splitlines()[0]}") from e
    if name == "tensorrt" and int(trt.__version__.split(".")[0]) < 10:
        raise SpgvtonError(f"TensorRT {trt.__version__} is too old: 10.3 or newer is needed")
    return Flavour(name, trt, *_logger(trt))


def check_rtx_sm(sm: str, what: str) -> None:
    """Raise UsageError where TensorRT-RTX cannot compile this project's networks for compute capability SM, of WHAT."""
    if sm.isdigit() and int(sm) < RTX_LEAST_SM:
        raise UsageError(
            f"{what}: TensorRT-RTX cannot compile these networks for Turing (it has no float32 matrix products there): use "
            "--backend tensorrt, or the CPU"
        )


@functools.cache
def _logger(trt: Any) -> tuple[Any, list[str]]:
    """The logger of module TRT, which keeps errors and is silent otherwise, and the list that it keeps them in.

    One a process: TensorRT's plugins and free functions write into the logger of the first runtime or builder that lives.
    """
    errors: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                errors.append(message)

    return Logger(), errors


def _is_registered(flavour: Flavour, registry: Any) -> bool:
    """Whether the plugin is in REGISTRY. TensorRT logs an error where it is not, which explains nothing that follows."""
    found = flavour.attempt(registry.get_creator, *PLUGIN) is not None
    flavour.errors.clear()
    return found


def register_plugin(flavour: Flavour, registry: Any, library: Path) -> Any:
    """Register the plugin of LIBRARY; returns TensorRT's handle of it. Raises SpgvtonError when it cannot be."""
    if flavour.is_rtx:
        try:
            ctypes.CDLL(RTX_LIBRARY)  # its parser opens this name, and aborts the process when it is not there
        except OSError as e:
            raise SpgvtonError(
                f"TensorRT-RTX takes plugins only where {RTX_LIBRARY} can be loaded (pip installs {RTX_LIBRARY}.1 alone): "
                "install NVIDIA's SDK and set LD_LIBRARY_PATH, or do without the plugin (--warp function)"
            ) from e
    if _is_registered(flavour, registry):
        raise SpgvtonError(f"{PLUGIN[0]} is registered in this process already: build in a process of its own")
    try:
        ctypes.CDLL(str(library)).getCreators  # noqa: B018 - TensorRT's own message does not say what is wrong
        handle = registry.load_library(str(library))
    except (OSError, AttributeError) as e:
        raise SpgvtonError(f"{library} is not the plugin: {e}") from e
    if not _is_registered(flavour, registry):
        if handle is not None:
            registry.deregister_library(handle)
        raise SpgvtonError(f"{library} does not register {PLUGIN[0]} version {PLUGIN[1]}: build the plugin again")
    return handle


@contextmanager
def plugin_loaded(flavour: Flavour, registry: Any, library: Path) -> Iterator[None]:
    """The plugin of LIBRARY is registered inside the block. Raises SpgvtonError when it cannot be."""
    handle = register_plugin(flavour, registry, library)
    try:
        yield
    finally:
        if handle is not None:
            registry.deregister_library(handle)
