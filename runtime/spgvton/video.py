"""OpenCV, whichever flavour is installed; a plain word on what to install where there is none."""

from __future__ import annotations

import os
from typing import Final

MAX_PICTURE_PIXELS: Final = 65_000_000  # telephones make 48, 50 and 64.1 megapixels
# Read when OpenCV is loaded, and meant for formats whose header spgvton.image_header does not read.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PICTURE_PIXELS))

try:
    import cv2
except ImportError as e:
    if any(lib in str(e) for lib in ("libGL", "libxcb", "libgthread")):
        raise SystemExit(
            f"opencv-python cannot load ({e}): apt-get install libgl1 libglib2.0-0 libsm6, "
            "or pip uninstall -y opencv-python && pip install opencv-python-headless"
        ) from e
    raise SystemExit(
        "OpenCV is missing: pip install 'spgvton[headless]' or 'spgvton[window]', or apt-get install python3-opencv"
    ) from e


def can_show_window() -> bool:
    """True where imshow may be called; Qt aborts the whole process where there is no display."""
    gui = any(line.strip().startswith("GUI:") and "NONE" not in line for line in cv2.getBuildInformation().splitlines())
    return gui and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
