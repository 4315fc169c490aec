"""Pictures: bounded decoding, normalisation, letterboxing; atomic writes."""

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spgvton import image as im
from spgvton.errors import SpgvtonError
from spgvton.files import atomic_path, make_folder, write_text


def picture(h: int = 64, w: int = 48) -> np.ndarray:
    y, x = np.mgrid[:h, :w]
    return np.stack([x * 5 % 256, y * 3 % 256, (x + y) % 256], 2).astype(np.uint8)


def test_png_round_trip(tmp_path: Path) -> None:
    im.write(tmp_path / "a.png", picture())
    assert (im.read(tmp_path / "a.png") == picture()).all()


def test_truncated_jpeg_and_png(tmp_path: Path) -> None:
    for suffix in ("jpg", "png"):
        file = tmp_path / f"a.{suffix}"
        im.write(file, picture(200, 200))
        file.write_bytes(file.read_bytes()[:700])
        with pytest.raises(SpgvtonError, match=f"a.{suffix}"):
            im.read(file)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9"])
def test_not_a_picture(data: bytes) -> None:
    with pytest.raises(SpgvtonError, match=r"x\.png"):
        im.decode(data, "x.png")


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    _, tiny = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(SpgvtonError, match="1x1"):
        im.decode(tiny.tobytes(), "tiny.png")
    monkeypatch.setattr(im, "MAX_PIXELS", 1000)
    _, large = cv2.imencode(".png", picture())
    with pytest.raises(SpgvtonError, match="megapixels"):
        im.decode(large.tobytes(), "large.png")
    monkeypatch.setattr(im, "MAX_BYTES", 10)
    with pytest.raises(SpgvtonError, match="MiB"):
        im.decode(large.tobytes(), "large.png")


def test_missing_file() -> None:
    with pytest.raises(SpgvtonError, match="No such file"):
        im.read("/nowhere/x.png")


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_decode_never_fails_otherwise(data: bytes) -> None:
    with contextlib.suppress(SpgvtonError):
        im.decode(data, "fuzz")


def test_normalise_inverts() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rgb = np.stack([values] * 3, 2)
    n = im.normalise(rgb)
    assert n.min() == -1 and n.max() == 1 and n.dtype == np.float32
    assert (im.denormalise(n) == rgb).all()


@given(st.integers(20, 700), st.integers(20, 700))
@settings(max_examples=50)
def test_letterbox_points_invert(h: int, w: int) -> None:
    box = im.Letterbox.fit((h, w))
    corners = np.array([[-0.5, -0.5, 1], [w - 0.5, h - 0.5, 0.3], [3, 4, 0]], np.float32)
    inside = box.points(corners)
    assert (inside[:2, 0] >= -0.51).all() and (inside[:2, 0] <= 191.51).all()
    assert (inside[:2, 1] >= -0.51).all() and (inside[:2, 1] <= 255.51).all()
    assert (inside[:, 2] == corners[:, 2]).all()
    assert np.allclose(box.points_back(inside)[:, :2], corners[:, :2], atol=0.01)


def test_letterbox_picture_and_points_agree() -> None:
    big = np.zeros((900, 400), np.uint8)
    big[300:320, 100:120] = 255
    box = im.Letterbox.fit((900, 400))
    small = np.asarray(box.apply(big, border=0))
    assert small.shape == (256, 192)
    y, x = np.nonzero(small > 127)
    expected = box.points(np.array([[109.5, 309.5, 1]], np.float32))[0]
    assert abs(x.mean() - expected[0]) < 0.6 and abs(y.mean() - expected[1]) < 0.6
    back = np.asarray(box.invert(small))
    assert back.shape == (900, 400) and back[310, 110] > 127 and back[340, 140] < 127


@given(
    st.tuples(st.integers(20, 700), st.integers(20, 700)), st.floats(0.3, 3), st.floats(-100, 900), st.floats(-100, 900)
)
@settings(max_examples=80)
def test_around_puts_the_point_in_place_unless_an_edge_forbids(
    source: tuple[int, int], scale: float, x: float, y: float
) -> None:
    box = im.Letterbox.around(source, scale, (x, y), (96, 80))
    for pad, extent, room in zip(box.pad, source[::-1], (192, 256)):
        spare = room - extent * scale
        if spare >= 0:
            assert pad == spare / 2, "centred"
        else:
            assert spare - 1e-6 <= pad <= 1e-6, "never beyond the picture"
    placed = box.points(np.array([[x, y, 1]], np.float32))[0]
    for axis, wanted in ((0, 96.0), (1, 80.0)):
        full, space = source[1 - axis] * scale, (192.0, 256.0)[axis]
        if space - full < box.pad[axis] < 0:
            assert abs(placed[axis] - wanted) < 0.01


def test_letterbox_of_network_size_is_identity() -> None:
    p = picture(256, 192)
    assert im.Letterbox.fit((256, 192)).apply(p) is p


def test_atomic_write_keeps_the_old_file_on_failure(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with pytest.raises(RuntimeError), atomic_path(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError("power cut")
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpgvtonError, match="cannot create folder"):
        make_folder(tmp_path / "file" / "sub")
    with pytest.raises(SpgvtonError, match="cannot write"):
        write_text(tmp_path / "missing" / "a.txt", "x")
