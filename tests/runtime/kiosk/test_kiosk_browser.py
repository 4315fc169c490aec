"""The pages in a real browser: headless Chromium, driven by Playwright. Skipped where there is no Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kiosk_shop import Served, encode, serve, wait_for

from spgvton.video import cv2

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium")

PORTRAIT, PHONE = {"width": 1080, "height": 1920}, {"width": 390, "height": 844}
TIMEOUT_MS = 60_000

# What axe-core calls label, image-alt, button-name, aria-roles, duplicate-id and color-contrast, without its 500 kB.
AUDIT = """() => {
  const faults = [];
  const shown = (e) => e.getClientRects().length && getComputedStyle(e).visibility !== "hidden";
  const light = (c) => c.map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const rgb = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return { c: n.slice(0, 3), a: n[3] ?? 1 }; };
  const behind = (e) => { for (; e; e = e.parentElement) { const b = rgb(getComputedStyle(e).backgroundColor); if (b.a > .8) return b.c; } return [255, 255, 255]; };
  const name = (e) => e.getAttribute("aria-label") || e.labels?.[0]?.textContent.trim() || e.textContent.trim();
  for (const e of document.querySelectorAll("button, a, input")) {
    if (!shown(e)) continue;
    if (!name(e)) faults.push(`no name: ${e.outerHTML}`);
    const box = (e.closest("label.choice") ?? e).getBoundingClientRect();
    if (box.width < 48 || box.height < 48) faults.push(`${box.width}x${box.height}: ${e.outerHTML}`);
  }
  for (const e of document.querySelectorAll("img")) if (!e.hasAttribute("alt")) faults.push(`no alt: ${e.outerHTML}`);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) faults.push("an id is given twice");
  for (const e of document.querySelectorAll("[aria-labelledby]")) {
    if (!document.getElementById(e.getAttribute("aria-labelledby"))) faults.push(`labelled by nothing: ${e.outerHTML}`);
  }
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || !shown(e) || e.matches(":disabled, script")) continue;
    const front = light(rgb(getComputedStyle(e).color).c), back = light(behind(e));
    const ratio = (Math.max(front, back) + .05) / (Math.min(front, back) + .05);
    if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(1)}: ${e.textContent.trim()}`);
  }
  if (!document.querySelector("main") || document.querySelectorAll("h1").length !== 1 || !document.documentElement.lang) faults.push("landmarks");
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`${document.documentElement.scrollWidth} px wide`);
  return faults;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def open_page(browser: Any, served: Served, path: str, size: dict[str, int]) -> tuple[Any, list[str]]:
    """A page of its own, and the errors that it met, as they come."""
    page = browser.new_context(viewport=size).new_page()
    page.set_default_timeout(TIMEOUT_MS)
    faults: list[str] = []
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    page.goto(served.running.url + path, wait_until="domcontentloaded")  # the live view loads for ever
    return page, faults


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

    def undone() -> bool:
        page.evaluate(
            "document.getElementById('undo').click()"
        )  # page.click() would wait for a button that is off for good
        return page.is_disabled("#undo")

    wait_for(undone)  # a click while the last one is being answered does nothing
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
