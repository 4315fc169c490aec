"""The manual: its commands are ones that the parsers take, its links lead somewhere, its Python runs, mkdocs builds it.

Commands that need what CI has not (a GPU, a camera, your data) are parsed as all others; nothing of them is run.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spgvton.cli import VERBS, build_parser
from spgvton.version import __version__

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = sorted([README, *ROOT.glob("[A-Z]*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "results").glob("*.md")])
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
TORCHRUN = re.compile(r"^torchrun .*-m (?=spgvton )")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """Fenced code of PAGE in one of LANGUAGES."""
    yield from (code for language, code in FENCE.findall(page.read_text()) if language in languages)


def commands(text: str) -> Iterator[str]:
    """Every `spgvton ...` of a shell script, on one line each and with shell variables filled in."""
    for line in re.sub(r"\s*\\\n\s*", " ", text).splitlines():
        script = re.split(r" #|\s{2,}", line.strip())[0]  # what follows is a comment
        for part in re.split(r"&&|;| \| ", TORCHRUN.sub("", script)):
            command = re.sub(r"^(do |then |\S*/bin/|sudo )+", "", part.strip())
            command = re.sub(r" [12]?>.*$", "", command)
            if command.startswith("spgvton ") and "..." not in command:
                yield re.sub(r"\$\{?\w+\}?", "1", command)


@functools.cache
def parser_of(verb: str) -> argparse.ArgumentParser:
    pytest.importorskip(VERBS[verb][0])
    return build_parser(verb)


def check(command: str) -> None:
    """Fail unless COMMAND is one that its parser takes."""
    words = shlex.split(command, comments=True)[1:]
    if words and words[0] in VERBS:
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
                parser_of(words[0]).parse_args(words)
        except SystemExit as e:
            assert not e.code, f"{command}\n{said.getvalue().splitlines()[-1]}"
    else:
        assert words == ["--version"], f"{command}: no such verb"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_are_ones_that_the_parsers_take(page: Path) -> None:
    for text in blocks(page, "bash", "sh"):
        for command in commands(text):
            check(command)


@pytest.mark.parametrize("verb", VERBS)
def test_examples_of_help_are_too(verb: str) -> None:
    module = importlib.import_module(VERBS[verb][0])
    found = list(commands(module.__doc__ or ""))
    assert found
    for command in found:
        check(command)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_verbs_and_options_that_a_text_names_exist(page: Path) -> None:
    """Of fragments such as `spgvton train --qat`, which leave out what else is needed."""
    for fragment in re.findall(r"`(spgvton [a-z][^`]*)`", page.read_text()):
        if "\n" in fragment or "..." in fragment:
            continue
        _, verb, *rest = shlex.split(fragment.replace("'", ""))
        assert verb in VERBS, f"`{fragment}`: no such verb"
        known = set(option_strings(parser_of(verb)))
        unknown = {word.split("=")[0] for word in rest if word.startswith("--")} - known - {"--help"}
        assert not unknown, f"`{fragment}`"


def option_strings(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from option_strings(sub)


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub and mkdocs make them."""
    text = re.sub(FENCE, "", page.read_text())
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    words = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower() for title in titles]
    return {re.sub(r"[^\w\- ]", "", w).strip().replace(" ", "-") for w in words}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", re.sub(FENCE, "", page.read_text()))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)}: {target}"
        if anchor and file.suffix == ".md":
            assert re.sub("-+", "-", anchor) in {re.sub("-+", "-", a) for a in anchors(file)}, f"{name(page)}: {target}"


def test_readme_is_short_and_has_what_ci_runs() -> None:
    text = README.read_text()
    assert len(text.split()) <= 700
    for marker in ("demo", "test"):
        assert re.search(rf"^<!-- {marker} -->\n```bash\n", text, re.MULTILINE)


def test_readme_python(tmp_path: Path) -> None:
    """Its lines, on a photograph of a person and a shipped garment."""
    shutil.copyfile(ROOT / "tests/data/person_front.jpg", tmp_path / "me.jpg")
    shutil.copyfile(ROOT / "runtime/spgvton/assets/demo/garment_1.jpg", tmp_path / "shirt.jpg")
    (code,) = blocks(README, "python")
    assert len(code.strip().splitlines()) <= 7
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dressed.jpg").stat().st_size > 1000


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_of_the_manual_compiles_and_imports_what_exists(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(code, name(page), "exec")
        for module, names in re.findall(r"^from (spgvton[\w.]*) import ([\w, ]+)$", code, re.MULTILINE):
            for wanted in re.split(r",\s*", names):
                found = importlib.import_module(module)
                assert hasattr(found, wanted) or importlib.import_module(f"{module}.{wanted}")


def test_the_version_stands_once() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"({__version__})" in (ROOT / "CHANGELOG.md").read_text()
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()


def test_mkdocs_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    paths = [str(ROOT / folder) for folder in ("runtime", "training", "export", "calibration")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site/reference/cli/index.html").read_text()
    assert "spgvton calibrate" in page and "--max-ssim-drop" in page
    assert "set_garment" in (tmp_path / "site/reference/python/index.html").read_text()
