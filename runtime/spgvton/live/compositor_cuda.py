"""The compositor's work at the camera's resolution on an NVIDIA GPU: one kernel, runtime/plugin/compose_kernel.cu.

What goes where is decided by spgvton.live.compositor, as for the CPU; masks are snapped to the camera's edges there. Here the part
of the picture that changes, and the layers at their own small resolution, go to the device in one copy; the kernel enlarges them,
evaluates the spline at each pixel, samples the garment's texture and blends; the part comes back. Off by default: it has
never run on a device (docs/gpu.md).
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from contextlib import suppress
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int, c_void_p
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.backends.cuda import Cuda, CudaError
from spgvton.engine.gpu import first_gpu
from spgvton.errors import SpgvtonError
from spgvton.live.compositor import Place, Uncovered, Work, Worn
from spgvton.live.garment import MAX_SIDE, LiveGarment
from spgvton.live.layers import Answer
from spgvton.live.spline import cloth_positions

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]

VARIABLE: Final = "SPGVTON_COMPOSITOR"
BUILD_IT: Final = "build it (cmake -B build/native && cmake --build build/native)"
FIRST_BYTES: Final = (
    8 << 20
)  # of pinned and device memory for a picture's part and its layers; more is taken when needed
ROOM: Final = 1.5  # times what is needed that is taken then
ALIGN: Final = 16  # bytes
MAX_COEFFICIENTS: Final = 28  # kMaxCoefficients of tps_math.h


class _Patch(Structure):
    _fields_ = [(name, c_int) for name in ("left", "top", "width", "height")]


class _Layer(Structure):
    _fields_ = [("data", c_void_p), ("width", c_int), ("height", c_int)]


class _Job(Structure):
    """Job of compose_math.h."""

    _fields_ = [
        ("picture", c_void_p), ("width", c_int), ("height", c_int),
        ("uncovered", _Patch), ("cover", _Layer), ("fill", _Layer),
        ("garment", _Patch), ("worn", _Layer), ("shade", _Layer), ("bend", _Layer), ("texture", _Layer),
        ("to_network", c_float * 6), ("bounds", c_float * 4), ("to_texture", c_float * 4),
        ("network_width", c_int), ("network_height", c_int), ("grid_size", c_int),
        ("coefficients", c_float * (2 * MAX_COEFFICIENTS)),
    ]  # fmt: skip


def load_library(given: Path | None) -> Any:
    """libspgvton_compositor.so, from GIVEN or $SPGVTON_COMPOSITOR. Raises SpgvtonError where there is none, or not this version's."""
    path = given or os.environ.get(VARIABLE)
    if not path:
        raise SpgvtonError(
            f"the CUDA compositor needs libspgvton_compositor.so: {BUILD_IT} and give "
            f"--compositor-library build/native/libspgvton_compositor.so or ${VARIABLE}, or leave --compositor out"
        )
    try:
        library = ctypes.CDLL(str(Path(path).resolve()))
        library.spgvton_compose.argtypes = (POINTER(_Job), c_void_p, c_void_p)
        library.spgvton_compose_error.restype = c_char_p
        size = library.spgvton_compose_size()
    except (OSError, AttributeError) as e:
        raise SpgvtonError(f"cannot load the CUDA compositor {path} ({str(e).splitlines()[0]}): {BUILD_IT}") from e
    if size != ctypes.sizeof(_Job):
        raise SpgvtonError(f"the CUDA compositor {path} is of another version of spgvton: {BUILD_IT} again")
    return library


class CudaCompositor:
    """See spgvton.live.compositor.Compositor. library: the file; None = that of $SPGVTON_COMPOSITOR.

    Raises SpgvtonError where the library, a GPU, its driver or PyCUDA is missing.
    """

    def __init__(self, library: Path | None = None) -> None:
        self._file = library
        self._library = load_library(library)
        if first_gpu() is None:
            raise SpgvtonError(
                "the CUDA compositor needs an NVIDIA GPU and its driver, and none answers (nvidia-smi must list it): install the "
                "driver, or leave --compositor out"
            )
        self._lock = threading.Lock()
        self._device: _Device | None = _Device(FIRST_BYTES)
        self._bend: tuple[weakref.ref[Answer], Float] | None = None

    def sibling(self) -> CudaCompositor:
        return CudaCompositor(self._file)

    def forget(self) -> None:
        with self._lock:
            if self._device:
                self._device.wipe()

    def close(self) -> None:
        with self._lock:
            device, self._device = self._device, None
            if device:
                device.close()

    def __call__(self, out: UInt8, work: Work, answer: Answer) -> None:
        places = [laid.place for laid in work if laid is not None]
        if not places:
            return
        (left, top), (right, bottom) = np.min([p.corner for p in places], 0), np.max([_end(p) for p in places], 0)
        part = out[top:bottom, left:right]
        arrays: dict[str, NDArray[Any]] = {"picture": part}
        job = _Job(width=part.shape[1], height=part.shape[0])
        if work.uncovered:
            _uncover(job, arrays, work.uncovered, (left, top))
        if work.worn:
            _wear(job, arrays, work.worn, (left, top), answer, self._bend_of(answer))
        theta = np.ascontiguousarray(answer.output.theta, np.float32)
        job.grid_size = round(theta.shape[1] ** 0.5)
        with self._lock:
            device = self._with_room(sum(_padded(a.nbytes) for a in arrays.values()))
            part[...] = device.compose(self._library, job, arrays, theta, answer.garment).reshape(part.shape)

    def _with_room(self, nbytes: int) -> _Device:
        """The device with memory for NBYTES."""
        if self._device is None:
            raise SpgvtonError("this CUDA compositor is closed: open a new one")
        if nbytes > self._device.nbytes:
            self._device.close()
            self._device = None  # should the next one fail
            self._device = _Device(round(ROOM * nbytes))
        return self._device

    def _bend_of(self, answer: Answer) -> Float:
        """How many pixels of the texture lie between where the spline points and what is shown: (h, w, 2), as layers.positions."""
        if self._bend is None or self._bend[0]() is not answer:
            assert answer.layers is not None
            left, top, right, bottom = answer.layers.bounds
            height, width = answer.picture.shape[:2]
            spline = cloth_positions(answer.output.theta, (height, width))[top:bottom, left:right]
            there = answer.garment.box.points_back(spline.reshape(-1, 2)).reshape(spline.shape)
            self._bend = weakref.ref(answer), np.asarray(answer.layers.positions - there, np.float32)
        return self._bend[1]


