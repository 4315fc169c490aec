"""The extension of `polygraphy run`, and docs/polygraphy.md: its commands are read out of the page and run."""

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest
from polygraphy.common import TensorMetadata
from polygraphy.logger import G_LOGGER
from polygraphy.tools import main

from spgvton.bundle import GRAPHS, Bundle, shipped
from spgvton.errors import SpgvtonError
from spgvton_export.fp16.bundle import convert_bundle
from spgvton_export.polygraphy.loaders import RealInputs, graph_for, inputs_of
from spgvton_export.samples import demo_samples

PAGE = Path(__file__).resolve().parents[3] / "docs" / "polygraphy.md"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module", autouse=True)
def entry_point() -> None:
    """Polygraphy finds the extension by the installed package's metadata alone."""
    (found,) = metadata.entry_points(group="polygraphy.run.plugins", name="spgvton") or (None,)
    assert found, "the package was installed before it had this extension: pip install -e '.[dev]'"
    assert found.value == "spgvton_export.polygraphy.arguments:argument_groups"


@pytest.fixture(scope="module")
def realtime() -> Bundle:
    """The shipped bundle: exporting a smaller one takes longer than these tests."""
    return Bundle.open()


def run(*arguments: object) -> int:
    """`polygraphy run ARGUMENTS` in this process. Returns the exit code."""
    with G_LOGGER.verbosity(G_LOGGER.INFO):
        return int(main(["run", *map(str, arguments)]) or 0)


def refusal(capsys: Capture, *arguments: object) -> str:
    """The one line by which `polygraphy run ARGUMENTS` ends."""
    capsys.readouterr()
    assert run(*arguments) == 1
    printed = "".join(capsys.readouterr())
    assert "Traceback" not in printed
    lines = [line for line in printed.splitlines() if line.startswith("[!]")]
    assert len(lines) == 1 and lines[0].startswith("[!] spgvton: "), printed
    return lines[0]


# ----- inputs ---------------------------------------------------------------------------------------------------------


def test_graphs_are_known_by_their_inputs(realtime: Bundle) -> None:
    for name in GRAPHS:
        assert graph_for(realtime, inputs_of(realtime.graph(name))) == name
    fixed = {k: (1, *shape[1:]) for k, shape in inputs_of(realtime.graph("g2")).items()}
    assert graph_for(realtime, fixed) == "g2"  # an engine's sizes are numbers
    with pytest.raises(SpgvtonError, match=r"takes semantic .* g2 of bundle .* give the bundle"):
        graph_for(realtime, {k: (*shape[:-1], 7) for k, shape in fixed.items()})


@pytest.mark.parametrize(("name", "limit"), [("g1", "5e-3"), ("gmm2", "5e-3"), ("live", "1")])  # the page has tryon, g3
def test_pytorch_agrees_on_what_the_chain_gives(realtime: Bundle, name: str, limit: str, capsys: Capture) -> None:
    """Both runners get real inputs, and real ones are what the graphs before this one gave; live gives rounded bytes."""
    options = ["--iterations", "2", "--atol", limit, "--check-error-stat", "max"]
    assert run(realtime.graph(name), "--onnxrt", "--spgvton-torch", "--spgvton-bundle", realtime.folder, *options) == 0
    assert "Passed: 2/2 iterations" in capsys.readouterr().out


def test_wrong_weights_are_found(realtime: Bundle, tmp_path: Path, capsys: Capture) -> None:
    """The comparison can fail: one bias of the graph is moved, PyTorch has it as it was."""
    model = onnx.load(str(realtime.graph("g3")))
    bias = next(t for t in model.graph.initializer if t.name.startswith("g3.conv11.bias"))
    bias.raw_data = (onnx.numpy_helper.to_array(bias) + 1).astype(np.float16).tobytes()
    onnx.save(model, tmp_path / "g3.onnx")
    command = [tmp_path / "g3.onnx", "--onnxrt", "--spgvton-torch", "--spgvton-bundle", realtime.folder]
    assert run(*command, "--iterations", "1", "--compare", "psnr", "--psnr-threshold", "60") == 1
    assert "FAILED" in capsys.readouterr().out


def test_real_inputs_are_real_and_go_round(realtime: Bundle, tmp_path: Path) -> None:
    saved = tmp_path / "inputs"
    command = [realtime.graph("g2"), "--onnxrt", "--spgvton-bundle", realtime.folder, "--iterations", "10"]
    assert run(*command, "--save-inputs", saved) == 0
    assert len(list(saved.iterdir())) == 10
    loader = RealInputs(str(realtime.folder), 10)
    loader.input_metadata = TensorMetadata()
    for name, shape in inputs_of(realtime.graph("g2")).items():
        loader.input_metadata.add(name, np.float32, shape)
    feeds = list(loader)
    assert all(set(f) == {"semantic", "body", "cloth", "keypoints"} for f in feeds)
    np.testing.assert_allclose(feeds[0]["semantic"].sum(1), 1, atol=1e-5)  # probabilities: G1 has run
    assert feeds[9]["body"] is feeds[0]["body"]
    assert len({f["keypoints"].tobytes() for f in feeds}) == 3


# ----- refusals -------------------------------------------------------------------------------------------------------


