"""The catalogues of the customer's page: complete, checked, and English key by key where a shop's own leave something out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from kiosk_shop import Served, serve

from spgvton.errors import SpgvtonError
from spgvton.hints import Hint, code_of
from spgvton.kiosk.service.language import FOLDER, Offer, languages, shipped, values_in

STATIC = FOLDER.parents[1] / "web" / "static"
CODES = ("de", "en", "es", "fr", "ja", "zh-Hans")


def raw(code: str) -> dict[str, str]:
    words: dict[str, str] = json.loads((FOLDER / f"{code}.json").read_text())["words"]
    return words


@pytest.mark.parametrize("code", CODES)
def test_every_text_is_in_every_catalogue(code: str) -> None:
    own, english = raw(code), raw("en")
    assert own.keys() == english.keys()
    assert {key: values_in(text) for key, text in own.items()} == {
        key: values_in(text) for key, text in english.items()
    }
    assert list(own) == list(english), "in the order of English, so that they can be compared"


def test_the_shipped_ones_are_these() -> None:
    assert sorted(shipped()) == sorted(CODES)
    assert {language.direction for language in shipped().values()} == {"ltr"}
    assert shipped()["ja"].words["hint.choose"] == "服を選んでください"


def test_every_hint_has_words() -> None:
    said = {key.removeprefix("hint.") for key in raw("en") if key.startswith("hint.")}
    assert said == {hint.code for hint in Hint}
    assert (code_of("step back"), code_of(str(Hint.STEP_BACK)), code_of("")) == ("step-back", "step-back", "")


def test_the_page_asks_for_no_text_that_is_not_there() -> None:
    known = raw("en")
    html = (STATIC / "mirror.html").read_text()
    asked = set(re.findall(r'data-word(?:-\w+)?="([^"]+)"', html))
    for script in STATIC.glob("*.js"):
        asked |= set(re.findall(r'"((?:curtain|tray|language|attract|page|hint)\.[a-z.-]+)"', script.read_text()))
        asked |= set(re.findall(r'\bword\("([^"]+)"', script.read_text()))
    assert len(asked) > 10 and asked <= known.keys()


def test_no_customer_reads_english_that_no_catalogue_has() -> None:
    """Letters between tags of the page are what a catalogue replaces, or of <title> and <noscript>."""
    html = (STATIC / "mirror.html").read_text()
    html = re.sub(r"<(title|noscript)>.*?</\1>|<!--.*?-->", "", html, flags=re.DOTALL)
    html = re.sub(r"<(\w+)[^>]*data-word=[^>]*>[^<]*</\1>", "", html)
    assert not re.findall(r">[^<]*[A-Za-z][^<]*<", html)
    assert not re.findall(r'\s(?:aria-label|alt|title|placeholder)="[^"]+"', html)


def test_a_shop_changes_words_and_adds_languages(tmp_path: Path) -> None:
    (tmp_path / "de.json").write_text('{"words": {"tray.title": "Such dir was aus"}}')
    (tmp_path / "ar.json").write_text('{"name": "العربية", "direction": "rtl", "words": {"language.close": "إغلاق"}}')
    found = languages(tmp_path)
    assert found["de"].words["tray.title"] == "Such dir was aus"
    assert found["de"].words["language.close"] == "Schließen" and found["de"].name == "Deutsch"
    arabic = found["ar"]
    assert (arabic.direction, arabic.words["language.close"]) == ("rtl", "إغلاق")
    assert arabic.words["tray.title"] == raw("en")["tray.title"] and arabic.words.keys() == raw("en").keys()
    assert found["ja"] == shipped()["ja"]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("de.json", "{", "is not JSON"),
        ("de.json", b"\xff\xfe{", "is not JSON in UTF-8"),
        ("de.json", "[]", 'should be {"name"'),
        ("de.json", '{"words": {"tray.titel": "x"}}', "there is no such text; did you mean tray.title"),
        ("de.json", '{"words": {"tray.title": ""}}', "should be a text of 1 to"),
        ("de.json", '{"words": {"tray.title": 3}}', "should be a text of 1 to"),
        ("de.json", '{"words": []}', "words should be key: text"),
        ("de.json", '{"words": {"worn": "Sie tragen das"}}', r"same values in braces as English: \{name\}"),
        ("de.json", '{"direction": "up"}', 'direction "ltr" or "rtl"'),
        ("ar.json", '{"words": {}}', "name, direction: a new language needs that"),
        ("Arabic.json", "{}", "a language's code, such as de.json"),
    ],
)
def test_what_is_wrong_with_a_shops_words_is_said(tmp_path: Path, name: str, text: str | bytes, complaint: str) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpgvtonError, match=complaint) as caught:
        languages(tmp_path)
    assert name in str(caught.value)


def test_an_offer_holds_what_there_is() -> None:
    assert list(Offer(shipped(), "ja", ["de", "fr", "de"]).languages) == ["de", "fr", "ja"]
    with pytest.raises(SpgvtonError, match="language 'xx' has no words: there are de, en"):
        Offer(shipped(), "xx", ["de"])
    with pytest.raises(SpgvtonError, match="cannot read the folder"):
        languages(Path("/nowhere"))


def test_the_customers_language_is_forgotten_with_her(tmp_path: Path, tiny_bundle: Path) -> None:
    with serve(tmp_path, tiny_bundle, language="{default: de, offered: [de, ja]}") as shop:
        assert shop.status()["language"] == "de"
        assert [each["name"] for each in shop.client.get("/api/page").json()["languages"]] == ["Deutsch", "日本語"]
        assert shop.client.put("/api/language", json={"code": "ja"}).status_code == 204
        assert shop.status()["language"] == "ja"
        assert shop.client.get("/api/languages/ja").json()["words"]["tray.title"] == raw("ja")["tray.title"]
        refused = shop.client.put("/api/language", json={"code": "fr"})
        assert (refused.status_code, shop.status()["language"]) == (404, "ja")
        assert shop.client.get("/api/languages/fr").status_code == 404
        shop.running.kiosk.set_privacy(True)
        assert shop.status()["language"] == "de"


def test_hints_have_codes(kiosk: Served) -> None:
    status = kiosk.status()
    assert status["hint_code"] == code_of(status["hint"])
