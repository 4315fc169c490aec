"""Maps, keypoints and parsers that do not belong to the picture are refused wherever they come in, in one line with the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from spgvton import image
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError
from spgvton.perception.parsing import LabelMapParser, OnnxParser
from spgvton.perception.plausibility import check_plausible, why_inconsistent, why_odd_keypoints, why_unlike
from spgvton.perception.png_indices import read_labels
from spgvton.perception.pose import PoseEstimator

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]


@pytest.fixture(scope="module")
def person() -> tuple[UInt8, UInt8, Float]:
    """Picture, map and keypoints as the runtime finds them."""
    picture, labels = DemoAssets.open().person()
    return picture, labels, PoseEstimator(smooth=False)(picture, 0.0)


def remap(**ids: int) -> Callable[[UInt8], UInt8]:
    def apply(labels: UInt8) -> UInt8:
        out = np.zeros_like(labels)
        for name, new in ids.items():
            out[labels == lb.LABEL_SETS["cihp"].index(name.replace("_", "-"))] = new
        return out

    return apply


# The label sets of other data sets, in their own numbers.
ATR = remap(hair=2, upper_clothes=4, pants=6, torso_skin=11, face=11, left_arm=14, right_arm=15)
ACGPN = remap(hair=1, upper_clothes=4, pants=8, torso_skin=12, face=12, left_arm=11, right_arm=13)
PASCAL = remap(hair=1, upper_clothes=2, pants=5, torso_skin=1, face=1, left_arm=3, right_arm=3)
DENSE = remap(hair=1, upper_clothes=2, pants=3, torso_skin=4, face=5, left_arm=6, right_arm=7)

WRONG_MAPS: dict[str, tuple[Callable[[UInt8], UInt8], str]] = {
    "ATR": (ATR, "labels elsewhere"),
    "ACGPN": (ACGPN, "labels elsewhere"),
    "Pascal": (PASCAL, "labels elsewhere"),
    "renumbered": (DENSE, "labels elsewhere"),
    "mirrored": (lambda a: a[:, ::-1], "sides exchanged"),
    "upside down": (lambda a: a[::-1], "elsewhere"),
    "shifted": (lambda a: np.roll(a, 160, axis=1), "keypoints elsewhere"),
    "lying": (lambda a: np.ascontiguousarray(cv2.resize(np.rot90(a), a.shape[::-1], interpolation=0)), "elsewhere"),
    "empty": (np.zeros_like, "no person"),
    "a smaller person": (lambda a: cv2.copyMakeBorder(a[::2, ::2], 256, 0, 0, 192, 0), "elsewhere"),
}


@pytest.mark.parametrize("how", WRONG_MAPS)
def test_maps_of_something_else_are_refused(person: tuple[UInt8, UInt8, Float], how: str, tmp_path: Path) -> None:
    picture, labels, points = person
    change, words = WRONG_MAPS[how]
    wrong = np.ascontiguousarray(change(labels))
    assert why_inconsistent(labels, points) is None
    assert words in str(why_inconsistent(wrong, points))
    file = tmp_path / "map.png"
    image.write(file, wrong)
    with pytest.raises(SpgvtonError, match=r"map\.png does not fit the picture") as caught:
        LabelMapParser(file)(picture, points)
    assert "\n" not in str(caught.value)


def test_the_map_of_somebody_else_is_refused(person: tuple[UInt8, UInt8, Float]) -> None:
    """One who stands nearer and has raised a hand, as in the shared cases."""
    _, _, points = person
    labels = np.zeros((512, 384), np.uint8)
    cv2.rectangle(labels, (130, 200), (290, 512), lb.UPPER_CLOTHES, -1)
    cv2.circle(labels, (200, 90), 60, lb.FACE, -1)
    assert "keypoints elsewhere" in str(why_inconsistent(labels, points))


def test_a_map_without_a_room_is_refused(person: tuple[UInt8, UInt8, Float]) -> None:
    _, labels, points = person
    side = labels.shape[1]
    labels, points = np.pad(labels, ((0, 0), (side, side))), points + np.array([side, 0, 0], np.float32)
    filled = np.where(labels == lb.BACKGROUND, lb.COAT, labels).astype(np.uint8)
    reason = why_unlike(filled, points)
    assert reason and "far from the keypoints the map has mostly label 7 (coat), not label 0" in reason
    half = filled.copy()
    half[: len(half) // 2] = labels[: len(half) // 2]  # a crowd beside them
    assert why_unlike(half, points) is None


def test_every_label_of_a_head_and_of_clothes_is_understood(person: tuple[UInt8, UInt8, Float]) -> None:
    """Hats, sunglasses, dresses, coats, jumpsuits, long sleeves, bare arms across: nobody is refused for what they wear."""
    _, labels, points = person
    for old, new in (
        (lb.FACE, lb.SUNGLASSES), (lb.HAIR, lb.HAT), (lb.FACE, lb.HAIR), (lb.UPPER_CLOTHES, lb.DRESS),
        (lb.UPPER_CLOTHES, lb.COAT), (lb.LEFT_ARM, lb.UPPER_CLOTHES), (lb.PANTS, lb.SKIRT),
    ):  # fmt: skip
        assert why_inconsistent(np.where(labels == old, new, labels).astype(np.uint8), points) is None, (old, new)
    jumpsuit = np.where(np.isin(labels, (lb.UPPER_CLOTHES, lb.PANTS)), lb.JUMPSUITS, labels).astype(np.uint8)
    assert why_inconsistent(jumpsuit, points, "lip") is None
    assert "no clothes" in str(why_inconsistent(jumpsuit, points, "cihp"))
    for rows in (512, 300):
        assert why_inconsistent(labels[:rows], points) is None  # cut off by the frame
    large = cv2.resize(labels, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    assert why_inconsistent(np.asarray(large), points * np.array([3, 3, 1], np.float32)) is None


def test_keypoints_that_say_nothing_refuse_nothing() -> None:
    nobody = np.zeros((18, 3), np.float32)
    labels = np.zeros((64, 48), np.uint8)
    assert why_unlike(labels, nobody) is None and why_odd_keypoints(nobody) is None
    assert check_plausible(labels, nobody, "cihp", "a map") is labels


# ------------------------------------------------------------------ keypoints
def body_25(k: Float) -> Float:
    return np.concatenate([k[:8], k[[8, 11]].mean(axis=0, keepdims=True), k[8:18], np.zeros((6, 3), np.float32)])


COCO_ORDER = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]
WRONG_POINTS: dict[str, tuple[Callable[[Float], Float], str]] = {
    "BODY_25, cut": (lambda k: body_25(k)[:18], "keypoints"),
    "COCO and a neck": (lambda k: np.concatenate([k[COCO_ORDER], k[1:2]]), "keypoints"),
    "x and y": (lambda k: k[:, [1, 0, 2]], "x and y exchanged"),
    "upside down": (lambda k: np.stack([k[:, 0], 511 - k[:, 1], k[:, 2]], 1), "upside down"),
    "left and right": (lambda k: k[list(kp.FLIP)], "sides exchanged"),
    "mirrored": (lambda k: np.stack([2 * k[kp.NECK, 0] - k[:, 0], k[:, 1], k[:, 2]], 1), "sides exchanged"),
    "head mirrored": (lambda k: k[[*range(14), 15, 14, 17, 16]], "contradict"),
}


@pytest.mark.parametrize("how", WRONG_POINTS)
def test_keypoints_in_another_order_are_refused(person: tuple[UInt8, UInt8, Float], how: str) -> None:
    _, labels, points = person
    change, words = WRONG_POINTS[how]
    assert why_odd_keypoints(points) is None
    assert words in str(why_inconsistent(labels, change(points).astype(np.float32)))


def test_keypoint_files_of_other_models_are_named(person: tuple[UInt8, UInt8, Float], tmp_path: Path) -> None:
    _, _, points = person
    file = tmp_path / "a_keypoints.json"

    def write(*people: Float, head: bytes = b"") -> None:
        data = {"people": [{"pose_keypoints_2d": k.ravel().tolist()} for k in people]}
        file.write_bytes(head + json.dumps(data).encode())

    write(points, head=b"\xef\xbb\xbf")  # as Windows saves it
    assert np.allclose(kp.load_openpose(file), points)
    write(body_25(points))
    with pytest.raises(SpgvtonError, match=r"a_keypoints\.json holds 25 keypoints, as BODY_25"):
        kp.load_openpose(file)
    write(points[COCO_ORDER])
    with pytest.raises(SpgvtonError, match="17 keypoints, as COCO"):
        kp.load_openpose(file)
    write(points, points)
    with pytest.raises(SpgvtonError, match="holds 2 people: keep the one"):
        kp.load_openpose(file)
    write(np.full((18, 3), np.nan, np.float32))
    with pytest.raises(SpgvtonError, match=r"a_keypoints\.json"):
        kp.load_openpose(file)
    for text in (
        b"[]",
        b"null",
        b'{"people": 5}',
        b'{"people": [[]]}',
        b"\xff\xfe",
        b'{"people": "abc"}',
        b"[" * 99999,
    ):
        file.write_bytes(text)
        with pytest.raises(SpgvtonError, match=r"a_keypoints\.json"):
            kp.load_openpose(file)


# ------------------------------------------------------------------ files of maps
def test_lossy_maps_are_refused_and_palettes_read(tmp_path: Path) -> None:
    _, labels = DemoAssets.open().person()
    image.write(tmp_path / "map.jpg", labels)
    disguised = tmp_path / "named.png"
    disguised.write_bytes((tmp_path / "map.jpg").read_bytes())
    for name in ("map.jpg", "named.png"):
        with pytest.raises(SpgvtonError, match=f"{name} is a JPEG, which changes label ids"):
            read_labels(tmp_path / name)
    image.write(tmp_path / "map.png", labels)
    assert (read_labels(tmp_path / "map.png") == labels).all()


def test_run_names_the_map_that_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assets = DemoAssets.open()
    _, labels = assets.person()
    image.write(tmp_path / "atr.png", ATR(labels))
    run = ["run", "--source", str(assets.clip), "--garment", str(assets.folder / "garment_1.jpg"), "--sink", "null"]
    run += ["--person", str(assets.folder / "person.jpg"), "--parsing", str(tmp_path / "atr.png"), "--max-frames", "1"]
    assert main(run) == 1
    said = capsys.readouterr().err
    assert "atr.png does not fit the picture: labels elsewhere" in said


# ------------------------------------------------------------------ parsers
def constant_parser(path: Path, output: np.ndarray, *, sides: tuple[int | str, int | str] = (64, 48)) -> Path:
    """A network that gives OUTPUT, whatever it sees."""
    value = helper.make_tensor("v", TensorProto.FLOAT, output.shape, output.ravel().astype(np.float32))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=value),
        helper.make_node("ReduceMean", ["x"], ["m"], keepdims=0),
        helper.make_node("Mul", ["m", "zero"], ["z"]),
        helper.make_node("Add", ["c", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "parser", [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, *sides))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output.shape)],
        [helper.make_tensor("zero", TensorProto.FLOAT, (), [0.0])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_parser_of_another_label_set_is_known_by_its_first_map(
    person: tuple[UInt8, UInt8, Float], tmp_path: Path
) -> None:
    picture, labels, points = person
    small = cv2.resize(labels, (48, 64), interpolation=cv2.INTER_NEAREST)
    path = constant_parser(tmp_path / "atr18.onnx", ATR(np.asarray(small))[None])
    parser = OnnxParser(path)
    for _ in range(2):  # and it is not believed later
        with pytest.raises(SpgvtonError, match=r"atr18\.onnx gave does not fit the picture: labels elsewhere"):
            parser(picture, points)
    right = OnnxParser(constant_parser(tmp_path / "cihp.onnx", np.asarray(small)[None]))
    assert (right(picture, points) == labels).mean() > 0.9
    assert right(picture[:, ::-1].copy(), points).shape == labels.shape  # one bad frame later is no other network


@pytest.mark.parametrize("shape", [(1, 20, 64, 48), (1, 64, 48)])
def test_nan_is_named(person: tuple[UInt8, UInt8, Float], tmp_path: Path, shape: tuple[int, ...]) -> None:
    picture, _, points = person
    parser = OnnxParser(constant_parser(tmp_path / "nan.onnx", np.full(shape, np.nan)))
    with pytest.raises(SpgvtonError, match=r"nan\.onnx gave NaN"):
        parser(picture, points)


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    (tmp_path / "lfs.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n")
    with pytest.raises(SpgvtonError, match="git lfs pull"):
        OnnxParser(tmp_path / "lfs.onnx")


def test_run_has_options_for_how_a_parser_wants_its_picture(
    tmp_path: Path, person: tuple[UInt8, UInt8, Float], capsys: pytest.CaptureFixture[str]
) -> None:
    assets = DemoAssets.open()
    small = cv2.resize(person[1], (48, 64), interpolation=cv2.INTER_NEAREST)
    path = constant_parser(tmp_path / "open.onnx", np.asarray(small)[None], sides=("h", "w"))
    run = ["run", "--source", str(assets.clip), "--garment", str(assets.folder / "garment_1.jpg"), "--sink", "null"]
    run += ["--max-frames", "1", "--person", str(assets.folder / "person.jpg")]
    own = [*run, "--parser", str(path)]
    assert main(own) == 1
    assert "--parser-size HxW; parser_size in kiosk.yaml" in capsys.readouterr().err
    assert main([*own, "--parser-size", "64x48", "--parser-colour", "rgb", "--parser-normalisation", "unit"]) == 0
    assert main([*own, "--parser-size", "64"]) == 2 and "HEIGHTxWIDTH" in capsys.readouterr().err
    assert main([*run, "--parser-colour", "rgb"]) == 2 and "belongs to --parser" in capsys.readouterr().err
