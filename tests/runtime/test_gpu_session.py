"""The TensorRT back end on stand-ins for the GPU (fake_gpu.py): what is called when, what lives how long, what is said."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_gpu import Array, CudaFailure, EngineSpec, FakeGpu
from numpy.typing import NDArray

from spgvton.backends import cuda
from spgvton.backends.contract import GARMENT, POSE
from spgvton.backends.plan import Tensor, plan_buffers
from spgvton.backends.replay import Bindings, GraphReplay
from spgvton.backends.tensorrt import TensorRtBackend
from spgvton.bundle import Bundle
from spgvton.engine import flavour
from spgvton.engine.build import Built
from spgvton.engine.flavour import Flavour
from spgvton.engine.gpu import Gpu
from spgvton.errors import SpgvtonError

H, W = 8, 6
DEVICE = Gpu("NVIDIA Fake", "87", 1 << 30, 8)
CHANNELS = {"reference_map": 20, "head": 3, "body": 3, "cloth": 3, "cloth_mask": 1}
FRAME = ["memcpy_htod_async", "execute_async_v3", "memcpy_dtoh_async"]
CAPTURE = ["cuStreamBeginCapture_v2", *FRAME, "cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphDestroy"]


def compute(inputs: dict[str, Array]) -> Array:
    """A picture that depends on every input."""
    value = sum(x.reshape(len(x), -1).sum(1) * (i + 1) for i, (_, x) in enumerate(sorted(inputs.items())))
    grey = np.broadcast_to((np.asarray(value) % 251)[:, None, None, None], (len(value), H, W, 3))  # type: ignore[arg-type]
    return grey.astype(np.uint8)


def spec(max_batch: int = 1) -> EngineSpec:
    statics = ((name, True, "FLOAT", (-1, c, H, W)) for name, c in CHANNELS.items())
    frame = (("keypoints", True, "FLOAT", (-1, 18, 3)), ("image", False, "UINT8", (-1, H, W, 3)))
    return EngineSpec([*statics, *frame], compute, max_batch)


Open = Callable[..., TensorRtBackend]


@pytest.fixture
def gpu() -> FakeGpu:
    return FakeGpu(spec())


@pytest.fixture
def said() -> list[str]:
    """What the back end told."""
    return []


@pytest.fixture
def open_on(gpu: FakeGpu, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a back end on the fake GPU; rtx=True: as TensorRT-RTX."""
    (tmp_path / "e.engine").write_bytes(b"plan")

    def errors_of(name: str) -> Flavour:
        return Flavour(name, gpu.trt, object(), gpu.errors)

    monkeypatch.setattr(cuda, "import_driver", lambda: gpu.driver)
    monkeypatch.setattr(cuda, "load_libcuda", lambda: gpu.library)
    monkeypatch.setattr(flavour, "load", errors_of)

    def open_it(*, rtx: bool = False, plugin: Path | None = None, **more: Any) -> TensorRtBackend:
        bundle = Bundle(tmp_path, {"network": {"label_set": "cihp", "height": H, "width": W}, "precision": "fp32"})
        built = Built(tmp_path / "e.engine", plugin, "hit", "tensorrt-rtx" if rtx else "tensorrt", "fp32", {})
        return TensorRtBackend(bundle, built, DEVICE, say=said.append, **more)

    return open_it


def static(seed: int, batch: int = 1) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, 9, (batch, c, H, W)).astype(np.float32) for name, c in CHANNELS.items()}


def pose(seed: int, batch: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).integers(0, 99, (batch, 18, 3)).astype(np.float32)


def dress(backend: TensorRtBackend, values: dict[str, NDArray[np.float32]]) -> None:
    for name, value in values.items():
        backend.set_static(name, value)


def assert_all_given_back(gpu: FakeGpu) -> None:
    gc.collect()
    assert gpu.live == []
    assert gpu.primary == 0
    assert gpu.stack == []


# ----- pure decisions -------------------------------------------------------------------------------------------------


def tensors(**changed: Tensor) -> list[Tensor]:
    s = spec(2)
    found = {n: Tensor(n, is_input, dtype, shape, 2 if is_input else 0) for n, is_input, dtype, shape in s.tensors}
    return [t for t in (found | changed).values() if t.dtype]


