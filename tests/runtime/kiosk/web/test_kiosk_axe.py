"""axe-core on the customer's page and staff's: no serious violation in any size, in English and Japanese.

axe-core is MPL-licensed and no part of this repository: `npm install --no-save axe-core@4.10.3` in its root, as .ci/run does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kiosk_browser import LANDSCAPE, PHONE, PORTRAIT, needs_chromium, open_page
from kiosk_shop import Served, serve

AXE = Path(os.environ.get("AXE_CORE") or Path(__file__).parents[4] / "node_modules/axe-core/axe.min.js")
pytestmark = [
    needs_chromium,
    pytest.mark.skipif(not AXE.exists(), reason="no axe-core here: npm install --no-save axe-core@4.10.3"),
]
SIZES = {"1080x1920": PORTRAIT, "390x844": PHONE, "1280x800": LANDSCAPE}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("axe"), tiny_bundle, source="synthetic://?fps=3") as served:
        yield served


def violations(page: Any) -> list[str]:
    """What axe calls serious or critical: the rule, and where."""
    page.evaluate(AXE.read_text())  # by the debugger: the page's own content security policy allows no foreign script
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")["violations"]
    return [
        f"{each['id']}: {', '.join(str(node['target']) for node in each['nodes'])}: {each['nodes'][0]['failureSummary']}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_customers_page(browser: Any, shop: Served, language: str, size: str) -> None:
    shop.running.kiosk.speak(language)
    page, faults = open_page(browser, shop, "", SIZES[size])
    page.wait_for_selector("#curtain", state="hidden")
    assert violations(page) == []
    page.locator("#language").click()
    page.wait_for_selector("#languages[open]")
    assert violations(page) == []
    assert not faults
    page.context.close()


@pytest.mark.parametrize("size", SIZES)
def test_attract_screen_and_the_question(browser: Any, tmp_path: Path, tiny_bundle: Path, size: str) -> None:
    settings = {"privacy": "{consent: true, contact: shop@example.org}", "attract": "{after_s: 0.5}"}
    with serve(tmp_path, tiny_bundle, source="synthetic://?fps=3", **settings) as shop:
        page, faults = open_page(browser, shop, "", SIZES[size])
        page.wait_for_selector("#attract img.shown")
        assert violations(page) == []
        page.locator("#attract").click()
        page.wait_for_selector("#ask", state="visible")
        assert violations(page) == []
        assert not faults
        page.context.close()


@pytest.mark.parametrize("path", ["operator", "review", "login"])
def test_staffs_pages(browser: Any, shop: Served, path: str) -> None:
    page, _ = open_page(browser, shop, path, PHONE)
    page.wait_for_selector("main")
    assert violations(page) == []
    page.context.close()
