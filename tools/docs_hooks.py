"""Hooks of `mkdocs build`: the verbs' page is made from the parsers, and links out of docs/ name the file they lead to.

A link to a file that the repository does not hold ends the build.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from spgvton.cli import VERBS, build_parser

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"
VERBS_HERE: Final = "<!-- verbs -->"
COLUMNS: Final = "100"  # of the help texts
LINK: Final = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")


def helps(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """PARSER and those of its sub-verbs."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from helps(sub)


def verbs_page() -> str:
    """A section for each verb and sub-verb: its --help."""
    os.environ["COLUMNS"] = COLUMNS
    parts = []
    for verb in VERBS:
        for action in build_parser(verb)._actions:
            if isinstance(action, argparse._SubParsersAction):
                for parser in helps(action.choices[verb]):
                    parts.append(f"## {parser.prog}\n\n```text\n{parser.format_help().rstrip()}\n```\n")
    return "\n".join(parts)


def outside(markdown: str, page: Path) -> str:
    """MARKDOWN of the file PAGE, with its links to files outside of docs/ as words. Raises FileNotFoundError."""

    def words(link: re.Match[str]) -> str:
        target = (page.parent / link[2]).resolve()
        if target.is_relative_to(DOCS):
            return link[0]
        if not target.exists():
            raise FileNotFoundError(f"{page}: the link {link[2]} leads nowhere")
        name = f"`{target.relative_to(ROOT)}`"
        return name if link[1].strip("`") in name else f"{link[1]} ({name})"

    return LINK.sub(words, markdown)


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Called by mkdocs for every page."""
    if VERBS_HERE in markdown:
        markdown = markdown.replace(VERBS_HERE, verbs_page())
    return outside(markdown, DOCS / page.file.src_uri)
