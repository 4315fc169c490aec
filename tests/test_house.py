"""Files that are read in one sitting, functions that fit a screen: the limits of this house (docs/architecture.md)."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("runtime", "training", "export", "calibration", "tools", "results", "examples")
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 400, 60


def sources() -> list[Path]:
    found = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    assert len(found) > 200, "the folders have moved"
    return found


def test_no_file_is_too_long() -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in sources()}
    assert not {name: n for name, n in lengths.items() if n > LINES_OF_A_FILE}


def test_no_function_is_too_long() -> None:
    too_long = {}
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > LINES_OF_A_FUNCTION:
                    too_long[f"{file.relative_to(ROOT)}:{node.lineno} {node.name}"] = length
    assert not too_long
