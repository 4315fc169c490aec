"""A customer is asked first, in a real browser, and reads what happens to her picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kiosk_browser import AUDIT, LANDSCAPE, PHONE, PORTRAIT, needs_chromium, open_page
from kiosk_hands import film
from kiosk_shop import SLOW, serve, wait_for

pytestmark = needs_chromium


def test_nothing_is_seen_before_she_agrees(browser: Any, tmp_path: Path, tiny_bundle: Path) -> None:
    settings = {"privacy": "{consent: true, contact: shop@example.org}", "attract": "{after_s: 0}"}
    with serve(tmp_path, tiny_bundle, source=SLOW, **settings) as kiosk:
        for size in (PORTRAIT, PHONE):
            page, faults = open_page(browser, kiosk, "", size)
            page.get_by_text("May the mirror look at you?").wait_for()
            page.get_by_text("Questions: shop@example.org").first.wait_for()
            assert page.evaluate(AUDIT) == [] and kiosk.status()["state"] == "nobody"
            page.get_by_role("button", name="Language").click()
            page.get_by_role("button", name="Deutsch").click()
            page.get_by_text("Niemand wird erkannt").first.wait_for()
            assert page.evaluate(AUDIT) == []
            page.get_by_role("button", name="Einverstanden, los").click()
            page.wait_for_selector("#ask", state="hidden")
            wait_for(lambda: kiosk.status()["state"] == "live", 120)
            page.get_by_role("button", name="Datenschutz").click()
            page.get_by_role("heading", name="Was dieser Spiegel").wait_for()
            assert page.evaluate("document.querySelector('#notice').scrollTop") == 0  # read from its beginning
            page.get_by_role("button", name="Beenden und mich jetzt vergessen").click()
            page.wait_for_selector("#ask", state="visible")
            assert kiosk.status()["asking"] and kiosk.status()["state"] == "nobody"
            assert not faults
            page.context.close()
            kiosk.client.put("/api/language", json={"code": "en"})
        notice, faults = open_page(browser, kiosk, "privacy", PHONE)
        assert notice.evaluate(AUDIT) == [] and not faults
        notice.context.close()


def test_garments_are_shown_until_somebody_comes_to_be_asked(browser: Any, tmp_path: Path, tiny_bundle: Path) -> None:
    settings = {"privacy": "{consent: true}", "attract": "{after_s: 0.5, camera: true}"}
    with serve(tmp_path, tiny_bundle, source=SLOW, **settings) as kiosk:
        page, faults = open_page(browser, kiosk, "", PORTRAIT)
        page.wait_for_selector("#attract img.shown")  # a blind camera's picture is none
        page.get_by_text("raise a hand, or touch the screen").wait_for()
        page.get_by_text("Choose a garment").wait_for()  # no hand is seen: none is asked for
        assert page.is_hidden("#ask") and page.evaluate(AUDIT) == []
        page.locator("#attract").click()
        page.wait_for_selector("#ask", state="visible")
        assert page.is_hidden("#attract") and page.is_hidden(".tray")
        page.reload(wait_until="domcontentloaded")
        page.wait_for_selector("#attract", state="visible")
        page.keyboard.down("Enter")  # a foot switch, stepped on for long
        page.wait_for_selector("#ask", state="visible")
        page.keyboard.down("Enter")
        page.keyboard.up("Enter")
        page.wait_for_timeout(500)
        assert kiosk.status()["asking"] and page.is_visible("#ask")
        page.keyboard.press("Enter")
        page.wait_for_selector("#ask", state="hidden")
        assert not kiosk.status()["asking"] and not faults
        page.context.close()


def test_a_raised_hand_asks_and_another_one_agrees(browser: Any, tmp_path: Path, tiny_bundle: Path) -> None:
    """Somebody before the camera, and nobody touches the glass."""
    source = film(tmp_path / "hand.avi", (False, 10), (True, 4))
    settings = {"privacy": "{consent: true}", "attract": "{after_s: 0.5}", "touchless": "{dwell_s: 2}"}
    with serve(tmp_path / "shop", tiny_bundle, source=source, **settings) as kiosk:
        page, faults = open_page(browser, kiosk, "", LANDSCAPE)
        page.get_by_text("raise a hand").first.wait_for()
        page.wait_for_selector("#ask", state="visible")
        with page.expect_event("console", lambda message: message.text == "moment 1", timeout=30_000):
            page.evaluate(
                """() => document.addEventListener("moment", (e) => console.log(`moment ${e.detail.agreeing}`))"""
            )
        page.wait_for_timeout(300)
        asked = kiosk.status()["asking"]  # the hand that has uncovered the question does not answer it
        page.wait_for_selector("#ask", state="hidden")
        assert asked and not kiosk.status()["asking"] and not faults
        wait_for(lambda: kiosk.status()["state"] == "live", 120)
        page.context.close()


def test_where_hands_do_not_agree_none_is_asked_for(browser: Any, tmp_path: Path, tiny_bundle: Path) -> None:
    settings = {"privacy": "{consent: true, hand: false}", "attract": "{after_s: 0.5}"}
    with serve(tmp_path, tiny_bundle, source=SLOW, **settings) as kiosk:
        page, faults = open_page(browser, kiosk, "", PHONE)
        page.get_by_text("touch the screen to begin").wait_for()
        page.locator("#attract").click()
        page.wait_for_selector("#ask", state="visible")
        assert page.is_hidden("#hold") and not faults
        page.context.close()
