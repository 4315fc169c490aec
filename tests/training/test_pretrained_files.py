"""Weight files of every format, whole, cut, damaged and hostile: tensors, or an error of one line."""

import json
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from spgvton.errors import SpgvtonError
from spgvton_training.pretrained.sources import read_weights

Tensors = dict[str, Tensor]


def one_line(error: pytest.ExceptionInfo[SpgvtonError], path: Path) -> str:
    message = str(error.value)
    assert "\n" not in message and str(path) in message
    return message


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "w.pth"
    for write in (lambda: torch.save({"a": Harmful()}, path), lambda: path.write_bytes(pickle.dumps(Harmful()))):
        write()
        with pytest.raises(SpgvtonError) as error:
            read_weights(path)
        one_line(error, path)
        assert not (tmp_path / "ran").exists()


def test_keras_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(SpgvtonError, match="pip install h5py") as error:
        read_weights(path)
    one_line(error, path)


def old_format(tensors: Tensors, path: Path) -> None:
    """As torchvision's and SphereFace's files of 2017."""
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


def write_h5(tensors: Tensors, path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="Keras files need h5py: pip install h5py")
    with h5py.File(path, "w") as f:
        for name, t in tensors.items():
            f[name] = t.numpy()


def write_manifest(tensors: Tensors, path: Path) -> None:
    (path.parent / "w.bin").write_bytes(b"".join(t.numpy().tobytes() for t in tensors.values()))
    entries = [{"name": k, "shape": list(t.shape), "dtype": "float32"} for k, t in tensors.items()]
    path.write_text(json.dumps([{"paths": ["w.bin"], "weights": entries}]))


WRITERS: dict[str, Callable[[Tensors, Path], None]] = {
    "zip": torch.save, "old": old_format, "safetensors": save_file, "manifest": write_manifest,
    "hdf5": write_h5,
}  # fmt: skip


@pytest.mark.parametrize("form", WRITERS)
def test_every_cut_is_noticed(form: str, tmp_path: Path) -> None:
    path, tensors = tmp_path / "w", {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(300)}
    WRITERS[form](tensors, path)
    file = read_weights(path)
    assert file.tensors.keys() == {"a", "b"} and torch.equal(file.tensors["a"], tensors["a"])
    whole = path.read_bytes()
    for length in {*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(SpgvtonError) as error:
            read_weights(path)
        one_line(error, path)
    if form == "manifest":
        path.write_bytes(whole)
        (tmp_path / "w.bin").write_bytes(bytes(306 * 4 - 1))
        with pytest.raises(SpgvtonError, match="truncated at b"):
            read_weights(path)
        (tmp_path / "w.bin").unlink()
        with pytest.raises(SpgvtonError, match=r"w\.bin"):
            read_weights(path)


@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_never_escape_as_other_errors(form: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "w"
        WRITERS[form]({"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(3)}, path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        try:
            assert all(isinstance(t, Tensor) for t in read_weights(path).tensors.values())
        except SpgvtonError as e:
            assert "\n" not in str(e)


scalars = st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats() | st.sampled_from(["a", "w.bin", "uint8"])
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
quantisation = st.dictionaries(st.sampled_from(["dtype", "scale", "min"]), values) | values
entries = st.fixed_dictionaries(
    {"name": st.just("a") | values, "shape": st.lists(st.integers(-1, 4), max_size=3) | values},
    optional={"dtype": st.sampled_from(["float32", "int32", "bool", "x"]) | values, "quantization": quantisation},
)
groups = st.fixed_dictionaries(
    {"paths": st.just(["w.bin"]) | values}, optional={"weights": st.lists(entries, max_size=3) | values}
)


@settings(max_examples=300, deadline=None)
@given(manifest=st.lists(groups | values, max_size=2) | values)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # scales that overflow
def test_any_json_is_a_manifest_or_an_error_of_one_line(manifest: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "m.json"
        path.write_text(json.dumps(manifest))
        (Path(name) / "w.bin").write_bytes(bytes(range(64)))
        try:
            read_weights(path)
        except SpgvtonError as e:
            assert "\n" not in str(e)
