"""The CUDA side: the kernel's source run on the host, and what the TensorRT plugin exports and is compiled for."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from spgvton.live.compositor_cuda import load_library
from spgvton_training.networks.tps import control_points

Array = NDArray[Any]
TpsKernel = Callable[..., tuple[Array, Array]]
TpsHost = Callable[..., NDArray[np.float32]]
ROOT = Path(__file__).resolve().parent.parent
PADDINGS = {"zeros": 0, "border": 1}
FATBIN_MAGIC = struct.pack("<I", 0xBA55ED50)


@pytest.fixture(scope="session")
def tps_kernel(native_build: Path, nvcc: str) -> TpsKernel:
    """tps_kernel.cu run by host threads: f(image, mask, theta, grid_size, align_corners, padding) -> both warped."""
    function = ctypes.CDLL(str(native_build / "libtps_kernel_host.so")).tps_kernel_host
    address, number = ctypes.c_void_p, ctypes.c_int
    function.argtypes = (address, address, number, number) * 2 + (address, *(number,) * 7)

    def call(
        image: Array, mask: Array, theta: Array, grid_size: int = 5, align_corners: bool = True, padding: str = "border"
    ) -> tuple[Array, Array]:
        outputs = [np.full_like(a, np.nan) for a in (image, mask)]
        arguments: list[int] = []
        for a, out in zip((image, mask), outputs):
            arguments += [a.ctypes.data, out.ctypes.data, a.shape[1], a.dtype == np.float16]
        arguments += [theta.ctypes.data, theta.dtype == np.float16, image.shape[0], *image.shape[2:], grid_size]
        assert function(*arguments, int(align_corners), PADDINGS[padding]) == 0
        return outputs[0], outputs[1]

    return call


def inputs(seed: int, shape: tuple[int, int, int, int], grid_size: int, folding: float) -> tuple[Array, Array, Array]:
    """Image, one-channel mask and theta, float32."""
    rng = np.random.default_rng(seed)
    theta = control_points(grid_size) + folding * rng.standard_normal((shape[0], 2, grid_size**2))
    mask = rng.random((shape[0], 1, *shape[2:]), dtype=np.float32)
    return rng.random(shape, dtype=np.float32), mask, theta.astype(np.float32)


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 20), st.integers(1, 40)),
    grid_size=st.integers(2, 5),
    align_corners=st.booleans(),
    padding=st.sampled_from(sorted(PADDINGS)),
    folding=st.sampled_from([0.0, 0.1, 3.0]),
    halves=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
@settings(max_examples=25, deadline=None)
def test_kernel_equals_reference(
    tps_kernel: TpsKernel, tps_host: TpsHost, seed: int, shape: tuple[int, int, int, int], grid_size: int,
    align_corners: bool, padding: str, folding: float, halves: tuple[bool, bool, bool],
) -> None:  # fmt: skip
    """Tiles cut by the edges, several images of either type, batch: the host loop, itself compared with torch, agrees."""
    arrays = [a.astype(np.float16) if h else a for a, h in zip(inputs(seed, shape, grid_size, folding), halves)]
    image, mask, theta = arrays
    mode = (grid_size, align_corners, padding)
    for found, source in zip(tps_kernel(image, mask, theta, *mode), (image, mask)):
        expected = tps_host(source.astype(np.float32), theta.astype(np.float32), *mode)
        assert found.dtype == source.dtype
        np.testing.assert_array_equal(found, expected.astype(source.dtype))


def test_kernel_survives_a_theta_that_is_no_number(tps_kernel: TpsKernel) -> None:
    image, mask, theta = inputs(1, (2, 3, 9, 40), 5, 0)
    for padding in PADDINGS:
        for bad in (np.nan, np.inf, -3e38):
            theta[0, :, 12] = bad
            out, _ = tps_kernel(image, mask, theta, padding=padding)
            assert np.isfinite(out).all()
            np.testing.assert_allclose(out[1], image[1], atol=2e-4)  # the other item is untouched


def test_kernel_of_an_empty_batch_does_nothing(tps_kernel: TpsKernel) -> None:
    image, mask, theta = inputs(1, (1, 3, 4, 4), 5, 0)
    out, _ = tps_kernel(image[:0], mask[:0], theta[:0])
    assert out.shape == (0, 3, 4, 4)


# ----- the library ----------------------------------------------------------------------------------------------------


def symbols(library: Path, which: str) -> set[str]:
    command = ["nm", "-D", which, "--format=posix", str(library)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return {line.split()[0].split("@")[0] for line in lines}


def test_plugin_exports_its_two_entry_points_alone(plugin_library: Path) -> None:
    assert symbols(plugin_library, "--defined-only") == {"getCreators", "setLoggerFinder"}


def test_compositor_exports_its_three_functions_alone_and_needs_no_cuda_library(native_build: Path, nvcc: str) -> None:
    """The library loads where there is no driver, and then knows how large its argument is."""
    library = native_build / "libspgvton_compositor.so"
    assert symbols(library, "--defined-only") == {"spgvton_compose", "spgvton_compose_error", "spgvton_compose_size"}
    assert not [s for s in symbols(library, "--undefined-only") if re.match(r"(cuda|cu[A-Z]|__cuda)", s)]
    assert load_library(library).spgvton_compose_size() > 0


def test_plugin_needs_neither_nvinfer_nor_cuda_libraries(plugin_library: Path) -> None:
    """It loads into a process of any TensorRT, and on a machine without a driver."""
    undefined = symbols(plugin_library, "--undefined-only")
    assert not [s for s in undefined if re.match(r"(_ZN\w*nvinfer|cuda|cu[A-Z]|__cuda|getPluginRegistry|getLogger)", s)]
    ctypes.CDLL(str(plugin_library))


def architectures(library: Path) -> set[str]:
    """What the fat binaries in LIBRARY hold, such as {'sm_80', 'compute_120'}."""
    data, found = library.read_bytes(), set()
    for match in re.finditer(re.escape(FATBIN_MAGIC), data):
        header, size = struct.unpack_from("<HQ", data, match.start() + 6)
        position = match.start() + header
        while position < match.start() + header + size:
            kind, _, entry_header, entry_size = struct.unpack_from("<HHIQ", data, position)
            (number,) = struct.unpack_from("<I", data, position + 28)
            found.add(f"{'compute' if kind == 1 else 'sm'}_{number}")
            position += entry_header + entry_size
    return found


def test_plugin_holds_code_for_every_listed_architecture(nvcc: str, plugin_library: Path) -> None:
    listed = subprocess.run([nvcc, "--version"], check=True, capture_output=True, text=True)
    release = re.search(r"release (\d+)\.(\d+)", listed.stdout)
    assert release
    if "CUDAARCHS" in os.environ or platform.machine() == "aarch64" or tuple(map(int, release.groups())) < (12, 8):
        pytest.skip("the list is another one here")
    for library in (plugin_library, plugin_library.parent / "libspgvton_compositor.so"):
        assert architectures(library) == {*(f"sm_{n}" for n in (75, 80, 86, 89, 90, 100, 120)), "compute_120"}


def test_plugin_compiles_with_other_headers(
    tmp_path: Path, nvcc: str, plugin_library: Path, cmake_cache: dict[str, str]
) -> None:
    """$TENSORRT_HEADERS: folders with the headers of further TensorRT versions, separated by colons.

    Else those that the plugin was built with: no package of PyPI carries other versions, so CI has one.
    """
    given = [f for f in os.environ.get("TENSORRT_HEADERS", "").split(":") if f]
    folders = given or [cmake_cache["TENSORRT_INCLUDE_DIR"]]
    for folder in folders:
        assert Path(folder, "NvInferRuntimePlugin.h").exists(), folder
        options = ["-std=c++17", "-Xcompiler=-Wall,-Wextra,-Wshadow,-Werror", "-isystem", folder, "-c"]
        source, out = ROOT / "runtime/plugin/tps_plugin.cpp", tmp_path / "plugin.o"
        command = [nvcc, *options, str(source), "-o", str(out)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_plugin_keeps_the_protocol_with_other_headers(tmp_path: Path, cmake_cache: dict[str, str], nvcc: str) -> None:
    """$TENSORRT_HEADERS, as above: tests/cpp/plugin_host.cpp. Those that the plugin was built with are ctest's."""
    folders = [f for f in os.environ.get("TENSORRT_HEADERS", "").split(":") if f]
    if not folders:
        pytest.skip("TENSORRT_HEADERS names no further versions")
    cuda = re.split("[;]", cmake_cache.get("CUDAToolkit_INCLUDE_DIRS") or str(Path(nvcc).parent.parent / "include"))
    sources = [
        ROOT / "tests/cpp/plugin_host.cpp",
        ROOT / "tests/cpp/tps_kernel_host.cpp",
        ROOT / "runtime/plugin/tps_plugin.cpp",
    ]
    for folder in folders:
        system = [part for f in (folder, *cuda) for part in ("-isystem", f)]
        options = [
            "-std=c++17",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-ffp-contract=off",
            f"-I{ROOT / 'runtime/plugin'}",
            *system,
        ]
        options += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        host = tmp_path / "plugin_host"
        for command in (["g++", *options, *map(str, sources), "-o", str(host), "-lpthread"], [str(host)]):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            assert done.returncode == 0, f"{folder}\n{done.stdout}{done.stderr}"


