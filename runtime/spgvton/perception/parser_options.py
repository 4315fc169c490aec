"""How a human parser of one's own wants its picture: what `run`, `prepare` and kiosk.yaml have settings for."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from spgvton.errors import UsageError
from spgvton.perception.parsing import NORMALISATIONS, OnnxParser

COLOURS: Final = ("bgr", "rgb")
SIZE: Final = r"^\d{2,4}x\d{2,4}$"


class ParserOptions(NamedTuple):
    """size: (height, width) where the file leaves it open. colour, normalisation: what the network was trained on."""

    size: tuple[int, int] | None = None
    colour: str = COLOURS[0]
    normalisation: str = next(iter(NORMALISATIONS))

    def open(self, path: str, label_set: str) -> OnnxParser:
        """The parser in the ONNX file PATH. Raises SpgvtonError."""
        return OnnxParser(path, label_set, size=self.size, bgr=self.colour == "bgr", normalisation=self.normalisation)


def parse_size(text: str) -> tuple[int, int]:
    """ "512x384" -> (512, 384), height and width. Raises UsageError."""
    if not re.fullmatch(SIZE, text):
        raise UsageError(f"a parser's size is HEIGHTxWIDTH in pixels, for example 473x473, not '{text}'")
    height, width = (int(side) for side in text.split("x"))
    return height, width
