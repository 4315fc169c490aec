"""Own photos and DeepFashion become a data set that the loader reads; what cannot be used is named; nothing is lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spgvton import image
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton import person as ps
from spgvton.cli import main
from spgvton.errors import SpgvtonError
from spgvton.perception.multiclass import MulticlassParser
from spgvton.perception.pose import PoseEstimator
from spgvton.video import cv2
from spgvton_training.data import perceive
from spgvton_training.data.check import examine
from spgvton_training.data.layout import PhotoFiles, read_pairs
from spgvton_training.data.mpv import MPV
from spgvton_training.data.own_photos import Photo, pair_rows, split_people
from spgvton_training.data.perceive import Job, Perceiver, Settings
from spgvton_training.data.prepare import REJECTED

DATA = Path(__file__).resolve().parent.parent / "data"
GARMENTS = Path(perceive.image.__file__).parent / "assets" / "demo"


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of a man, and their label maps under maps/."""
    folder = tmp_path_factory.mktemp("shots")
    (folder / "maps").mkdir()
    front = image.read(DATA / "person_front.jpg")
    estimator, parser = PoseEstimator(smooth=False), MulticlassParser()
    for name, picture in (("a", front), ("b", np.ascontiguousarray(front[:, ::-1])), ("c", front[20:])):
        image.write(folder / f"{name}.png", picture)
        estimator.reset()
        image.write(folder / "maps" / f"{name}.png", parser(picture, estimator(picture)))
    return folder


@pytest.fixture
def own(tmp_path: Path, shots: Path) -> Path:
    """photos/, garments/ and maps/ of two people, three photos each; anna changes the garment in the last."""
    for person in ("anna", "ben"):
        (tmp_path / "photos" / person).mkdir(parents=True)
        (tmp_path / "maps" / person).mkdir(parents=True)
        for name in "abc":
            shutil.copy(shots / f"{name}.png", tmp_path / "photos" / person)
            shutil.copy(shots / "maps" / f"{name}.png", tmp_path / "maps" / person)
    (tmp_path / "photos" / "anna" / "garment.txt").write_text("# what is worn\nshirt\nc.png\tstripes.jpg\n")
    (tmp_path / "photos" / "ben" / "garment.txt").write_text("flowers\n")
    (tmp_path / "garments").mkdir()
    for number, name in ((1, "stripes"), (2, "shirt"), (3, "flowers")):
        shutil.copy(GARMENTS / f"garment_{number}.jpg", tmp_path / "garments" / f"{name}.jpg")
    shutil.copy(GARMENTS / "garment_2_mask.png", tmp_path / "garments" / "shirt_mask.png")
    return tmp_path


def prepare(folder: Path, *options: str, out: str = "out", maps: bool = True) -> int:
    places = ["--photos", folder / "photos", "--garments", folder / "garments", "--out", folder / out]
    return main(["prepare", *map(str, places), *(["--parsing", str(folder / "maps")] if maps else []), *options])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def rejected(folder: Path) -> dict[str, str]:
    """Last part of the path -> reason."""
    lines = (folder / REJECTED).read_text().splitlines()
    return {line.split("\t")[1].rsplit("/", 1)[-1]: line.split("\t")[0] for line in lines}


