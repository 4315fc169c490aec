"""Live mode in the GPU session, on stand-ins for the GPU (fake_gpu.py): two engines, what passes between them, what is told."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from fake_gpu import KINDS, Array, EngineSpec, FakeGpu
from test_gpu_open import DEVICE, a_gpu_answers

from spgvton.backends import cuda, open_backend, tensorrt
from spgvton.backends.contract import LIVE
from spgvton.backends.onnxruntime import OnnxRuntimeBackend, session_options
from spgvton.backends.plan import Tensor, plan_buffers
from spgvton.backends.samples import live_samples
from spgvton.backends.tensorrt import TensorRtBackend
from spgvton.bundle import Bundle
from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.engine import build as build_module
from spgvton.engine import flavour
from spgvton.engine.build import Built
from spgvton.engine.flavour import Flavour
from spgvton.engine.graph import prepare
from spgvton.engine.parts import FRAME, GARMENT, cut
from spgvton.errors import SpgvtonError
from spgvton.live.network import LiveNetwork

H, W = 8, 6
ASSETS = DemoAssets.open().folder
IN, RUN, OUT = "memcpy_htod_async", "execute_async_v3", "memcpy_dtoh_async"
ONE_FRAME = [*[IN] * 3, RUN, *[OUT] * 6]
CAPTURE = ["cuStreamBeginCapture_v2", *ONE_FRAME, "cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphDestroy"]
STATIC = [("cloth", True, "FLOAT", (-1, 3, H, W)), ("cloth_mask", True, "FLOAT", (-1, 1, H, W))]
KEPT = [("g1/packed", "HALF", (-1, 4, 2)), ("gmm1/moments", "FLOAT", (-1, 2))]
BROUGHT = [
    ("picture", True, "UINT8", (-1, H, W, 3)), ("labels", True, "UINT8", (-1, H, W)),
    ("keypoints", True, "FLOAT", (-1, 18, 3)), STATIC[0],
]  # fmt: skip
GIVEN = [
    ("rendered", "UINT8", (-1, H, W, 3)), ("composition", "UINT8", (-1, H, W)), ("clothes_mask", "UINT8", (-1, H, W)),
    ("semantic", "UINT8", (-1, H, W)), ("theta", "FLOAT", (-1, 2, 9)),
    ("residual", "FLOAT", (-1, 2, H // 4, W // 4)),
]  # fmt: skip


def total(inputs: dict[str, Array]) -> float:
    """A number that depends on every input."""
    return float(sum((i + 1) * value.astype(np.float64).sum() for i, (_, value) in enumerate(sorted(inputs.items()))))


def outputs(tensors: list[tuple[str, str, tuple[int, ...]]], inputs: dict[str, Array]) -> dict[str, Array]:
    """Each of TENSORS filled with a number of its own that depends on all INPUTS."""
    return {
        name: np.full((1, *shape[1:]), (total(inputs) + i) % 251, KINDS[dtype])
        for i, (name, dtype, shape) in enumerate(tensors)
    }


def garment_spec() -> EngineSpec:
    made = [(name, False, dtype, shape) for name, dtype, shape in KEPT]
    return EngineSpec([*STATIC, *made], lambda inputs: outputs(KEPT, inputs), name="garment")


def frame_spec(given: list[tuple[str, str, tuple[int, ...]]] = GIVEN) -> EngineSpec:
    kept = [(name, True, dtype, shape) for name, dtype, shape in KEPT]
    made = [(name, False, dtype, shape) for name, dtype, shape in given]
    return EngineSpec([*BROUGHT, *kept, *made], lambda inputs: outputs(given, inputs), name="frame")


def expected(garment: dict[str, Array], frame: dict[str, Array]) -> dict[str, Array]:
    return outputs(GIVEN, {**outputs(KEPT, garment), "cloth": garment["cloth"], **frame})


@pytest.fixture
def gpu() -> FakeGpu:
    fake = FakeGpu(frame_spec())
    fake.plans = {b"garment": garment_spec(), b"frame": frame_spec()}
    return fake


Open = Callable[..., TensorRtBackend]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def open_on(gpu: FakeGpu, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens live mode on the fake GPU; rtx=True: as TensorRT-RTX."""
    monkeypatch.setattr(cuda, "import_driver", lambda: gpu.driver)
    monkeypatch.setattr(cuda, "load_libcuda", lambda: gpu.library)
    monkeypatch.setattr(flavour, "load", lambda name: Flavour(name, gpu.trt, object(), gpu.errors))

    def open_it(*, rtx: bool = False, **more: Any) -> TensorRtBackend:
        name = "tensorrt-rtx" if rtx else "tensorrt"
        for part in gpu.plans:
            (tmp_path / f"{part.decode()}.engine").write_bytes(part)
        bundle = Bundle(tmp_path, {"network": {"label_set": "cihp", "height": H, "width": W}, "precision": "fp16"})
        garment, frame = (Built(tmp_path / f"{n}.engine", None, "hit", name, "fp16", {}) for n in ("garment", "frame"))
        return TensorRtBackend(bundle, frame, DEVICE, mode=LIVE, garment=garment, say=said.append, **more)

    return open_it


