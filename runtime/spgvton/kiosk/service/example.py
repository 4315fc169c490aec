"""A first kiosk: kiosk.yaml with every setting that people change, and the three shipped garments."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from spgvton.demo_assets import GARMENTS, DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.files import make_folder, write_bytes, write_text

NAMES: Final = ("striped-shirt", "nova-shirt", "flower-blouse")
TEXT: Final = """\
# One kiosk. Paths are relative to this file. What is not said here has the default that docs/kiosk.md lists.
source: synthetic://      # a moving rendered person. A camera: 0, /dev/video0, csi://0; a stream: rtsp://...
catalogue: garments       # watched: shirt.jpg, and where wanted shirt_mask.png and shirt.txt (its name)
state: state              # what survives a restart, and the token
screen: none              # window, window:fullscreen: shown by this process, without a browser

mirror:
  mode: live              # pose: the customer's picture is taken once, and posed
  rotate: 0               # 90, 180, 270 degrees clockwise: a camera that hangs on its side
  view: result            # side-by-side shows the camera too
  wipe_after_s: 10        # the customer is forgotten so long after she left

web:
  host: 127.0.0.1         # anything else makes a token necessary
  port: 8080

language:
  default: en             # of the page; its button offers en, de, fr, es, ja and zh-Hans

# recording:
#   folder: recordings    # without it recording cannot be switched on
"""


def make_example(folder: Path) -> Path:
    """Write kiosk.yaml and garments/ into FOLDER, which must not have a kiosk.yaml yet. Raises SpgvtonError."""
    config = folder / "kiosk.yaml"
    if config.exists():
        raise SpgvtonError(f"{config} is there already: choose another folder")
    garments = make_folder(folder / "garments")
    assets = DemoAssets.open().folder
    for number, name in zip(range(1, GARMENTS + 1), NAMES):
        for source, target in (
            (f"garment_{number}.jpg", f"{name}.jpg"),
            (f"garment_{number}_mask.png", f"{name}_mask.png"),
        ):
            if (garments / target).exists():
                raise SpgvtonError(f"{garments / target} is there already: choose another folder")
            write_bytes(garments / target, (assets / source).read_bytes())
    write_text(config, TEXT)
    return config
