"""What the page shows while nobody is there, in headless Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from kiosk_browser import AUDIT, PORTRAIT, needs_chromium, open_page
from kiosk_shop import Served, serve, wait_for

from spgvton.kiosk.mirror.status import Seen
from spgvton.video import cv2


@needs_chromium
def test_garments_loop_until_somebody_comes(browser: Any, tmp_path: Path, tiny_bundle: Path) -> None:
    source = "synthetic://?fps=5&stay=1&away=999"
    with serve(tmp_path, tiny_bundle, source=source, attract="{after_s: 1}") as shop:
        page, faults = open_page(browser, shop, "", PORTRAIT)
        page.wait_for_selector("#attract", state="visible")
        page.get_by_text("Step in front of the mirror").first.wait_for()
        wait_for(lambda: page.evaluate("document.querySelector('#attract img.shown')?.naturalWidth ?? 0") > 200)
        assert page.get_attribute("#view", "src") is None  # no camera picture is even asked for
        wait_for(lambda: shop.running.viewers.sink.viewers == 0)
        assert page.evaluate(AUDIT) == []
        shop.running.kiosk._seen(Seen("approaching", "", None, (720, 540), 1e9))
        page.wait_for_selector("#attract", state="hidden")
        page.wait_for_selector("#view[src]")
        page.wait_for_selector("#attract", state="visible")  # the loop says that nobody is there
        assert not faults
        page.context.close()


def test_a_garments_picture_is_cut_out(kiosk: Served) -> None:
    answer = kiosk.client.get("/api/garments/nova/picture.jpg")
    picture = np.asarray(cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR))
    assert max(picture.shape) == 1024 and picture[:20, :20].min() > 245  # white outside
    assert picture[picture.shape[0] // 2, picture.shape[1] // 4 :].min() < 100
    assert "max-age" in answer.headers["cache-control"]
    assert kiosk.client.get("/api/garments/nothing/picture.jpg").status_code == 404
