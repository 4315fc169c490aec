"""The customer's page in several languages, and from right to left, in headless Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kiosk_browser import AUDIT, LANDSCAPE, PHONE, PORTRAIT, needs_chromium, open_page
from kiosk_shop import Served, serve, wait_for

from spgvton.kiosk.service.language import shipped

pytestmark = needs_chromium

MIRRORED = {key: f"⟦{text}⟧" for key, text in shipped()["en"].words.items()}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Served]:
    """One that adds a language that is written from right to left, each of whose texts shows where it comes from."""
    folder = tmp_path_factory.mktemp("languages")
    (folder / "words").mkdir()
    fake = {"name": "עברית", "direction": "rtl", "words": MIRRORED}
    (folder / "words/he.json").write_text(json.dumps(fake))
    language = "{default: en, offered: [en, ja, he], folder: words}"
    with serve(folder, tiny_bundle, language=language) as served:
        yield served


def choose(page: Any, name: str) -> None:
    page.locator("#language").click()
    page.get_by_role("button", name=name, exact=True).click()


def boxes(page: Any, *selectors: str) -> list[dict[str, float]]:
    return [page.locator(selector).first.bounding_box() for selector in selectors]


def test_a_customer_reads_japanese(browser: Any, shop: Served) -> None:
    page, faults = open_page(browser, shop, "", PORTRAIT)
    page.wait_for_selector("#curtain", state="hidden")
    assert page.locator(".tray legend").inner_text() == "Raise a hand, or touch a garment"
    choose(page, "日本語")
    page.get_by_text(shipped()["ja"].words["tray.touchless"]).wait_for()
    assert page.evaluate("[document.documentElement.lang, document.title]") == ["ja", "試着ミラー"]
    assert page.evaluate(AUDIT) == []
    wait_for(lambda: shop.status()["language"] == "ja")
    second, _ = open_page(browser, shop, "", PHONE)  # the kiosk speaks it, not the page
    second.get_by_text(shipped()["ja"].words["tray.touchless"]).wait_for()
    page.context.close()
    second.context.close()
    assert not faults


@pytest.mark.parametrize("size", [PORTRAIT, PHONE, LANDSCAPE], ids=["portrait", "phone", "landscape"])
def test_right_to_left_is_the_page_in_a_mirror(browser: Any, shop: Served, size: dict[str, int]) -> None:
    shop.running.kiosk.speak("en")
    page, faults = open_page(browser, shop, "", size)
    page.wait_for_selector("#curtain", state="hidden")
    places = ("#language", ".tray", ".choice")
    before = boxes(page, *places)
    choose(page, "עברית")
    page.get_by_text(MIRRORED["tray.touchless"]).wait_for()
    assert page.evaluate("document.documentElement.dir") == "rtl"
    after = boxes(page, *places)
    for name, left, right in zip(places, before, after):
        mirrored = size["width"] - left["x"] - left["width"]
        if name == "#language":  # its word is another one
            assert abs(left["x"] + left["width"] - (size["width"] - right["x"])) < 2
        elif name != ".choice" or size is not PHONE:  # a row that is wider than the phone shows what is worn
            assert abs(mirrored - right["x"]) < 2, (name, left, right)
    assert page.evaluate(AUDIT) == []
    texts = page.evaluate("[...document.querySelectorAll('[data-word]')].map((e) => e.textContent)")
    assert all(text.startswith("⟦") for text in texts), texts
    assert not faults
    page.context.close()


def test_a_hint_is_said_in_the_customers_language(browser: Any, shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = shop.running.kiosk.mirror
    shop.running.kiosk.speak("ja")
    page, _ = open_page(browser, shop, "", PORTRAIT)
    page.wait_for_selector("#curtain", state="hidden")
    monkeypatch.setattr(mirror, "_hint", lambda: "step back")
    hint = page.locator("#hint").get_by_text(shipped()["ja"].words["hint.step-back"])
    hint.wait_for()
    assert hint.is_visible()
    page.context.close()
