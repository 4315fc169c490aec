"""The pages in a real browser: headless Chromium, driven by Playwright. Skipped where there is no Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from kiosk_browser import AUDIT, PHONE, PORTRAIT, needs_chromium, open_page
from kiosk_shop import Served, encode, serve, wait_for

from spgvton.video import cv2

pytestmark = needs_chromium


def colour(page: Any) -> list[float]:
    """Mean RGB of the middle of the live view, as the browser shows it."""
    found: list[float] = page.evaluate("""() => {
      const image = document.getElementById("view"), canvas = document.createElement("canvas");
      canvas.width = canvas.height = 16;
      const c = canvas.getContext("2d"), w = image.naturalWidth, h = image.naturalHeight;
      if (!w) return [0, 0, 0];
      c.drawImage(image, .42 * w, .35 * h, .16 * w, .12 * h, 0, 0, 16, 16);
      const data = c.getImageData(0, 0, 16, 16).data, sum = [0, 0, 0];
      data.forEach((v, i) => { if (i % 4 < 3) sum[i % 4] += v / 256; });
      return sum;
    }""")
    return found


def wait_for_colour(page: Any, *ranges: tuple[int, int]) -> None:
    """Until red, green and blue of the middle of the live view lie in these ranges."""
    wait_for(lambda: all(low <= value <= high for value, (low, high) in zip(colour(page), ranges)))


def test_a_customer_chooses_and_sees_it(browser: Any, kiosk: Served) -> None:
    for size in (PORTRAIT, PHONE):
        page, faults = open_page(browser, kiosk, "", size)
        page.wait_for_selector("#curtain", state="hidden")
        assert page.evaluate(AUDIT) == []
        page.get_by_role("radio", name="Nova").check(force=True)
        wait_for_colour(page, (120, 255), (90, 255), (0, 110))  # yellow
        page.keyboard.press("ArrowLeft")  # the radio group is one stop; arrows choose
        assert page.get_by_role("radio", name="Flower").is_checked()
        wait_for_colour(page, (90, 255), (0, 90), (0, 255))  # red
        page.locator("#said").get_by_text("Flower").wait_for(state="attached")
        assert kiosk.status()["garment"] == "flower"
        assert not faults
        page.context.close()


def test_staff_adds_a_garment_and_switches_privacy(browser: Any, kiosk: Served, shirt: bytes, tmp_path: Path) -> None:
    page, faults = open_page(browser, kiosk, "operator", PHONE)
    page.wait_for_selector("#privacy:enabled")
    wait_for(lambda: page.locator("#stages tr").count() > 3)
    assert page.evaluate(AUDIT) == []
    file = tmp_path / "my_red-shirt.png"
    file.write_bytes(shirt)
    page.set_input_files("#file", str(file))
    page.wait_for_selector("#pending", state="visible")
    wait_for(lambda: page.evaluate("document.getElementById('mask').naturalWidth") == 200)
    assert page.input_value("#name") == "my red shirt" and page.evaluate(AUDIT) == []
    page.get_by_role("button", name="Accept").click()
    page.get_by_role("button", name="Remove my red shirt").wait_for()
    assert (kiosk.garments / "my-red-shirt.png").exists()
    page.get_by_role("button", name="Remove my red shirt").click()
    page.locator("#dialog-yes").click()
    wait_for(lambda: not (kiosk.garments / "my-red-shirt.png").exists())
    page.get_by_role("switch", name="Recording").click()
    page.wait_for_selector("#recording-badge", state="visible")
    page.get_by_role("switch", name="Privacy").click()
    page.wait_for_selector("#recording-badge", state="hidden")
    customer, more = open_page(browser, kiosk, "", PORTRAIT)
    customer.get_by_text("The camera is paused").wait_for()
    page.get_by_role("switch", name="Privacy").click()
    customer.wait_for_selector("#curtain", state="hidden")
    assert not faults and not more
    page.context.close()
    customer.context.close()


def shown(page: Any, x: float, y: float) -> str:
    """What the preview shows at the shares X, Y of its width and height: "garment", as photographed, or "background", dark."""
    found: float = page.evaluate(
        """([x, y]) => {
          const image = document.getElementById("mask"), canvas = document.createElement("canvas");
          if (!image.complete || !image.naturalWidth) return -1;
          canvas.width = image.naturalWidth, canvas.height = image.naturalHeight;
          const c = canvas.getContext("2d");
          c.drawImage(image, 0, 0);
          return Math.max(...c.getImageData(x * canvas.width, y * canvas.height, 1, 1).data.slice(0, 3));
        }""",
        [x, y],
    )
    return "loading" if found < 0 else "garment" if found > 120 else "background"


def test_staff_corrects_a_mask_by_taps(browser: Any, kiosk: Served, shirt: bytes, tmp_path: Path) -> None:
    picture = np.asarray(cv2.imdecode(np.frombuffer(shirt, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    picture[120:190, 160:190] = (60, 150, 60)  # a green box beside the garment
    file = tmp_path / "box.png"
    file.write_bytes(encode(picture))
    page, faults = open_page(browser, kiosk, "operator", PHONE)
    page.set_input_files("#file", str(file))
    page.wait_for_selector("#pending", state="visible")
    wait_for(lambda: page.evaluate("document.getElementById('mask').naturalWidth") == 200)
    size = page.locator("#mask").bounding_box()
    box, garment = (175 / 200, 155 / 240), (100 / 200, 150 / 240)

    def tap(name: str, at: tuple[float, float]) -> None:
        page.get_by_role("button", name=name, exact=True).click()
        page.locator("#mask").click(position={"x": at[0] * size["width"], "y": at[1] * size["height"]})

    tap("Tap: garment", garment)
    wait_for(lambda: shown(page, *garment) == "garment")
    tap("Tap: garment", box)
    wait_for(lambda: shown(page, *box) == "garment")
    tap("Tap: not garment", box)
    wait_for(lambda: shown(page, *box) == "background")
    wait_for(lambda: shown(page, *garment) == "garment")
    assert page.evaluate(AUDIT) == []
    page.get_by_role("button", name="Undo").click()
    wait_for(lambda: shown(page, *box) == "garment")
    page.evaluate("for (let i = 0; i < 9; i++) document.getElementById('undo').click()")  # faster than answers come
    wait_for(lambda: page.is_disabled("#undo"))
    page.get_by_role("button", name="Discard").click()
    page.wait_for_selector("#pending", state="hidden")
    assert not faults
    page.context.close()


def test_without_the_token_there_is_a_door(browser: Any, tmp_path: Path, tiny_bundle: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/token").write_text("correct-horse-battery")
    (tmp_path / "state/token").chmod(0o600)
    with serve(tmp_path, tiny_bundle, web="{port: 0, token: always}") as locked:
        page, _ = open_page(browser, locked, "operator", PHONE)
        page.wait_for_url("**/login")
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("wrong token").wait_for()
        assert page.evaluate(AUDIT) == []
        page.get_by_label("Token").fill("correct-horse-battery")
        page.get_by_role("button", name="Log in").click()
        page.wait_for_selector("#curtain", state="hidden")
        page.context.close()
