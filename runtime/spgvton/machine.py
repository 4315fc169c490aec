"""What a figure was measured on: processor, memory, system, GPU, and the versions of what did the work.

No host name, user or serial number: reports are meant to be shared.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from spgvton.version import __version__

# What the import is called, and the distributions that may carry it.
DISTRIBUTIONS = {
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
}


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _output(command: list[str]) -> list[str]:
    """Lines that a tool prints; none when it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.strip().splitlines()


def cpu_model() -> str:
    """The processor's name as its maker writes it, or the architecture where the system does not tell."""
    info = _text("/proc/cpuinfo")
    found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", info, re.MULTILINE)
    return found.group(1).strip() if found else platform.processor() or platform.machine()


def is_x86() -> bool:
    """Whether this is an x86-64 processor."""
    return platform.machine().lower() in ("x86_64", "amd64")


def cpu_flags() -> frozenset[str]:
    """The processor's instruction set extensions as Linux names them ("avx2", "amx_bf16"); empty elsewhere."""
    found = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _text("/proc/cpuinfo"), re.MULTILINE)
    return frozenset(found.group(1).split()) if found else frozenset()


VNNI_FLAGS: Final = {"avx512_vnni", "avx_vnni"}


def has_vnni() -> bool:
    """Whether this is an x86 processor that multiplies uint8 by int8 into int32 sums without saturating on the way."""
    return bool(VNNI_FLAGS & cpu_flags())


def cores() -> int:
    """How many cores this process may use (fewer than the machine has under taskset or a container's cpuset)."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def memory_gib() -> float | None:
    """Installed memory in GiB, or None where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def gpu() -> str | None:
    """NVIDIA GPU with its driver, from nvidia-smi, or the Jetson board's name; None without either."""
    jetson = _text("/proc/device-tree/model")
    if _text("/etc/nv_tegra_release") or "Jetson" in jetson:
        return jetson or "NVIDIA Jetson"
    rows = _output(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"])
    return "; ".join(line.replace(", ", ", driver ") for line in rows) or None


GPU_STATE = (
    "pstate", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.draw", "power.limit", "temperature.gpu",
    "persistence_mode",
)  # fmt: skip


DEVFREQ: Final = "/sys/class/devfreq"


def gpu_devfreq(devfreq: str = DEVFREQ) -> Path | None:
    """The folder with the clock of a Jetson's GPU: 17000000.gpu, 17000000.ga10b (Orin), .gv11b (Xavier); None elsewhere."""
    found = (f for f in sorted(Path(devfreq).glob("*")) if re.search(r"gpu|\.g[ap]\d\d|\.gv11b", f.name))
    return next(found, None)


def gpu_state(devfreq: str = DEVFREQ) -> dict[str, str]:
    """Clocks and power mode of the first GPU at this moment, as far as this machine lets them be read.

    Keys are nvidia-smi's query fields (GPU_STATE), or on Jetson `power_mode` (nvpmodel) and `clock`, `max_clock` (Hz).
    """
    rows = _output(["nvidia-smi", "-i", "0", f"--query-gpu={','.join(GPU_STATE)}", "--format=csv,noheader"])
    values = [v.strip() for v in rows[0].split(",")] if rows else []
    found = {k: v for k, v in zip(GPU_STATE, values) if v and not v.startswith("[")}  # "[N/A]", "[Not Supported]"
    for line in _output(["nvpmodel", "-q"]):
        name, colon, mode = line.partition(":")
        if colon and name.strip() == "NV Power Mode":
            found["power_mode"] = mode.strip()
    folder = gpu_devfreq(devfreq)
    if folder:
        clocks = {"clock": _text(f"{folder}/cur_freq"), "max_clock": _text(f"{folder}/max_freq")}
        found.update({k: v for k, v in clocks.items() if v})
    return found


def clocks(cpufreq: str = "/sys/devices/system/cpu/cpu0/cpufreq") -> dict[str, str]:
    """The processor's clock at this moment, its governor and limits, and the GPU's state, as far as they can be read."""
    mhz = [float(v) for v in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", _text("/proc/cpuinfo"), re.MULTILINE)]
    found = {"cpu_mhz": f"{min(mhz):.0f}-{max(mhz):.0f}" if mhz else ""}
    for key, file in (("governor", "scaling_governor"), ("max_khz", "cpuinfo_max_freq"), ("driver", "scaling_driver")):
        found[key] = _text(f"{cpufreq}/{file}")
    found["power_profile"] = _text("/sys/firmware/acpi/platform_profile")
    return {**{k: v for k, v in found.items() if v}, **{f"gpu {k}": v for k, v in gpu_state().items()}}


def describe() -> dict[str, Any]:
    """{cpu, cores, ram_gib, os, arch, gpu} of this machine; unknown values are None."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "ram_gib": memory_gib(),
        "os": platform.platform(terse=True),
        "arch": platform.machine(),
        "gpu": gpu(),
    }


def version_of(module: str) -> str | None:
    """Version of an installed package by the name it is imported by, without importing it; None when not installed."""
    loaded = getattr(sys.modules.get(module), "__version__", None)
    if loaded:
        return str(loaded)
    for distribution in DISTRIBUTIONS.get(module, (module,)):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def versions() -> dict[str, str | None]:
    """Versions of spgvton, python, numpy, onnxruntime and cv2."""
    return {
        "spgvton": __version__,
        "python": platform.python_version(),
        **{name: version_of(name) for name in ("numpy", "onnxruntime", "cv2")},
    }
