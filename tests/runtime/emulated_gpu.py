"""Run by test_cuda_driver.py in a process of its own, where libcuda.so.1 is tests/cpp/cuda_driver_host.cpp.

"graphs": the ctypes calls of Cuda, PyCUDA being a stand-in. "session": the whole back end on real PyCUDA, TensorRT being
a stand-in whose work is a host function on the driver's stream. Prints what the driver still holds at the end.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fake_gpu import Array, EngineSpec, FakeGpu

from spgvton.backends import cuda
from spgvton.backends.cuda import Cuda
from spgvton.errors import SpgvtonError

DRIVER = ctypes.CDLL("libcuda.so.1")
HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
DRIVER.cuLaunchHostFunc.argtypes = (ctypes.c_void_p, HOST_FUNCTION, ctypes.c_void_p)
FIELDS = ("contexts", "retained", "streams", "pinned", "device", "graphs", "executables", "launches")


def state() -> dict[str, int]:
    text = ctypes.create_string_buffer(200)
    DRIVER.emuState(text, ctypes.c_size_t(200))
    return dict(zip(FIELDS, map(int, text.value.split())))


def nothing_held(launches: int) -> None:
    gc.collect()
    assert state() == dict.fromkeys(FIELDS, 0) | {"launches": launches}, state()


class EmulatedGpu(FakeGpu):
    """TensorRT's stand-in on the emulated driver's memory and stream."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.kept: list[Any] = []

    @property
    def stack(self) -> list[Any]:
        return [None] * state()["contexts"]

    def memory(self, address: int, nbytes: int) -> Array:
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))

    def enqueue(self, work: Callable[[], None]) -> None:
        function = HOST_FUNCTION(lambda _: work())
        self.kept.append(function)
        status = DRIVER.cuLaunchHostFunc(self.handle, function, None)
        assert status == 0, status


def graphs() -> None:
    gpu = FakeGpu(EngineSpec([], lambda inputs: np.zeros(0)))
    cuda.import_driver = lambda: gpu.driver
    context = ctypes.c_void_p()
    DRIVER.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
    DRIVER.cuCtxPushCurrent_v2(context)
    device, ran = Cuda(), list[int]()
    count = HOST_FUNCTION(lambda _: ran.append(1))

    def work() -> None:
        assert DRIVER.cuLaunchHostFunc(device.stream, count, None) == 0

    def broken() -> None:
        work()
        raise SpgvtonError("enqueue failed")

    def captured(what: Callable[[], None]) -> Any:
        with device.current():
            return device.capture(what)

    for name in ("cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags", "cuGraphLaunch"):
        os.environ["EMU_FAIL"] = name  # Python passes it on to getenv()
        try:
            graph = captured(work)
            with device.current():
                device.launch(graph)
        except SpgvtonError as e:
            assert str(e) == f"CUDA: {name} failed: invalid argument (1)", e
        else:
            raise AssertionError(f"{name} failed and nothing was told")
        finally:
            del os.environ["EMU_FAIL"]
        assert state()["graphs"] == 0 and not ran
    with device.current():
        device.destroy(graph)
    try:
        captured(broken)
    except SpgvtonError as e:
        assert str(e) == "enqueue failed"
    assert state()["graphs"] == 0 and not ran
    graph = captured(work)
    with device.current():
        for _ in range(3):
            device.launch(graph)
        DRIVER.cuStreamSynchronize(None)
        assert len(ran) == 3
        device.destroy(graph)
    device.close()
    assert state()["contexts"] == 0  # what PyCUDA's detach() leaves on the driver's stack is popped
    print(state())


def session() -> None:
    sys.setdlopenflags(os.RTLD_LAZY)  # the emulated driver has not all of PyCUDA's functions
    import test_gpu_session as t

    from spgvton.backends.tensorrt import TensorRtBackend
    from spgvton.bundle import Bundle
    from spgvton.engine import flavour
    from spgvton.engine.build import Built
    from spgvton.engine.flavour import Flavour
    from spgvton.engine.gpu import first_gpu

    gpu = EmulatedGpu(t.spec(max_batch=2))
    flavour.load = lambda name: Flavour(name, gpu.trt, object())
    engine = Path(sys.argv[2]) / "e.engine"
    engine.write_bytes(b"plan")
    bundle = Bundle(engine.parent, {"network": {"height": t.H, "width": t.W}, "precision": "fp32"})
    words: list[str] = []
    device = first_gpu()
    assert device is not None and device.name == "NVIDIA Emulated"

    def opened() -> TensorRtBackend:
        backend = TensorRtBackend(bundle, Built(engine, None, "hit", "tensorrt", "fp32", {}), device, say=words.append)
        gpu.handle = backend._cuda.stream
        return backend

    backend = opened()
    for batch in (1, 1, 1, 2, 2):
        values = t.static(batch, batch)
        t.dress(backend, values)
        image = backend.run(t.pose(batch, batch))
        np.testing.assert_array_equal(image, t.compute({**values, "keypoints": t.pose(batch, batch)}))
    assert state()["launches"] == 3 and not words
    assert state()["executables"] == 1 and state()["contexts"] == 0
    gpu.fail("execute_async_v3", False)
    t.dress(backend, t.static(1))
    try:
        backend.run(t.pose(1))
        raise AssertionError("the injected failure was not told")
    except SpgvtonError as e:
        assert str(e).startswith("TensorRT cannot run")
    os.environ["EMU_FAIL"] = "cuMemcpyDtoHAsync_v2"
    caught: list[SpgvtonError] = []
    for _ in range(2):
        try:
            backend.run(t.pose(1))
        except SpgvtonError as e:
            caught.append(e)  # kept: its traceback must not keep the stream alive
    del os.environ["EMU_FAIL"]
    assert [str(e) for e in caught] == ["CUDA: cuMemcpyDtoHAsync failed: invalid argument"] * 2
    expected = t.compute({**t.static(1), "keypoints": t.pose(4)})
    pictures: list[Array] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: pictures.append(backend.run(t.pose(4))))
        thread.start()
        thread.join()
        np.testing.assert_array_equal(pictures[-1], expected)
    thread = threading.Thread(target=backend.close)  # not the thread that opened it
    thread.start()
    thread.join()
    nothing_held(launches=4)

    os.environ["EMU_FAIL"] = "cuStreamEndCapture"
    backend = opened()
    t.dress(backend, t.static(1))
    for _ in range(2):
        np.testing.assert_array_equal(backend.run(t.pose(4)), expected)
    assert words == [
        "no CUDA graph, frames are enqueued one by one: CUDA: cuStreamEndCapture failed: invalid argument (1)"
    ]
    del os.environ["EMU_FAIL"]
    backend.close()
    os.environ["EMU_FAIL"] = "cuMemAlloc_v2"
    try:
        opened()
    except SpgvtonError as e:
        print(e)
    del os.environ["EMU_FAIL"]
    if len(sys.argv) > 3:  # leave one open: it is closed when the process ends
        kept = opened()
        t.dress(kept, t.static(1))
        kept.run(t.pose(1))
        return
    print(state())


{"graphs": graphs, "session": session}[sys.argv[1]]()
