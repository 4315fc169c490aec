"""Coverage-guided fuzzing (atheris) of what reads foreign bytes. Only SpgvtonError (and so UsageError) may come out.

python tests/fuzz/parsers.py TARGET CORPUS [libFuzzer options, such as -max_total_time=60 -seed=1]
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import cv2
import numpy as np

with atheris.instrument_imports(include=["spgvton"]):
    from spgvton import image, image_header
    from spgvton.bundle import FORMAT, MANIFEST, Bundle
    from spgvton.demo_assets import DemoAssets
    from spgvton.errors import SpgvtonError
    from spgvton.kiosk.garments.uploads import decode_upload
    from spgvton.kiosk.service import config
    from spgvton.stream.sources import connector

FOLDER = Path(tempfile.mkdtemp())


def fuzz_image(data: bytes) -> None:
    """Every way in which a picture is decoded; what the header says must be what is decoded."""
    image_header.read_header(data)
    for decode in (
        lambda: image.decode(data, "x"),
        lambda: image.decode_colour(data, "x", keep_alpha=True),
        lambda: image.decode(data, "x", flags=cv2.IMREAD_GRAYSCALE),
        lambda: decode_upload(data, "x", keep_alpha=True),
    ):
        with contextlib.suppress(SpgvtonError):
            picture = decode()
            assert picture.dtype == np.uint8, picture.dtype
            assert picture.ndim == 2 or picture.shape[2] in (3, 4), picture.shape


def fuzz_uri(data: bytes) -> None:
    """What no network or device is needed for is opened too."""
    uri = data.decode("utf-8", "surrogateescape")  # as the command line gives it
    with contextlib.suppress(SpgvtonError):
        how = connector(uri)
        if not how.may_be_lost and not uri.startswith(("/", "file:///", ".")):
            how.open().close()


def fuzz_config(data: bytes) -> None:
    with contextlib.suppress(SpgvtonError):
        found = config.parse(data.decode("utf-8", "replace"), "kiosk.yaml", FOLDER)
        assert found.catalogue.is_absolute() and 0 <= found.web.port <= 65535


def fuzz_bundle(data: bytes) -> None:
    (FOLDER / MANIFEST).write_bytes(data)
    with contextlib.suppress(SpgvtonError):
        bundle = Bundle.open(FOLDER)
        assert min(bundle.size) > 0, bundle.size
        assert bundle.precision and bundle.label_set


def _pictures() -> list[bytes]:
    small = cv2.resize(cv2.imread(str(DemoAssets.open().folder / "person.jpg")), (24, 32))
    alpha = np.dstack([small, small[..., 0]])
    made = [cv2.imencode(suffix, small)[1] for suffix in (".png", ".jpg", ".webp", ".bmp", ".tiff")]
    made += [cv2.imencode(".png", alpha)[1], cv2.imencode(".webp", alpha)[1], cv2.imencode(".png", small[..., 0])[1]]
    made += [cv2.imencode(".png", small.astype(np.uint16) * 257)[1], cv2.imencode(".tiff", small.astype(np.float64))[1]]
    return [bytes(data) for data in made]


_URIS = (
    "0", "/dev/video0?size=1280x720&fps=30", "csi://0?size=640x480", "rtsp://user:pass%20word@host:554/a?b=c", "x" * 300,
    "http://[::1]:80/x", "https://host", "synthetic://?fps=30&stay=20&away=5", "walk.mp4", "file://walk.mp4", "a/b.png",
)  # fmt: skip
_YAML = (
    ("source: 0\ncatalogue: garments\nstate: state\nmirror:\n  threads: 2\n  label_set: lip\nweb:\n  port: 8080\n"
    "  allowed_hosts: [a.example]\nrecording: {folder: r, minutes: 1.5}\nwatchdog: {source_s: 0}\n"),
    "source: !!int ''\ncatalogue: ~root/x\nstate: !!bool x\n", "? [a]\n: !!timestamp x\n", "source: &a x\nstate: *a\n",
)  # fmt: skip
_JSON = (
    (
        f'{{"format": "{FORMAT}", "network": {{"label_set": "cihp", "height": 256, "width": 192}}, "precision": "fp32", '
        '"files": {}}'
    ),
    (
        f'{{"format": "{FORMAT}", "network": {{"label_set": "lip", "height": 1e999, "width": -1}}, '
        '"files": {"\\u0000": {"sha256": "0"}}}'
    ),
    "[" * 3000,
)
TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "image": (fuzz_image, _pictures),
    "uri": (fuzz_uri, lambda: [uri.encode() for uri in _URIS]),
    "config": (fuzz_config, lambda: [text.encode() for text in _YAML]),
    "bundle": (fuzz_bundle, lambda: [text.encode() for text in _JSON]),
}

if __name__ == "__main__":
    target, seeds = TARGETS[sys.argv.pop(1)]
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        (corpus / f"seed{number}").write_bytes(seed)
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()
