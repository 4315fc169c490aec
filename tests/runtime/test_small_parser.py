"""The small parser's runtime: framing, bringing back, bystanders and faults, with a network that reads labels off colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_parser import STRANGER, figure, make_parser

from spgvton import image as im
from spgvton import keypoints as kp
from spgvton import labels as lb
from spgvton import person
from spgvton.errors import SpgvtonError, UsageError
from spgvton.image import Letterbox
from spgvton.perception.parse import framed
from spgvton.perception.parser_options import ParserOptions
from spgvton.perception.parsing import OnnxParser
from spgvton.perception.small import SmallParser
from spgvton.video import cv2

NOBODY = np.zeros((kp.NUM_KEYPOINTS, 3), np.float32)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_parser(tmp_path_factory.mktemp("parser") / "tiny.onnx")


@pytest.fixture(scope="module")
def parser(file: Path) -> SmallParser:
    return SmallParser(file)


def same(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of pixels away from the outlines of TRUTH that have its label."""
    wide = 2 * max(3, truth.shape[0] // 80) + 1
    edge = cv2.morphologyEx(truth, cv2.MORPH_GRADIENT, np.ones((wide, wide), np.uint8)) > 0
    return float((found == truth)[~edge].mean())


@pytest.mark.parametrize("size", [(256, 192), (512, 258), (300, 900), (1600, 1200)])
def test_labels_of_a_whole_picture(parser: SmallParser, size: tuple[int, int]) -> None:
    truth, keypoints = figure(size)
    labels = parser(lb.colourise(truth), keypoints)
    assert labels.shape == size and labels.dtype == np.uint8
    assert same(labels, truth) > 0.99 and (labels == truth).mean() > 0.965


@pytest.mark.parametrize("frame", [(256, 192), (128, 96), (128, 128), (256, 128)])
def test_framed_is_what_the_box_shows(parser: SmallParser, frame: tuple[int, int]) -> None:
    truth, keypoints = figure((720, 1280))
    box = person.framing(keypoints, truth.shape, frame)
    parse = framed(parser, lb.colourise(truth), keypoints, box)
    shown = np.asarray(box.apply(truth, border=0, nearest=True), np.uint8)
    assert parse.labels.shape == parse.free.shape == frame
    assert same(parse.labels, shown) > 0.995
    assert not parse.free[parse.labels > 0].any() and (parse.free[shown == 0] == 255).mean() > 0.9


def test_a_closer_look_at_the_upper_body(parser: SmallParser) -> None:
    """Of a whole figure the network sees head to hips once more; of a bust once."""
    truth, keypoints = figure((1024, 768))
    picture, scales = lb.colourise(truth), []

    class Watched(SmallParser):
        def _look(self, picture: np.ndarray, k: np.ndarray, box: Letterbox) -> np.ndarray:
            scales.append(box.scale)
            return super()._look(picture, k, box)

    watched = Watched(parser.path)
    watched(picture, keypoints)
    assert len(scales) == 2 and scales[1] > 1.25 * scales[0]
    watched(picture[:560], np.where(keypoints[:, 1:2] < 560, keypoints, 0).astype(np.float32))
    assert len(scales) == 3


def test_somebody_else_is_background_but_not_free_room(parser: SmallParser) -> None:
    truth, keypoints = figure((256, 384))
    picture = lb.colourise(truth)
    picture[60:250, 20:90] = STRANGER  # a bystander, or the poster of a person
    labels = parser(picture, keypoints)
    assert not labels[60:250, 20:90].any() and same(labels, truth) == 1
    box = Letterbox.fit((256, 384), (256, 192))
    parse = parser.framed(picture, keypoints, box)
    x, y = (box.matrix @ (55, 150, 1)).astype(int)
    assert parse.labels[y, x] == 0 and parse.free[y, x] == 0 and parse.free[y - 45, x + 25] == 255


def test_a_hand_in_a_tree_is_no_hand(parser: SmallParser) -> None:
    truth, keypoints = figure((256, 384))
    picture = lb.colourise(truth)
    picture[40:52, 134:146] = lb.PALETTE[lb.LEFT_ARM]
    picture[150:210, 246:264] = lb.PALETTE[lb.LEFT_ARM]  # a whole forearm may be seen behind something
    labels = parser(picture, keypoints)
    assert not labels[40:52, 134:146].any() and (labels[155:205, 249:261] == lb.LEFT_ARM).all()


def test_an_empty_room_is_free_but_for_people(parser: SmallParser) -> None:
    picture = im.read(Path(__file__).parents[1] / "data" / "person_front.jpg")
    free = parser.free(picture)
    assert free.shape == (256, 129) and not free[20:230, 45:75].any()  # the man
    assert parser.free(np.full((480, 640, 3), 120, np.uint8)).all()


def test_pictures_of_which_nothing_can_be_said(parser: SmallParser) -> None:
    truth, keypoints = figure()
    picture = lb.colourise(truth)
    face = NOBODY.copy()
    face[[kp.NOSE, kp.R_EYE, kp.L_EYE]] = keypoints[[kp.NOSE, kp.R_EYE, kp.L_EYE]]
    box = Letterbox.fit((256, 192))
    for points in (NOBODY, face):
        for call in (lambda: parser(picture, points), lambda: parser.framed(picture, points, box)):  # noqa: B023
            with pytest.raises(SpgvtonError, match="both shoulders must be seen"):
                call()
    black = np.zeros((256, 192, 3), np.uint8)
    for call in (lambda: parser(black, keypoints), lambda: parser.framed(black, keypoints, box)):
        with pytest.raises(SpgvtonError, match="nobody is seen"):
            call()
    try:  # a picture of one pixel
        assert parser(black[:1, :1], keypoints).shape == (1, 1)
    except SpgvtonError as e:
        assert "nobody is seen" in str(e)
    with pytest.raises(SpgvtonError, match="RGB uint8"):
        parser(picture.astype(np.float32), keypoints)  # type: ignore[arg-type]
    with pytest.raises(SpgvtonError, match="NaN"):
        parser(picture, np.full((18, 3), np.nan, np.float32))


def test_nan_of_the_network_is_one_clear_line(tmp_path: Path) -> None:
    broken = SmallParser(make_parser(tmp_path / "broken.onnx", broken=True))
    truth, keypoints = figure()
    picture = lb.colourise(truth)
    for call in (
        lambda: broken(picture, keypoints), lambda: broken.framed(picture, keypoints, Letterbox.fit((256, 192))),
    ):  # fmt: skip
        with pytest.raises(SpgvtonError, match=r"broken\.onnx gave NaN") as e:
            call()
        assert "\n" not in str(e.value)


def test_the_kind_of_a_file_is_known_by_its_inputs(file: Path) -> None:
    assert isinstance(ParserOptions().open(str(file)), SmallParser)
    for options, label_set in ((ParserOptions(colour="rgb"), "cihp"), (ParserOptions(), "lip")):
        with pytest.raises(UsageError, match="leave these options out"):
            options.open(str(file), label_set)
    with pytest.raises(SpgvtonError, match="no graph of spgvton export --parser"):
        SmallParser(Path(__file__).parents[2] / "runtime/spgvton/assets/models/selfie_multiclass.onnx")
    with pytest.raises(SpgvtonError, match="takes one float picture"):
        OnnxParser(file)
