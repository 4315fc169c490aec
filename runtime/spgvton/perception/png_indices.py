"""Palette PNGs: the index of each pixel, which OpenCV throws away by turning it into its colour.

LIP and CIHP label maps are often saved with a palette (VOC style), where the index is the label id. This reads the one
kind that matters, non-interlaced palette PNGs of 1 to 8 bits, with zlib alone; every other PNG goes to OpenCV.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.files import read_file
from spgvton.image import MAX_BYTES, MAX_PIXELS, decode
from spgvton.image_header import PNG_SIGNATURE, kind
from spgvton.labels import check_semantic_map
from spgvton.video import cv2

GREY, PALETTE = 0, 3  # PNG colour types
LOSSY = ("JPEG", "WebP", "AVIF", "HEIC")


def read_indices(path: Path, max_bytes: int, max_pixels: int) -> NDArray[np.generic]:
    """The indices of a palette PNG, or the values of a grey picture: an integer array (H, W).

    Raises SpgvtonError when PATH cannot be read, is damaged or too large, or is a colour picture.
    """
    data = read_file(path, max_bytes, "maps of labels")
    if kind(data) in LOSSY:
        raise SpgvtonError(
            f"{path} is a {kind(data)}, which changes label ids along every edge: save the map as PNG, from its source"
        )
    if data.startswith(PNG_SIGNATURE) and data[25:26] == bytes([PALETTE]):
        return decode_palette(data, str(path), max_pixels)
    picture = decode(data, str(path), flags=cv2.IMREAD_UNCHANGED)
    if picture.ndim != 2:
        raise SpgvtonError(
            f"{path} is a colour picture: give a map of label ids (grey or palette PNG, one id per pixel)"
        )
    return picture


def read_labels(path: Path) -> NDArray[np.uint8]:
    """The semantic map in a PNG, grey or with a palette: ids (H, W). Raises SpgvtonError, which names PATH."""
    return check_semantic_map(read_indices(path, MAX_BYTES, MAX_PIXELS), str(path))


def decode_palette(data: bytes, name: str, max_pixels: int) -> NDArray[np.uint8]:
    """Indices (H, W) of a palette PNG in memory. Raises SpgvtonError when it is damaged, interlaced or too large."""
    try:
        width, height, depth, _, _, _, interlace = struct.unpack(">IIBBBBB", data[16:29])
        if width * height > max_pixels or not width or not height:
            raise SpgvtonError(f"{name} has {width}x{height} pixels; at most {max_pixels // 10**6} megapixels are read")
        if interlace or depth not in (1, 2, 4, 8):
            raise SpgvtonError(f"{name} is an interlaced palette PNG: save it without interlacing")
        stride = (width * depth + 7) // 8
        packed, offset = bytearray(), len(PNG_SIGNATURE)
        while offset + 8 <= len(data):
            length, kind = struct.unpack(">I4s", data[offset : offset + 8])
            if kind == b"IDAT":
                packed += data[offset + 8 : offset + 8 + length]
            offset += 12 + length
        size = (stride + 1) * height
        raw = zlib.decompressobj().decompress(bytes(packed), size)  # never more than the header announces
        if len(raw) != size:
            raise ValueError(f"{len(raw)} of {size} bytes")
        rows = unfilter(np.frombuffer(raw, np.uint8).reshape(height, stride + 1))
    except (struct.error, zlib.error, ValueError) as e:
        raise SpgvtonError(f"{name} is a damaged PNG ({e}): save it again") from e
    if depth == 8:
        return rows
    bits = np.unpackbits(rows, axis=1)[:, : width * depth].reshape(height, width, depth)
    return (bits @ (1 << np.arange(depth - 1, -1, -1, dtype=np.uint8))).astype(np.uint8)


def unfilter(rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Undo the PNG line filters; ROWS (H, 1 + stride) start with the filter's number. One byte per pixel or less."""
    kinds, body = rows[:, 0], rows[:, 1:]
    out = np.zeros_like(body)
    above = np.zeros(body.shape[1], np.uint8)
    for y, number in enumerate(kinds):
        if number == 0:
            line = body[y]
        elif number == 1:  # difference to the left
            line = np.cumsum(body[y], dtype=np.uint8)
        elif number == 2:  # difference to the line above
            line = body[y] + above
        elif number in (3, 4):  # mean of both; Paeth's predictor: each byte needs the one before it
            line = np.array(unfilter_line(body[y].tolist(), above.tolist(), number == 4), np.uint8)
        else:
            raise ValueError(f"line filter {number}")
        out[y] = above = line
    return out


def unfilter_line(line: list[int], above: list[int], paeth: bool) -> list[int]:
    """Undo filter 3 (mean) or 4 (Paeth) of one line."""
    left = corner = 0
    out = []
    for value, up in zip(line, above):
        if paeth:
            p = left + up - corner
            a, b, c = abs(p - left), abs(p - up), abs(p - corner)
            guess = left if a <= b and a <= c else (up if b <= c else corner)
        else:
            guess = (left + up) // 2
        left, corner = (value + guess) & 255, up
        out.append(left)
    return out
