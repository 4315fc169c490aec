"""Type and size of a PNG, JPEG or WebP picture from its first bytes, without decoding.

A decoder allocates what the header asks for, so a file of 100 bytes may cost gigabytes: limits are checked on this.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


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


def _jpeg_header(data: bytes) -> Header | None:
    """Walks the segments to the start of frame (ITU T.81, B.1)."""
    at = 2
    while at + 1 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Header("JPEG", width, height)
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            if length < 2 or marker == 0xDA:
                return None
            at += 2 + length
    return None


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
