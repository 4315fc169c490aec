"""Temperatures and memory of the machine, as far as it tells: Linux thermal zones, /proc, and nvidia-smi."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Final

THERMAL: Final = Path("/sys/class/thermal")
GPU_EVERY_S: Final = 15.0
GPU_QUERY: Final = ("temperature.gpu", "memory.used", "memory.total", "utilization.gpu")


def temperatures(root: Path = THERMAL) -> dict[str, float]:
    """Thermal zone -> degrees Celsius (on a Jetson: CPU-therm, GPU-therm, ...). Zones that cannot be read are left out."""
    found: dict[str, float] = {}
    for zone in sorted(root.glob("thermal_zone*")):
        try:
            kind = (zone / "type").read_text().strip()
            degrees = int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):  # sleeping GPUs answer "resource temporarily unavailable"
            continue
        if -50 < degrees < 200:
            found[kind if kind not in found else f"{kind}-{zone.name.removeprefix('thermal_zone')}"] = degrees
    return found


def memory(meminfo: Path = Path("/proc/meminfo"), statm: Path = Path("/proc/self/statm")) -> dict[str, int]:
    """Bytes: {total, available} of the machine and {resident} of this process; what cannot be read is left out."""
    found: dict[str, int] = {}
    try:
        for line in meminfo.read_text().splitlines():
            key, _, rest = line.partition(":")
            if key in ("MemTotal", "MemAvailable"):
                found[key.removeprefix("Mem").lower()] = int(rest.split()[0]) * 1024
        found["resident"] = int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    return found


class Gpu:
    """NVIDIA GPUs by nvidia-smi, asked at most every 15 s. A Jetson has none of it: see temperatures()."""

    def __init__(self, tool: str | None = None) -> None:
        self._tool = tool or shutil.which("nvidia-smi")
        self._lock = threading.Lock()
        self._asked = -GPU_EVERY_S
        self._last: list[dict[str, float]] = []

    def read(self) -> list[dict[str, float]]:
        """Per GPU: {temperature.gpu: C, memory.used: MiB, memory.total: MiB, utilization.gpu: %}; empty without."""
        if not self._tool:
            return []
        with self._lock:
            if time.monotonic() - self._asked >= GPU_EVERY_S:
                self._asked, self._last = time.monotonic(), self._ask(self._tool)
            return self._last

    @staticmethod
    def _ask(tool: str) -> list[dict[str, float]]:
        command = [tool, f"--query-gpu={','.join(GPU_QUERY)}", "--format=csv,noheader,nounits"]
        try:
            out = subprocess.run(command, capture_output=True, text=True, timeout=3, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return []
        gpus = []
        for line in out.splitlines():
            pairs = zip(GPU_QUERY, (value.strip() for value in line.split(",")))
            gpus.append({name: float(value) for name, value in pairs if value.replace(".", "", 1).isdigit()})
        return gpus