def test_layout_pairs_and_loader(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(own, "--test-fraction", "0", "--json") == 0
    out = own / "out"
    result = json.loads(capsys.readouterr().out)
    assert (result["photos"], result["rejected"], result["train"], result["test"]) == (6, 0, 12, 0)
    paired = {(t.source, t.target, t.cloth) for t in read_pairs(out, "train")}
    shirt, flowers = "_garments/shirt=cloth_front.jpg", "_garments/flowers=cloth_front.jpg"
    bens = {(f"ben/{a}.jpg", f"ben/{b}.jpg", flowers) for a in "abc" for b in "abc" if a != b}
    assert paired == bens | {("anna/a.jpg", "anna/b.jpg", shirt), ("anna/b.jpg", "anna/a.jpg", shirt)}
    stripes = "_garments/stripes=cloth_front.jpg"
    changes = {(t.source, t.target, t.cloth) for t in read_pairs(out, "train", paired=False, unpaired=True)}
    assert changes == {("anna/a.jpg", "anna/c.jpg", stripes), ("anna/b.jpg", "anna/c.jpg", stripes),
                       ("anna/c.jpg", "anna/a.jpg", shirt), ("anna/c.jpg", "anna/b.jpg", shirt)}  # fmt: skip
    report = examine(out, "train", unpaired=True)
    assert len(report.good) == 12 and not report.bad
    batch = MPV(out, "train", unpaired=True)[0]
    assert batch.target.shape == (3, 256, 192) and batch.inputs.cloth_mask.mean() > 0.1
    sheet = image.read(result["overlays"][0])
    assert sheet.shape == (3 * 276, 1920, 3) and sheet.std() > 30
    assert len((out / "overlays" / "index.tsv").read_text().splitlines()) == 6


def test_training_sees_what_the_runtime_sees(own: Path, shots: Path) -> None:
    """PersonRepresentation.of() is what the session feeds: the files of the data set must give the same."""
    assert prepare(own) == 0
    photo = image.read(shots / "a.png")
    labels = image.read(shots / "maps" / "a.png", flags=cv2.IMREAD_UNCHANGED)
    points = PoseEstimator(smooth=False)(photo)
    wanted = ps.PersonRepresentation.of(photo, labels, points)
    data = MPV(own / "out", "train", triples=[t for s in ("train", "test") for t in _rows(own / "out", s)])
    index = next(i for i, t in enumerate(data.triples) if t.source == "ben/a.jpg")
    got = data[index].inputs
    assert np.array_equal(got.reference_map.numpy(), wanted.reference_map)
    assert np.array_equal(got.head.numpy(), wanted.head)
    assert np.allclose(got.source_keypoints.numpy(), wanted.keypoints, atol=1e-3)
    assert np.abs(got.body.numpy() - wanted.body).mean() < 0.01  # JPEG
    garment = ps.Garment.of(
        image.read(own / "garments" / "shirt.jpg"), image.read(own / "garments" / "shirt_mask.png", flags=0)
    )
    made = MPV(own / "out", "train", triples=data.triples).cloth("_garments/shirt=cloth_front.jpg")
    again = ps.Garment.of(made.picture, made.mask)
    assert np.array_equal(again.mask, garment.mask) and np.abs(again.image - garment.image).mean() < 0.01


def _rows(root: Path, split: str) -> list:  # type: ignore[type-arg]
    try:
        return read_pairs(root, split)
    except SpgvtonError:
        return []


def test_bad_photos_are_named_and_left_out(own: Path, shots: Path) -> None:
    ben = own / "photos" / "ben"
    front = image.read(DATA / "person_front.jpg")
    image.write(ben / "cut.jpg", front)
    (ben / "cut.jpg").write_bytes((ben / "cut.jpg").read_bytes()[:3000])
    image.write(ben / "dot.png", np.zeros((1, 1, 3), np.uint8))
    image.write(ben / "wall.png", np.full((400, 300, 3), 180, np.uint8))
    image.write(ben / "two.png", np.hstack([front, front]))
    small = cv2.resize(front, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    image.write(ben / "far.png", cv2.copyMakeBorder(small, 70, 70, 90, 90, cv2.BORDER_REPLICATE))
    (ben / "text.jpg").write_text("no picture")
    image.write(ben / "a.bmp", front)
    image.write(own / "photos" / "stray.png", front)
    with (ben / "garment.txt").open("a") as f:
        f.write("b.png\tlost\nnobody.jpg\tshirt\na\tb\tc\n")
    assert prepare(own, maps=False) == 0
    found = rejected(own / "out")
    for name, words in {
        "cut.jpg": "truncated JPEG", "dot.png": "at least 16x16", "wall.png": "no person in the picture",
        "two.png": "two people", "far.png": "would have to be enlarged", "text.jpg": "not a picture", "a.png": "same name as a.bmp",
        "stray.png": "lies in no person's folder", "b.png": "garment missing: there is no picture of 'lost'",
        "garment.txt: nobody.jpg": "no such photo", "garment.txt line 4": "malformed",
    }.items():  # fmt: skip
        assert words in found[name], (name, found)
    names = {n for s in ("train", "test") for t in _rows(own / "out", s) for n in t.names[:2]}
    assert names >= {"anna/a.jpg", "ben/a.jpg", "ben/c.jpg"} and not names & {"ben/b.jpg", "ben/two.jpg", "ben/cut.jpg"}


def test_bad_maps_and_garments_are_named(own: Path) -> None:
    maps = own / "maps" / "ben"
    labels = image.read(maps / "a.png", flags=cv2.IMREAD_UNCHANGED)
    image.write(maps / "a.png", np.where(labels == lb.UPPER_CLOTHES, 37, labels).astype(np.uint8))
    image.write(maps / "b.png", np.where(labels == lb.UPPER_CLOTHES, lb.BACKGROUND, labels).astype(np.uint8))
    (maps / "c.png").unlink()
    shirt = image.read(own / "garments" / "shirt.jpg")
    image.write(own / "garments" / "shirt_mask.png", np.zeros(shirt.shape[:2], np.uint8))
    image.write(own / "garments" / "stripes_mask.png", np.zeros((20, 30), np.uint8))
    assert prepare(own) == 1, "no pairs are left"
    found = [line.split("\t") for line in (own / "out" / REJECTED).read_text().splitlines()]
    reasons = {"/".join(Path(path).parts[-2:]): reason for reason, path in found}
    assert "label id 37" in reasons["ben/a.png"] and "no clothes" in reasons["ben/b.png"]
    assert "cannot read" in reasons["ben/c.png"]
    assert "mask empty" in reasons["garments/shirt.jpg"] and "garment unusable" in reasons["anna/a.png"]
    assert "has 30x20 pixels, its picture" in reasons["garments/stripes.jpg"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    own: Path, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    assert prepare(own, out="whole") == 0
    written = 0

    def stop_in_the_middle(root: Path, name: str, seen: perceive.Seen) -> None:
        nonlocal written
        written += 1
        if written == 3:  # labels are there, the picture is not
            image.write(PhotoFiles.of(root, name).labels, seen.labels)
            raise KeyboardInterrupt
        write(root, name, seen)

    write = perceive.write_photo
    with monkeypatch.context() as patch:
        patch.setattr(perceive, "write_photo", stop_in_the_middle)
        assert prepare(own, out="broken") == 130
    assert not (own / "broken" / "data_pair.txt").exists()
    kept = {p: p.stat().st_mtime_ns for p in (own / "broken" / "images").rglob("*.jpg")}
    assert prepare(own, "--workers", workers, out="broken") == 0
    assert tree(own / "whole") == tree(own / "broken")
    assert all(p.stat().st_mtime_ns == at for p, at in kept.items()), "what was there is not made again"
    before = {p: p.stat().st_mtime_ns for p in (own / "whole").rglob("*.[jp][pn]g")}
    assert prepare(own, out="whole") == 0
    assert {p: p.stat().st_mtime_ns for p in (own / "whole").rglob("*.[jp][pn]g")} == before


def test_human_rejection_and_changed_settings(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(own) == 0
    listed = (own / "out" / "overlays" / "index.tsv").read_text().splitlines()
    (own / "no.txt").write_text(next(line for line in listed if "ben/b" in line).split("\t")[1] + "\nben/z.jpg\n")
    assert prepare(own, "--exclude", str(own / "no.txt")) == 0
    assert "excluded" in rejected(own / "out")["b.png"] and rejected(own / "out")["z.jpg"] == "no such photo"
    assert "ben/b" not in (own / "out" / "data_pair.txt").read_text()
    capsys.readouterr()
    assert prepare(own, maps=False) == 2
    assert "choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--count", "0"], "--count must be at least 1"),
        (["--test-fraction", "2"], "--test-fraction"),
        (["--label-set", "lip"], "--label-set belongs to"),
        (["--size", "9x9"], "--size"),
    ],
)
def test_wrong_use(own: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str) -> None:
    assert prepare(own, *options, maps=False) == 2
    assert words in capsys.readouterr().err and not (own / "out").exists()
    assert prepare(own, out="photos/out") == 2


