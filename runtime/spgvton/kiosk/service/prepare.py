"""What a first start does for minutes, done before it: the engine built, its kernels compiled, `auto`'s choice made.

The service runs this before the kiosk, so that no start limit falls into it.
"""

from __future__ import annotations

from contextlib import closing
from typing import Final

from spgvton.backends import open_backend
from spgvton.backends.contract import LIVE, POSE
from spgvton.backends.samples import demo_samples, dress, live_samples
from spgvton.bundle import Bundle
from spgvton.engine.flavour import MODULES
from spgvton.kiosk.service.config import KioskConfig
from spgvton.live.compositors import open_compositor

SLOW_TO_START: Final = (*MODULES, "auto")  # back ends that build or measure at their first start


def prepare(config: KioskConfig) -> dict[str, str]:
    """Open CONFIG's back end, dress the shipped person once, close it. Returns what the back end says of itself.

    Raises UsageError and SpgvtonError, as the kiosk's start would.
    """
    options, bundle = config.mirror, Bundle.open(config.bundle, mode=config.mirror.mode)
    mode = LIVE if options.mode == "live" else POSE
    if mode is LIVE:
        open_compositor(
            options.compositor, options.compositor_library
        ).close()  # what it lacks is told before minutes of building
    backend = open_backend(
        options.backend, bundle, mode=mode, threads=options.threads, warp=options.warp, plugin=options.plugin
    )
    with closing(backend):
        sample = (
            live_samples(bundle.size, bundle.label_set)[0]
            if mode is LIVE
            else demo_samples(bundle.size, bundle.label_set)[0]
        )
        dress(backend, sample, mode)
        backend.infer({name: sample[name] for name in mode.frame})
        return backend.describe()
