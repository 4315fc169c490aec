"""The shop's own list of its garments: catalogue.csv or catalogue.yaml in the watched folder.

    picture,name,category,size,price,sku
    shirt.jpg,Linen shirt,Shirts,"S, M, L",29.90 EUR,LS-1042

picture: the garment's file, with or without its suffix; where it is left out, the file is named after the SKU. All other
columns may be empty or missing. As spreadsheets write it: separated by semicolons or tabs, with blank lines, a first line
`sep=;`, empty columns at the end. In YAML: a list of such rows. A row that is wrong is left out and told with its number;
the others hold. Values are shown as they stand: a price of 29,90 is not made 29.9, an SKU of 007 not 7.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import yaml

from spgvton.errors import SpgvtonError
from spgvton.files import printable, read_file
from spgvton.image import SUFFIXES
from spgvton.kiosk.yaml_text import check_events

CSV, YAML = "catalogue.csv", "catalogue.yaml"
FILES: Final = (CSV, YAML)
MAX_BYTES: Final = 4 * 2**20
MAX_ROWS: Final = 10_000
PICTURE: Final = "picture"
LONGEST: Final = {PICTURE: 200, "name": 60, "category": 40, "size": 40, "price": 20, "sku": 40}  # characters
SEPARATORS: Final = ",;\t"  # of a CSV; spreadsheets write their country's
BLANK: Final = f"{SEPARATORS} "
SAID: Final = re.compile(r'"?sep=([,;\t])"?[,;\t ]*', re.IGNORECASE)  # Excel's own line, which says which one

Row = tuple[int, dict[str, str]]  # number of its first line, as an editor shows it; column -> value


@dataclass(frozen=True)
class Article:
    """What the shop says of a garment, for people; "" where it says nothing."""

    name: str = ""
    category: str = ""
    size: str = ""
    price: str = ""
    sku: str = ""


UNLISTED: Final = Article()


@dataclass(frozen=True)
class Articles:
    """A list that was read. by_picture: stem of the picture's file -> article. lines: stem -> its line. problems: one line each."""

    by_picture: dict[str, Article]
    lines: dict[str, int]
    problems: tuple[str, ...] = ()

    def without_picture(self, stems: set[str], name: str) -> Iterator[str]:
        """A line for each row of the list NAME whose picture is not among STEMS."""
        for stem, line in self.lines.items():
            if stem not in stems:
                yield f"{name}:{line}: there is no picture {stem} in the folder"


NOTHING: Final = Articles({}, {})


def read(path: Path) -> Articles:
    """The list in PATH, by its suffix .csv or .yaml. What is wrong with it, or the whole of it, is among its problems."""
    name = path.name
    try:
        text = read_file(path, MAX_BYTES, "lists of garments").decode("utf-8-sig")
        found = list(_csv_rows(text, name) if path.suffix.lower() == ".csv" else _yaml_rows(text, name))
    except SpgvtonError as e:
        return Articles({}, {}, (printable(str(e).replace(f"{path.parent}/", "")),))
    except UnicodeDecodeError as e:
        line = e.object[: e.start].count(b"\n") + 1
        return Articles({}, {}, (f"{name}:{line}: is not UTF-8 text: save it as UTF-8",))
    return _checked(found, name)


