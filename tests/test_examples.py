"""The public face, the examples in docstrings, and the programs in examples/: all of them run."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import spgvton
from spgvton import image, labels

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTED = (
    "backends", "bundle", "demo_assets", "economy", "image", "keypoints", "labels", "live.tryon", "perception.garment_mask",
    "perception.parsing", "perception.pose", "person", "session", "stream.frames", "stream.loop", "stream.sources",
)  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with me.jpg and shirt.jpg."""
    shutil.copyfile(ROOT / "tests/data/person_front.jpg", tmp_path / "me.jpg")
    shutil.copyfile(ROOT / "runtime/spgvton/assets/demo/garment_1.jpg", tmp_path / "shirt.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("module", DOCUMENTED)
def test_examples_in_docstrings(module: str, pictures: Path) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"spgvton.{module}"), optionflags=doctest.ELLIPSIS)
    assert tried and not failed


def test_the_public_face_is_complete_and_loaded_on_first_use() -> None:
    tree = ast.parse(Path(spgvton.__file__).read_text())
    told = {
        alias.name for node in tree.body if isinstance(node, ast.If) for i in node.body if isinstance(i, ast.ImportFrom)
        for alias in i.names
    }  # fmt: skip
    assert told == set(spgvton._HOME) == set(spgvton.__all__) - {"__version__"}
    for name, module in spgvton._HOME.items():
        assert getattr(spgvton, name) is getattr(importlib.import_module(module), name)
    code = "import sys, spgvton; print(sorted({'numpy', 'cv2', 'onnxruntime'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Tryon'"):
        _ = spgvton.Tryon


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested() -> None:
    tests = Path(__file__).read_text() + (ROOT / "tests/runtime/kiosk/web/test_kiosk_client.py").read_text()
    for file in (ROOT / "examples").glob("*.py"):
        assert f'"{file.stem}"' in tests or f"{file.stem}.py" in tests, file


def test_run_clip(pictures: Path) -> None:
    clip = spgvton.DemoAssets.open().clip
    example("run_clip").main(str(clip), "shirt.jpg", "out.mp4", frames=4)
    result = spgvton.open_source("out.mp4")
    assert result.size == (720, 540) and result.count == 4
    camera = spgvton.open_source(str(clip)).read()
    dressed = result.read()
    assert camera and dressed
    changed = np.abs(camera.image.astype(int) - dressed.image).max(2) > 60
    assert 0.03 < changed.mean() < 0.3 and not changed[:100].any()  # the clothes, and nothing above the shoulders


def test_own_backend(pictures: Path) -> None:
    backend = example("own_backend").main("me.jpg", "shirt.jpg", "out.jpg")
    assert len(backend.times) == 1 and backend.describe()["timed"] == "yes"
    assert image.read("out.jpg").shape == image.read("me.jpg").shape


def test_own_parser(pictures: Path) -> None:
    module = example("own_parser")
    module.main("me.jpg", "shirt.jpg", "out.jpg")
    assert image.read("out.jpg").shape == image.read("me.jpg").shape
    parser = module.NoCoats()
    parser.shipped = lambda picture, keypoints: np.array([[labels.COAT, labels.FACE]], np.uint8)
    assert parser(None, None).tolist() == [[labels.UPPER_CLOTHES, labels.FACE]]
