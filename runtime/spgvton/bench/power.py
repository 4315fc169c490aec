"""Power and clocks beside a benchmark: a thread looks at a sensor ten times a second, and what it saw is told per frame."""

from __future__ import annotations

import bisect
import threading
import time
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from spgvton.bench import sensors
from spgvton.bench.sensors import Reading, Sensor
from spgvton.bench.statistics import describe

INTERVAL_S: Final = 0.1
LEAST: Final = 3  # samples, of which means are made
WATTS: Final = (50, 95)


@dataclass(frozen=True)
class Sample:
    """A Reading at `seconds` of time.monotonic()."""

    seconds: float
    reading: Reading


@final
class Power:
    """Samples SENSOR while its block runs, and closes it. None: nothing can be read, and the reports say so.

    >>> with Power(sensors.find()) as power:
    ...     run()
    >>> report["power"] = power.report(frames=200)
    """

    def __init__(self, sensor: Sensor | None, interval_s: float = INTERVAL_S) -> None:
        self._sensor, self._interval_s = sensor, interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="spgvton-power", daemon=True) if sensor else None
        self.samples: list[Sample] = []
        self.problem = "" if sensor else sensors.NONE  # why there are none
        self._begun = self._ended = 0.0

    def __enter__(self) -> Power:
        self._begun = time.monotonic()
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = time.monotonic()
        self._stop.set()
        if self._thread and self._sensor:
            self._thread.join()
            self._sensor.close()

    def _look(self) -> None:
        """Thread body."""
        assert self._sensor
        while not self._stop.is_set():
            try:
                self.samples.append(Sample(time.monotonic(), self._sensor.read()))
            except OSError as e:
                self.problem = f"{self._sensor.name}: {e}"
            self._stop.wait(self._interval_s)

    def at(self, seconds: float) -> Reading | None:
        """The last reading before SECONDS of time.monotonic(), or the first one; None where there is none."""
        index = bisect.bisect_right(self.samples, seconds, key=lambda sample: sample.seconds)
        return self.samples[max(0, index - 1)].reading if self.samples else None

    @property
    def readable(self) -> bool:
        return len(self.samples) >= LEAST

    def report(self, frames: int) -> dict[str, Any]:
        """JSON types. watts {p50, p95, max, mean}, rails_w {name: mean}, gpu_mhz {min, p50, max}, celsius (highest),
        joules_per_frame (mean watts times the block's seconds over FRAMES); or {unreadable: why}.
        """
        if not self.readable:
            return {"unreadable": self.problem or f"only {len(self.samples)} samples in so short a time"}
        assert self._sensor
        readings = [sample.reading for sample in self.samples]
        out: dict[str, Any] = {
            "sensor": self._sensor.name, "covers": self._sensor.covers, "samples": len(readings),
            "seconds": round(self._ended - self._begun, 3),
        }  # fmt: skip
        watts = [r.watts for r in readings if r.watts is not None]
        if watts:
            out["watts"] = describe(watts, WATTS)
            out["joules_per_frame"] = round(float(np.mean(watts)) * (self._ended - self._begun) / max(1, frames), 5)
        names = list(dict.fromkeys(name for r in readings for name in r.rails))
        if names:
            rails = {name: [r.rails[name] for r in readings if name in r.rails] for name in names}
            out["rails_w"] = {name: round(float(np.mean(values)), 3) for name, values in rails.items()}
        clocks = [r.gpu_mhz for r in readings if r.gpu_mhz is not None]
        if clocks:
            out["gpu_mhz"] = {"min": min(clocks), "p50": float(np.median(clocks)), "max": max(clocks)}
        heat = [r.celsius for r in readings if r.celsius is not None]
        return {**out, "celsius": max(heat)} if heat else out


def line(report: dict[str, Any]) -> str:
    """Power.report() for people, in one line."""
    if "unreadable" in report:
        return f"power    cannot be read ({report['unreadable']})"
    parts = []
    if "watts" in report:
        w = report["watts"]
        parts += [f"{w['mean']:.1f} W (p95 {w['p95']:.1f})", f"{1e3 * report['joules_per_frame']:.1f} mJ a frame"]
    parts += [f"{name} {watts:.1f} W" for name, watts in report.get("rails_w", {}).items()]
    if "gpu_mhz" in report:
        parts.append("GPU {min:.0f} to {max:.0f} MHz".format(**report["gpu_mhz"]))
    if "celsius" in report:
        parts.append(f"{report['celsius']:.0f} degrees C")
    return f"power    {', '.join(parts)}; {report['sensor']}, {report['covers']}"