# Kernel -> GPU -> most registers a thread: what fills a multiprocessor; of the compositor's three quarters of 8.0, 9.0 and 10.0.
REGISTERS = {
    "tps_kernel": {"75": 64, "80": 32, "87": 40, "90": 32, "100": 32, "110": 40, "120": 40},
    "compose_kernel": {"75": 64, "80": 40, "87": 40, "90": 40, "100": 40, "110": 40, "120": 40},
}
SPILLED = {"tps_kernel": {"100": 12, "110": 16, "120": 20}}  # bytes, by nvcc 13.5; none by 13.0


@pytest.mark.parametrize("kernel", REGISTERS)
def test_kernel_needs_few_registers_and_next_to_no_spill(nvcc: str, tmp_path: Path, kernel: str) -> None:
    """Its occupancy, as far as the assembler tells without a GPU."""
    listed = subprocess.run([nvcc, "--list-gpu-code"], check=False, capture_output=True, text=True).stdout
    ceilings, spills = REGISTERS[kernel], SPILLED.get(kernel, {})
    known = [sm for sm in ceilings if f"sm_{sm}\n" in f"{listed}\n"]
    assert known, listed
    command = [nvcc, "-std=c++17", "-O3", "-Xptxas=-v", f"-I{ROOT / 'runtime/plugin'}", "-c"]
    command += [f"-gencode=arch=compute_{sm},code=sm_{sm}" for sm in known]
    command += [str(ROOT / f"runtime/plugin/{kernel}.cu"), "-o", str(tmp_path / "kernel.o")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    entries = re.findall(r"for 'sm_(\d+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers", done.stderr, re.DOTALL)
    assert sorted(sm for sm, _, _ in entries) == sorted(known), done.stderr
    for sm, spilled, registers in entries:
        assert int(spilled) <= spills.get(sm, 0) and int(registers) <= ceilings[sm], (sm, spilled, registers)
    assert "warning" not in done.stderr, done.stderr


# ----- CMake ----------------------------------------------------------------------------------------------------------


def configure(build: Path, *options: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if k != "TensorRT_ROOT"} | {"PATH": path}
    command = [shutil.which("cmake", path=path) or "cmake", "-S", str(ROOT), "-B", str(build), *options]
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("release", "processor", "expected"),
    [
        ("13.0", "x86_64", "75-real 80-real 86-real 89-real 90-real 100-real 120"),
        ("13.0", "aarch64", "75-real 80-real 86-real 89-real 90-real 100-real 120 87-real 110-real"),
        ("12.6", "aarch64", "75-real 80-real 86-real 89-real 90 87-real"),
        ("11.4", "x86_64", "75-real 80-real 86"),
    ],
)
def test_architectures_of_a_toolkit(tmp_path: Path, release: str, processor: str, expected: str) -> None:
    """An ARM machine may be a container on a Jetson, which does not look like one: Orin and Thor get code of their own."""
    if Path("/etc/nv_tegra_release").exists():
        pytest.skip("a Jetson compiles for itself")
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.1'\n")
    nvcc.chmod(0o755)
    script = tmp_path / "list.cmake"
    script.write_text(
        f'set(CMAKE_SYSTEM_PROCESSOR {processor})\ninclude("{ROOT}/cmake/cuda_architectures.cmake")\n'
        'string(REPLACE ";" " " found "${CMAKE_CUDA_ARCHITECTURES}")\nmessage("${found}")\n'
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {k: v for k, v in os.environ.items() if k != "CUDAARCHS"} | {"CUDACXX": str(nvcc)}
    command = [shutil.which("cmake", path=path) or "cmake", "-P", str(script)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert done.stderr.strip() == expected


def test_cmake_without_cuda_builds_the_host_side(tmp_path: Path) -> None:
    done = configure(tmp_path, "-DSPGVTON_CUDA=OFF")
    assert done.returncode == 0, done.stderr
    assert "CUDA kernels: no (SPGVTON_CUDA=OFF)" in done.stdout
    assert "TensorRT plugin: no (no CUDA)" in done.stdout


def test_cmake_says_what_is_missing(tmp_path: Path) -> None:
    done = configure(tmp_path, "-DSPGVTON_CUDA=OFF", "-DSPGVTON_TENSORRT=ON")
    assert done.returncode != 0
    assert "SPGVTON_TENSORRT=ON: no CUDA" in done.stderr
    nowhere = f"-DCMAKE_CUDA_COMPILER={tmp_path / 'nvcc'}"
    done = configure(tmp_path / "b", "-DSPGVTON_CUDA=ON", nowhere)
    assert done.returncode != 0