def test_plan_covers_the_largest_batch() -> None:
    plan = plan_buffers(tensors(), POSE, (H, W), "e.engine")
    assert plan.max_batch == 2
    assert set(plan.static) == set(CHANNELS)
    assert plan.frame["keypoints"].nbytes == 2 * 18 * 3 * 4
    assert plan.outputs["image"].nbytes == 2 * H * W * 3
    assert plan.static["reference_map"].nbytes == 2 * 20 * H * W * 4
    assert set(plan.all) == {*CHANNELS, "keypoints", "image"}
    assert plan.outputs["image"].shape(1) == (1, H, W, 3)
    assert not plan.kept


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Tensor("noise", True, "FLOAT", (-1, 3), 2), "not an spgvton joint graph .inputs"),
        (Tensor("keypoints", True, "", ()), "not an spgvton joint graph .inputs"),
        (Tensor("mask", False, "FLOAT", (-1, 1)), "outputs image, mask"),
        (Tensor("image", False, "", ()), "outputs none"),
        (Tensor("image", False, "FLOAT", (-1, H, W, 3)), "has image as FLOAT"),
        (Tensor("image", False, "UINT8", (-1, H, W + 1, 3)), r"expected UINT8 \(-1, 8, 6, 3\)"),
        (Tensor("keypoints", True, "FLOAT", (-1, 17, 3), 2), "has keypoints as FLOAT"),
        (Tensor("body", True, "HALF", (-1, 3, H, W), 2), "has body as HALF"),
        (Tensor("body", True, "FLOAT", (-1, 3, -1, W), 2), "has body as FLOAT"),
        (Tensor("body", True, "FLOAT", (-1, 3, H, W), 4), r"different batches \(2, 4\)"),
    ],
)
def test_plan_refuses_what_is_no_joint_graph(wrong: Tensor, message: str) -> None:
    with pytest.raises(SpgvtonError, match=message):
        plan_buffers(tensors(**{wrong.name: wrong}), POSE, (H, W), "e.engine")


class RecordingGraphs:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.refuse = False

    def capture(self, work: Callable[[], None]) -> str:
        self.calls.append("capture")
        if self.refuse:
            raise SpgvtonError("no")
        work()
        return f"graph {len(self.calls)}"

    def launch(self, graph: str) -> None:
        self.calls.append(f"launch {graph}")

    def destroy(self, graph: str) -> None:
        self.calls.append(f"destroy {graph}")


@pytest.mark.parametrize("other", [Bindings(2, (("a", 1),)), Bindings(1, (("a", 9),))], ids=["shape", "address"])
def test_a_graph_is_for_its_bindings_alone(other: Bindings) -> None:
    driver, bindings = RecordingGraphs(), Bindings(1, (("a", 1),))
    replay = GraphReplay(driver, lambda _: None)
    assert not replay.launch(bindings)
    replay.prepare(bindings, lambda: None)
    replay.prepare(bindings, lambda: None)  # nothing: it is there
    assert replay.launch(Bindings(1, (("a", 1),)))  # equal, not the same object
    assert not replay.launch(other)
    replay.prepare(other, lambda: None)
    assert replay.launch(other)
    assert not replay.launch(bindings)
    replay.drop()
    replay.drop()
    assert not replay.launch(other)
    assert driver.calls == [
        "capture",
        "launch graph 1",
        "destroy graph 1",
        "capture",
        "launch graph 4",
        "destroy graph 4",
    ]


def test_a_refused_capture_is_tried_again_only_for_other_bindings() -> None:
    driver, words = RecordingGraphs(), list[str]()
    replay = GraphReplay(driver, words.append)
    driver.refuse = True
    for batch in (1, 1, 1, 2, 2):
        assert not replay.launch(Bindings(batch, ()))
        replay.prepare(Bindings(batch, ()), lambda: None)
    assert driver.calls == ["capture", "capture"]
    assert words == ["no CUDA graph, frames are enqueued one by one: no"] * 2
    assert replay.state == "no"
    off = GraphReplay(driver, words.append, off="disabled")
    off.prepare(Bindings(1, ()), lambda: None)
    assert (off.state, len(driver.calls)) == ("disabled", 2)


