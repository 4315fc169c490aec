"""YAML that people wrote, before PyYAML builds anything of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import yaml

from spgvton.errors import SpgvtonError

MAX_DEPTH: Final = 16  # brackets, lists and groups of settings inside each other


def _events(text: str, name: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, yaml.SafeLoader)
    except (ValueError, OverflowError) as e:  # "\UFFFFFFFF": PyYAML does not ask whether there is one
        raise SpgvtonError(f"{name}: not YAML that can be read: a \\U escape names no character") from e


def check_events(text: str, name: str) -> None:
    """Nothing that takes PyYAML minutes: aliases multiply, and a token costs as much as the brackets around it."""
    depth = 0
    for event in _events(text, name):
        if isinstance(event, yaml.AliasEvent):
            raise SpgvtonError(f"{name}: YAML aliases (*name) are not read: write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            where = f"{name}:{event.start_mark.line + 1}" if event.start_mark else name
            raise SpgvtonError(f"{where}: settings are nested more than {MAX_DEPTH} deep: none of a kiosk's is")
