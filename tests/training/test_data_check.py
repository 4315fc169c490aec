"""Every kind of fault is found, named and counted; a second check reads nothing; lists of exclusions are exact."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spgvton import image
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.cli import main
from spgvton.errors import SpgvtonError
from spgvton.files import make_folder, write_text
from spgvton.video import cv2
from spgvton_training.data.check import CACHE, REJECTED, check_triples, examine, select_triples
from spgvton_training.data.layout import PAIRED, ClothFiles, Exclusions, PhotoFiles, Triple, read_pairs

H, W = 96, 72


def write_photo(root: Path, name: str, seed: int = 0) -> None:
    """A person: head, torso, trousers; keypoints down the middle of it."""
    paths = PhotoFiles.of(root, name)
    for path in paths[:3]:
        make_folder(path.parent)
    labels = np.zeros((H, W), np.uint8)
    labels[8:24, 28:44] = lb.FACE
    labels[24:60, 20:52] = lb.UPPER_CLOTHES
    labels[60:, 24:48] = lb.PANTS
    points = np.zeros((kp.NUM_KEYPOINTS, 3), np.float32)
    places = {kp.NOSE: (36, 16), kp.NECK: (36, 26), kp.R_SHOULDER: (24, 28), kp.L_SHOULDER: (48, 28), kp.R_ELBOW: (22, 44),
              kp.L_ELBOW: (50, 44), kp.R_HIP: (28, 60), kp.L_HIP: (44, 60), kp.R_EYE: (33, 13), kp.L_EYE: (39, 13)}  # fmt: skip
    for i, xy in places.items():
        points[i] = (*xy, 0.9)
    noise = np.random.default_rng(seed).integers(0, 60, (H, W, 3), dtype=np.uint8)
    image.write(paths.picture, (lb.colourise(labels) // 2 + noise).astype(np.uint8))
    image.write(paths.labels, labels)
    write_text(paths.keypoints, kp.to_openpose(points))


def write_cloth(root: Path, name: str, seed: int = 0) -> None:
    """A garment: a rectangle of one colour."""
    paths = ClothFiles.of(root, name)
    for path in paths:
        make_folder(path.parent)
    mask = np.zeros((H, W), np.uint8)
    mask[20:70, 15:55] = 255
    picture = np.full((H, W, 3), 255, np.uint8)
    picture[mask > 0] = np.random.default_rng(seed).integers(0, 200, 3, dtype=np.uint8)
    image.write(paths.picture, picture)
    image.write(paths.mask, mask)


def item_rows(item: str) -> list[Triple]:
    """The two triples of an item."""
    a, b, cloth = f"{item}/{item}@1=person.jpg", f"{item}/{item}@2=person.jpg", f"{item}/{item}@0=cloth_front.jpg"
    return [Triple(a, b, cloth), Triple(b, a, cloth)]


def write_mpv(root: Path, items: dict[str, str]) -> None:
    """Items name -> split, two photos and one garment each, and data_pair.txt."""
    lines = []
    for number, (item, split) in enumerate(items.items()):
        rows = item_rows(item)
        write_photo(root, rows[0].source, number)
        write_photo(root, rows[0].target, number + 1000)
        write_cloth(root, rows[0].cloth, number)
        lines += ["\t".join((*row.names, split)) for row in rows]
    write_text(root / PAIRED, "\n".join(lines) + "\n")


ITEMS = {"a": "train", "b": "train", "c": "test"}
ROW = item_rows("a")[0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_mpv(tmp_path, ITEMS)
    return tmp_path


def rewrite_labels(root: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = PhotoFiles.of(root, ROW.source).labels
    image.write(path, change(image.read(path, flags=cv2.IMREAD_UNCHANGED)))


def set_label(root: Path, label: int) -> None:
    def change(labels: np.ndarray) -> np.ndarray:
        labels[40, 40] = label
        return labels

    rewrite_labels(root, change)


def scale_keypoints(root: Path, factor: float) -> None:
    path = PhotoFiles.of(root, ROW.source).keypoints
    data = json.loads(path.read_text())
    flat = np.array(data["people"][0]["pose_keypoints_2d"]).reshape(-1, 3)
    flat[:, :2] *= factor
    data["people"][0]["pose_keypoints_2d"] = flat.ravel().tolist()
    path.write_text(json.dumps(data))


def drop_keypoints(root: Path) -> None:
    write_text(PhotoFiles.of(root, ROW.source).keypoints, kp.to_openpose(np.zeros((18, 3), np.float32)))


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def photo(root: Path) -> PhotoFiles:
    return PhotoFiles.of(root, ROW.source)


def cloth(root: Path) -> ClothFiles:
    return ClothFiles.of(root, ROW.cloth)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no photo": (lambda r: photo(r).picture.unlink(), "photo unreadable: cannot read"),
    "cut photo": (lambda r: cut(photo(r).picture), "truncated JPEG"),
    "empty photo": (lambda r: photo(r).picture.write_bytes(b""), "photo unreadable"),
    "tiny photo": (lambda r: image.write(photo(r).picture, np.zeros((1, 1, 3), np.uint8)), "at least 16x16"),
    "no labels": (lambda r: photo(r).labels.unlink(), "semantic map unusable"),
    "cut labels": (lambda r: cut(photo(r).labels), "semantic map unusable"),
    "label 37": (lambda r: set_label(r, 37), "label id 37"),
    "colours": (lambda r: rewrite_labels(r, lb.colourise), "is a colour picture"),
    "other size": (lambda r: rewrite_labels(r, lambda a: a[:80]), "sizes differ"),
    "nobody": (lambda r: rewrite_labels(r, np.zeros_like), "no person"),
    "naked": (lambda r: rewrite_labels(r, lambda a: np.where(a == 5, 14, a).astype(np.uint8)), "no clothes"),
    "no pose": (lambda r: photo(r).keypoints.unlink(), "keypoints unusable"),
    "bad JSON": (lambda r: photo(r).keypoints.write_text("{"), "keypoints unusable"),
    "no people": (lambda r: photo(r).keypoints.write_text('{"people": []}'), "holds no person"),
    "no points": (lambda r: drop_keypoints(r), "keypoints missing: 0 of 18"),
    "twice as large": (lambda r: scale_keypoints(r, 2.0), "keypoints"),
    "half as large": (lambda r: scale_keypoints(r, 0.5), "keypoints elsewhere"),
    "far outside": (lambda r: scale_keypoints(r, 9.0), "keypoints outside"),
    "no garment": (lambda r: cloth(r).picture.unlink(), "garment unreadable"),
    "no mask": (lambda r: cloth(r).mask.unlink(), "garment unreadable"),
    "empty mask": (lambda r: image.write(cloth(r).mask, np.zeros((H, W), np.uint8)), "mask empty"),
    "full mask": (lambda r: image.write(cloth(r).mask, np.full((H, W), 255, np.uint8)), "mask full"),
    "mask size": (lambda r: image.write(cloth(r).mask, np.full((H, 40), 255, np.uint8)), "sizes differ"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(root: Path, fault: str) -> None:
    triples = read_pairs(root, "train")
    assert check_triples(root, triples).bad == []
    inject, words = FAULTS[fault]
    inject(root)
    report = check_triples(root, triples)
    assert report.good == item_rows("b")
    assert len(report.bad) == 2 and all(words in rejected.reason for rejected in report.bad), report.bad
    with pytest.raises(SpgvtonError, match="2 of 4 triples cannot be used") as caught:
        select_triples(root, "train", strict=True)
    assert "\n" not in str(caught.value) and str(root / REJECTED) in str(caught.value)
    lines = (root / REJECTED).read_text().splitlines()
    assert [line.split("\t")[1:] for line in lines] == [list(row.names) for row in item_rows("a")]
    assert all(words in line for line in lines)


def test_skipping_counts_and_goes_on(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo(root).picture.unlink()
    assert select_triples(root, "train") == item_rows("b")
    assert "2 of 4 triples cannot be used (2 x photo unreadable)" in capsys.readouterr().err
    assert select_triples(root, "test", strict=True) == item_rows("c")
    for row in item_rows("b"):
        ClothFiles.of(root, row.cloth).mask.unlink(missing_ok=True)
    with pytest.raises(SpgvtonError, match="no train triple that can be used"):
        select_triples(root, "train")


def test_processes_agree_with_one(root: Path) -> None:
    write_mpv(root, {f"i{n}": "train" for n in range(24)})  # 72 files: enough for processes
    cut(PhotoFiles.of(root, "i3/i3@1=person.jpg").picture)
    triples = read_pairs(root, "train")
    several = check_triples(root, triples, workers=2)
    (root / CACHE).unlink()
    assert check_triples(root, triples) == several and len(several.bad) == 2


def test_second_check_reads_only_what_changed(root: Path) -> None:
    triples = read_pairs(root, "train")
    assert check_triples(root, triples).bad == []
    path = photo(root).picture
    before, size = path.stat(), path.stat().st_size
    path.write_bytes(b"x" * size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert check_triples(root, triples).bad == [], "same size and time: the file was not opened again"
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert len(check_triples(root, triples).bad) == 2
    assert len(check_triples(root, triples).bad) == 2, "bad files are remembered too"
    for content in ("", "{", "[]", '{"version": 1}', '{"version": 999, "label_set": "cihp", "assets": {}}'):
        (root / CACHE).write_text(content)
        assert len(check_triples(root, triples).bad) == 2
    # Jumpsuits are clothes in LIP only: what was found for one label set says nothing about the other.
    rewrite_labels(root, lambda a: np.where(a == 5, 10, a).astype(np.uint8))
    image.write(path, np.zeros((H, W, 3), np.uint8))
    assert "no clothes" in check_triples(root, triples).bad[0].reason
    assert check_triples(root, triples, label_set="lip").bad == []


def test_malformed_lines_duplicates_and_overlap(root: Path) -> None:
    text = (root / "data_pair.txt").read_text()
    a = item_rows("a")[0]
    extra = ["only\ttwo", "\t".join((*a.names, "valid")), "\t".join((*a.names, "train"))]
    extra += [f"{item_rows('c')[0].source}\t{a.target}\t{a.cloth}\ttrain"]
    extra += [f"{a.source}\t{a.target}\t{item_rows('c')[0].cloth}\ttrain"]
    (root / "data_pair.txt").write_text(text + "\n".join(extra) + "\n")
    report = examine(root, "train")
    assert report.good == item_rows("a") + item_rows("b")
    kinds = [rejected.reason.partition(": ")[0] for rejected in report.bad]
    assert kinds == ["malformed line", "malformed line", "person in train and test", "garment in train and test",
                     "duplicate"]  # fmt: skip
    assert report.bad[0].what == "data_pair.txt line 7: only\ttwo" and "got 'valid'" in report.bad[1].reason
    kept = examine(root, "train", allow_overlap=True)
    assert len(kept.good) == 6 and len(kept.bad) == 3
    assert len(examine(root, "test").good) == 2, "the test split stays whole"


def test_exclusions(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = item_rows("a"), item_rows("b")
    noise = tmp_path / "noise.txt"
    noise.write_text(f"# noise\n\n{a[0].source}\n" + "\t".join((*b[1].names, "train")) + "\nno/such.jpg\n")
    assert select_triples(root, "train", exclude=noise) == [b[0]]
    err = capsys.readouterr().err
    assert "3 of 4 triples are left out" in err and "1 entries name nothing in the data set: line 5: no/such.jpg" in err
    with pytest.raises(SpgvtonError, match=r"line 5: no/such\.jpg"):
        select_triples(root, "train", exclude=noise, strict=True)
    noise.write_text("a\tb\n")
    with pytest.raises(SpgvtonError, match=r"noise\.txt line 1: .* 3 or 4 tab-separated columns"):
        Exclusions.read(noise)
    noise.write_bytes(b"\xff\xfe")
    with pytest.raises(SpgvtonError, match="not UTF-8"):
        Exclusions.read(noise)
    with pytest.raises(SpgvtonError, match="cannot read"):
        Exclusions.read(tmp_path / "missing.txt")


NAMES = st.sampled_from([f"{i}/{n}.jpg" for i in "pq" for n in "012"])
TRIPLES = st.lists(st.builds(Triple, NAMES, NAMES, NAMES), max_size=12)


@given(TRIPLES, st.sets(NAMES, max_size=3), TRIPLES.map(lambda t: t[:3]))
def test_exclusions_leave_out_what_they_name_and_nothing_else(
    triples: list[Triple], names: set[str], lines: list[Triple]
) -> None:
    listed = Exclusions(
        Path("x"), {n: i for i, n in enumerate(sorted(names))}, {t: 50 + i for i, t in enumerate(lines)}
    )
    kept = [t for t in triples if t not in listed]
    for t in triples:
        assert (t in kept) == (t not in lines and not names & set(t.names))
    unknown = {entry.split(": ", 1)[1] for entry in listed.unknown(triples)}
    pictures = {n for t in triples for n in t.names}
    assert unknown == (names - pictures) | {"  ".join(t.names) for t in lines if t not in triples}


def test_verb(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-data", "--data", str(root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {"train": {"good": 4, "bad": 0}, "test": {"good": 2, "bad": 0}, "rejected_list": None}
    photo(root).picture.unlink()
    assert main(["check-data", "--data", str(root)]) == 0
    assert "train: 2 of 4 triples cannot be used" in capsys.readouterr().out
    assert main(["check-data", "--data", str(root), "--strict"]) == 1
    assert main(["check-data", "--data", str(root / "missing")]) == 1
    assert "data_pair.txt" in capsys.readouterr().err
