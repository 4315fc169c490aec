"""The kiosk's pages in headless Chromium, driven by Playwright: what several files of tests share."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from kiosk_shop import Served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium")

PORTRAIT, PHONE = {"width": 1080, "height": 1920}, {"width": 390, "height": 844}
LANDSCAPE = {"width": 1280, "height": 800}
TIMEOUT_MS = 60_000

# What axe-core calls label, image-alt, button-name, aria-roles, duplicate-id and color-contrast, without its 500 kB.
AUDIT = """() => {
  const faults = [];
  const shown = (e) => e.getClientRects().length && getComputedStyle(e).visibility !== "hidden";
  const light = (c) => c.map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const rgb = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return { c: n.slice(0, 3), a: n[3] ?? 1 }; };
  const behind = (e) => {
    for (; e; e = e.parentElement) { const b = rgb(getComputedStyle(e).backgroundColor); if (b.a > .8) return b.c; }
    return [255, 255, 255];
  };
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
  if (!document.querySelector("main") || document.querySelectorAll("h1").length !== 1 || !document.documentElement.lang)
    faults.push("landmarks");
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`${document.documentElement.scrollWidth} px wide`);
  return faults;
}"""


def open_page(browser: Any, served: Served, path: str, size: dict[str, int]) -> tuple[Any, list[str]]:
    """A page of its own, and the errors that it met, as they come."""
    page = browser.new_context(viewport=size).new_page()
    page.set_default_timeout(TIMEOUT_MS)
    faults: list[str] = []
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    page.goto(served.running.url + path, wait_until="domcontentloaded")  # the live view loads for ever
    return page, faults