def test_places_that_cannot_be_used(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "file").write_text("in the way")
    assert prepare(own, out="file") == 1
    assert "cannot create folder" in capsys.readouterr().err
    assert prepare(own, "--parser", str(own / "file"), maps=False) == 1
    assert "not an ONNX model" in capsys.readouterr().err
    shutil.rmtree(own / "garments")
    assert prepare(own, out="other") == 1
    assert "cannot read folder" in capsys.readouterr().err


# ------------------------------------------------------------------ splits and pairs
PEOPLE = st.dictionaries(
    st.sampled_from("abcdefgh"), st.lists(st.sampled_from("wxyz"), min_size=1, max_size=3), min_size=1
)


def as_photos(people: dict[str, list[str]]) -> list[Photo]:
    return [Photo(p, g, Job(Path(f"{p}{i}"), f"{p}/{i}.jpg", "")) for p, gs in people.items() for i, g in enumerate(gs)]


@given(PEOPLE, st.integers(0, 99), st.floats(0, 1))
def test_no_person_or_garment_is_in_both_splits(people: dict[str, list[str]], seed: int, fraction: float) -> None:
    photos = as_photos(people)
    split = split_people(photos, seed, fraction, share_garments=False)
    assert split.keys() == people.keys()
    worn = {s: {p.garment for p in photos if split[p.person] == s} for s in ("train", "test")}
    assert not worn["train"] & worn["test"]
    assert split == split_people(photos[::-1], seed, fraction, share_garments=False)
    alone = split_people(photos, seed, fraction, share_garments=True)
    only = next(iter(people))
    assert alone[only] == split_people(as_photos({only: people[only]}), seed, fraction, share_garments=True)[only]


