"""What the customer's page says, in her language: one catalogue per language, English where a word is missing.

    languages/de.json   {"name": "Deutsch", "direction": "ltr", "words": {"tray.title": "Kleidungsstück wählen", ...}}

The file's name is the language's code (BCP 47: it becomes the page's `lang`). {name} in a text stands for a value; English
says which there are. A shop's own folder of such files changes single words of a language, or adds one.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from spgvton.errors import SpgvtonError
from spgvton.files import read_file

FOLDER: Final = Path(__file__).parent / "languages"
ENGLISH: Final = "en"
CODE: Final = r"^[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?$"  # de, zh-Hans, pt-BR
MAX_BYTES: Final = 256 * 2**10
MAX_WORDS: Final = 2000  # characters of one text
Direction = Literal["ltr", "rtl"]


@dataclass(frozen=True)
class Language:
    """One language. name: in itself. direction: of its writing. words: key -> text, every key of English."""

    code: str
    name: str
    direction: Direction
    words: Mapping[str, str]


def shipped() -> dict[str, Language]:
    """code -> language, of those in the package."""
    return _folder(FOLDER, {ENGLISH: _read(FOLDER / f"{ENGLISH}.json", None)})


def languages(folder: Path | None = None) -> dict[str, Language]:
    """The shipped ones, with the words and languages of a shop's FOLDER. Raises SpgvtonError, which names the file."""
    known = shipped()
    return known if folder is None else {**known, **_folder(folder, known)}


class Offer:
    """The languages of one kiosk: what its button offers, and which is spoken to a new customer.

    Raises SpgvtonError for one that is not among KNOWN.
    """

    def __init__(self, known: Mapping[str, Language], default: str, offered: Sequence[str]) -> None:
        for code in (default, *offered):
            if code not in known:
                raise SpgvtonError(f"language {code!r} has no words: there are {', '.join(sorted(known))}")
        self.default = default
        self.languages = {code: known[code] for code in dict.fromkeys((*offered, default))}


def _folder(folder: Path, known: Mapping[str, Language]) -> dict[str, Language]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as e:
        raise SpgvtonError(f"cannot read the folder of languages {folder}: {e.strerror or e}") from e
    return {file.stem: _read(file, known.get(file.stem) or known[ENGLISH]) for file in files}


def _read(file: Path, below: Language | None) -> Language:
    """The language in FILE; what it does not say is taken from BELOW: the same language, or English."""
    if not re.fullmatch(CODE, file.stem):
        raise SpgvtonError(f"{file}: its name should be a language's code, such as de.json, zh-Hans.json or pt-BR.json")
    try:
        data: Any = json.loads(read_file(file, MAX_BYTES, "languages").decode("utf-8-sig"))
    except (ValueError, RecursionError) as e:
        raise SpgvtonError(f"{file} is not JSON in UTF-8: {e}") from e
    same = below if below and below.code == file.stem else None
    given = _checked(file, data, below)
    if same:
        return replace(same, **{**given, "words": {**same.words, **given.get("words", {})}})
    missing = [key for key in ("name", "direction", "words") if key not in given]
    if missing:
        raise SpgvtonError(f"{file}: {', '.join(missing)}: a new language needs that")
    words = {**(below.words if below else {}), **given["words"]}
    return Language(file.stem, given["name"], given["direction"], words)


def _checked(file: Path, data: Any, below: Language | None) -> dict[str, Any]:
    """DATA of FILE: nothing of the wrong kind, no key and no value in braces that BELOW does not have."""
    if not isinstance(data, dict) or set(data) - {"name", "direction", "words"}:
        raise SpgvtonError(f'{file}: should be {{"name": ..., "direction": "ltr" or "rtl", "words": {{...}}}}')
    if not isinstance(data.get("name", ""), str) or data.get("direction", "ltr") not in ("ltr", "rtl"):
        raise SpgvtonError(f'{file}: name should be a text, direction "ltr" or "rtl"')
    words = data.get("words", {})
    if not isinstance(words, dict):
        raise SpgvtonError(f"{file}: words should be key: text")
    for key, text in words.items():
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_WORDS:
            raise SpgvtonError(f"{file}: {key}: should be a text of 1 to {MAX_WORDS} characters")
        if below is None:
            continue
        if key not in below.words:
            near = difflib.get_close_matches(key, below.words, 1)
            raise SpgvtonError(f"{file}: {key}: there is no such text" + (f"; did you mean {near[0]}?" if near else ""))
        if values_in(text) != values_in(below.words[key]):
            wanted = ", ".join(f"{{{name}}}" for name in sorted(values_in(below.words[key]))) or "none"
            raise SpgvtonError(f"{file}: {key}: should have the same values in braces as English: {wanted}")
    return data


def values_in(text: str) -> set[str]:
    """The names in braces."""
    return set(re.findall(r"\{(\w+)\}", text))
