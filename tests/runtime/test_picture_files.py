"""Pictures as cameras, telephones and editors write them: padded, turned, transparent, of 16 bits, in Apple's format."""

from __future__ import annotations

import builtins
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spgvton import image as im
from spgvton.errors import SpgvtonError
from spgvton.image_header import jpeg_end, orientation
from spgvton.mask import decode_mask, read_mask
from spgvton.perception.garment_mask import garment_mask

TURNS = {  # EXIF's number -> how an upright picture was stored
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, 1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}  # fmt: skip


def picture(channels: int = 3) -> np.ndarray:
    """64 x 48, different in all four corners."""
    y, x = np.mgrid[:64, :48]
    rgb = np.stack([x * 5, y * 3, (x + y) * 2], 2).astype(np.uint8)
    alpha = np.where((x > 8) & (y > 16), 255, 0).astype(np.uint8)
    return rgb if channels == 3 else np.dstack([rgb, alpha])


def encode(array: np.ndarray, suffix: str, *options: int) -> bytes:
    code = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    bgr = array if array.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(array), code[array.shape[2]])
    ok, data = cv2.imencode(suffix, bgr, list(options))
    assert ok
    return data.tobytes()


def exif(turn: int, order: str = ">") -> bytes:
    """A TIFF block with two tags, the second of which is the orientation."""
    start = b"MM\0*" if order == ">" else b"II*\0"
    tags = struct.pack(order + "HHIHH", 0x0110, 3, 1, 7, 0) + struct.pack(order + "HHIHH", 0x0112, 3, 1, turn, 0)
    return start + struct.pack(order + "IH", 8, 2) + tags + bytes(4)


