"""The CUDA compositor: its kernel, run on the host, against OpenCV's compositor; its calls, on stand-ins for the GPU."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_gpu import EngineSpec, FakeGpu
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spgvton import image
from spgvton.backends import cuda
from spgvton.cli import main
from spgvton.demo_assets import DemoAssets
from spgvton.errors import SpgvtonError, UsageError
from spgvton.live import compositor_cuda
from spgvton.live.compositor import OnCpu, Place, Worn, composite
from spgvton.live.compositor_cuda import CudaCompositor
from spgvton.live.compositors import open_compositor
from spgvton.live.garment import LiveGarment
from spgvton.live.layers import Answer
from spgvton.live.network import LiveNetwork
from spgvton.live.spline import control_points, inverse
from spgvton.live.tryon import LiveTryOn
from spgvton.perception.pose import PoseEstimator
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]
Matrix = NDArray[np.float64]
Case = tuple[UInt8, Answer]
TILTED = np.array([[1.047, -0.073, 13.3], [0.073, 1.047, -7.6]])  # 4 degrees, 5% nearer
SIZE = (1920, 1080)


class HostCuda:
    """Stands for spgvton.backends.cuda.Cuda where the kernel works on the host's memory."""

    stream = 0

    def __init__(self) -> None:
        self._blocks: list[UInt8] = []

    def current(self) -> Any:
        return nullcontext()

    def allocate(self, nbytes: int) -> int:
        self._blocks.append(np.full(nbytes, 0xCD, np.uint8))
        return self._blocks[-1].ctypes.data

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        return np.zeros(shape, dtype)

    def to_device(self, address: int, source: NDArray[Any]) -> None:
        ctypes.memmove(address, source.ctypes.data, source.nbytes)

    def to_host(self, target: NDArray[Any], address: int) -> None:
        ctypes.memmove(target.ctypes.data, address, target.nbytes)

    def synchronize(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        self._blocks.clear()


@pytest.fixture(scope="session")
def kernel(native_build: Path, nvcc: str) -> Path:
    """compose_kernel.cu compiled for the host; the library's own functions."""
    return native_build / "libcompose_kernel_host.so"


@pytest.fixture
def on_host(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> CudaCompositor:
    monkeypatch.setattr(compositor_cuda, "Cuda", HostCuda)
    monkeypatch.setattr(compositor_cuda, "first_gpu", object)
    return CudaCompositor(kernel)


class Exact(OnCpu):
    """OpenCV's compositor with the spline evaluated at each pixel of the camera, in float64.

    OnCpu evaluates it at the network's pixels and interpolates twice, which is up to a quarter of a pixel of the texture off.
    """

    def _positions(self, worn: Worn, answer: Answer) -> NDArray[np.float32]:
        assert answer.layers is not None
        (columns, rows), to_grid = worn.place.grid()
        height, width = worn.place.part.shape[:2]
        grid = [np.clip((np.arange(n) + 0.5) * g / n - 0.5, 0, g - 1) for n, g in ((width, columns), (height, rows))]
        x, y = np.meshgrid(*grid)
        matrix, (left, top, right, bottom) = np.linalg.inv(to_grid), answer.layers.bounds
        u, v = (matrix[i, 0] * x + matrix[i, 1] * y + matrix[i, 2] for i in (0, 1))
        u, v = np.clip(u, left, right - 1), np.clip(v, top, bottom - 1)
        h, w = answer.picture.shape[:2]
        theta, points = answer.output.theta.astype(np.float64), control_points()
        nx, ny = 2 * u / (w - 1) - 1, 2 * v / (h - 1) - 1
        weights = inverse() @ theta.T
        place = weights[-3] + nx[..., None] * weights[-2] + ny[..., None] * weights[-1]
        for k in range(points.shape[1]):
            r2 = (nx - points[0, k]) ** 2 + (ny - points[1, k]) ** 2
            place += (r2 * np.log(np.where(r2 > 0, r2, 1)))[..., None] * weights[k]
        cloth = ((place + 1) * [(w - 1) / 2, (h - 1) / 2]).reshape(-1, 2).astype(np.float32)
        texture = answer.garment.box.points_back(cloth).reshape(height, width, 2)
        bend = CudaCompositor._bend_of(SimpleNamespace(_bend=None), answer)  # type: ignore[arg-type]
        return np.asarray(texture + worn.place.up(worn.place.turned(bend, worn.cut)), np.float32)


def mirror_sized(picture: UInt8) -> UInt8:
    """PICTURE enlarged to a mirror's 1920 rows; at most 1080 columns of its middle."""
    scale = SIZE[0] / picture.shape[0]
    big = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    left = max(0, (big.shape[1] - SIZE[1]) // 2)
    return np.ascontiguousarray(big[:, left : left + SIZE[1]], np.uint8)


PHOTOGRAPH = Path(__file__).parents[2] / "data" / "person_front.jpg"


@pytest.fixture(scope="module")
def live() -> LiveTryOn:
    return LiveTryOn(threads=1)


@pytest.fixture(scope="module", params=["demo", "photograph"])
def case(request: pytest.FixtureRequest, live: LiveTryOn) -> Case:
    """A frame of a mirror's size, and what parser and network say about it; striped, and of one colour."""
    assets = DemoAssets.open()
    demo = request.param == "demo"
    frame = mirror_sized(assets.person()[0] if demo else image.read(PHOTOGRAPH))
    garment = assets.garment(1 if demo else 2)
    live.forget()
    live.set_garment(garment.picture, mask=garment.mask)
    answer = live.answer(frame, PoseEstimator(smooth=False)(frame))
    assert answer.layers is not None and answer.layers.fill is not None
    return frame, answer


def difference(a: UInt8, b: UInt8) -> NDArray[np.int16]:
    """Of each pixel's worst channel."""
    return np.abs(a.astype(np.int16) - b).max(axis=2)


def assert_untouched_beside(changed: NDArray[np.bool_], made: UInt8, frame: UInt8) -> None:
    """Where a weight is 0 in one of both and 1 of 255 in the other, on the very edge, one level may differ."""
    beside = cv2.dilate(changed.astype(np.uint8), np.ones((7, 7), np.uint8)) == 0
    assert beside.mean() > 0.5
    np.testing.assert_array_equal(made[beside], frame[beside])


# ----- the same picture -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved", [None, TILTED], ids=["where it was", "tilted"])
def test_it_is_the_picture_of_opencv(on_host: CudaCompositor, case: Case, moved: Matrix | None) -> None:
    """The same operations: within 2 levels everywhere, and hardly anywhere different at all."""
    frame, answer = case
    made, expected = composite(frame, answer, moved, on_host), composite(frame, answer, moved, Exact())
    changed = (expected != frame).any(axis=2)
    found = difference(made, expected)
    assert changed.mean() > 0.1
    assert found.max() <= 2 and (found[changed] > 0).mean() < 0.01
    assert_untouched_beside(changed, made, frame)


@pytest.mark.parametrize("moved", [None, TILTED], ids=["where it was", "tilted"])
def test_it_is_nearly_the_picture_of_the_cpu(on_host: CudaCompositor, case: Case, moved: Matrix | None) -> None:
    """Where OnCpu interpolates the spline, sharp edges of a print lie up to a quarter of a texture's pixel elsewhere."""
    frame, answer = case
    made, expected = composite(frame, answer, moved, on_host), composite(frame, answer, moved)
    changed = (expected != frame).any(axis=2)
    found = difference(made, expected)
    assert (found[changed] <= 2).mean() > 0.98 and found[changed].mean() < 0.4 and found.max() <= 16
    assert_untouched_beside(changed, made, frame)


@given(seed=st.integers(0, 2**32 - 1), fold=st.sampled_from([0.0, 0.02, 0.05, 0.1]))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_spline(on_host: CudaCompositor, person: UInt8, answer: Answer, seed: int, fold: float) -> None:
    noise = np.random.default_rng(seed).standard_normal((2, 25))
    theta = (control_points(5) + fold * noise).astype(np.float32)
    bent = replace(answer, output=answer.output._replace(theta=theta))
    made, expected = composite(person, bent, None, on_host), composite(person, bent, None, Exact())
    assert difference(made, expected).max() <= 2
    assert (expected != person).any()


def test_a_frame_that_ends_inside_the_garment(on_host: CudaCompositor, person: UInt8, answer: Answer) -> None:
    """Layers are limited at the picture's edge as OpenCV limits them."""
    half = np.ascontiguousarray(person[: round(0.55 * person.shape[0]), :290])
    box = replace(answer.box, source=(half.shape[0], half.shape[1]))
    cut = replace(answer, box=box)
    made, expected = composite(half, cut, None, on_host), composite(half, cut, None, Exact())
    assert difference(made, expected).max() <= 2
    assert (expected[-1] != half[-1]).any() and (expected[:, -1] != half[:, -1]).any()


def test_layers_of_two_channels_are_turned_as_exactly_as_others(person: UInt8) -> None:
    """OpenCV alone would move them by up to the 64th of a pixel of the network, 0.1 of a mirror's."""
    ramp = np.add.outer(np.arange(40, dtype=np.float32), 100 * np.arange(30, dtype=np.float32))
    place = Place(person, (0, 0), np.array([[18.003, 0, 0.3], [0, 18.003, 0.2], [0, 0, 1]]))
    both = place.turned(np.dstack([ramp, -ramp]), np.eye(3))
    np.testing.assert_array_equal(both[..., 0], place.turned(ramp, np.eye(3)))
    np.testing.assert_array_equal(both[..., 1], -both[..., 0])


# ----- its calls ------------------------------------------------------------------------------------------------------


class DeviceKernel:
    """The library on a FakeGpu: runs the kernel on the device's memory when the stream is waited for, as a GPU would."""

    def __init__(self, gpu: FakeGpu, kernel: Path) -> None:
        self._gpu, self._kernel = gpu, compositor_cuda.load_library(kernel)

    def spgvton_compose(self, given: Any, theta: int, stream: int) -> int:
        assert stream == self._gpu.handle
        status = self._gpu.call("spgvton_compose", needs_context=True)
        if status:
            return int(status)
        job = type(given._obj).from_buffer_copy(given._obj)
        values = np.ctypeslib.as_array((ctypes.c_float * 50).from_address(theta)).copy()

        def work() -> None:
            for owner, field in [(job, "picture")] + [
                (getattr(job, n), "data") for n in ("cover", "fill", "worn", "shade", "bend", "texture")
            ]:
                if getattr(owner, field):
                    setattr(owner, field, self._on_host(getattr(owner, field)))
            assert self._kernel.spgvton_compose(ctypes.byref(job), values.ctypes.data, 0) == 0

        self._gpu.enqueue(work)
        return 0

    def _on_host(self, address: int) -> int:
        (base,) = (b for b, block in self._gpu._memory.items() if b <= address < b + block.nbytes)
        return self._gpu._memory[base].ctypes.data + address - base

    def spgvton_compose_error(self, status: int) -> bytes:
        return b"too many resources requested for launch"


@pytest.fixture
def gpu(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    fake = FakeGpu(EngineSpec([], lambda inputs: inputs["x"]))
    library = DeviceKernel(fake, kernel)
    monkeypatch.setattr(cuda, "import_driver", lambda: fake.driver)
    monkeypatch.setattr(cuda, "load_libcuda", lambda: fake.library)
    monkeypatch.setattr(compositor_cuda, "first_gpu", object)
    monkeypatch.setattr(compositor_cuda, "load_library", lambda given: library)
    return fake


IN, RUN, OUT = "memcpy_htod_async", "spgvton_compose", "memcpy_dtoh_async"
FRAME = ["push", IN, RUN, OUT, "synchronize", "pop"]


def all_given_back(gpu: FakeGpu) -> bool:
    gc.collect()
    return gpu.live == [] and gpu.primary == 0 and gpu.stack == []


def test_a_frame_is_one_copy_in_one_launch_and_one_copy_out(gpu: FakeGpu, person: UInt8, answer: Answer) -> None:
    by = CudaCompositor()
    expected = composite(person, answer, None, Exact())
    gpu.calls.clear()
    assert difference(composite(person, answer, None, by), expected).max() <= 2
    assert gpu.calls == ["push", IN, "synchronize", *FRAME[1:]]  # the texture first
    for _ in range(2):
        gpu.calls.clear()
        assert difference(composite(person, answer, None, by), expected).max() <= 2
        assert gpu.calls == FRAME
    other = replace(answer, garment=LiveGarment.of(*DemoAssets.open().garment(3)))
    gpu.calls.clear()
    assert difference(composite(person, other, None, by), composite(person, other, None, Exact())).max() <= 2
    assert gpu.calls.count(IN) == 2
    by.close()
    by.close()
    assert all_given_back(gpu)
    with pytest.raises(SpgvtonError, match="is closed"):
        composite(person, answer, None, by)


def test_a_bigger_picture_takes_more_memory_and_gives_the_old_back(
    gpu: FakeGpu, person: UInt8, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compositor_cuda, "FIRST_BYTES", 1 << 12)
    by = CudaCompositor()
    count = len(gpu.live)
    expected = composite(person, answer, None, Exact())
    for _ in range(2):
        assert difference(composite(person, answer, None, by), expected).max() <= 2
        assert len(gpu.live) == count
    by.close()
    assert all_given_back(gpu)


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [(IN, None, "memcpy_htod_async failed"), (OUT, None, "memcpy_dtoh_async failed"), ("synchronize", None, "synchronize"),
     (RUN, 701, r"^CUDA: spgvton_compose failed: too many resources requested for launch \(701\)$")],
)  # fmt: skip
def test_a_failed_frame_is_one_line_and_the_next_one_works(
    gpu: FakeGpu, person: UInt8, answer: Answer, name: str, how: Any, message: str
) -> None:
    by = CudaCompositor()
    gpu.fail(name, how)
    with pytest.raises(SpgvtonError, match=message) as e:
        composite(person, answer, None, by)
    assert "\n" not in str(e.value)
    del e
    assert difference(composite(person, answer, None, by), composite(person, answer, None, Exact())).max() <= 2
    by.close()
    assert all_given_back(gpu)


def test_nothing_of_the_picture_stays_when_all_is_forgotten(gpu: FakeGpu, person: UInt8, answer: Answer) -> None:
    live = LiveTryOn(LiveNetwork(threads=1), compositor=CudaCompositor())
    assert difference(live.compose(person, answer), composite(person, answer)).max() > 0
    block = min(gpu._memory.values(), key=lambda b: abs(b.nbytes - compositor_cuda.FIRST_BYTES))
    assert block.any()
    live.forget()
    assert not block.any()
    live.close()
    assert all_given_back(gpu)


def test_it_is_closed_when_it_is_forgotten(gpu: FakeGpu) -> None:
    by = CudaCompositor()
    assert gpu.live and by
    del by
    assert all_given_back(gpu)


def test_a_sibling_has_memory_of_its_own(gpu: FakeGpu, person: UInt8, answer: Answer) -> None:
    one = CudaCompositor()
    other = one.sibling()
    one.close()
    assert difference(composite(person, answer, None, other), composite(person, answer, None, Exact())).max() <= 2
    other.close()
    assert all_given_back(gpu)


# ----- what is missing is said ----------------------------------------------------------------------------------------


def test_what_is_missing_is_one_line(kernel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPGVTON_COMPOSITOR", raising=False)
    with pytest.raises(SpgvtonError, match=r"needs libspgvton_compositor\.so: build it .*\$SPGVTON_COMPOSITOR"):
        open_compositor("cuda")
    (tmp_path / "no.so").write_text("no library")
    monkeypatch.setenv("SPGVTON_COMPOSITOR", str(tmp_path / "no.so"))
    for library in (None, tmp_path / "absent.so", Path(ctypes.util.find_library("c") or "libc.so.6")):
        with pytest.raises(SpgvtonError, match=r"cannot load the CUDA compositor .*build it") as e:
            open_compositor("cuda", library)
        assert "\n" not in str(e.value)
    monkeypatch.setattr(compositor_cuda, "first_gpu", lambda: None)
    with pytest.raises(SpgvtonError, match="needs an NVIDIA GPU and its driver, and none answers"):
        open_compositor("cuda", kernel)
    monkeypatch.setattr(compositor_cuda.ctypes, "sizeof", lambda kind: 1)
    with pytest.raises(SpgvtonError, match="is of another version of spgvton"):
        open_compositor("cuda", kernel)


def test_wrong_use() -> None:
    with pytest.raises(UsageError, match="use cpu or cuda"):
        open_compositor("vulkan")
    with pytest.raises(UsageError, match="--compositor-library is for --compositor cuda"):
        open_compositor("cpu", Path("x.so"))


def test_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assets = DemoAssets.open().folder
    monkeypatch.delenv("SPGVTON_COMPOSITOR", raising=False)
    arguments = [
        "run",
        "--source",
        str(assets / "clip.mp4"),
        "--garment",
        str(assets / "garment_1.jpg"),
        "--sink",
        "null",
    ]
    assert main([*arguments, "--compositor", "cuda"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "libspgvton_compositor.so" in last
    assert main([*arguments, "--mode", "pose", "--compositor", "cuda"]) == 2
    assert "it is for live mode" in capsys.readouterr().err


def test_run_with_it(on_host: CudaCompositor, kernel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assets = DemoAssets.open().folder
    arguments = [
        "run",
        "--source",
        str(assets / "clip.mp4"),
        "--garment",
        str(assets / "garment_1.jpg"),
        "--sink",
        "null",
    ]
    arguments += ["--garment-mask", str(assets / "garment_1_mask.png"), "--max-frames", "2", "--json"]
    assert main([*arguments, "--compositor", "cuda", "--compositor-library", str(kernel)]) == 0
    assert '"frames_out": 2' in capsys.readouterr().out