@given(PEOPLE)
def test_every_ordered_pair_once_with_what_the_target_wears(people: dict[str, list[str]]) -> None:
    photos = as_photos(people)
    worn = {p.job.name: p.garment for p in photos}
    rows = pair_rows(photos, dict.fromkeys(people, "train"))
    triples = {name: [t for t, _ in lines] for name, lines in rows.items()}
    flat = [t for lines in triples.values() for t in lines]
    assert len(flat) == len(set(flat)) == sum(len(g) * (len(g) - 1) for g in people.values())
    for name, lines in triples.items():
        for t in lines:
            assert t.source != t.target and t.source.split("/")[0] == t.target.split("/")[0]
            assert t.cloth == f"_garments/{worn[t.target]}=cloth_front.jpg"
            assert (worn[t.source] == worn[t.target]) == (name == "data_pair.txt")


# ------------------------------------------------------------------ DeepFashion
@pytest.fixture(scope="module")
def mpv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mpv")
    for split, count in (("test", "2"), ("train", "1")):
        assert main(["synth", "--out", str(folder), "--count", count, "--split", split, "--size", "96x72"]) == 0
    return folder


@pytest.fixture
def fashion(tmp_path: Path, shots: Path) -> Path:
    """Three items with three usable views each in one colour; one of the items is a training item."""
    base, lines = tmp_path / "In-shop", []
    for number, (item, part) in enumerate(
        (("id_00000001", "query"), ("id_00000002", "gallery"), ("id_00000003", "train"))
    ):
        folder = base / "img" / "WOMEN" / "Dresses" / item
        folder.mkdir(parents=True)
        maps = tmp_path / "maps" / f"WOMEN-Dresses-{item}"
        maps.mkdir(parents=True)
        for view, shot in (("01_1_front", "a"), ("01_2_side", "b"), ("01_3_back", "c"), ("02_1_front", "a")):
            image.write(folder / f"{view}.jpg", image.read(shots / f"{shot}.png"))
            shutil.copy(shots / "maps" / f"{shot}.png", maps / f"{view}.png")
            lines.append(f"img/WOMEN/Dresses/{item}/{view}.jpg {item} {part}")
        image.write(folder / "01_4_flat.jpg", np.full((64, 64, 3), number, np.uint8))
    (base / "Eval").mkdir()
    (base / "Eval" / "list_eval_partition.txt").write_text(
        f"{len(lines)}\nimage_name item_id evaluation_status\n" + "\n".join(lines) + "\n"
    )
    return tmp_path


