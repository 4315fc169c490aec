"""A customer compares her last looks, and takes one home, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kiosk_browser import AUDIT, PHONE, PORTRAIT, needs_chromium, open_page
from kiosk_shop import SLOW, Served, serve, wait_for

from spgvton import image
from spgvton.video import cv2

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Served]:
    """A kiosk that gives stills away; its own proxy's address stands for the shop's network."""
    web = "{port: 0, viewers: 60, viewers_per_address: 60, trusted_proxies: [192.0.2.1], token: auto}"
    folder = tmp_path_factory.mktemp("looks")
    (folder / "state").mkdir()
    (folder / "state/token").write_text("correct-horse-battery")
    (folder / "state/token").chmod(0o600)
    with serve(folder, tiny_bundle, source=SLOW, web=web, take_home="{address: 'http://192.0.2.7'}") as served:
        served.client.headers["authorization"] = "Bearer correct-horse-battery"
        yield served


def logged_in(browser: Any, served: Served, size: dict[str, int]) -> tuple[Any, list[str]]:
    page, faults = open_page(browser, served, "login", size)
    page.get_by_label("Token").fill("correct-horse-battery")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("#curtain", state="hidden")
    return page, faults


def dress(page: Any, served: Served, name: str) -> None:
    page.get_by_role("radio", name=name).check(force=True)

    def there() -> bool:
        still = served.running.kiosk.mirror.still()
        return still is not None and still.garment == name.lower()

    wait_for(there)


@pytest.mark.parametrize("size", [PORTRAIT, PHONE], ids=["portrait", "phone"])
def test_looks_are_compared_worn_again_and_deleted(browser: Any, shop: Served, size: dict[str, int]) -> None:
    page, faults = logged_in(browser, shop, size)
    page.wait_for_selector("#compare", state="visible")
    for name in ("Nova", "Flower"):
        dress(page, shop, name)
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector("#looks[open]")
    assert page.locator("#look-list strong").all_inner_texts()[-2:] == ["Nova", "Flower"]
    wait_for(lambda: page.evaluate("[...document.querySelectorAll('#look-list img')].every((i) => i.naturalWidth > 0)"))
    assert "flipped" in page.locator("#look-list img").first.get_attribute("class")  # as she saw herself
    assert page.evaluate(AUDIT) == []
    page.get_by_role("button", name="Wear this: Nova").click()
    wait_for(lambda: shop.status()["garment"] == "nova")
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Delete these pictures").click()
    wait_for(lambda: shop.client.get("/api/looks").json()["looks"] == [])
    wait_for(lambda: page.locator("#look-list li").count() == 0)  # the page hears of it after the server did
    assert not faults
    page.context.close()


def seen_code(page: Any) -> str:
    """What a phone reads on the screen."""
    picture = cv2.imdecode(np.frombuffer(page.locator("#take-qr").screenshot(), np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.QRCodeDetector().detectAndDecode(picture)[0]


@pytest.mark.parametrize("size", [PORTRAIT, PHONE], ids=["portrait", "phone"])
def test_a_look_is_taken_home_by_a_code_on_the_screen(
    browser: Any, shop: Served, size: dict[str, int], tmp_path: Path
) -> None:
    held = shop.running.kiosk.take_home
    assert held
    held._offers.burst = held._offers.rate = 1e6
    page, faults = logged_in(browser, shop, size)
    dress(page, shop, "Nova")
    page.get_by_role("button", name="Take it home").click()
    assert page.get_by_text("written to no disk").is_visible() and page.evaluate(AUDIT) == []
    page.get_by_role("button", name="No, thank you").click()
    assert not held._waiting  # asked, and nothing was made
    page.get_by_role("button", name="Take it home").click()
    page.get_by_role("button", name="Yes, make the picture").click()
    page.get_by_text("Deleted in").wait_for()
    assert page.evaluate(AUDIT) == []
    url = seen_code(page)
    assert url.startswith("http://192.0.2.7/take/")
    phone = browser.new_context(viewport=PHONE, accept_downloads=True).new_page()
    phone.goto(shop.running.url.rstrip("/") + url.removeprefix("http://192.0.2.7"))
    assert phone.evaluate(AUDIT) == []
    with phone.expect_download() as download:
        phone.get_by_role("link", name="Save the picture").click()
    download.value.save_as(tmp_path / "look.jpg")
    picture = image.read(tmp_path / "look.jpg")
    h, w = picture.shape[:2]
    assert picture[h // 3 : h // 2, 2 * w // 5 : 3 * w // 5, 1].mean() > 110  # the yellow shirt
    page.get_by_text("The picture is gone from this mirror").wait_for()
    page.get_by_role("button", name="Done").click()
    assert not held._waiting and not faults
    phone.context.close()
    page.context.close()
