"""An engine in memory, with the plugin that it needs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from spgvton.engine import flavour
from spgvton.engine.flavour import Flavour
from spgvton.errors import SpgvtonError


class LoadedEngine:
    """ICudaEngine of an engine file, on the device whose CUDA context is current, or else device 0.

    Raises SpgvtonError when the file cannot be read, or is none that this TensorRT and this GPU can run.
    """

    def __init__(self, trt: Flavour, path: Path, plugin: Path | None) -> None:
        self.trt, self.path = trt, path
        self._plugin = ExitStack()
        self._runtime: Any = trt.trt.Runtime(trt.logger)
        try:
            if plugin is not None:
                self._plugin.enter_context(flavour.plugin_loaded(trt, self._runtime.get_plugin_registry(), plugin))
            self.engine: Any = trt.attempt(self._runtime.deserialize_cuda_engine, path.read_bytes())
            if self.engine is None:
                raise SpgvtonError(
                    f"{trt.name} cannot load {path} ({trt.first_error('no reason given')}): delete it, it is built again"
                )
        except OSError as e:
            self.close()
            raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Engine, runtime, plugin, in this order: each needs the next. Calling it again does nothing."""
        self.engine = None
        self._runtime = None
        self._plugin.close()