# ----- frames ---------------------------------------------------------------------------------------------------------


def test_first_frame_is_plain_then_captured_and_the_rest_replayed(gpu: FakeGpu, open_on: Open) -> None:
    backend, values = open_on(), static(1)
    dress(backend, values)
    assert backend.describe()["cuda_graph"] == "not captured yet"
    gpu.calls.clear()
    first = backend.run(pose(1))
    shapes = ["set_input_shape"] * 6 + ["infer_shapes"]
    assert gpu.calls == ["push", *shapes, *FRAME, "synchronize", *CAPTURE, "pop"]
    gpu.calls.clear()
    second = backend.run(pose(2))
    assert gpu.calls == ["push", "cuGraphLaunch", "synchronize", "pop"]
    assert gpu.ran == 2  # capturing runs nothing
    for image, keypoints in ((first, pose(1)), (second, pose(2))):  # the first is not overwritten by the second
        np.testing.assert_array_equal(image, compute({**values, "keypoints": keypoints}))
    assert first.any() and (first != second).any()
    assert backend.describe() == {
        "backend": "tensorrt", "version": "99.1", "device": "NVIDIA Fake (SM 87)", "precision": "fp32",
        "engine": "e.engine", "cuda_graph": "replayed",
    }  # fmt: skip
    backend.close()
    assert_all_given_back(gpu)


def test_replay_equals_plain_enqueue(gpu: FakeGpu, open_on: Open) -> None:
    replayed, plain, values = open_on(), open_on(cuda_graph=False), static(1)
    for backend in (replayed, plain):
        dress(backend, values)
    for seed in range(4):
        np.testing.assert_array_equal(replayed.run(pose(seed)), plain.run(pose(seed)))
    assert (gpu.calls.count("cuGraphLaunch"), plain.describe()["cuda_graph"]) == (3, "disabled")
    for backend in (replayed, plain):
        backend.close()
    assert_all_given_back(gpu)


def test_no_frame_and_no_garment_allocates_or_captures_again(gpu: FakeGpu, open_on: Open) -> None:
    backend, values = open_on(), static(1)
    dress(backend, values)
    backend.run(pose(0))
    alive = list(gpu.live)
    gpu.calls.clear()
    for seed in range(1, 40):
        if seed % 5 == 0:
            values |= {name: v for name, v in static(seed).items() if "cloth" in name}
            dress(backend, values)
        image = backend.run(pose(seed))
        np.testing.assert_array_equal(image, compute({**values, "keypoints": pose(seed)}))
    assert gpu.live == alive
    assert set(gpu.calls) == {"push", "pop", "cuGraphLaunch", "memcpy_htod_async", "synchronize"}
    assert gpu.calls.count("memcpy_htod_async") == 7 * len(CHANNELS)  # of the static inputs alone
    backend.close()


def test_another_batch_is_captured_anew(gpu: FakeGpu, open_on: Open) -> None:
    gpu.spec = spec(max_batch=3)
    backend = open_on()
    for batch in (1, 1, 3, 3, 1):
        values = static(batch, batch)
        dress(backend, values)
        image = backend.run(pose(batch, batch))
        np.testing.assert_array_equal(image, compute({**values, "keypoints": pose(batch, batch)}))
    assert gpu.calls.count("cuStreamBeginCapture_v2") == 3
    assert gpu.calls.count("cuGraphLaunch") == 2
    assert gpu.calls.count("cuGraphExecDestroy") == 2
    with pytest.raises(ValueError, match="2 poses, but"):
        backend.run(pose(1, 2))
    backend.close()
    assert_all_given_back(gpu)


