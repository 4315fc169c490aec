"""What a picture file says of itself, without decoding: its type and size, which way up it is, where it ends.

A decoder allocates what the header asks for, so a file of 100 bytes may cost gigabytes: limits are checked on this.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
HEIC_BRANDS: Final = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"))
AVIF_BRANDS: Final = frozenset((b"avif", b"avis"))
ORIENTATION: Final = 0x0112  # the EXIF tag: 1 upright, 2 to 8 mirrored or turned
LFS_POINTER: Final = b"version https://git-lfs"
# In compressed data 0xFF is followed by 0, by a restart marker or by itself; anything else ends the scan (ITU T.81, B.1.1).
_MARKER: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# The turns of HEIF (irot: quarter turns to the left; imir) in EXIF's numbers.
_FROM_TURNS: Final = {(0, 0): 1, (0, 1): 2, (1, 0): 8, (1, 1): 5, (2, 0): 3, (2, 1): 4, (3, 0): 6, (3, 1): 7}


class Header(NamedTuple):
    """Format and size in pixels as the first bytes of a picture state them."""

    format: str
    width: int
    height: int


def read_header(data: bytes) -> Header | None:
    """The header of a PNG, JPEG or WebP; None for anything else, and where it is cut off or contradicts itself."""
    try:
        if data.startswith(PNG_SIGNATURE) and data[12:16] == b"IHDR":
            return Header("PNG", *struct.unpack_from(">II", data, 16))
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg_header(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_header(data)
    except struct.error:
        pass
    return None


def kind(data: bytes) -> str:
    """What DATA is, by its first bytes: "JPEG", "PNG", "WebP", "HEIC", "AVIF", "BMP", "TIFF", "" for anything else."""
    if data.startswith(b"\xff\xd8"):
        return "JPEG"
    if data.startswith(PNG_SIGNATURE):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        brands = {data[at : at + 4] for at in range(8, min(int.from_bytes(data[:4], "big"), 64), 4)}
        return "AVIF" if brands & AVIF_BRANDS else "HEIC" if brands & HEIC_BRANDS else ""
    if data.startswith(b"BM"):
        return "BMP"
    return "TIFF" if data[:4] in (b"II*\0", b"MM\0*") else ""


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, where its length stands) of each segment up to the first scan, which is included."""
    at = 2
    while at + 1 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        yield marker, at + 2
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2 or marker == 0xDA:
            return
        at += 2 + length


def _jpeg_header(data: bytes) -> Header | None:
    """From the start of frame (ITU T.81, B.2.2)."""
    for marker, at in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 3)
            return Header("JPEG", width, height)
    return None


def jpeg_end(data: bytes) -> int | None:
    """Where the picture in a JPEG ends: behind its end marker, before whatever cameras append. None where it has no end."""
    try:
        scan = next((at for marker, at in _jpeg_segments(data) if marker == 0xDA), None)
        while scan is not None:
            found = _MARKER.search(data, scan + int.from_bytes(data[scan : scan + 2], "big"))
            if found is None:
                return None
            if found[0] == b"\xff\xd9":
                return found.end()
            scan = found.end()  # a table or the next scan of a progressive picture
    except struct.error:
        pass
    return None


def orientation(data: bytes) -> int:
    """EXIF's orientation of a JPEG, PNG or WebP, or the same of an AVIF; 1 (upright) where nothing is said."""
    try:
        what = kind(data)
        if what == "AVIF":
            turn, flip = (data.find(name) for name in (b"irot", b"imir"))
            return _FROM_TURNS[data[turn + 4] & 3 if turn > 0 else 0, int(flip > 0)]
        blocks = {"JPEG": _jpeg_exif, "PNG": _png_exif, "WebP": _webp_exif}.get(what)
        exif = next(blocks(data), b"") if blocks else b""
        return _tiff_orientation(exif.removeprefix(b"Exif\0\0"))
    except (struct.error, IndexError):
        return 1


def _jpeg_exif(data: bytes) -> Iterator[bytes]:
    for marker, at in _jpeg_segments(data):
        if marker == 0xE1 and data[at + 2 : at + 8] == b"Exif\0\0":
            yield data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")]


def _png_exif(data: bytes) -> Iterator[bytes]:
    at = len(PNG_SIGNATURE)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"eXIf":
            yield data[at + 8 : at + 8 + length]
        at += 12 + length


def _webp_exif(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"EXIF":
            yield data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _tiff_orientation(exif: bytes) -> int:
    """The tag in the first directory of an EXIF block."""
    if exif[:2] not in (b"II", b"MM"):
        return 1
    order = "<" if exif[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, _, _, value = struct.unpack_from(order + "HHIH", exif, entry)
        if tag == ORIENTATION:
            return int(value) if 1 <= value <= 8 else 1
    return 1


def _webp_header(data: bytes) -> Header | None:
    """The three kinds of the WebP container specification."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[i : i + 3], "little") for i in (24, 27))
        return Header("WebP", width, height) if len(data) >= 30 else None
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header("WebP", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("WebP", width & 0x3FFF, height & 0x3FFF)
    return None
