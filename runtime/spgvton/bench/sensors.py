"""Where watts, clocks and temperature can be read: NVML, the INA3221 chips of a Jetson, or its tegrastats.

Watts are of what is measured, and `covers` says what that is: a graphics card, a module, or the rails that have a sensor.
Sources: NVML's reference; Linux's hwmon/ina3221 (JetPack 5 and later); NVIDIA's Jetson Linux guide, "tegrastats".
"""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from spgvton import machine

INA: Final = "/sys/bus/i2c/drivers/ina3221"
# The rail through which a whole module is fed, by board: Orin NX and Nano and Xavier NX, Thor, the first Nano.
WHOLE: Final = ("VDD_IN", "VIN", "POM_5V_IN")
AGX_ORIN: Final = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")  # has no such rail; these three are fed side by side
INTERVAL_MS: Final = 100
NONE: Final = "no power sensor: neither NVML (pip install 'spgvton[profile]'), nor a Jetson's INA3221, nor tegrastats"


@dataclass(frozen=True)
class Reading:
    """One look. watts: of all that is covered, None where rails are read and their sum is not the whole. rails: watts by name."""

    watts: float | None = None
    rails: dict[str, float] = field(default_factory=dict)
    gpu_mhz: float | None = None
    celsius: float | None = None

    @staticmethod
    def of_rails(rails: dict[str, float], gpu_mhz: float | None, celsius: float | None = None) -> Reading:
        """The whole is the rail of WHOLE that is there, or the sum of AGX_ORIN's."""
        whole = next((rails[name] for name in WHOLE if name in rails), None)
        if whole is None and all(name in rails for name in AGX_ORIN):
            whole = sum(rails[name] for name in AGX_ORIN)
        return Reading(whole, rails, gpu_mhz, celsius)


class Sensor(Protocol):
    """name, covers: for reports. read() raises OSError where it cannot be read this time. close() may be called twice."""

    name: str
    covers: str

    def read(self) -> Reading: ...

    def close(self) -> None: ...


class Nvml:
    """The first GPU by nvidia-ml-py. Raises OSError where library or GPU lack, or the GPU does not tell its power (Jetson)."""

    name, covers = "NVML", "the graphics card"

    def __init__(self) -> None:
        try:
            self._nvml: Any = importlib.import_module("pynvml")
        except ImportError as e:
            raise OSError(str(e)) from e
        try:
            self._nvml.nvmlInit()
        except self._nvml.NVMLError as e:
            raise OSError(str(e)) from e
        self._is_open = True
        try:
            self._gpu = self._nvml.nvmlDeviceGetHandleByIndex(0)
            self.read()
        except (OSError, self._nvml.NVMLError) as e:
            self.close()
            raise OSError(str(e)) from e

    def read(self) -> Reading:
        n, gpu = self._nvml, self._gpu
        try:
            watts = n.nvmlDeviceGetPowerUsage(gpu) / 1e3
            clock = n.nvmlDeviceGetClockInfo(gpu, n.NVML_CLOCK_SM)
            return Reading(watts, {}, float(clock), float(n.nvmlDeviceGetTemperature(gpu, n.NVML_TEMPERATURE_GPU)))
        except n.NVMLError as e:
            raise OSError(str(e)) from e

    def close(self) -> None:
        is_open, self._is_open = self._is_open, False
        if is_open:
            self._nvml.nvmlShutdown()


class Ina3221:
    """A Jetson's rails from sysfs. Raises OSError where there are none. driver, devfreq: the folders."""

    name, covers = "INA3221", "the module's rails"

    def __init__(self, driver: str = INA, devfreq: str = machine.DEVFREQ) -> None:
        self._rails: dict[str, tuple[Path, Path]] = {}
        for label in sorted(Path(driver).glob("*/hwmon/hwmon*/in[123]_label")):
            name, channel = label.read_text().strip(), label.name[2]
            if name and name != "NC":  # not connected
                self._rails[name] = label.with_name(f"in{channel}_input"), label.with_name(f"curr{channel}_input")
        if not self._rails:
            raise OSError(f"no rails in {driver}")
        self._clock = machine.gpu_devfreq(devfreq)

    def read(self) -> Reading:
        try:
            rails = {
                name: int(volt.read_text()) * int(ampere.read_text()) / 1e6
                for name, (volt, ampere) in self._rails.items()
            }
            mhz = int((self._clock / "cur_freq").read_text()) / 1e6 if self._clock else None
        except ValueError as e:
            raise OSError(f"a sensor holds no number: {e}") from e
        return Reading.of_rails(rails, mhz)

    def close(self) -> None: ...


def parse_tegrastats(line: str) -> Reading:
    """One line of tegrastats, of JetPack 5 to 7: "VDD_IN 4713mW/4713mW", "GR3D_FREQ 12%@[1300,1300]", "gpu@47.6C"."""
    rails = {name: int(mw) / 1e3 for name, mw in re.findall(r"\b([A-Z][A-Z0-9_]+) (\d+)mW(?:/\d+mW)*", line)}
    rails.pop("NC", None)
    clock = re.search(r"\bGR3D_FREQ (?:\d+%)?@\[?(\d+)", line)
    heat = re.search(r"\bgpu@(-?[\d.]+)C", line, re.IGNORECASE)
    celsius = float(heat[1]) if heat and float(heat[1]) > -250 else None  # -256: switched off
    return Reading.of_rails(rails, float(clock[1]) if clock else None, celsius)


class Tegrastats:
    """The last line that tegrastats printed. Raises OSError where there is no such tool. lines: instead of the tool's."""

    name, covers = "tegrastats", "the module's rails"

    def __init__(self, lines: Iterable[str] | None = None) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._last: str | None = None
        if lines is None:
            tool = shutil.which("tegrastats")
            if not tool:
                raise OSError("tegrastats is not on PATH")
            self._process = subprocess.Popen(
                [tool, "--interval", str(INTERVAL_MS)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            assert self._process.stdout is not None
            lines = self._process.stdout
        self._thread = threading.Thread(target=self._follow, args=(lines,), name="spgvton-tegrastats", daemon=True)
        self._thread.start()

    def _follow(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._last = line

    def read(self) -> Reading:
        if self._last is None:
            raise OSError("tegrastats has printed nothing yet")
        found = parse_tegrastats(self._last)
        if not found.rails:
            raise OSError("tegrastats prints no rails on this board")
        return found

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait()
            self._thread.join()


def find() -> Sensor | None:
    """The first that can be opened: NVML, INA3221, tegrastats."""
    for kind in (Nvml, Ina3221, Tegrastats):
        try:
            return kind()
        except OSError:
            continue
    return None