def garment(seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 9, (1, *shape[1:])).astype(np.float32) for name, _, _, shape in STATIC}


def frame(seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {n: rng.integers(0, 20, (1, *shape[1:])).astype(KINDS[d]) for n, _, d, shape in BROUGHT[:3]}


def dress(backend: TensorRtBackend, values: dict[str, Array]) -> None:
    for name, value in values.items():
        backend.set_static(name, value)


def assert_same(made: dict[str, Array], wanted: dict[str, Array]) -> None:
    assert list(made) == list(LIVE.outputs)
    for name, value in wanted.items():
        assert made[name].dtype == value.dtype
        np.testing.assert_array_equal(made[name], value)


def assert_all_given_back(gpu: FakeGpu) -> None:
    gc.collect()
    assert gpu.live == [] and gpu.primary == 0 and gpu.stack == []


# ----- frames and garments --------------------------------------------------------------------------------------------


def test_the_garments_part_runs_once_and_frames_are_replayed(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    dress(backend, garment(1))
    gpu.calls.clear()
    first = backend.infer(frame(1))
    shapes = [*["set_input_shape"] * 2, "infer_shapes", *["set_input_shape"] * 6, "infer_shapes"]
    assert gpu.calls == ["push", *shapes, RUN, *ONE_FRAME, "synchronize", *CAPTURE, "pop"]
    gpu.calls.clear()
    second = backend.infer(frame(2))
    assert gpu.calls == ["push", "cuGraphLaunch", "synchronize", "pop"]
    assert gpu.runs == ["garment", "frame", "frame"]
    assert_same(first, expected(garment(1), frame(1)))  # not overwritten by the second
    assert_same(second, expected(garment(1), frame(2)))
    assert backend.describe()["cuda_graph"] == "replayed" and backend.describe()["engine"] == "frame.engine"
    backend.close()
    assert_all_given_back(gpu)


def test_another_garment_is_prepared_at_the_next_frame_and_captures_nothing(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    dress(backend, garment(1))
    backend.infer(frame(1))
    alive = list(gpu.live)
    for seed in (2, 3):
        gpu.calls.clear()
        gpu.runs.clear()
        dress(backend, garment(seed))
        assert gpu.runs == []
        assert_same(backend.infer(frame(seed)), expected(garment(seed), frame(seed)))
        assert gpu.runs == ["garment", "frame"]  # in this order, on one stream
        assert gpu.calls[-5:] == ["push", RUN, "cuGraphLaunch", "synchronize", "pop"]
        assert_same(backend.infer(frame(9)), expected(garment(seed), frame(9)))
        assert gpu.runs == ["garment", "frame", "frame"]
    assert gpu.live == alive
    backend.close()
    assert_all_given_back(gpu)


def test_a_network_without_a_residual_flow_gives_none(gpu: FakeGpu, open_on: Open) -> None:
    """As bundles of before have it; theta, which every network gives, is missed."""
    gpu.plans[b"frame"] = frame_spec(GIVEN[:-1])
    backend = open_on()
    dress(backend, garment(1))
    assert list(backend.infer(frame(1))) == [name for name in LIVE.outputs if name != "residual"]
    backend.close()
    gpu.plans[b"frame"] = frame_spec([*GIVEN[:-2], GIVEN[-1]])
    with pytest.raises(SpgvtonError, match="not an spgvton joint graph"):
        open_on()


def test_what_is_kept_has_no_memory_on_the_host(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    count = {what: sum(name.startswith(what) for name in gpu.live) for what in ("pinned", "device")}
    assert count == {"pinned": 2 + 3 + 6, "device": 2 + 3 + 6 + len(KEPT)}
    dress(backend, garment(1))
    gpu.calls.clear()
    for seed in range(3):
        backend.infer(frame(seed))
    assert gpu.calls.count(IN) == 3 * 2 and gpu.calls.count(OUT) == 6 * 2  # enqueued, and captured
    backend.close()


def test_replay_equals_plain_enqueue(gpu: FakeGpu, open_on: Open) -> None:
    replayed, plain = open_on(), open_on(cuda_graph=False)
    for seed in range(4):
        for backend in (replayed, plain):
            dress(backend, garment(seed // 2))
            assert_same(backend.infer(frame(seed)), expected(garment(seed // 2), frame(seed)))
    assert gpu.calls.count("cuGraphLaunch") == 3
    for backend in (replayed, plain):
        backend.close()
    assert_all_given_back(gpu)


def test_rtx_keeps_the_kernels_of_both_engines(gpu: FakeGpu, open_on: Open, tmp_path: Path) -> None:
    backend = open_on(rtx=True)
    dress(backend, garment(1))
    for seed in (1, 2):
        assert_same(backend.infer(frame(seed)), expected(garment(1), frame(seed)))
    assert sorted(f.name for f in tmp_path.glob("*.kernels")) == [
        f"{n}.{DEVICE.slug}.kernels" for n in ("frame", "garment")
    ]
    assert not [name for name in gpu.calls if name.startswith("cuStream")]
    backend.close()
    assert_all_given_back(gpu)


# ----- what is forgotten ----------------------------------------------------------------------------------------------

PERSONAL = (*LIVE.frame, *LIVE.outputs)


def held(gpu: FakeGpu, backend: TensorRtBackend, names: Iterable[str]) -> dict[str, int]:
    """How many bytes of each buffer are not zero, on the device and in pinned memory together."""
    buffers = {name: (gpu._memory[backend._address[name]], backend._host[name]) for name in names}
    return {name: sum(int(np.count_nonzero(each)) for each in both) for name, both in buffers.items()}


@pytest.mark.parametrize("frames", [1, 3], ids=["captured", "replayed"])
def test_forget_overwrites_all_but_the_garment(gpu: FakeGpu, open_on: Open, frames: int) -> None:
    """Also TensorRT's working memory: the last frame that runs is one of nothing."""
    seen: list[dict[str, Array]] = []

    def compute(inputs: dict[str, Array]) -> dict[str, Array]:
        seen.append({name: value.copy() for name, value in inputs.items()})
        return outputs(GIVEN, inputs)

    gpu.plans[b"frame"].compute = compute
    backend = open_on()
    dress(backend, garment(1))
    for seed in range(frames):
        backend.infer(frame(seed))
    before = held(gpu, backend, LIVE.static)
    assert all(before.values()) and all(held(gpu, backend, PERSONAL).values())
    backend.forget()
    assert len(seen) == frames + 1 and not any(seen[-1][name].any() for name in LIVE.frame)
    assert held(gpu, backend, PERSONAL) == dict.fromkeys(PERSONAL, 0)
    assert held(gpu, backend, LIVE.static) == before
    assert_same(backend.infer(frame(9)), expected(garment(1), frame(9)))  # no garment is set anew
    assert gpu.runs.count("garment") == 1
    backend.close()
    backend.forget()  # nothing is held any more
    assert_all_given_back(gpu)


def test_forgetting_before_the_first_frame_runs_nothing(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    dress(backend, garment(1))
    backend.forget()
    assert gpu.runs == [] and not any(held(gpu, backend, PERSONAL).values())
    assert_same(backend.infer(frame(1)), expected(garment(1), frame(1)))
    backend.close()


def test_forgetting_fails_aloud(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    dress(backend, garment(1))
    backend.infer(frame(1))
    gpu.fail(IN)
    with pytest.raises(SpgvtonError, match="memcpy_htod_async failed") as e:
        backend.forget()
    del e
    assert not any(backend._host[name].any() for name in PERSONAL)
    backend.forget()
    assert not any(held(gpu, backend, PERSONAL).values())
    backend.infer(frame(1))
    gpu.lost = True
    with pytest.raises(SpgvtonError, match="illegal memory access"):
        backend.infer(frame(2))
    backend.forget()  # what the device holds cannot be reached; the pinned memory can
    assert not any(backend._host[name].any() for name in PERSONAL)
    backend.close()


def test_the_customers_end_reaches_the_gpu(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    dress(backend, garment(1))
    backend.infer(frame(1))
    LiveNetwork(Bundle.open(mode="live"), backend=backend).forget()
    assert not any(held(gpu, backend, PERSONAL).values())
    backend.close()


# ----- wrong use and faults -------------------------------------------------------------------------------------------


def test_wrong_use(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    with pytest.raises(SpgvtonError, match=r"no garment is set yet \(cloth, cloth_mask\)"):
        backend.infer(frame(1))
    with pytest.raises(ValueError, match="body is not one of"):
        backend.set_static("body", garment(1)["cloth"])
    dress(backend, garment(1))
    with pytest.raises(ValueError, match=r"expected picture \(1, 8, 6, 3\), got \(1, 8, 7, 3\)"):
        backend.infer({**frame(1), "picture": np.zeros((1, H, W + 1, 3), np.uint8)})
    assert RUN not in gpu.calls
    backend.close()


@pytest.mark.parametrize("after", [0, 1], ids=["garment", "frame"])
@pytest.mark.parametrize("replayed", [False, True])
def test_a_failed_engine_is_one_line_and_the_garment_is_prepared_again(
    gpu: FakeGpu, open_on: Open, replayed: bool, after: int
) -> None:
    backend = open_on(cuda_graph=replayed)
    dress(backend, garment(1))
    backend.infer(frame(1))
    dress(backend, garment(2))
    if replayed and after:
        gpu.fail("cuGraphLaunch", 719)
    else:
        gpu.fail(RUN, False, after=after)
    with pytest.raises(SpgvtonError, match=r"cannot run .*\.engine: .*the reason|cuGraphLaunch failed") as e:
        backend.infer(frame(2))
    assert "\n" not in str(e.value)
    del e
    gpu.runs.clear()
    assert_same(backend.infer(frame(3)), expected(garment(2), frame(3)))
    assert gpu.runs == ["garment", "frame"]
    backend.close()
    assert_all_given_back(gpu)


def test_a_failure_while_opening_the_second_engine_gives_everything_back(gpu: FakeGpu, open_on: Open) -> None:
    for name in ("deserialize_cuda_engine", "create_execution_context"):
        gpu.fail(name, False, after=1)
        with pytest.raises(SpgvtonError, match=r"frame\.engine.*the reason") as e:
            open_on()
        del e
        assert_all_given_back(gpu)


def plan_of(frame_tensors: EngineSpec, garment_tensors: EngineSpec) -> Any:
    def seen(spec: EngineSpec) -> list[Tensor]:
        return [Tensor(name, is_input, dtype, shape, int(is_input)) for name, is_input, dtype, shape in spec.tensors]

    return plan_buffers(seen(frame_tensors), LIVE, (H, W), "e.engine", seen(garment_tensors))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("theta", False, "FLOAT", (-1, 2, 7)), r"has theta as FLOAT .*expected FLOAT \(-1, 2, 25\)"),
        (("rendered", False, "FLOAT", (-1, H, W, 3)), r"has rendered as FLOAT .*expected UINT8"),
        (("labels", True, "FLOAT", (-1, H, W)), r"has labels as FLOAT .*expected UINT8"),
        (("cloth", True, "HALF", (-1, 3, H, W)), r"has cloth as HALF .*expected FLOAT"),
        (("g1/packed", True, "FLOAT", (-1, 4, 2)), "takes g1/packed as another engine does not give it"),
        (("gmm1/moments", True, "INT64", (-1, 2)), "has gmm1/moments as INT64"),
        (("noise", True, "FLOAT", (-1, 2)), "not an spgvton joint graph .inputs"),
        (("noise", False, "FLOAT", (-1, 2)), "not an spgvton joint graph .outputs"),
    ],
)
def test_plan_refuses_engines_that_do_not_fit(wrong: tuple[str, bool, str, tuple[int, ...]], message: str) -> None:
    good = frame_spec()
    assert list(plan_of(good, garment_spec()).kept) == ["g1/packed", "gmm1/moments"]
    tensors = {t[0]: t for t in good.tensors} | {wrong[0]: wrong}
    with pytest.raises(SpgvtonError, match=message):
        plan_of(replace(good, tensors=list(tensors.values())), garment_spec())


# ----- the live graph in two ------------------------------------------------------------------------------------------


def run_graph(model: onnx.ModelProto, values: dict[str, Array]) -> dict[str, Array]:
    session = ort.InferenceSession(model.SerializeToString(), session_options(1), providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, {i.name: values[i.name] for i in session.get_inputs()})))


def test_both_parts_are_the_whole_graph() -> None:
    bundle = Bundle.open(mode="live")
    sample: dict[str, Array] = dict(live_samples(bundle.size, bundle.label_set)[0])
    whole, parts = (
        prepare(bundle.graph("live"), "function")[0],
        [prepare(bundle.graph("live"), "function", part) for part in (GARMENT, FRAME)],
    )
    (first, _), (second, _) = parts
    onnx.checker.check_model(first)
    onnx.checker.check_model(second)
    kept = {o.name for o in first.graph.output}
    assert {i.name for i in first.graph.input} == {"cloth", "cloth_mask"}
    assert kept and {i.name for i in second.graph.input} == {"cloth_mask", *LIVE.frame, *kept}
    assert len(whole.graph.node) <= len(first.graph.node) + len(second.graph.node) <= len(whole.graph.node) + 10
    made = run_graph(second, {**sample, **run_graph(first, sample)})
    for name, value in run_graph(whole, sample).items():
        np.testing.assert_allclose(made[name].astype(np.float64), value, atol=1 if value.dtype == np.uint8 else 1e-5)
    assert made["clothes_mask"].any() and made["theta"].any()


@pytest.mark.parametrize(("part", "plugins"), [(GARMENT, 0), (FRAME, 1)])
def test_the_plugin_serves_the_frames_part(part: str, plugins: int) -> None:
    assert prepare(Bundle.open(mode="live").graph("live"), "plugin", part)[1] == plugins


def test_a_graph_without_a_garment_of_its_own_is_one_line() -> None:
    node = onnx.helper.make_node("Add", ["picture", "cloth"], ["rendered"])
    tensors = [onnx.helper.make_tensor_value_info(n, 1, ["N", 3]) for n in ("picture", "cloth", "rendered")]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "live", tensors[:2], tensors[2:]))
    with pytest.raises(SpgvtonError, match="export the bundle again"):
        cut(model, GARMENT)


# ----- through the command line ---------------------------------------------------------------------------------------


@pytest.fixture
def shipped_on_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """A fake GPU whose engines compute what the parts of the shipped live graph do, with ONNX Runtime."""
    fake, graph = FakeGpu(frame_spec()), Bundle.open(mode="live").graph("live")
    kinds = {1: "FLOAT", 2: "UINT8"}
    for part in (GARMENT, FRAME):
        model, _ = prepare(graph, "function", part)
        values = [(v, True) for v in model.graph.input] + [(v, False) for v in model.graph.output]
        tensors = [
            (v.name, given, kinds[v.type.tensor_type.elem_type], (-1, *(d.dim_value for d in v.type.tensor_type.shape.dim[1:])))
            for v, given in values
        ]  # fmt: skip
        fake.plans[part.encode()] = EngineSpec(tensors, partial(run_graph, model), name=part)
    a_gpu_answers(monkeypatch)
    monkeypatch.setattr(flavour, "load", lambda name: Flavour(name, fake.trt, object()))
    for module in (cuda, tensorrt):
        monkeypatch.setattr(module, "import_driver", lambda: fake.driver)
    monkeypatch.setattr(cuda, "load_libcuda", lambda: fake.library)
    monkeypatch.setattr(
        build_module,
        "_build_plan",
        lambda path, options, *_: (options.graph.encode(), {"plugin_layers": 0, "layers": {}}),
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SPGVTON_PLUGIN", raising=False)
    return fake


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
def test_live_by_name_says_what_the_cpu_says(shipped_on_gpu: FakeGpu, name: str) -> None:
    bundle, words = Bundle.open(mode="live"), list[str]()
    samples = live_samples(bundle.size, bundle.label_set)[:2]
    reference = OnnxRuntimeBackend(bundle, mode=LIVE, threads=1, form="joint")
    backend = open_backend(name, bundle, mode=LIVE, warp="function", say=words.append)
    for sample in samples:
        made = []
        for each in (backend, reference):
            for static in LIVE.static:
                each.set_static(static, sample[static])  # type: ignore[arg-type]
            made.append(each.infer({n: sample[n] for n in LIVE.frame}))
        for output, value in made[1].items():
            np.testing.assert_allclose(
                made[0][output].astype(float), value, atol=1 if value.dtype == np.uint8 else 1e-5
            )
    assert [w.split("-")[0] for w in words] == [f"engine {GARMENT}", f"engine {FRAME}"]
    assert shipped_on_gpu.runs == [GARMENT, FRAME] * 2
    backend.close()
    assert not shipped_on_gpu.live and not shipped_on_gpu.primary


def test_run_in_live_mode_on_the_gpu(shipped_on_gpu: FakeGpu, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--source", str(ASSETS / "clip.mp4"), "--max-frames", "3", "--sink", "null", "--json"]
    arguments += ["--garment", str(ASSETS / "garment_1.jpg"), "--garment-mask", str(ASSETS / "garment_1_mask.png")]
    assert main([*arguments, "--backend", "tensorrt"]) == 0
    stdout, stderr = capsys.readouterr()
    report = json.loads(stdout)
    assert (report["mode"], report["frames_out"], report["answers"], report["unusable"]) == ("live", 3, 3, {})
    assert (report["backend"]["backend"], report["backend"]["cuda_graph"]) == ("tensorrt", "replayed")
    assert shipped_on_gpu.runs == [GARMENT, FRAME, FRAME, FRAME]
    assert stderr.count("built") == 2 and "no plugin was given" in stderr
    assert not shipped_on_gpu.live and not shipped_on_gpu.primary
