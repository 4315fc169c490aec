"""Which human parser: one that ships, by its name, or an ONNX file and how it wants its picture."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from spgvton.errors import SpgvtonError, UsageError
from spgvton.perception.multiclass import MulticlassParser
from spgvton.perception.onnx_session import input_names
from spgvton.perception.parsing import NORMALISATIONS, OnnxParser, Parser
from spgvton.perception.small import INPUTS, SmallParser

COLOURS: Final = ("bgr", "rgb")
SIZE: Final = r"^\d{2,4}x\d{2,4}$"
MULTICLASS: Final = "multiclass"
SMALL: Final = "small"
SHIPPED: Final[dict[str, Callable[[int | None], Parser]]] = {
    MULTICLASS: lambda threads: MulticlassParser(threads), SMALL: lambda threads: SmallParser(threads=threads),
}  # fmt: skip
FOR_STREAMS: Final = SMALL  # of live mode, cameras and videos: every answer waits for it
FOR_PICTURES: Final = MULTICLASS  # of photographs, which can wait


class ParserOptions(NamedTuple):
    """size: (height, width) where the file leaves it open. colour, normalisation: what the network was trained on."""

    size: tuple[int, int] | None = None
    colour: str = COLOURS[0]
    normalisation: str = next(iter(NORMALISATIONS))

    def open(self, which: str, label_set: str = "cihp", threads: int | None = None) -> Parser:
        """The parser WHICH: a name of SHIPPED, a graph of `spgvton export --parser`, or another ONNX file. Raises SpgvtonError."""
        if which not in SHIPPED and set(input_names(which)) != set(INPUTS):
            bgr = self.colour == "bgr"
            return OnnxParser(
                which, label_set, size=self.size, bgr=bgr, normalisation=self.normalisation, threads=threads or 1
            )
        if label_set != "cihp" or self != ParserOptions():
            raise UsageError(
                f"parser {which} gives cihp labels and knows how it wants its picture: leave these options out"
            )
        return SHIPPED[which](threads) if which in SHIPPED else SmallParser(which, threads)


def check_choice(which: str) -> str:
    """WHICH as it is. Raises SpgvtonError where it is neither a name of SHIPPED nor a file."""
    if which not in SHIPPED and not Path(which).is_file():
        raise SpgvtonError(f"--parser {which}: no such file; give an ONNX human parser, or one of {', '.join(SHIPPED)}")
    return which


def parse_size(text: str) -> tuple[int, int]:
    """ "512x384" -> (512, 384), height and width. Raises UsageError."""
    if not re.fullmatch(SIZE, text):
        raise UsageError(f"a parser's size is HEIGHTxWIDTH in pixels, for example 473x473, not '{text}'")
    height, width = (int(side) for side in text.split("x"))
    return height, width
