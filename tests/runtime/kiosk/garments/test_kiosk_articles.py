"""The shop's list of its garments: what it says, and the line that each wrong row gets."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest
from kiosk_shop import Served, wait_for

from spgvton.kiosk.garments import articles
from spgvton.kiosk.garments.articles import Article
from spgvton.kiosk.garments.catalogue import Catalogue

CSV = """picture,name,category,size,price,sku
shirt.jpg,Linen shirt,Shirts,"S, M, L","29,90 €",LS-1042
dress,Summer dress,Dresses,,1.299,00120
,Hat,,,,hat.v2
"""
FOUND = {
    "shirt": Article("Linen shirt", "Shirts", "S, M, L", "29,90 €", "LS-1042"),
    "dress": Article("Summer dress", "Dresses", "", "1.299", "00120"),
    "hat.v2": Article("Hat", sku="hat.v2"),
}
YAML = """- {picture: shirt.jpg, name: Linen shirt, category: Shirts, size: "S, M, L", price: "29,90 €", sku: LS-1042}
- picture: dress
  name: Summer dress
  category: Dresses
  price: 1.299
  sku: 00120
- {name: Hat, sku: hat.v2}
"""


TABS = "\n".join("\t".join(row) for row in csv.reader(io.StringIO(CSV)))


def read(folder: Path, text: str | bytes, name: str = "catalogue.csv") -> articles.Articles:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return articles.read(path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (CSV, "catalogue.csv"), (YAML, "catalogue.yaml"), ("\ufeff" + CSV.replace("\n", "\r\n"), "catalogue.csv"),
        ("".join(f"{line}\n\n" for line in CSV.splitlines()), "catalogue.csv"),
        (CSV.replace('"S, M, L"', "S; M; L").replace('"29,90 €"', "29@90 €").replace("S; M; L", '"S@ M@ L"')
         .replace(",", ";").replace("@", ","), "catalogue.csv"),
        ("\ufeffsep=,\r\n" + CSV.replace("\n", "\r\n"), "catalogue.csv"), ('"sep=,",,\n' + CSV, "catalogue.csv"),
        ("sep=\t\n" + TABS, "catalogue.csv"), ("\n  \n,,,\n" + CSV, "catalogue.csv"),
        ("".join(f"{line},, \n" for line in CSV.splitlines()) + ",,,,,,,\n", "catalogue.csv"),
    ],
    ids=["csv", "yaml", "of Windows", "blank lines", "semicolons", "sep", "sep in quotes", "sep of tabs", "blank lines first",
         "empty columns"],
)  # fmt: skip
def test_what_a_list_says_stays_as_it_is_written(tmp_path: Path, text: str, name: str) -> None:
    found = read(tmp_path, text, name)
    assert found.by_picture == FOUND and not found.problems


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.jpg,A,B", "has 3 values for 6 columns"), ("a.jpg,A,B,C,1,5,6", "has 7 values"),
        (",A,,,1,", "'picture' and 'sku' are both empty"), ("../a.jpg,A,,,1,", "name of a file in the folder"),
        ("a.jpg,A,,,cheap,", "price: should hold a number, not 'cheap'"), (f"a.jpg,{'x' * 61},,,1,", "name: has 61 characters"),
        ("shirt.png,A,,,1,", "shirt is in line 2 already"), ("a.jpg,A,,,1,LS-1042", "sku LS-1042 is in line 2 already"),
        ("a.jpg,A\x07B,,,1,", "cannot be shown"), ("a.jpg,A\u202eB,,,1,", "cannot be shown"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_one_line_with_its_number_and_the_others_hold(tmp_path: Path, row: str, words: str) -> None:
    lines = CSV.splitlines()
    found = read(tmp_path, "\n".join([*lines[:2], row, *lines[2:]]))
    assert found.by_picture == FOUND
    (problem,) = found.problems
    assert problem.startswith("catalogue.csv:3: ") and words in problem and "\n" not in problem


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("picture,colour\na.jpg,red\n", "catalogue.csv", "catalogue.csv:1: no such column: 'colour'"),
        ("name,price\nA,1\n", "catalogue.csv", "catalogue.csv:1: a column 'picture' or 'sku'"),
        (b"picture,name\na.jpg,caf\xe9\n", "catalogue.csv", "catalogue.csv:2: is not UTF-8 text"),
        ('picture,name\nb.jpg,B\na.jpg,"open\nc.jpg,C\n', "catalogue.csv", "catalogue.csv:3: unexpected end of data"),
        ("picture: a.jpg\n", "catalogue.yaml", "catalogue.yaml: should be a list"),
        ("- picture: a.jpg\n  picture: b.jpg\n", "catalogue.yaml", "catalogue.yaml:1: should be"),
        ("- picture: a.jpg\n- picture: [b, c]\n", "catalogue.yaml", "catalogue.yaml:2: should be"),
        ("- picture: a.jpg\n- {picture: b, colour: red}\n", "catalogue.yaml", "catalogue.yaml:2: no such column: 'colour'"),
        ("- {picture: a.jpg\n", "catalogue.yaml", "not YAML"),
        ('- {picture: a, name: "\\UFFFFFFFF"}', "catalogue.yaml", "escape names no character"),
        ('- {picture: a, name: "\\U00110000"}', "catalogue.yaml", "escape names no character"),
        ("- &a {picture: a.jpg}\n- *a\n", "catalogue.yaml", "aliases"),
        (b"x" * (articles.MAX_BYTES + 1), "catalogue.csv", "catalogue.csv"),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_read_says_where(tmp_path: Path, text: str | bytes, name: str, words: str) -> None:
    (problem,) = read(tmp_path, text, name).problems
    assert words in problem and "\n" not in problem


def test_the_folder_follows_its_list(tmp_path: Path, shirt: bytes) -> None:
    folder = tmp_path / "garments"
    folder.mkdir()
    for name in ("shirt.jpg", "coat.png"):
        (folder / name).write_bytes(shirt)
    (folder / "coat.txt").write_text("My coat")
    found = Catalogue(folder)
    assert {g.id: g.name for g in found.garments()} == {"shirt": "Shirt", "coat": "My coat"}
    (folder / "catalogue.csv").write_text(CSV + "coat.png,,Coats,,,\n")
    assert found.refresh()
    entries = {g.id: g for g in found.garments()}
    assert entries["shirt"].name == "Linen shirt" and entries["shirt"].article == FOUND["shirt"]
    assert entries["coat"].name == "My coat" and entries["coat"].article.category == "Coats"
    assert found.list_problems == (
        "catalogue.csv:3: there is no picture dress in the folder",
        "catalogue.csv:4: there is no picture hat.v2 in the folder",
    )
    assert not found.refresh()
    (folder / "dress.png").write_bytes(shirt)
    assert found.refresh() and len(found.list_problems) == 1
    (folder / "catalogue.yaml").write_text("[]")
    assert found.refresh() and "remove one" in found.list_problems[0]
    (folder / "catalogue.csv").unlink()
    (folder / "catalogue.yaml").unlink()
    assert found.refresh() and not found.list_problems
    assert found.get("shirt").name == "Shirt"  # type: ignore[union-attr]


def test_a_list_that_is_a_pipe_or_leads_out_is_not_read(tmp_path: Path, shirt: bytes) -> None:
    folder = tmp_path / "garments"
    folder.mkdir()
    (folder / "shirt.png").write_bytes(shirt)
    os.mkfifo(folder / "catalogue.csv")
    assert Catalogue(folder).list_problems == ()
    (folder / "catalogue.csv").unlink()
    (tmp_path / "secret.csv").write_text("picture,name\nshirt.png,secret\n")
    (folder / "catalogue.csv").symlink_to(tmp_path / "secret.csv")
    found = Catalogue(folder)
    assert "outside of the catalogue" in found.list_problems[0] and found.garments()[0].name == "Shirt"


def test_pages_get_what_the_list_says(kiosk: Served) -> None:
    path = kiosk.garments / "catalogue.csv"
    path.write_text("picture;name;price;sku\nnova.jpg;Nova;19,90 €;N-1\nbad;x\n")
    try:
        wait_for(lambda: kiosk.client.get("/api/garments").json()["list_problems"])
        answer = kiosk.client.get("/api/garments").json()
        nova = next(g for g in answer["garments"] if g["id"] == "nova")
        assert (nova["price"], nova["sku"], nova["category"]) == ("19,90 €", "N-1", "")
        assert answer["list_problems"][0].startswith("catalogue.csv:3: has 2 values for 4 columns")
    finally:
        path.unlink()