def with_exif(data: bytes, block: bytes) -> bytes:
    """DATA, a JPEG, PNG or lossless WebP, with an EXIF block."""
    if data.startswith(b"\xff\xd8"):
        body = b"Exif\0\0" + block
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    if data.startswith(b"RIFF"):
        bits = struct.unpack_from("<I", data, 21)[0]
        size = (bits & 0x3FFF).to_bytes(3, "little") + (bits >> 14 & 0x3FFF).to_bytes(3, "little")
        chunks = b"VP8X" + struct.pack("<I", 10) + b"\x18\0\0\0" + size + data[12:]
        chunks += b"EXIF" + struct.pack("<I", len(block)) + block + bytes(len(block) % 2)
        return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    return data[:33] + chunk + data[33:]  # behind the header


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize(
    "behind",
    [bytes(144), b"\x5a" * 100, b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40, b"SEFT" + b"\xff\xd8\xff" * 30],
)
def test_what_stands_behind_a_jpeg_is_ignored(behind: bytes, progressive: int) -> None:
    data = encode(picture(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    assert jpeg_end(data) == jpeg_end(data + behind) == len(data)
    assert (im.decode(data + behind, "a.jpg") == im.decode(data, "a.jpg")).all()


@pytest.mark.parametrize("progressive", [0, 1])
def test_a_truncated_jpeg_is_refused_whatever_stands_behind(progressive: int) -> None:
    data = encode(picture(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    for end in range(20, len(data) - 2, 97):
        with pytest.raises(SpgvtonError, match="truncated JPEG"):
            im.decode(data[:end], "a.jpg")
    thumbnail = encode(picture()[:32, :32], ".jpg")  # its end marker is not the picture's
    body = b"Exif\0\0" + thumbnail
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    with pytest.raises(SpgvtonError, match="truncated JPEG"):
        im.decode(data[: len(data) // 2 + len(body) // 2], "a.jpg")
    assert im.decode(data, "a.jpg").shape == (64, 48, 3)


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_every_turn_of_exif_in_every_format(suffix: str, turn: int, order: str) -> None:
    options = (cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()
    stored = with_exif(encode(TURNS[turn](picture()), suffix, *options), exif(turn, order))
    found = im.decode(stored, f"a{suffix}")
    assert found.shape == (64, 48, 3)
    assert np.abs(found.astype(int) - picture()).mean() < (8 if suffix == ".jpg" else 0.01)
    grey = im.decode(stored, f"a{suffix}", flags=cv2.IMREAD_GRAYSCALE)
    assert grey.shape == (64, 48)


@pytest.mark.parametrize("turn", [3, 6, 8])
@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_alpha_is_turned_with_its_picture(suffix: str, turn: int) -> None:
    options = (cv2.IMWRITE_WEBP_QUALITY, 101) if suffix == ".webp" else ()
    stored = with_exif(encode(TURNS[turn](picture(4)), suffix, *options), exif(turn))
    found = im.decode_colour(stored, f"a{suffix}", keep_alpha=True)
    assert (found[..., 3] == picture(4)[..., 3]).all()
    assert (found[found[..., 3] > 0] == picture(4)[found[..., 3] > 0]).all()


@pytest.mark.parametrize("block", [b"", b"MM", b"II*\0" + b"\xff" * 8, exif(9), exif(0), exif(6)[:14]])
def test_damaged_exif_turns_nothing(block: bytes) -> None:
    data = with_exif(encode(picture(), ".png"), block)
    assert orientation(data) == 1
    assert (im.decode(data, "a.png") == picture()).all()


def test_alpha_of_16_bits_is_alpha() -> None:
    deep = picture(4).astype(np.uint16) * 257
    found = im.decode_colour(encode(deep, ".png"), "a.png", keep_alpha=True)
    assert found.dtype == np.uint8 and (found == picture(4)).all()
    assert (garment_mask(found) > 0).mean() == pytest.approx((picture(4)[..., 3] > 0).mean(), abs=0.02)
    assert im.decode_colour(encode(deep[..., :3], ".png"), "a.png", keep_alpha=True).shape == (64, 48, 3)


def test_grey_with_alpha_and_palette_with_alpha_keep_it() -> None:
    """OpenCV writes neither, so these are made by hand: 16 x 16, the left half transparent."""
    grey = b"".join(b"\0" + bytes((200, 0)) * 8 + bytes((200, 255)) * 8 for _ in range(16))
    palette = b"".join(b"\0" + b"\0" * 8 + b"\1" * 8 for _ in range(16))
    colours = chunk(b"PLTE", bytes((9, 9, 9, 200, 200, 200))) + chunk(b"tRNS", b"\0\xff")
    for rows, kind, more in ((grey, 4, b""), (palette, 3, colours)):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, kind, 0, 0, 0))
        data = b"\x89PNG\r\n\x1a\n" + head + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        found = im.decode_colour(data, "a.png", keep_alpha=True)
        assert found.shape == (16, 16, 4)
        assert (found[:, 8:] == (200, 200, 200, 255)).all() and not found[:, :8, 3].any()
        assert (im.decode(data, "a.png")[:, :8] == 255).all()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_transparent_parts_of_a_person_show_white_not_what_lies_below() -> None:
    found = im.decode(encode(picture(4), ".png"), "me.png")
    hidden = picture(4)[..., 3] == 0
    assert (found[hidden] == 255).all() and (found[~hidden] == picture()[~hidden]).all()
    half = picture(4)
    half[..., 3] = 128
    assert abs(int(im.decode(encode(half, ".png"), "a.png")[63, 0, 0]) - 127) <= 1
    with pytest.raises(SpgvtonError, match=r"me\.png is wholly transparent"):
        im.decode(encode(np.dstack([picture(), np.zeros((64, 48), np.uint8)]), ".png"), "me.png")


# ------------------------------------------------------------------ masks
def shape() -> np.ndarray:
    mask = np.zeros((64, 48), np.uint8)
    mask[12:56, 8:40] = 255
    return mask


def test_masks_are_understood_however_they_are_written(tmp_path: Path) -> None:
    white = np.full((64, 48, 3), 255, np.uint8)
    ways = {
        "0 and 255": shape(), "0 and 1": shape() // 255, "16 bits": shape().astype(np.uint16) * 257,
        "16 bits, 0 and 1": (shape() // 255).astype(np.uint16), "colour": np.dstack([shape()] * 3),
        "palette colour": np.dstack([shape() // 2, shape() * 0, shape() * 0]), "alpha": np.dstack([white, shape()]),
        "alpha of 16 bits": np.dstack([white, shape()]).astype(np.uint16) * 257,
        "opaque alpha": np.dstack([np.dstack([shape()] * 3), np.full((64, 48), 255, np.uint8)]),
    }  # fmt: skip
    for name, array in ways.items():
        file = tmp_path / "mask.png"
        file.write_bytes(encode(array, ".png"))
        assert (read_mask(file, (64, 48)) == shape()).all(), name
    soft = cv2.GaussianBlur(shape(), (0, 0), 2)
    assert (decode_mask(encode(soft, ".png"), "m.png") == soft).all()


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (255 - shape(), "inverted"), (shape() * 0, "empty"), (np.full((64, 48), 255, np.uint8), "full"),
        (shape() // 5, None), (np.dstack([np.dstack([shape()] * 3), 255 - shape()]), "inverted"),
    ],
)  # fmt: skip
def test_masks_that_no_garment_can_have_are_refused_in_one_line(mask: np.ndarray, words: str | None) -> None:
    if words is None:  # two values, whatever they are
        assert (decode_mask(encode(mask, ".png"), "m.png") == shape()).all()
        return
    with pytest.raises(SpgvtonError, match=f"garment mask {words}: m.png") as caught:
        decode_mask(encode(mask, ".png"), "m.png")
    assert "\n" not in str(caught.value)


def test_a_garment_that_fills_its_picture_is_not_taken_for_an_inverted_mask() -> None:
    mask = np.full((64, 48), 255, np.uint8)
    mask[:6, 14:34] = 0  # the neck
    mask[50:] = 0
    assert (decode_mask(encode(mask, ".png"), "m.png") == mask).all()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
@pytest.mark.parametrize("keep_alpha", [True, False])
def test_a_wholly_transparent_picture_is_refused(suffix: str, keep_alpha: bool) -> None:
    empty = np.dstack([np.full((64, 48, 3), 200, np.uint8), np.zeros((64, 48), np.uint8)])
    if suffix == ".webp":
        empty[..., :3] = 0  # which OpenCV's encoder would drop
    with pytest.raises(SpgvtonError, match=rf"a{suffix} is wholly transparent"):
        im.decode_colour(encode(empty, suffix), f"a{suffix}", keep_alpha=keep_alpha)


def test_a_garment_with_inverted_alpha_is_refused() -> None:
    with pytest.raises(SpgvtonError, match="invert the alpha"):
        garment_mask(np.dstack([picture(), 255 - shape()]))


# ------------------------------------------------------------------ HEIC, AVIF, pointers
def heic() -> bytes:
    return (Path(__file__).parent.parent / "data" / "garment.heic").read_bytes()


def test_heic_is_named_where_it_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for name in ("IMG_0001.HEIC", "IMG_0001.jpg"):  # telephones rename it and do not convert it
        (tmp_path / name).write_bytes(heic())
        with pytest.raises(SpgvtonError, match=rf"{name} is a HEIC picture: pip install pillow-heif"):
            im.read(tmp_path / name)


def test_heic_is_read_upright_where_pillow_heif_is_installed() -> None:
    pytest.importorskip("pillow_heif")
    found = im.decode(heic(), "a.heic")
    assert found.shape[0] > found.shape[1]  # stored lying on its side
    down, across = (np.abs(np.diff(found.astype(int), axis=axis)).mean() for axis in (0, 1))
    assert down > 1.5 * across, "its stripes lie"
    with pytest.raises(SpgvtonError, match="HEIC picture that cannot be decoded"):
        im.decode(heic()[:400], "a.heic")


def test_avif_is_read_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(100)
    with pytest.raises(SpgvtonError, match=r"a\.jpg is an AVIF picture, which this OpenCV cannot read"):
        im.decode(data, "a.jpg")
    try:
        stored = encode(picture(4), ".avif")
    except (AssertionError, cv2.error):
        pytest.skip("this OpenCV has no AVIF")
    found = im.decode_colour(stored, "a.avif", keep_alpha=True)
    assert found.shape == (64, 48, 4) and (found[..., 3] > 128).mean() == pytest.approx(0.6, abs=0.1)
    assert orientation(stored + b"\0\0\0\x09irot\x03") == 6


def test_a_pointer_of_git_lfs_is_named() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    with pytest.raises(SpgvtonError, match="git lfs pull"):
        im.decode(pointer, "a.png")


def test_heic_in_folders_is_reported_not_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    garments = pytest.importorskip("spgvton_training.data.garments")
    real_import = builtins.__import__

    def no_heif(name: str, *args: Any, **more: Any) -> Any:
        if name == "pillow_heif":
            raise ImportError(name)
        return real_import(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", no_heif)
    (tmp_path / "shirt.HEIC").write_bytes(heic())
    found = garments.list_garments(tmp_path)
    rejected = garments.make_garments(tmp_path / "out", found, (64, 48))
    assert list(found) == ["shirt"] and "HEIC" in rejected[0].reason