def test_wrong_use(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    with pytest.raises(SpgvtonError, match="no person is set yet"):
        backend.run(pose(1))
    with pytest.raises(ValueError, match="not one of"):
        backend.set_static("keypoints", pose(1))
    with pytest.raises(ValueError, match=r"body: expected \(1, 3, 8, 6\)"):
        backend.set_static("body", np.zeros((1, 3, 8, 7), np.float32))
    with pytest.raises(ValueError, match="or a smaller batch"):
        backend.set_static("body", np.zeros((2, 3, 8, 6), np.float32))
    backend.set_static("source_keypoints", pose(1))  # this network does not take them
    dress(backend, {k: v for k, v in static(1).items() if "cloth" not in k})
    with pytest.raises(SpgvtonError, match=r"no garment is set yet \(cloth, cloth_mask\)"):
        backend.run(pose(1))
    dress(backend, static(1))
    for wrong, message in (((0, 18, 3), "N = 1 to 1"), ((2, 18, 3), "N = 1 to 1"), ((1, 17, 3), r"\(1, 18, 3\), got")):
        with pytest.raises(ValueError, match=message):
            backend.run(np.zeros(wrong, np.float32))
    assert "execute_async_v3" not in gpu.calls
    backend.close()


def test_threads_may_change_between_calls(gpu: FakeGpu, open_on: Open) -> None:
    backend, values, pictures = open_on(), static(1), list[Array]()
    stacks: list[int] = []

    def in_a_thread(action: Callable[[], None]) -> None:
        def run() -> None:
            action()
            stacks.append(len(gpu.stack))

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    in_a_thread(lambda: dress(backend, values))
    for seed in (1, 2):
        in_a_thread(lambda seed=seed: pictures.append(backend.run(pose(seed))))  # type: ignore[misc]
    in_a_thread(backend.close)
    assert stacks == [0] * 4
    np.testing.assert_array_equal(pictures[1], compute({**values, "keypoints": pose(2)}))
    assert_all_given_back(gpu)


def test_the_person_is_forgotten_and_the_garment_stays(gpu: FakeGpu, open_on: Open) -> None:
    backend, values = open_on(), static(1)
    dress(backend, values)
    for seed in range(2):
        backend.run(pose(seed))
    backend.forget()
    left = {
        name: bool(gpu._memory[backend._address[name]].any() or backend._host[name].any()) for name in backend._host
    }
    assert left == {name: name in GARMENT for name in (*CHANNELS, "keypoints", "image")}
    with pytest.raises(SpgvtonError, match=r"no person is set yet \(body, head, reference_map\)"):
        backend.run(pose(1))
    dress(backend, {name: value for name, value in static(2).items() if name not in GARMENT})
    np.testing.assert_array_equal(
        backend.run(pose(1)),
        compute({**static(2), **{name: values[name] for name in GARMENT}, "keypoints": pose(1)}),
    )
    backend.close()
    assert_all_given_back(gpu)


# ----- faults ---------------------------------------------------------------------------------------------------------

MID_FRAME: list[tuple[str, Any]] = [
    ("memcpy_htod_async", None), ("execute_async_v3", False), ("memcpy_dtoh_async", None), ("synchronize", None),
    ("set_input_shape", False), ("infer_shapes", ["body"]), ("memcpy_htod_async", KeyboardInterrupt()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "how"), MID_FRAME)
def test_a_failed_first_frame_is_one_line_and_the_next_one_works(
    gpu: FakeGpu, open_on: Open, name: str, how: Any
) -> None:
    backend, values = open_on(), static(1)
    dress(backend, values)
    gpu.fail(name, how)
    with pytest.raises((SpgvtonError, KeyboardInterrupt)) as e:
        backend.run(pose(1))
    message = str(e.value)
    del e  # its traceback holds frames of the fake, where PyCUDA has none
    assert "\n" not in message
    if not isinstance(how, KeyboardInterrupt):
        assert any(word in message for word in (name, "the reason", "is not known"))
    for seed in (2, 3):
        np.testing.assert_array_equal(backend.run(pose(seed)), compute({**values, "keypoints": pose(seed)}))
    assert backend.describe()["cuda_graph"] == "replayed"
    backend.close()
    assert_all_given_back(gpu)


@pytest.mark.parametrize("name", ["cuGraphLaunch", "synchronize"])
def test_a_failed_replay_drops_the_graph(gpu: FakeGpu, open_on: Open, name: str) -> None:
    backend, values = open_on(), static(1)
    dress(backend, values)
    backend.run(pose(1))
    gpu.fail(name, 719 if name.startswith("cu") else None)
    with pytest.raises(SpgvtonError, match=f"CUDA: {name} failed"):
        backend.run(pose(2))
    assert not [what for what in gpu.live if "executable" in what]
    gpu.calls.clear()
    np.testing.assert_array_equal(backend.run(pose(3)), compute({**values, "keypoints": pose(3)}))
    assert "execute_async_v3" in gpu.calls and "cuGraphLaunch" not in gpu.calls
    backend.close()
    assert_all_given_back(gpu)


@pytest.mark.parametrize(
    ("name", "how", "after"),
    [
        ("cuStreamBeginCapture_v2", 1, 0), ("memcpy_htod_async", None, 1), ("execute_async_v3", False, 1),
        ("memcpy_dtoh_async", None, 1), ("cuStreamEndCapture", 901, 0), ("cuGraphInstantiateWithFlags", 2, 0),
    ],
)  # fmt: skip
def test_a_failed_capture_is_told_once_and_frames_go_on(
    gpu: FakeGpu, open_on: Open, said: list[str], name: str, how: Any, after: int
) -> None:
    backend, values = open_on(), static(1)
    dress(backend, values)
    gpu.fail(name, how, after=after)
    for seed in (1, 2, 3):
        np.testing.assert_array_equal(backend.run(pose(seed)), compute({**values, "keypoints": pose(seed)}))
    (words,) = said
    assert words.startswith("no CUDA graph, frames are enqueued one by one: ")
    assert "\n" not in words
    assert name in words or "the reason" in words
    assert backend.describe()["cuda_graph"] in words
    assert "cuGraphLaunch" not in gpu.calls
    assert not [what for what in gpu.live if "graph" in what or "executable" in what]
    backend.close()
    assert_all_given_back(gpu)


def test_other_threads_may_use_the_legacy_stream_during_a_capture(gpu: FakeGpu, open_on: Open) -> None:
    """Another session, or an engine being built: with a blocking stream they would get error 906 and spoil the capture."""
    backend, seen = open_on(), list[int]()
    with backend._cuda.current():
        graph = backend._cuda.capture(lambda: seen.append(gpu.legacy_stream()))
        backend._cuda.destroy(graph)
    assert seen == [0]
    backend.close()
    assert_all_given_back(gpu)


@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_is_collected_during_a_capture(gpu: FakeGpu, open_on: Open, enabled: bool) -> None:
    """A collection would run the finalizer of a forgotten session, whose freeing of memory is forbidden there."""
    backend, during = open_on(), list[bool]()

    def work() -> None:
        during.append(gc.isenabled())
        raise SpgvtonError("enqueue failed")

    (gc.enable if enabled else gc.disable)()
    try:
        with backend._cuda.current(), pytest.raises(SpgvtonError, match="enqueue failed"):
            backend._cuda.capture(work)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert during == [False]
    backend.close()
    assert_all_given_back(gpu)


def test_an_error_that_the_context_does_not_survive(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    dress(backend, static(1))
    backend.run(pose(1))
    gpu.lost = True
    with pytest.raises(SpgvtonError, match="illegal memory access"):
        backend.run(pose(2))
    for call in (lambda: backend.run(pose(3)), lambda: backend.set_static("body", static(1)["body"])):
        with pytest.raises(SpgvtonError, match=r"was lost \(CUDA: .* illegal memory access.*start the program again"):
            call()
    backend.close()
    assert_all_given_back(gpu)


def test_a_static_input_that_was_not_copied_is_not_set(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    dress(backend, static(1))
    gpu.fail("memcpy_htod_async")
    with pytest.raises(SpgvtonError, match="memcpy_htod_async failed"):
        backend.set_static("cloth", static(2)["cloth"])
    with pytest.raises(SpgvtonError, match=r"no garment is set yet \(cloth\)"):
        backend.run(pose(1))
    backend.set_static("cloth", static(2)["cloth"])
    expected = compute({**static(1), "cloth": static(2)["cloth"], "keypoints": pose(1)})
    np.testing.assert_array_equal(backend.run(pose(1)), expected)
    backend.close()


@pytest.mark.parametrize(
    ("name", "how", "after", "message"),
    [
        ("init", None, 0, "CUDA: init failed"), ("Device", None, 0, "CUDA: Device failed"),
        ("retain_primary_context", None, 0, "retain_primary_context failed"), ("push", None, 0, "push failed"),
        ("Stream", None, 0, "Stream failed"), ("deserialize_cuda_engine", False, 0, "cannot load .*e.engine .*the reason"),
        ("create_execution_context", False, 0, "no execution context .*the reason"),
        ("pagelocked_empty", None, 3, "pagelocked_empty failed"), ("mem_alloc", None, 4, "mem_alloc failed"),
        ("set_tensor_address", False, 0, "refuses the address of reference_map: .*the reason"),
        ("Runtime", KeyboardInterrupt(), 0, "^$"),
    ],
)  # fmt: skip
def test_a_failure_while_opening_gives_everything_back(
    gpu: FakeGpu, open_on: Open, name: str, how: Any, after: int, message: str
) -> None:
    gpu.fail(name, how, after=after)
    with pytest.raises((SpgvtonError, KeyboardInterrupt), match=message) as e:
        open_on()
    assert "\n" not in str(e.value)
    del e
    if name == "push":  # the context cannot be made current again: the driver frees it with the process
        gpu.stack.clear()
    assert_all_given_back(gpu)


def test_an_engine_with_other_tensors_is_refused(gpu: FakeGpu, open_on: Open) -> None:
    gpu.spec.tensors[-1] = ("image", False, "FLOAT", (-1, H, W, 3))
    with pytest.raises(SpgvtonError, match=r"e\.engine has image as FLOAT .*build it again"):
        open_on()
    assert "mem_alloc" not in gpu.calls
    assert_all_given_back(gpu)


# ----- teardown -------------------------------------------------------------------------------------------------------


@pytest.fixture
def plugin_calls(gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the plugin's library; loading it is noted among the GPU's calls."""

    @contextmanager
    def loaded(trt: Flavour, registry: Any, library: Path) -> Iterator[None]:
        assert registry == "registry"
        gpu.calls.append("plugin in")
        yield
        gpu.calls.append("plugin out")

    monkeypatch.setattr(flavour, "plugin_loaded", loaded)
    return Path("libspgvton_plugin.so")


def test_everything_lives_as_long_as_what_needs_it(gpu: FakeGpu, open_on: Open, plugin_calls: Path) -> None:
    backend = open_on(plugin=plugin_calls)
    dress(backend, static(1))
    backend.run(pose(1))
    order = ["plugin in", "deserialize_cuda_engine", "create_execution_context", "mem_alloc"]
    assert [c for c in dict.fromkeys(gpu.calls) if c in order] == order
    gpu.calls.clear()
    backend.close()
    graph_to_plugin = ["cuGraphExecDestroy", "~ExecutionContext", "~Engine", "plugin out"]
    memory = ["push", *["free"] * 14, "~Stream", "detach", "cuCtxPopCurrent_v2"]
    assert gpu.calls == ["push", "synchronize", *graph_to_plugin, "pop", *memory]
    assert_all_given_back(gpu)


def test_closing_twice_and_using_after(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    dress(backend, static(1))
    backend.close()
    gpu.calls.clear()
    backend.close()
    assert gpu.calls == []
    for call in (lambda: backend.run(pose(1)), lambda: backend.set_static("body", static(1)["body"])):
        with pytest.raises(SpgvtonError, match="session is closed"):
            call()
    assert_all_given_back(gpu)


def test_a_forgotten_session_is_closed(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    dress(backend, static(1))
    backend.run(pose(1))
    del backend
    assert_all_given_back(gpu)


def test_an_error_while_closing_stops_nothing(gpu: FakeGpu, open_on: Open) -> None:
    backend = open_on()
    dress(backend, static(1))
    backend.run(pose(1))
    gpu.fail("synchronize")
    gpu.fail("cuGraphExecDestroy", 700)
    gpu.fail("free", after=3)
    backend.close()
    assert len(gpu.live) == 1 and gpu.live.pop().startswith("device")  # the one whose freeing failed
    assert_all_given_back(gpu)


def test_sessions_one_after_another(gpu: FakeGpu, open_on: Open) -> None:
    """The last one that closes releases the primary context; the next one starts with a new one."""
    for seed in (1, 2, 3):
        backend = open_on()
        dress(backend, static(seed))
        for _ in range(2):
            np.testing.assert_array_equal(backend.run(pose(9)), compute({**static(seed), "keypoints": pose(9)}))
        backend.close()
        assert_all_given_back(gpu)


def test_two_sessions_do_not_disturb_each_other(gpu: FakeGpu, open_on: Open) -> None:
    one, other = open_on(), open_on()
    for backend, seed in ((one, 1), (other, 2)):
        dress(backend, static(seed))
    for _ in range(2):
        for backend, seed in ((one, 1), (other, 2)):
            np.testing.assert_array_equal(backend.run(pose(9)), compute({**static(seed), "keypoints": pose(9)}))
    one.close()
    np.testing.assert_array_equal(other.run(pose(8)), compute({**static(2), "keypoints": pose(8)}))
    other.close()
    assert_all_given_back(gpu)


# ----- TensorRT-RTX ---------------------------------------------------------------------------------------------------


def config_of(backend: TensorRtBackend) -> Any:
    return backend._frame.execution._context._config


def test_rtx_captures_by_itself_and_keeps_its_kernels(
    gpu: FakeGpu, open_on: Open, said: list[str], tmp_path: Path
) -> None:
    backend, values, kernels = open_on(rtx=True), static(1), tmp_path / f"e.{DEVICE.slug}.kernels"
    config = config_of(backend)
    assert config.cuda_graph_strategy == "whole"
    assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
    assert config._cache is not None
    dress(backend, values)
    assert not kernels.exists()
    for seed in (1, 2, 3):
        np.testing.assert_array_equal(backend.run(pose(seed)), compute({**values, "keypoints": pose(seed)}))
    assert not [name for name in gpu.calls if name.startswith("cuStream")]
    assert gpu.calls.count("cache.serialize") == 1
    assert kernels.read_bytes() == b'{"ran": 1}'
    assert backend.describe()["cuda_graph"] == "captured by TensorRT-RTX"
    backend.close()
    gpu.calls.clear()
    again = open_on(rtx=True)
    assert "cache.deserialize" in gpu.calls
    again.close()
    gpu.kernels_fit = False
    third = open_on(rtx=True, cuda_graph=False)
    assert config_of(third).cuda_graph_strategy == "disabled"
    assert said == [f"e.{DEVICE.slug}.kernels is not for this GPU, driver and TensorRT-RTX: kernels are compiled anew"]
    third.close()
    assert_all_given_back(gpu)


def test_rtx_runs_where_its_kernels_cannot_be_kept(
    gpu: FakeGpu, open_on: Open, said: list[str], tmp_path: Path
) -> None:
    backend, values = open_on(rtx=True), static(1)
    (tmp_path / f"e.{DEVICE.slug}.kernels").mkdir()
    dress(backend, values)
    np.testing.assert_array_equal(backend.run(pose(1)), compute({**values, "keypoints": pose(1)}))
    assert [words.startswith("compiled kernels are not kept: cannot write") for words in said] == [True]
    backend.close()


def test_the_fake_is_not_blind(gpu: FakeGpu, open_on: Open) -> None:
    """The stand-ins refuse what a GPU would: a picture read too early, a context that is not current, a double free."""
    backend = open_on()
    with pytest.raises(CudaFailure, match="invalid device context"):
        gpu.driver.mem_alloc(4)
    with backend._cuda.current():
        address = backend._cuda.allocate(4)
        source, target = (backend._cuda.pinned((4,), np.dtype(np.uint8)) for _ in range(2))
        source[:] = 7
        backend._cuda.to_device(address, source)
        backend._cuda.to_host(target, address)
        assert not target.any()
        backend._cuda.synchronize()
        assert (target == 7).all()
        allocation = backend._cuda._buffers[-1]
        allocation.free()
        with pytest.raises(ValueError, match="not in list"):
            allocation.free()
        backend._cuda._buffers.pop()
    backend.close()
