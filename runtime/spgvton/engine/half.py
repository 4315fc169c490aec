"""The float16 form of a float32 bundle, made once by `spgvton export` and kept beside the bundle's engines."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from spgvton.bundle import MANIFEST, Bundle, sha256
from spgvton.engine import cache
from spgvton.errors import SpgvtonError

LONGEST_S: Final = 3600.0


def in_half(source: Bundle) -> Bundle:
    """SOURCE, a float32 bundle, in float16: found while it is SOURCE's, else made now. Raises SpgvtonError."""
    folder = cache.default_folder(source.folder) / "fp16"
    try:
        made = Bundle.open(folder)
        if made.manifest["converted_from"]["manifest_sha256"] == sha256(source.folder / MANIFEST):
            return made
    except (SpgvtonError, KeyError):
        pass  # not made yet, or broken: it is made anew
    command = [sys.executable, "-m", "spgvton", "export", "--bundle", str(source.folder), "--precision", "fp16"]
    try:  # a process of its own: export stands above the runtime
        done = subprocess.run(
            [*command, "--out", str(folder)], capture_output=True, text=True, check=False, timeout=LONGEST_S
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise SpgvtonError(f"no FP16 bundle, and spgvton export cannot run: {e}") from e
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SpgvtonError(f"no FP16 bundle ({last})")
    return Bundle.open(folder)