def _csv_rows(text: str, name: str) -> Iterator[Row | str]:
    """The rows of a CSV whose first row names the columns; a str is what is wrong with a row. Raises SpgvtonError."""
    first = next((line for line in text.splitlines() if line.strip(BLANK)), "").strip(" ")
    said = SAID.fullmatch(first)
    separator = said[1] if said else max(SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    header: list[str] | None = None
    line = 1
    try:
        for values in reader:
            began, line = line, reader.line_num + 1
            while values and not values[-1].strip() and len(values) > len(header or ()):
                del values[-1]
            if not any(value.strip() for value in values):
                continue
            if said:
                said = None
            elif header is None:
                header = _columns(values, f"{name}:{began}")
            elif len(values) != len(header):
                advice = f": quote values that hold a {separator!r}" if len(values) > len(header) else ""
                yield f"{name}:{began}: has {len(values)} values for {len(header)} columns{advice}"
            else:
                yield began, dict(zip(header, values))
    except csv.Error as e:
        yield f"{name}:{line}: {e}; nothing from here on is read: look for a quote that is not closed"


def _columns(values: list[str], where: str) -> list[str]:
    header = [value.strip().lower() for value in values]
    unknown = [column for column in header if column not in LONGEST]
    if unknown or len(set(header)) != len(header):
        wrong = f"no such column: {unknown[0]!r:.40}" if unknown else "a column is named twice"
        raise SpgvtonError(f"{where}: {wrong}; the first row names the columns: {', '.join(LONGEST)}")
    if not {PICTURE, "sku"} & set(header):
        raise SpgvtonError(f"{where}: a column '{PICTURE}' or 'sku' says which picture a row is about: add one")
    return header


def _yaml_rows(text: str, name: str) -> Iterator[Row | str]:
    """The rows of a YAML list; scalars stay the text that they are. A str is what is wrong with a row. Raises SpgvtonError."""
    try:
        check_events(text, name)
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise SpgvtonError(f"{where}: not YAML: {getattr(e, 'problem', None) or e}") from e
    if root is None:
        return
    if not isinstance(root, yaml.SequenceNode):
        raise SpgvtonError(f"{name}: should be a list, one garment each: `- {{picture: shirt.jpg, name: Linen shirt}}`")
    for node in root.value:
        line = node.start_mark.line + 1
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        row = {k.value: v.value for k, v in pairs if isinstance(k, yaml.ScalarNode) and isinstance(v, yaml.ScalarNode)}
        unknown = [key for key in row if key not in LONGEST]
        if not pairs or len(row) != len(pairs):
            yield f"{name}:{line}: should be `column: text` pairs, each column once"
        elif unknown:
            yield f"{name}:{line}: no such column: {unknown[0]!r:.40}; there are {', '.join(LONGEST)}"
        else:
            yield line, row


def _checked(rows: list[Row | str], name: str) -> Articles:
    by_picture: dict[str, Article] = {}
    lines: dict[str, int] = {}
    problems: list[str] = []
    numbers: dict[str, int] = {}  # of SKUs
    for row in rows[:MAX_ROWS]:
        if isinstance(row, str):
            problems.append(printable(row))
            continue
        line, values = row[0], {key: " ".join(value.split()) for key, value in row[1].items()}
        stem = _stem(values.get(PICTURE, "") or values.get("sku", ""))
        wrong = _wrong(values, stem)
        sku = values.get("sku", "")
        if not wrong and stem in lines:
            wrong = f"{stem} is in line {lines[stem]} already"
        if not wrong and sku and sku in numbers:
            wrong = f"sku {sku} is in line {numbers[sku]} already"
        if wrong:
            problems.append(printable(f"{name}:{line}: {wrong}"))
            continue
        lines[stem] = line
        if sku:
            numbers[sku] = line
        by_picture[stem] = Article(**{f.name: values.get(f.name, "") for f in fields(Article)})
    if len(rows) > MAX_ROWS:
        problems.append(f"{name}: has more than {MAX_ROWS} rows; the first {MAX_ROWS} are read")
    return Articles(by_picture, lines, tuple(problems))


def _wrong(values: dict[str, str], stem: str) -> str:
    """What is wrong with a row; "" where nothing is."""
    if not stem:
        return f"'{PICTURE}' and 'sku' are both empty: one must say which picture it is about"
    if "/" in stem or "\\" in stem or stem.startswith("."):
        return f"{PICTURE}: should be the name of a file in the folder, not {stem!r:.60}"
    for column, value in values.items():
        if len(value) > LONGEST[column]:
            return f"{column}: has {len(value)} characters; at most {LONGEST[column]} are shown"
        if not value.isprintable():
            return f"{column}: holds a character that cannot be shown"
    price = values.get("price", "")
    if price and not any(c.isdigit() for c in price):
        return f"price: should hold a number, not {price!r}"
    return ""


def _stem(file: str) -> str:
    """FILE without the suffix of a picture; SKUs may have dots."""
    path = Path(file)
    return path.stem if path.suffix.lower() in SUFFIXES and "/" not in file else file