def _end(place: Place) -> tuple[int, int]:
    """The corner (x, y) of PLACE opposite to its own, just beyond it."""
    return place.corner[0] + place.part.shape[1], place.corner[1] + place.part.shape[0]


def _padded(nbytes: int) -> int:
    return -(-nbytes // ALIGN) * ALIGN


def _patch(place: Place, corner: tuple[int, int]) -> _Patch:
    """PLACE in the pixels of a part of the picture that begins at CORNER."""
    height, width = place.part.shape[:2]
    return _Patch(place.corner[0] - corner[0], place.corner[1] - corner[1], width, height)


def _uncover(job: _Job, arrays: dict[str, NDArray[Any]], uncovered: Uncovered, corner: tuple[int, int]) -> None:
    job.uncovered = _patch(uncovered.place, corner)
    arrays |= {"cover": uncovered.weight, "fill": uncovered.colours}


def _wear(
    job: _Job, arrays: dict[str, NDArray[Any]], worn: Worn, corner: tuple[int, int], answer: Answer, bend: Float
) -> None:
    assert answer.layers is not None
    job.garment = _patch(worn.place, corner)
    arrays |= {"worn": worn.weight, "shade": worn.shade, "bend": worn.place.turned(bend, worn.cut)}
    to_network = np.linalg.inv(worn.place.grid()[1])[:2]
    left, top, right, bottom = answer.layers.bounds
    origin, unit = answer.garment.box.points_back(np.array([[0, 0], [1, 1]], np.float32))
    job.to_network[:] = [float(x) for x in to_network.ravel()]
    job.bounds[:] = [left, top, right - 1, bottom - 1]
    job.to_texture[:] = [float(x) for x in (*(unit - origin), *origin)]
    job.network_height, job.network_width = answer.picture.shape[:2]


class _Device:
    """A stream; a block of NBYTES, pinned and on the device, for one picture and its layers; and the texture of one garment."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._cuda = Cuda()
        self._close = weakref.finalize(self, self._cuda.close)  # also when it is forgotten, and at exit
        self._worn: weakref.ref[LiveGarment] | None = None  # whose texture is on the device
        try:
            with self._cuda.current():
                self._host = self._cuda.pinned((nbytes,), np.dtype(np.uint8))
                self._address = self._cuda.allocate(nbytes)
                self._texture_host = self._cuda.pinned((3 * MAX_SIDE**2,), np.dtype(np.uint8))
                self._texture = self._cuda.allocate(self._texture_host.nbytes)
        except BaseException:
            self._close()
            raise

    def compose(
        self, library: Any, job: _Job, arrays: dict[str, NDArray[Any]], theta: Float, garment: LiveGarment
    ) -> UInt8:
        """ARRAYS, the first of which is the picture, to the device, JOB, and the picture's bytes back; valid until the next call."""
        used = 0
        for name, array in arrays.items():
            self._host[used : used + array.nbytes].view(array.dtype).reshape(array.shape)[...] = array
            if name == "picture":
                job.picture = self._address
            else:
                setattr(job, name, _Layer(self._address + used, array.shape[1], array.shape[0]))
            used += _padded(array.nbytes)
        picture = self._host[: next(iter(arrays.values())).nbytes]
        job.texture = _Layer(self._texture, garment.texture.shape[1], garment.texture.shape[0])
        with self._cuda.current():
            try:
                self._wear(garment)
                self._cuda.to_device(self._address, self._host[:used])
                self._launch(library, job, theta)
                self._cuda.to_host(picture, self._address)
                self._cuda.synchronize()
            except BaseException:
                with suppress(SpgvtonError):  # nothing may be in flight when the block is filled again
                    self._cuda.synchronize()
                raise
        return picture

    def _launch(self, library: Any, job: _Job, theta: Float) -> None:
        status = library.spgvton_compose(byref(job), theta.ctypes.data, self._cuda.stream)
        if status:
            reason = library.spgvton_compose_error(status).decode()
            raise CudaError(f"CUDA: spgvton_compose failed: {reason} ({status})")

    def _wear(self, garment: LiveGarment) -> None:
        """The texture of GARMENT to the device, unless it is there."""
        if self._worn is not None and self._worn() is garment:
            return
        self._worn = None  # should the copy fail
        flat = self._texture_host[: garment.texture.nbytes]
        flat.reshape(garment.texture.shape)[...] = garment.texture
        self._cuda.to_device(self._texture, flat)
        self._cuda.synchronize()
        self._worn = weakref.ref(garment)

    def wipe(self) -> None:
        self._host[:] = 0
        with self._cuda.current():
            self._cuda.to_device(self._address, self._host)
            self._cuda.synchronize()

    def close(self) -> None:
        self._close()
