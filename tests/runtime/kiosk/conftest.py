"""What several files of the kiosk's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from kiosk_browser import CHROMIUM
from kiosk_shop import Served, encode, serve


@pytest.fixture(scope="module")
def kiosk(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Served]:
    """A kiosk on a loopback address, which needs no token."""
    with serve(tmp_path_factory.mktemp("kiosk"), tiny_bundle, recording="{folder: recordings, minutes: 1}") as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def shirt() -> bytes:
    """A small red garment on white, as PNG."""
    picture = np.full((240, 200, 3), 255, np.uint8)
    cv2.rectangle(picture, (50, 60), (150, 200), (40, 30, 200), -1)
    cv2.rectangle(picture, (20, 60), (180, 100), (40, 30, 200), -1)
    return encode(picture)
