"""--backend auto: measured once, remembered by machine, bundle and versions; never a silent fallback."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import make_bundle

from spgvton import backends, machine
from spgvton.backends import auto, open_backend
from spgvton.backends.contract import LIVE, POSE
from spgvton.backends.onnxruntime import OnnxRuntimeBackend
from spgvton.bundle import Bundle
from spgvton.cli import main
from spgvton.errors import SpgvtonError, UsageError


class Slow(OnnxRuntimeBackend):
    """Takes 5 ms more, and counts what it is asked for."""

    made = closed = frames = 0

    def __init__(self, bundle: Bundle, **options: object) -> None:
        super().__init__(bundle, threads=1)
        Slow.made += 1

    def infer(self, frame: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        Slow.frames += 1
        time.sleep(0.005)
        return super().infer(frame)

    def describe(self) -> dict[str, str]:
        return {**super().describe(), "backend": "openvino"}

    def close(self) -> None:
        Slow.closed += 1


class Broken(OnnxRuntimeBackend):
    """Opens, and cannot run."""

    def __init__(self, bundle: Bundle, **options: object) -> None:
        super().__init__(bundle, threads=1)

    def infer(self, frame: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise SpgvtonError("its kernel is missing")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(auto, "SECONDS", 0.1)
    monkeypatch.setattr(auto, "first_gpu", lambda: None)
    Slow.made = Slow.closed = Slow.frames = 0


def use(monkeypatch: pytest.MonkeyPatch, second: type[OnnxRuntimeBackend] | None) -> None:
    """Candidates: the real ONNX Runtime, and SECOND as openvino."""
    names = ["onnxruntime"] if second is None else ["onnxruntime", "openvino"]
    monkeypatch.setattr(auto, "candidates", lambda bundle, mode: names)
    if second:
        monkeypatch.setattr("spgvton.backends.openvino.OpenVinoBackend", second)


def test_the_fastest_is_chosen_told_and_remembered(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Slow)
    bundle = Bundle.open(tiny_bundle)
    said: list[str] = []
    backend = open_backend("auto", bundle, threads=1, say=said.append)
    assert backend.describe()["backend"] == "onnxruntime" and (Slow.made, Slow.closed) == (1, 1)
    assert Slow.frames >= auto.WARM_UP + auto.MIN_FRAMES
    assert len(said) == 1 and "auto: onnxruntime (" in said[0] and "openvino" in said[0] and "measured now" in said[0]
    (entry,) = json.loads(auto.choices_file().read_text())["choices"].values()
    assert entry["backend"] == "onnxruntime" and entry["median_ms"]["openvino"] > 5
    open_backend("auto", bundle, threads=1, say=said.append)
    assert Slow.made == 1 and "remembered" in said[1] and "ms a frame" in said[1]
    # another number of threads, another bundle: another choice
    open_backend("auto", bundle, threads=2, say=said.append)
    assert Slow.made == 2 and len(json.loads(auto.choices_file().read_text())["choices"]) == 2


def test_measured_again_when_something_changed(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Slow)
    bundle = Bundle.open(tiny_bundle)
    said: list[str] = []
    open_backend("auto", bundle, say=said.append)
    version_of = machine.version_of
    monkeypatch.setattr(machine, "version_of", lambda m: "9.9" if m == "openvino" else version_of(m))
    open_backend("auto", bundle, say=said.append)
    assert "9.9" in said[1] and "measuring again" in said[1] and Slow.made == 2
    file = auto.choices_file()
    whole = file.read_text()
    for damage in (
        "{",
        whole[:-40],
        "[]",
        whole.replace('"median_ms"', '"ms"'),
        whole.replace("choices-1", "choices-0"),
        "\xff",
    ):
        file.write_bytes(damage.encode("latin-1"))
        before = Slow.made
        open_backend("auto", bundle, say=said.append)
        assert Slow.made == before + 1 and any("is damaged" in line for line in said[-2:]), damage
    assert json.loads(file.read_text())["format"] == auto.FORMAT
    other = Bundle.open(make_bundle(tmp_path / "other"))
    open_backend("auto", other, say=said.append)
    assert "remembered" in said[-1]  # the same manifest


def test_a_failing_back_end_is_named_and_not_remembered(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle.open(tiny_bundle)

    def missing(*_: object, **__: object) -> None:
        raise SpgvtonError("libtbb is broken")

    said: list[str] = []
    for second, reason in ((missing, "libtbb is broken"), (Broken, "its kernel is missing")):
        use(monkeypatch, second)  # type: ignore[arg-type]
        backend = open_backend("auto", bundle, say=said.append)
        assert backend.describe()["backend"] == "onnxruntime"
        assert f"openvino cannot be used: {reason}" in said[-2] and reason in said[-1]
        assert not auto.choices_file().exists()
    monkeypatch.setattr(auto, "candidates", lambda bundle, mode: ["openvino"])
    with pytest.raises(SpgvtonError, match="no back end can run"):
        open_backend("auto", bundle, say=said.append)


def test_a_remembered_back_end_that_is_gone_is_told(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Slow)
    bundle = Bundle.open(tiny_bundle)
    said: list[str] = []
    open_backend("auto", bundle, say=said.append)
    text = auto.choices_file().read_text().replace('"backend": "onnxruntime"', '"backend": "openvino"')
    auto.choices_file().write_text(text)
    use(monkeypatch, Broken)
    real = auto._open

    def gone(name: str, *rest: object) -> object:
        if name == "openvino":
            raise SpgvtonError("gone")
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(auto, "_open", gone)
    assert open_backend("auto", bundle, say=said.append).describe()["backend"] == "onnxruntime"
    assert "cannot be opened now (gone)" in said[1]


def test_read_only_cache_costs_only_time(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, None)
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    said: list[str] = []
    assert open_backend("auto", Bundle.open(tiny_bundle), say=said.append).describe()["backend"] == "onnxruntime"
    assert "no other one here" in said[0] and "not remembered" in said[1]


def test_choices_are_bounded(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, None)
    monkeypatch.setattr(auto, "KEPT", 2)
    monkeypatch.setattr(auto, "SECONDS", 0.0)
    for threads in (1, 2, 3):
        open_backend("auto", Bundle.open(tiny_bundle), threads=threads, say=lambda _: None)
    assert len(json.loads(auto.choices_file().read_text())["choices"]) == 2


def test_candidates_follow_what_is_installed(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, whole = Bundle.open(tiny_bundle), Bundle.open()
    installed = {"openvino", "tensorrt", "pycuda"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in installed else None)
    assert auto.candidates(bundle, POSE) == ["onnxruntime", "openvino"]
    monkeypatch.setattr(auto, "first_gpu", object)
    assert auto.candidates(bundle, POSE) == ["onnxruntime", "openvino", "tensorrt"]
    joint = ["onnxruntime with the joint graph", "openvino with the joint graph"]
    assert auto.candidates(whole, POSE) == ["onnxruntime", "openvino", *joint, "tensorrt"]
    assert auto.candidates(whole, LIVE) == ["onnxruntime", "openvino", *joint, "tensorrt"]
    installed.remove("pycuda")  # engines can be built without it, and not run
    assert auto.candidates(bundle, POSE) == ["onnxruntime", "openvino"]
    installed.clear()
    assert auto.candidates(bundle, POSE) == ["onnxruntime"]


def test_command_line(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    use(monkeypatch, None)
    monkeypatch.setattr(auto, "SECONDS", 0.0)
    arguments = [
        "bench",
        "single-stream",
        "--backend",
        "auto",
        "--bundle",
        str(tiny_bundle),
        "--seconds",
        "0",
        "--json",
    ]
    assert main(arguments) == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout)["backend"]["backend"] == "onnxruntime" and "auto: onnxruntime" in stderr
    with pytest.raises(UsageError, match="--warp"):
        backends.open_backend("auto", Bundle.open(tiny_bundle), warp="plugin")