def test_refusals(realtime: Bundle, tmp_path: Path, capsys: Capture) -> None:
    tryon, bundle = realtime.graph("tryon"), ["--spgvton-bundle", realtime.folder]
    text = tmp_path / "text.onnx"
    text.write_text("no graph")
    damaged = Path(shutil.copytree(realtime.folder, tmp_path / "damaged"))
    (damaged / "g1.onnx").write_bytes(b"")
    other = onnx.load(str(realtime.graph("gmm1")), load_external_data=False)
    other.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 128
    onnx.save(other, tmp_path / "other.onnx")
    movenet = shipped().parents[1] / "models" / "movenet_lightning.onnx"
    engine = ["--model-type", "engine", "--trt", "--spgvton-torch"]
    for arguments, message in (
        ([tryon, "--onnxrt", "--spgvton-bundle", tmp_path / "none"], "none is not a model bundle"),
        ([tryon, "--onnxrt", "--spgvton-bundle", damaged], "hash differs"),
        ([movenet, "--onnxrt", *bundle], "no graph of bundle"),
        ([text, "--onnxrt", *bundle], "is not an ONNX graph"),
        ([tmp_path / "other.onnx", "--onnxrt", *bundle], "give the bundle that the model belongs to"),
        ([tryon, "--onnxrt", "--spgvton-torch"], "add --spgvton-bundle"),
        ([tryon, *engine, *bundle], "needs the ONNX graph"),
        ([tryon, "--onnxrt", *bundle, "--seed", "1"], "leave out --seed"),
        ([tryon, "--onnxrt", *bundle, "--load-inputs", text], "leave out --load-inputs"),
        ([tryon, "--trt", "--spgvton-plugin", tmp_path / "none.so"], "there is no plugin library"),
    ):
        assert message in refusal(capsys, *arguments)


def test_torch_is_not_needed_for_the_rest(realtime: Bundle) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from polygraphy.tools import main\n"
        f"command = ['run', {str(realtime.graph('g2'))!r}, '--onnxrt', '--spgvton-bundle', {str(realtime.folder)!r}]\n"
        "sys.exit(main([*command, '--iterations', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stdout + done.stderr


# ----- TensorRT -------------------------------------------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    paths = {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return os.environ | paths | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"} | more


def rtx_run(*arguments: object, **more: str) -> str:
    """`polygraphy run` on TensorRT-RTX in a process of its own. Without a GPU no engine can be loaded."""
    command = [str(Path(sys.executable).with_name("polygraphy")), "run", *map(str, arguments)]
    more |= {"POLYGRAPHY_USE_TENSORRT_RTX": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment(**more))
    printed = done.stdout + done.stderr
    assert done.returncode == 1, printed
    assert "Traceback" not in printed
    return printed


def test_plugin_is_in_the_engine(
    plugin_library: Path, rtx_short_name: Path, realtime: Bundle, native_build: Path, tmp_path: Path
) -> None:
    engine = tmp_path / "e"
    command = [
        realtime.graph("tryon"),
        "--trt",
        "--spgvton-bundle",
        realtime.folder,
        "--save-engine",
        engine,
        "--spgvton-plugin",
    ]
    path = {"LD_LIBRARY_PATH": str(rtx_short_name)}
    printed = rtx_run(*command, plugin_library, **path)
    assert "Could not deserialize engine" in printed
    assert b"TpsGridSample" in engine.read_bytes()
    engine.unlink()
    for library, more, message in (
        (native_build / "libtps_host.so", path, "is not the plugin"),
        (plugin_library, {}, r"libtensorrt_rtx\.so can be loaded"),
    ):
        printed = rtx_run(*command, library, **more)
        (line,) = re.findall(r"^\[!\] .*", printed, re.MULTILINE)
        assert re.search(f"spgvton: .*{message}", line)
        assert not engine.exists()


# ----- the page -------------------------------------------------------------------------------------------------------


def blocks(kind: str) -> list[str]:
    found = re.findall(r"^<!-- ([a-z: -]+) -->\n```bash\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [text for marker, text in found if marker == kind]


def test_every_block_is_marked() -> None:
    total = PAGE.read_text().count("```bash\n")
    assert sum(len(blocks(k)) for k in ("tested", "tested: tensorrt-rtx", "gpu")) == total - 1  # pip install


@pytest.fixture(scope="module")
def folder(realtime: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder as the page has it."""
    root = tmp_path_factory.mktemp("page")
    (root / "bundles").mkdir()
    (root / "bundles" / "realtime").symlink_to(realtime.folder)
    samples = demo_samples(realtime.size, realtime.label_set)[:1]
    convert_bundle(realtime, root / "bundles" / "realtime-fp16", samples, inputs="shipped demo", seconds=0)
    library = root / "build" / "native" / "libspgvton_plugin.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"")
    return root


def shell(script: str, folder: Path) -> str:
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_commands_of_the_page(folder: Path) -> None:
    printed = "".join(shell(block, folder) for block in blocks("tested"))
    assert printed.count("Pass Rate: 100.00%") == 3
    assert "Average inference time" in printed
    assert re.search(r"onnxrt-runner-\S+ p50 \d+\.\d ms p90 \d+\.\d ms p99 \d+\.\d ms", printed)
    assert re.search(r"Node \d+ .*\[Op: Conv\]", printed)


def test_rtx_command_of_the_page(rtx: object, folder: Path) -> None:
    (block,) = blocks("tested: tensorrt-rtx")
    shell(block, folder)
    assert (folder / "tryon.engine").stat().st_size > 100_000


def test_gpu_commands_of_the_page_make_scripts(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Up to the point where they would need the GPU."""
    monkeypatch.chdir(folder)
    (folder / "tryon.engine").touch()
    commands = [line.split("polygraphy run ")[1].split() for line in "".join(blocks("gpu")).splitlines()]
    assert len(commands) == 5
    for command in commands:
        assert run(*command, "--gen-script", tmp_path / "script.py") == 0
        script = (tmp_path / "script.py").read_text()
        assert "TrtRunner(" in script and "WithPlugin(" in script and "RealInputs('bundles/realtime'" in script
        assert ("GraphForPlugin(" in script) == (command[0] != "tryon.engine")
