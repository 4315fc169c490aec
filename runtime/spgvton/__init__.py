"""spgvton: live virtual try-on at the edge. This package is the runtime and the contract; it never imports torch.

>>> from spgvton import TryOn, image
>>> tryon = TryOn()                                       # shipped weights, ONNX Runtime on the CPU
>>> tryon.set_garment(image.read("shirt.jpg"))            # RGB uint8 (h, w, 3)
>>> image.write("out.jpg", tryon.live(image.read("me.jpg")))

The names below are imported when they are first used: `import spgvton` loads nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from spgvton.version import __version__

if TYPE_CHECKING:
    from spgvton.backends import open_backend
    from spgvton.bundle import Bundle
    from spgvton.demo_assets import DemoAssets
    from spgvton.errors import SpgvtonError, UsageError
    from spgvton.kiosk.mirror.mirror import Mirror
    from spgvton.live.tryon import LiveTryOn
    from spgvton.session import TryOn
    from spgvton.stream.loop import run_loop
    from spgvton.stream.sources import open_source

__all__ = [
    "Bundle", "DemoAssets", "LiveTryOn", "Mirror", "SpgvtonError", "TryOn", "UsageError", "__version__", "open_backend",
    "open_source", "run_loop",
]  # fmt: skip
_HOME: Final = {
    "Bundle": "spgvton.bundle", "DemoAssets": "spgvton.demo_assets", "LiveTryOn": "spgvton.live.tryon",
    "Mirror": "spgvton.kiosk.mirror.mirror", "SpgvtonError": "spgvton.errors", "TryOn": "spgvton.session",
    "UsageError": "spgvton.errors", "open_backend": "spgvton.backends", "open_source": "spgvton.stream.sources",
    "run_loop": "spgvton.stream.loop",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'spgvton' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
