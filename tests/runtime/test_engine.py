"""spgvton build: graphs for TensorRT's parser, the engine cache, and real builds by TensorRT-RTX, which need no GPU."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from override import main

from spgvton.bundle import GRAPHS, MODES, WEIGHTS, Bundle, shipped, write_manifest
from spgvton.cli import build as build_verb
from spgvton.engine import build as build_module
from spgvton.engine import cache
from spgvton.engine.build import Options, build, check_memory
from spgvton.engine.flavour import Flavour, load
from spgvton.engine.gpu import Gpu
from spgvton.engine.graph import OPERATOR, prepare
from spgvton.engine.parts import FRAME, GARMENT
from spgvton.engine.progress import monitor
from spgvton.engine.timing import TimingCache
from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder
from spgvton_export import tps_op

RTX = "tensorrt-rtx"


def warp_model(half: bool = False, **attributes: Any) -> onnx.ModelProto:
    """Image and theta -> warped image as uint8, by one TpsGridSample; image in float16 where HALF."""
    dtype = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    attributes = tps_op.TpsAttributes().node_attributes() | attributes
    node = helper.make_node(OPERATOR[1], ["image", "theta"], ["warped"], "warp", domain=OPERATOR[0], **attributes)
    turned = helper.make_node("Transpose", ["warped"], ["turned"], perm=[0, 2, 3, 1])
    to_bytes = helper.make_node("Cast", ["turned"], ["out"], to=TensorProto.UINT8)
    graph = helper.make_graph(
        [node, turned, to_bytes],
        "tryon",
        [
            helper.make_tensor_value_info("image", dtype, ["N", 3, 16, 12]),
            helper.make_tensor_value_info("theta", TensorProto.FLOAT, ["N", 2, 25]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.UINT8, ["N", 16, 12, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    tps_op.attach(model)
    return model


def bundle_of(folder: Path, model: onnx.ModelProto | bytes, precision: str = "fp32") -> Bundle:
    """A bundle whose joint graph is MODEL."""
    folder.mkdir(exist_ok=True)
    (folder / "tryon.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    (folder / WEIGHTS).write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    network = {"label_set": "cihp", "height": 16, "width": 12}
    return write_manifest(folder, {"network": network, "precision": precision}, ["tryon.onnx", WEIGHTS])


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return bundle_of(tmp_path / "bundle", warp_model())


# ----- the graph ------------------------------------------------------------------------------------------------------


def random_inputs(session: ort.InferenceSession, batch: int) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(3)
    feeds: dict[str, NDArray[Any]] = {}
    for i in session.get_inputs():
        shape = [batch, *i.shape[1:]]
        if i.type == "tensor(uint8)":
            feeds[i.name] = rng.integers(0, 20 if i.name == "labels" else 256, shape, dtype=np.uint8)
            continue
        feeds[i.name] = rng.random(shape, dtype=np.float32)
        if "keypoints" in i.name:
            feeds[i.name] *= np.array([192, 256, 1], np.float32)
    return feeds


def run(model: bytes | str, batch: int) -> list[NDArray[Any]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [np.asarray(a) for a in session.run(None, random_inputs(session, batch))]


@pytest.mark.parametrize("name", GRAPHS)
def test_prepared_graph_computes_the_same(name: str) -> None:
    path = Bundle.open().graph(name)
    model, warps = prepare(path, "function")
    assert warps == 0
    assert len(model.functions) == 0
    stored = {t.name for t in model.graph.initializer}
    assert not any(n.op_type == "Cast" and n.input[0] in stored for n in model.graph.node), "weights are constants"
    assert not any(t.data_type == TensorProto.FLOAT16 for t in model.graph.initializer)
    for found, expected in zip(run(model.SerializeToString(), 2), run(str(path), 2)):
        assert found.dtype == expected.dtype
        if found.dtype == np.uint8:
            assert (abs(found.astype(int) - expected.astype(int)) > 1).mean() < 1e-3, (
                "labels may flip where two are likely"
            )
        else:
            np.testing.assert_allclose(found, expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", ["tryon", "live"])
def test_uint8_is_at_the_border_alone(name: str) -> None:
    model, warps = prepare(Bundle.open().graph(name), "plugin")
    assert warps == 1
    assert len(model.functions) == 0
    uint8 = [v.name for v in model.graph.output if v.type.tensor_type.elem_type == TensorProto.UINT8]
    casts = [n for n in model.graph.node if n.op_type == "Cast" and n.attribute[0].i == TensorProto.UINT8]
    assert sorted(o for n in casts for o in n.output) == sorted(uint8)
    given = [v.name for v in model.graph.input if v.type.tensor_type.elem_type == TensorProto.UINT8]
    readers = [n.op_type for n in model.graph.node if set(n.input) & set(given)]
    assert readers == ["Cast"] * len(given)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_oldest_parser_knows_every_operator(name: str) -> None:
    """onnx-tensorrt 10.1 is that of TensorRT 10.1; 10.3 is the oldest that is supported."""
    known = (Path(__file__).parents[1] / "data/onnx_tensorrt_10.1_operators.txt").read_text().split()
    model, _ = prepare(Bundle.open().graph(name), "function")
    assert {n.op_type for n in model.graph.node} <= set(known)
    assert all(n.domain == "" for n in model.graph.node)


def test_prepare_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "tryon.onnx"
    path.write_bytes(b"\xff not ONNX")
    with pytest.raises(SpgvtonError, match="is no ONNX graph"):
        prepare(path, "function")
    with pytest.raises(SpgvtonError, match="cannot read"):
        prepare(tmp_path / "absent.onnx", "function")
    model = warp_model()
    del model.functions[:]
    onnx.save(model, path)
    with pytest.raises(SpgvtonError, match="no function body"):
        prepare(path, "function")
    shutil.copy(shipped() / "g3.onnx", path)  # without the weights
    with pytest.raises(SpgvtonError, match="cannot read weight"):
        prepare(path, "function")
    (tmp_path / WEIGHTS).write_bytes(b"short")
    with pytest.raises(SpgvtonError, match="cannot read weight"):
        prepare(path, "function")


# ----- the cache ------------------------------------------------------------------------------------------------------


def test_cache_tells_why_an_engine_is_stale(tmp_path: Path) -> None:
    engine, key = tmp_path / "g.engine", {"graph": "a" * 64, "max_batch": 1, "plugin": None}
    assert cache.why_stale(engine, key) == ""
    cache.write(engine, b"plan", key, {"plugin_layers": 0})
    assert cache.why_stale(engine, key) is None
    assert cache.read_facts(engine) == {"plugin_layers": 0}
    assert cache.why_stale(engine, key | {"max_batch": 4}) == "max_batch: 1 -> 4"
    assert cache.why_stale(engine, key | {"graph": "b" * 64}) == "graph: aaaaaaaa... -> bbbbbbbb..."
    assert cache.why_stale(engine, key | {"new": "x"}) == "new: null -> x"
    engine.write_bytes(b"pla")
    assert "hash differs" in str(cache.why_stale(engine, key))
    sidecar = cache.sidecar_of(engine)
    for damaged in ("{", "[]", "{}", '{"key": 1}', "\x00"):
        sidecar.write_text(damaged)
        assert cache.why_stale(engine, key) == "its sidecar is damaged"
    sidecar.write_text(json.dumps({"format": "other", "key": key, "engine": {"sha256": ""}}))
    assert "format" in str(cache.why_stale(engine, key))
    sidecar.unlink()
    assert cache.why_stale(engine, key) == "it has no sidecar"


def test_a_full_disk_leaves_no_engine(tmp_path: Path) -> None:
    """The limit on file size fails a write in its middle, as a full disk does."""
    code = (
        "import resource, signal, sys; from pathlib import Path; from spgvton.engine import cache\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "cache.write(Path(sys.argv[1]), bytes(5000), {}, {})"
    )
    engine = tmp_path / "g.engine"
    done = subprocess.run(
        [sys.executable, "-c", code, str(engine)], check=False, capture_output=True, text=True, env=env()
    )
    assert "SpgvtonError: cannot write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_default_folders_differ_between_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folders = {cache.default_folder(tmp_path / name / "mini") for name in ("a", "b")}
    assert len(folders) == 2
    assert all(f.is_relative_to(tmp_path / "spgvton") and f.name.startswith("mini-") for f in folders)


# ----- the GPU --------------------------------------------------------------------------------------------------------

DRIVER = """
#include <cstddef>
#include <cstring>
extern "C" {
int cuInit(unsigned) { return STATUS; }
int cuDeviceGet(int* device, int) { *device = 0; return 0; }
int cuDeviceGetName(char* name, int, int) { std::strcpy(name, "NVIDIA Test"); return 0; }
int cuDeviceGetAttribute(int* value, int attribute, int) { *value = attribute == 16 ? 16 : attribute == 75 ? 8 : 7; return 0; }
int cuDeviceTotalMem_v2(std::size_t* bytes, int) { *bytes = 5ull << 30; return 0; }
static int retained, pushed;
int cuDevicePrimaryCtxRetain(void** context, int) { ++retained; *context = &retained; return 0; }
int cuDevicePrimaryCtxRelease_v2(int) { return --retained; }
int cuCtxPushCurrent_v2(void* context) { pushed += context == &retained; return 0; }
int cuCtxPopCurrent_v2(void**) { return --pushed; }
int cuMemGetInfo_v2(std::size_t* free, std::size_t*) { *free = 3ull << 30; return pushed == 1 && retained == 1 ? 0 : 1; }
}
"""


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler")
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, "Gpu(name='NVIDIA Test', sm='87', memory=5368709120, multiprocessors=16) 3221225472 3221225472"),
        (100, "None None None"),
    ],
)
def test_gpu_is_asked_from_the_driver(tmp_path: Path, status: int, expected: str) -> None:
    """A library in the driver's place, through the real loader."""
    source = tmp_path / "driver.cpp"
    source.write_text(DRIVER)
    options = ["-shared", "-fPIC", f"-DSTATUS={status}", "-o", str(tmp_path / "libcuda.so.1")]
    subprocess.run(["g++", str(source), *options], check=True)
    code = "from spgvton.engine.gpu import first_gpu, free_memory as f; print(first_gpu(), f(), f())"
    environment = env() | {"LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == expected


def test_modules_of_one_name_are_different_gpus() -> None:
    """All Jetson Orin modules say "Orin"; a power mode may switch multiprocessors off; updates change memory a little."""
    nano = Gpu("Orin", "87", 8 << 30, 8)
    others = [Gpu("Orin", "87", 8 << 30, 4), Gpu("Orin", "87", 16 << 30, 8), Gpu("Orin", "87", 64 << 30, 16)]
    assert len({g.identity for g in (nano, *others)}) == len({g.slug for g in (nano, *others)}) == 4
    assert replace(nano, memory=nano.memory - (100 << 20)).slug == nano.slug
    assert re.fullmatch(r"sm87-[0-9a-f]{8}", nano.slug)


# ----- TensorRT's timing cache ----------------------------------------------------------------------------------------


class Timings:
    """A builder configuration that takes one timing cache only, as TensorRT does on another GPU."""

    def __init__(self, good: bytes) -> None:
        self.good = good
        self.created: list[bytes] = []
        self.taken: Any = None

    def create_timing_cache(self, data: bytes) -> Any:
        self.created.append(data)
        return None if data == b"damaged" else SimpleNamespace(data=data, serialize=lambda: data + b"+measured")

    def set_timing_cache(self, handle: Any, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        fits = handle.data in (self.good, b"")
        self.taken = handle if fits else self.taken
        return fits


@pytest.mark.parametrize(
    ("stored", "tried", "kept"),
    [
        (None, [b""], b"+measured"), (b"mine", [b"mine"], b"mine+measured"),
        (b"of another GPU", [b"of another GPU", b""], b"+measured"), (b"damaged", [b"damaged", b""], b"+measured"),
    ],
)  # fmt: skip
def test_timing_cache_never_costs_a_build(
    tmp_path: Path, stored: bytes | None, tried: list[bytes], kept: bytes
) -> None:
    trt = Flavour("tensorrt", SimpleNamespace(__version__="10.14"), None)
    timing = TimingCache(trt, Gpu("NVIDIA A", "87", 1, 8), tmp_path)
    if stored is not None:
        timing.file.write_bytes(stored)
    config = Timings(b"mine")
    timing.attach(config)
    assert config.created == tried and config.taken is not None
    timing.keep()
    assert timing.file.read_bytes() == kept


def test_timing_cache_that_cannot_be_kept_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trt = Flavour("tensorrt", SimpleNamespace(__version__="10.14"), None)
    timing = TimingCache(trt, Gpu("NVIDIA A", "87", 1, 8), tmp_path / "absent")
    timing.keep()  # nothing was attached
    timing.attach(Timings(b""))
    timing.keep()
    assert capsys.readouterr().err.startswith("the builder's timings are not kept: cannot write")
    timing.attach(SimpleNamespace(create_timing_cache=lambda data: None))  # TensorRT has none at all
    timing.keep()


# ----- refusals that need no TensorRT ---------------------------------------------------------------------------------


def env() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def test_precision_is_the_bundles(bundle: Bundle) -> None:
    with pytest.raises(SpgvtonError, match="is a fp32 bundle: ask for --precision fp32"):
        build(bundle, Options(precision="fp16", backend=RTX))


def test_wrong_use(bundle: Bundle) -> None:
    for wrong, text in ((Options(max_batch=0), "--max-batch"), (Options(backend="openvino"), "builds no engines")):
        with pytest.raises(UsageError, match=text):
            build(bundle, wrong)
    with pytest.raises(SpgvtonError, match="has no graph g1"):
        build(bundle, Options(graph="g1"))


@pytest.mark.parametrize("backend", ["tensorrt", RTX])
def test_missing_flavour_names_the_extra(
    backend: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = backend.replace("-", "_")
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not Path(p, module).exists()])
    assert main(["build", "--bundle", str(bundle.folder), "--backend", backend]) == 1
    assert f"pip install 'spgvton[{backend}]'" in capsys.readouterr().err


def test_broken_flavour_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(SpgvtonError, match=r"cannot be loaded: libnvinfer"):
        load("tensorrt")
    (tmp_path / "tensorrt.py").write_text("__version__ = '8.6.1'")
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    with pytest.raises(SpgvtonError, match=r"8\.6\.1 is too old"):
        load("tensorrt")


def test_memory_is_checked_before_the_build() -> None:
    check_memory(1)
    with pytest.raises(SpgvtonError, match="building needs about"):
        check_memory(1 << 50)


def test_build_never_imports_torch(bundle: Bundle) -> None:
    code = "import sys, spgvton.cli.build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=env()).returncode == 0


# ----- real builds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [g for g in GRAPHS if g not in MODES.values()])
def test_every_graph_builds(rtx: Any, name: str, tmp_path: Path) -> None:
    built = build(Bundle.open(), Options(backend=RTX, graph=name, folder=tmp_path, max_batch=2))
    assert built.cache == "built"
    assert built.facts["plugin_layers"] == 0
    # Weights are in the plan in float32 (the GMMs' last layer is most of theirs), once.
    assert 1e6 < built.engine.stat().st_size < 30e6


@pytest.mark.parametrize("graph", [*MODES.values(), FRAME])
@pytest.mark.parametrize("warp", ["plugin", "function"])
def test_joint_graph_builds(rtx: Any, warp: str, graph: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    library = request.getfixturevalue("plugin") if warp == "plugin" else None
    built = build(Bundle.open(), Options(backend=RTX, graph=graph, warp=warp, plugin=library, folder=tmp_path))
    assert built.facts["plugin_layers"] == (warp == "plugin")
    # The name of a plugin stands in the plan when the plan uses it.
    assert (b"TpsGridSample" in built.engine.read_bytes()) == (warp == "plugin")


def test_the_garments_part_of_the_live_graph_builds(rtx: Any, tmp_path: Path) -> None:
    """It holds no warp, so it wants no plugin; and it is small, for it has no weights to speak of."""
    built = build(Bundle.open(), Options(backend=RTX, graph=GARMENT, warp="plugin", sm=("89",), folder=tmp_path))
    assert built.plugin is None and built.facts["plugin_layers"] == 0
    assert built.engine.stat().st_size < 1e6
    again = build(Bundle.open(), Options(backend=RTX, graph=GARMENT, warp="plugin", sm=("89",), folder=tmp_path))
    assert again.cache == "hit"


@pytest.mark.parametrize("half", [False, True])
def test_plugin_is_in_the_network(plugin: Path, tmp_path: Path, half: bool) -> None:
    precision = "fp16" if half else "fp32"
    small = bundle_of(tmp_path / "bundle", warp_model(half), precision)
    options = Options(precision, RTX, warp="plugin", plugin=plugin, max_batch=4, folder=tmp_path / "out")
    report = build(small, options).report()
    assert report["plugin_layers"] == 1
    assert report["precision"] == precision
    assert ("HALF" in report["layers"]) == half
    assert report["bytes"] == Path(report["engine"]).stat().st_size


def test_plugin_warps_several_images_by_one_theta(plugin: Path, tmp_path: Path) -> None:
    """A garment in float16 and its mask in float32: the parser gives the plugin three inputs and two outputs."""
    model = warp_model(half=True)
    del model.functions[:]
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", 1, 16, 12]))
    model.graph.output.append(helper.make_tensor_value_info("warped_mask", TensorProto.FLOAT, ["N", 1, 16, 12]))
    node = model.graph.node[0]
    node.input.append("mask")
    node.output.append("warped_mask")
    options = Options("fp16", RTX, warp="plugin", plugin=plugin, max_batch=2, folder=tmp_path / "out")
    two = bundle_of(tmp_path / "bundle", model, "fp16")
    with pytest.raises(SpgvtonError, match="TensorRT cannot"):  # images=1 has one output
        build(two, options)
    node.attribute.append(helper.make_attribute("images", 2))
    assert build(bundle_of(tmp_path / "bundle", model, "fp16"), options).facts["plugin_layers"] == 1


def test_cache_hit_and_reasons_to_rebuild(rtx: Any, bundle: Bundle, tmp_path: Path) -> None:
    def cached(**changed: Any) -> str:
        return build(bundle, Options(backend=RTX, folder=tmp_path / "out", **changed)).cache

    assert cached() == "built"
    assert cached() == "hit"
    assert cached(workspace_mb=64) == "rebuilt: workspace_mb: null -> 64"
    assert cached(workspace_mb=64) == "hit"
    (engine,) = (tmp_path / "out").glob("*.engine")
    whole = engine.read_bytes()
    engine.write_bytes(whole[: len(whole) // 2])
    assert cached(workspace_mb=64).startswith("rebuilt: it is not the file that was written")
    cache.sidecar_of(engine).unlink()
    assert cached(workspace_mb=64) == "rebuilt: it has no sidecar"
    other = bundle_of(bundle.folder, warp_model(padding="zeros"))
    assert "graph: " in build(other, Options(backend=RTX, folder=tmp_path / "out", workspace_mb=64)).cache
    assert sorted(p.suffix for p in (tmp_path / "out").iterdir()) == [".engine", ".json"]


def test_the_engine_file_is_the_plan_alone(
    rtx: Any, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """trtexec --loadEngine and polygraphy read it as it is: what is said about it lies in the file beside it."""
    plans: list[bytes] = []
    written = cache.write

    def write(engine: Path, plan: bytes, *rest: Any) -> None:
        plans.append(plan)
        written(engine, plan, *rest)

    monkeypatch.setattr(cache, "write", write)
    built = build(bundle, Options(backend=RTX, folder=tmp_path / "out"))
    content = built.engine.read_bytes()
    assert [content] == plans
    runtime = rtx.Runtime(load(RTX).logger)
    magic = rtx.EngineInvalidityDiagnostics.MALFORMED_ENGINE
    assert not runtime.get_engine_validity(content)[1] & int(magic)
    assert runtime.get_engine_validity(b"spgvton" + content)[1] & int(magic)


def test_cache_knows_the_plugin(plugin: Path, bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "copy.so"
    shutil.copy(plugin, copy)
    options = Options(backend=RTX, warp="plugin", plugin=plugin, folder=tmp_path / "out")
    assert build(bundle, options).cache == "built"
    assert build(bundle, replace(options, plugin=copy)).cache == "hit"  # the same bytes at another place
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert build(bundle, replace(options, plugin=copy)).cache.startswith("rebuilt: plugin: ")


@pytest.mark.filterwarnings("ignore:Use Deprecated")
def test_tensorrt_engines_belong_to_one_gpu(
    rtx: Any, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT's path through TensorRT-RTX's bindings, which are the same; GPUs are the driver's to name."""
    monkeypatch.setitem(sys.modules, "tensorrt", rtx)
    monkeypatch.setattr(rtx, "__version__", "10.14")
    options = Options(warp="function", folder=tmp_path / "out")
    monkeypatch.setattr(build_module, "first_gpu", lambda: None)
    with pytest.raises(SpgvtonError, match="none is here"):
        build(bundle, options)
    a, b = Gpu("NVIDIA A", "87", 1 << 30, 8), Gpu("NVIDIA B", "87", 1 << 30, 8)
    timings = [tmp_path / "out" / f"timing-10.14-{gpu.slug}.cache" for gpu in (a, b)]
    make_folder(tmp_path / "out")
    timings[0].write_bytes(b"damaged")
    monkeypatch.setattr(build_module, "first_gpu", lambda: a)
    assert build(bundle, options).cache == "built"
    assert build(bundle, options).cache == "hit"
    assert timings[0].stat().st_size > len(b"damaged")
    with pytest.raises(UsageError, match="this machine's GPU"):
        build(bundle, replace(options, sm=("89",)))
    shutil.copy(timings[0], timings[1])  # another GPU's
    monkeypatch.setattr(build_module, "first_gpu", lambda: b)
    assert build(bundle, options).cache == "rebuilt: gpu: NVIDIA A, 8 SM, 1 GiB -> NVIDIA B, 8 SM, 1 GiB"


def test_two_processes_build_once(rtx: Any, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who comes second waits, says so, and takes what the first one built."""
    out = make_folder(tmp_path / "out")
    code = (
        "import sys, time; from pathlib import Path; from spgvton.engine import cache\n"
        "with cache.only_builder(Path(sys.argv[1])):\n    print('building', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env()) as other:
        assert other.stdin and other.stdout and other.stdout.readline() == b"building\n"
        with ThreadPoolExecutor(1) as pool:
            built = pool.submit(build, bundle, Options(backend=RTX, folder=out))
            for _ in range(200):
                said = capsys.readouterr().err
                if said:
                    break
                time.sleep(0.05)
            assert said == f"another process builds into {out}: waiting for it\n"
            assert list(out.iterdir()) == []
            other.stdin.close()  # it ends without an engine, as one that was killed would
            assert built.result().cache == "built"


def test_who_waited_finds_the_engine(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rtx: Any) -> None:
    options = Options(backend=RTX, folder=tmp_path / "out")

    @contextmanager
    def other_first(folder: Path) -> Iterator[None]:
        monkeypatch.undo()
        assert build(bundle, options).cache == "built"
        yield

    monkeypatch.setattr(cache, "only_builder", other_first)
    assert build(bundle, options).cache == "hit"


def test_fp16_of_a_float_bundle_is_made_first(
    rtx: Any, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    half = bundle_of(tmp_path / "half", warp_model(True), "fp16")
    monkeypatch.setattr(build_verb.Bundle, "open", lambda _: bundle)
    monkeypatch.setattr(build_verb, "in_half", lambda source: half if source is bundle else None)
    arguments = [
        "build",
        "--backend",
        RTX,
        "--precision",
        "fp16",
        "--sm",
        "86",
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    assert main(arguments) == 0
    stdout, stderr = capsys.readouterr()
    assert json.loads(stdout)["precision"] == "fp16"
    assert stderr.startswith(f"spgvton build: {bundle.folder.name} in float16: {half.folder}\n")


def test_command_line(rtx: Any, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["build", "--bundle", str(bundle.folder), "--backend", RTX, "--out", str(tmp_path / "out")]
    assert main([*arguments, "--sm", "86", "89", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {"engine", "bytes", "plugin_layers", "precision", "backend", "cache"} <= set(report)
    assert "sm86-89" in report["engine"]
    assert main([*arguments, "--sm", "87"]) == 2
    assert "--sm 87: tensorrt-rtx" in capsys.readouterr().err
    assert main([*arguments, "--sm", "86", "75"]) == 2
    assert "--sm 75: TensorRT-RTX cannot compile these networks for Turing" in capsys.readouterr().err
    assert main([*arguments, "--out", str(bundle.folder / WEIGHTS)]) == 1
    assert "cannot create folder" in capsys.readouterr().err
    assert main([*arguments, "--out", "/proc/engines"]) == 1  # read-only for everyone, root included
    assert re.fullmatch(r"spgvton build: cannot create folder /proc/engines: .+\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid_size": 7}, "cannot read"),
        ({"padding": "reflection"}, "cannot read"),
        ({"plugin_version": "2"}, "cannot read"),
    ],
)
def test_plugin_refuses(plugin: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    model = warp_model()
    for a in model.graph.node[0].attribute:
        if a.name in change:
            a.CopyFrom(helper.make_attribute(a.name, change[a.name]))
    wrong = bundle_of(tmp_path / "bundle", model)
    with pytest.raises(SpgvtonError, match=message) as e:
        build(wrong, Options(backend=RTX, warp="plugin", plugin=plugin, folder=tmp_path / "out"))
    assert "\n" not in str(e.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_plugin_library_is_checked(plugin: Path, bundle: Bundle, tmp_path: Path, native_build: Path) -> None:
    text = tmp_path / "text.so"
    text.write_text("no library")
    for library, message in (
        (tmp_path / "absent.so", "there is no plugin library"),
        (text, "is not the plugin"),
        (native_build / "libtps_host.so", "is not the plugin"),
        (None, "needs the library"),
    ):
        with pytest.raises(SpgvtonError, match=message):
            build(bundle, Options(backend=RTX, warp="plugin", plugin=library, folder=tmp_path / "out"))


def test_rtx_without_its_short_name_is_an_error_and_no_abort(rtx: Any, plugin_library: Path, bundle: Bundle) -> None:
    command = [sys.executable, "-m", "spgvton", "build", "--bundle", str(bundle.folder), "--backend", RTX]
    command += ["--warp", "plugin", "--plugin", str(plugin_library), "--out", str(bundle.folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env())
    assert done.returncode == 1
    assert "or do without the plugin (--warp function)" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_foreign_graph_is_one_line(rtx: Any, tmp_path: Path) -> None:
    node = helper.make_node("StringNormalizer", ["x"], ["y"])
    info = [helper.make_tensor_value_info(n, TensorProto.STRING, [1, 2]) for n in ("x", "y")]
    graph = helper.make_graph([node], "foreign", info[:1], info[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with pytest.raises(SpgvtonError, match="TensorRT cannot read") as e:
        build(bundle_of(tmp_path / "b", model), Options(backend=RTX, folder=tmp_path / "out"))
    assert "\n" not in str(e.value)


def test_ctrl_c_stops_the_build(rtx: Any, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupting(trt: Any) -> Any:
        progress = monitor(trt)

        def step(name: str, number: int) -> None:
            raise KeyboardInterrupt

        progress._step = step
        return progress

    monkeypatch.setattr(build_module, "monitor", interrupting)
    with pytest.raises(KeyboardInterrupt):
        build(bundle, Options(backend=RTX, folder=tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []
