"""What the Dockerfiles and documents tell people to install and build exists. The images themselves are not built here."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
TEXTS = [
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(path for path in (ROOT / "deploy").rglob("*") if path.is_file()),
    ROOT / "README.md",
    ROOT / ".ci/run",
]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_extras_that_are_named_exist(path: Path) -> None:
    for named in re.findall(r"(?:spgvton|/src|'\.)\[([a-z,\- ]+)\]", path.read_text()):
        assert set(re.split(r",\s*", named)) <= set(EXTRAS), named


def requirements(extra: str) -> set[str]:
    """The distributions of EXTRA, extras of this project followed."""
    found: set[str] = set()
    for line in EXTRAS[extra]:
        own = re.fullmatch(r"spgvton\[([a-z,\-]+)\]", line)
        found |= set().union(*map(requirements, own.group(1).split(","))) if own else {re.split(r"[>=<; ]", line)[0]}
    return found


def test_builders_need_no_compiler_and_no_pip_tensorrt_on_a_jetson() -> None:
    """PyCUDA is compiled by pip, with CUDA's headers; PyPI's tensorrt cannot be installed on a Jetson."""
    for extra in ("tensorrt", "tensorrt-rtx"):
        assert "pycuda" not in requirements(extra) and "onnx" in requirements(extra)
    assert requirements("jetson") == {"pycuda", "onnx"}


def test_the_jetson_image_can_run_tensorrt() -> None:
    text = (ROOT / "deploy/Dockerfile.l4t").read_text()
    (targets,) = re.findall(r"--target ([\w ]+) ", text)
    (copied, folder) = re.findall(r"cp (/tmp/native/.*) (\S+)/ ", text)[0]
    for target, variable in zip(targets.split(), ("SPGVTON_PLUGIN", "SPGVTON_COMPOSITOR"), strict=True):
        assert f"add_library({target} MODULE" in (ROOT / "CMakeLists.txt").read_text()
        assert f"{variable}={folder}/lib{target}.so" in text and f"/tmp/native/lib{target}.so" in copied.split()
    assert "'/src[web,jetson]'" in text and "--group-add" in text and "--system-site-packages" in text
