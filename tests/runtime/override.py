"""`spgvton` refuses an option that is given twice; tests change one of a list of arguments all the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from spgvton import cli

REPEATABLE: Final = ("--garment", "--garment-mask", "--sink")


def latest(arguments: Sequence[str]) -> list[str]:
    """ARGUMENTS in which of each option, but those that may be repeated, the last one alone is left, with its values."""
    groups: list[list[str]] = [[]]
    for argument in arguments:
        if argument.startswith("--"):
            groups.append([])
        groups[-1].append(argument)
    last = {group[0]: i for i, group in enumerate(groups) if group}
    kept = (
        g for i, g in enumerate(groups) if not g or g[0] in REPEATABLE or not g[0].startswith("--") or last[g[0]] == i
    )
    return [argument for group in kept for argument in group]


def main(arguments: Sequence[str]) -> int:
    """spgvton.cli.main() of the latest ARGUMENTS."""
    return cli.main(latest(arguments))
