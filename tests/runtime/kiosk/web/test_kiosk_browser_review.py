"""Staff in a real browser: photographs are imported in bulk, corrected, accepted and rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from kiosk_browser import AUDIT, PHONE, needs_chromium, open_page
from kiosk_shop import Served, encode, wait_for

from spgvton import image
from spgvton.video import cv2

pytestmark = needs_chromium


def test_staff_reviews_an_import(browser: Any, kiosk: Served, shirt: bytes, tmp_path: Path) -> None:
    (kiosk.garments / "catalogue.csv").write_text("picture,name,category,price\nS-7.png,Red shirt,Shirts,29.90\nS-8\n")
    box = np.asarray(cv2.imdecode(np.frombuffer(shirt, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    box[120:190, 160:190] = (60, 150, 60)  # a green box beside the garment
    files = {"S-7.png": shirt, "with_box.png": encode(box), "table.png": encode(np.full((300, 300, 3), 140, np.uint8)),
             "broken.png": b"no picture"}  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    page, faults = open_page(browser, kiosk, "review", PHONE)
    try:
        page.get_by_text("Nothing waits").wait_for()
        page.set_input_files("#files", [str(tmp_path / name) for name in files])
        page.get_by_text("3 of 4 photographs were taken").wait_for()
        assert "broken.png: the picture is not a PNG" in page.inner_text("#refused")
        page.get_by_text("3 waiting").wait_for()
        wait_for(
            lambda: page.evaluate(
                "[...document.querySelectorAll('.look img')].every((i) => i.naturalWidth || !i.complete)"
            )
        )
        assert page.evaluate(AUDIT) == []
        listed = page.get_by_label("Name").first
        assert listed.input_value() == "Red shirt" and listed.is_disabled()  # the shop's list says so
        assert page.get_by_role("button", name="Accept Table", exact=True).is_disabled()
        page.get_by_role("button", name="Reject Table", exact=True).click()
        page.get_by_text("2 waiting").wait_for()

        page.get_by_role("button", name="Correct the mask of With box").click()
        wait_for(lambda: page.evaluate("document.getElementById('mask').naturalWidth") == 200)
        assert page.evaluate(AUDIT) == []
        size = page.locator("#mask").bounding_box()
        at = {"x": 175 / 200 * size["width"], "y": 155 / 240 * size["height"]}
        page.get_by_role("button", name="Tap: garment", exact=True).click()
        page.locator("#mask").click(position=at)
        page.wait_for_selector("#undo:enabled")
        page.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Accept With box", exact=True).click()
        page.get_by_text("1 waiting").wait_for()
        mask = image.read(kiosk.garments / "with_box_mask.png", flags=cv2.IMREAD_GRAYSCALE)
        assert mask[155, 175] == 255 and mask[155, 100] == 255 and mask[20, 175] == 0  # the tap counted

        page.get_by_role("button", name="Accept Red shirt", exact=True).click()
        page.get_by_text("Nothing waits").wait_for()
        operator, more = open_page(browser, kiosk, "operator", PHONE)
        operator.get_by_text("Shirts · 29.90").wait_for()
        operator.get_by_text("catalogue.csv:3: has 1 values for 4 columns").wait_for()
        assert operator.evaluate(AUDIT) == [] and not more
        assert [line for line in faults if "422" not in line] == []
        operator.context.close()
    finally:
        page.context.close()
        for path in kiosk.garments.iterdir():
            if path.stem.startswith(("S-7", "with_box", "catalogue")):
                path.unlink()