def deepfashion(folder: Path, mpv: Path, *options: str, out: str = "out") -> int:
    places = [
        "--deepfashion",
        folder / "In-shop",
        "--garments",
        mpv,
        "--out",
        folder / out,
        "--parsing",
        folder / "maps",
    ]
    return main(["prepare", *map(str, places), *options])


def test_deepfashion(fashion: Path, mpv: Path) -> None:
    assert deepfashion(fashion, mpv, "--count", "8", "--train-count", "2", "--seed", "4") == 0
    out = fashion / "out"
    test = read_pairs(out, "test", paired=False, no_truth=True)
    train = read_pairs(out, "train", paired=False, no_truth=True)
    assert len(set(test)) == 8 and len(set(train)) == 2
    garments = {t.cloth for t in read_pairs(mpv, "test")}
    for triple in test + train:
        assert triple.cloth in garments, "of MPV's test split"
        assert triple.source != triple.target and triple.source[:28] == triple.target[:28]
        assert "/01_" in triple.source and "/01_" in triple.target, "the second colour has one view: no pair"
        assert "flat" not in triple.source + triple.target
    assert {t.source.split("/")[0][-1] for t in test} == {"1", "2"} and {t.source.split("/")[0][-1] for t in train} == {
        "3"
    }
    assert not (out / "data_pair.txt").exists(), "nobody can train on it, or measure SSIM, by mistake"
    with pytest.raises(SpgvtonError, match=r"data_pair\.txt"):
        read_pairs(out, "test")
    assert "no true\npicture" in (out / "no_truth.txt").read_text()
    assert deepfashion(fashion, mpv, "--count", "8", "--train-count", "2", "--seed", "4", out="again") == 0
    assert tree(out) == tree(fashion / "again"), "the seed decides"
    assert deepfashion(fashion, mpv, "--count", "8", "--seed", "5", out="other") == 0
    assert tree(out)["data_pair_no_truth.txt"] != tree(fashion / "other")["data_pair_no_truth.txt"]

    report = examine(out, "test", paired=False, no_truth=True)
    assert len(report.good) == 8 and not report.bad
    assert MPV(out, "test", paired=False, no_truth=True)[0].target.shape == (3, 256, 192)


def test_deepfashion_replaces_what_cannot_be_used(fashion: Path, mpv: Path) -> None:
    (fashion / "maps" / "WOMEN-Dresses-id_00000001" / "01_1_front.png").unlink()
    assert deepfashion(fashion, mpv, "--count", "8") == 0
    assert len(read_pairs(fashion / "out", "test", paired=False, no_truth=True)) == 8
    assert deepfashion(fashion, mpv, "--count", "99", out="all") == 0
    rows = read_pairs(fashion / "all", "test", paired=False, no_truth=True)
    assert len(rows) == 2 + 6 and not any(name.endswith("00000001/01_1_front.jpg") for t in rows for name in t.names)
    assert "cannot read" in rejected(fashion / "all")["01_1_front.jpg"]


def test_deepfashion_faults(fashion: Path, mpv: Path, capsys: pytest.CaptureFixture[str]) -> None:
    partition = fashion / "In-shop" / "Eval" / "list_eval_partition.txt"
    partition.write_text(partition.read_text() + "img/x.jpg id_00000009\n")
    assert deepfashion(fashion, mpv) == 1 and "line 15: expected image, item" in capsys.readouterr().err
    shutil.rmtree(fashion / "In-shop" / "img")
    assert deepfashion(fashion, mpv) == 1 and "is it DeepFashion" in capsys.readouterr().err
    assert deepfashion(fashion, mpv, "--exclude", "x") == 2


# ------------------------------------------------------------------ perception
def test_keypoints_and_map_are_framed_together(shots: Path) -> None:
    photo = image.read(shots / "a.png")
    seen = Perceiver(Settings(size=(128, 96), parsing=str(shots / "maps")))(photo, "a.png")
    assert seen.picture.shape == (128, 96, 3) and seen.labels.shape == (128, 96)
    assert seen.labels[tuple(np.rint(seen.keypoints[kp.NOSE, 1::-1]).astype(int))] == lb.FACE
    x, y = np.rint(seen.keypoints[kp.NECK, :2]).astype(int)
    assert seen.labels[y + 10, x] == lb.UPPER_CLOTHES
