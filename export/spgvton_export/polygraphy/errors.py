"""How an error of ours ends a command of polygraphy's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polygraphy.logger import G_LOGGER

from spgvton.errors import SpgvtonError


@contextmanager
def one_line() -> Iterator[None]:
    """An SpgvtonError inside the block becomes polygraphy's own kind of error: one line and exit code 1, no traceback."""
    try:
        yield
    except SpgvtonError as e:
        G_LOGGER.critical(f"spgvton: {e}")
