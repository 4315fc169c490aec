"""Power and clocks: what is read from recorded text of tegrastats, from a tree like sysfs, and from NVML; and what is made of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spgvton.bench import power, sensors
from spgvton.bench.power import Power, Sample, line
from spgvton.bench.sensors import Ina3221, Nvml, Reading, Tegrastats, parse_tegrastats

# Printed by boards of others; the first two shortened (temperatures, engines).
ORIN_JETPACK_7 = (
    "07-25-2026 09:08:28 RAM 20642/62817MB (lfb 1x2MB) CPU [23%@2201,10%@2201,4%@2201,14%@2201] EMC_FREQ 3%@3199 "
    "GR3D_FREQ 12%@[1300,1300] NVENC0 off NVDLA0 off VIC off OFA off APE 174 cpu@52.968C/52.968C soc2@48.406C/48.406C "
    "gpu@47.625C/47.625C VDD_GPU_SOC 5139mW/5139mW/5139mW VDD_CPU_CV 3268mW/3268mW/3268mW VIN_SYS_5V0 5500mW/5500mW/5500mW"
)
ORIN_NANO_JETPACK_6 = (
    "11-02-2024 10:00:01 RAM 2911/7620MB (lfb 2x1MB) SWAP 0/3810MB (cached 0MB) CPU [6%@729,0%@729,off,off] GR3D_FREQ 0%@306 "
    "cpu@49.5C soc2@48.4C tj@49.9C gpu@-256C VDD_IN 4713mW/4713mW VDD_CPU_GPU_CV 1105mW/1105mW VDD_SOC 1422mW/1422mW NC 0mW/0mW"
)
THOR = (
    "RAM 4722/7844MB (lfb 1x512kB) EMC_FREQ 2%@1866 GR3D_FREQ @[1000,1000,1000] APE 150 VDD_GPU 8000mW/7000mW/9000mW "
    "VIN 30500mW/29000mW/31000mW"
)


def test_lines_of_tegrastats() -> None:
    orin = parse_tegrastats(ORIN_JETPACK_7)
    assert orin.rails == {"VDD_GPU_SOC": 5.139, "VDD_CPU_CV": 3.268, "VIN_SYS_5V0": 5.5}
    assert orin.watts == pytest.approx(13.907)  # fed side by side
    assert (orin.gpu_mhz, orin.celsius) == (1300.0, 47.625)
    nano = parse_tegrastats(ORIN_NANO_JETPACK_6)
    assert (nano.watts, nano.gpu_mhz, nano.celsius) == (4.713, 306.0, None)  # -256: the sensor is off
    assert set(nano.rails) == {"VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"}
    assert parse_tegrastats(THOR) == Reading(30.5, {"VDD_GPU": 8.0, "VIN": 30.5}, 1000.0)
    assert parse_tegrastats("VDD_GPU 8000mW/7000mW").watts is None  # one rail of several is not the whole
    assert parse_tegrastats("RAM 264/28409MB CPU [0%@1817] GR3D_FREQ 0%@1109") == Reading(None, {}, 1109.0)


def sysfs(root: Path, *, second: str = "4000") -> tuple[str, str]:
    """A tree like that of an Orin Nano: one chip, three rails, a fourth channel that sums the shunts, the GPU's clock."""
    chip = root / "ina3221/1-0040/hwmon/hwmon1"
    chip.mkdir(parents=True)
    for channel, (name, millivolt, milliampere) in enumerate(
        (("VDD_IN", "5000", "1000"), ("VDD_CPU_GPU_CV", "5000", "250"), ("VDD_SOC", second, "500")), 1
    ):
        (chip / f"in{channel}_label").write_text(f"{name}\n")
        (chip / f"in{channel}_input").write_text(f"{millivolt}\n")
        (chip / f"curr{channel}_input").write_text(f"{milliampere}\n")
    (chip / "in7_label").write_text("sum of shunt voltages\n")
    gpu = root / "devfreq/17000000.gpu"
    gpu.mkdir(parents=True)
    (gpu / "cur_freq").write_text("624750000\n")
    return str(root / "ina3221"), str(root / "devfreq")


def test_rails_of_sysfs(tmp_path: Path) -> None:
    driver, devfreq = sysfs(tmp_path)
    found = Ina3221(driver, devfreq).read()
    assert found == Reading(5.0, {"VDD_IN": 5.0, "VDD_CPU_GPU_CV": 1.25, "VDD_SOC": 2.0}, 624.75)
    assert Ina3221(driver, str(tmp_path)).read().gpu_mhz is None
    with pytest.raises(OSError, match="no rails in"):
        Ina3221(devfreq)
    sysfs(tmp_path / "broken", second="")
    with pytest.raises(OSError, match="holds no number"):
        Ina3221(str(tmp_path / "broken/ina3221")).read()


class FakeNvml:
    """The part of pynvml that is used."""

    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0
    NVMLError = type("NVMLError", (Exception,), {})

    def __init__(self, fails: str = "") -> None:
        self.calls: list[str] = []
        values = {
            "nvmlInit": None, "nvmlDeviceGetHandleByIndex": 7, "nvmlDeviceGetPowerUsage": 41250,
            "nvmlDeviceGetClockInfo": 1980, "nvmlDeviceGetTemperature": 55, "nvmlShutdown": None,
        }  # fmt: skip

        def make(name: str, value: Any) -> Any:
            def call(*_: Any) -> Any:
                self.calls.append(name)
                if name == fails:
                    raise self.NVMLError(f"{name}: Not Supported")
                return value

            return call

        for name, value in values.items():
            setattr(self, name, make(name, value))


def test_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml()
    monkeypatch.setattr(sensors.importlib, "import_module", lambda name: fake)
    opened = Nvml()
    assert opened.read() == Reading(41.25, {}, 1980.0, 55.0)
    opened.close()
    opened.close()
    assert fake.calls.count("nvmlShutdown") == 1
    for name, shut in (("nvmlInit", 0), ("nvmlDeviceGetHandleByIndex", 1), ("nvmlDeviceGetPowerUsage", 1)):
        fake = FakeNvml(name)
        with pytest.raises(OSError, match="Not Supported"):
            Nvml()
        assert fake.calls.count("nvmlShutdown") == shut


def test_the_real_nvml_has_what_the_stand_in_offers() -> None:
    real = pytest.importorskip("pynvml", reason="pip install 'spgvton[profile]'")
    assert not [
        name
        for name in [*vars(FakeNvml()), "NVML_CLOCK_SM", "NVMLError"]
        if name != "calls" and not hasattr(real, name)
    ]


def test_the_tool_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the chips cannot be read tegrastats is started, and ended again."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sensors, "Nvml", failing)
    monkeypatch.setattr(sensors, "Ina3221", failing)
    assert sensors.find() is None
    tool = tmp_path / "tegrastats"
    tool.write_text(
        f"#!/bin/sh\necho \"$@\" > {tmp_path}/given\nwhile :; do echo '{ORIN_JETPACK_7}'; /bin/sleep .02; done\n"
    )
    tool.chmod(0o755)
    opened = sensors.find()
    assert isinstance(opened, Tegrastats) and opened._process
    process = opened._process
    until = time.monotonic() + 20
    while opened._last is None and time.monotonic() < until:
        time.sleep(0.01)
    assert opened.read().watts == pytest.approx(13.907)
    opened.close()
    opened.close()
    assert process.poll() is not None
    assert (tmp_path / "given").read_text() == "--interval 100\n"


def failing() -> Any:
    raise OSError("none here")


def test_text_without_rails_is_told() -> None:
    empty = Tegrastats([])
    empty._thread.join()
    with pytest.raises(OSError, match="nothing yet"):
        empty.read()
    found = Tegrastats(["RAM 1/2MB GR3D_FREQ 0%@1109"])
    found._thread.join()
    with pytest.raises(OSError, match="no rails"):
        found.read()


class Counting:
    """A sensor of rising watts; every third look fails."""

    name, covers = "counting", "nothing"

    def __init__(self) -> None:
        self.reads = self.closed = 0

    def read(self) -> Reading:
        self.reads += 1
        if self.reads % 3 == 0:
            raise OSError("busy")
        return Reading(float(self.reads), {"A": 1.0}, 300.0 + self.reads, 40.0 + self.reads)

    def close(self) -> None:
        self.closed += 1


def test_a_block_is_sampled_and_the_sensor_closed() -> None:
    sensor = Counting()
    with Power(sensor, interval_s=0.001) as found:
        until = time.monotonic() + 20
        while len(found.samples) < 6 and time.monotonic() < until:
            time.sleep(0.001)
    assert sensor.closed == 1 and not found._thread.is_alive()  # type: ignore[union-attr]
    assert [s.reading.watts for s in found.samples[:4]] == [1.0, 2.0, 4.0, 5.0]
    count = sensor.reads
    time.sleep(0.01)
    assert sensor.reads == count


@pytest.fixture
def sampled() -> Iterator[Power]:
    """Four seconds at 10, 20, 30 W, one a second."""
    found = Power(Counting())
    found.samples = [
        Sample(100.0 + i, Reading(10.0 * (i + 1), {"A": 2.0 * i}, 300.0 * (i + 1), 50.0 - i)) for i in range(3)
    ]
    found._begun, found._ended = 100.0, 104.0
    yield found


def test_what_is_told_of_a_block(sampled: Power) -> None:
    report = sampled.report(frames=40)
    assert report == {
        "sensor": "counting", "covers": "nothing", "samples": 3, "seconds": 4.0,
        "watts": {"p50": 20.0, "p95": 30.0, "max": 30.0, "mean": 20.0}, "joules_per_frame": 2.0, "rails_w": {"A": 2.0},
        "gpu_mhz": {"min": 300.0, "p50": 600.0, "max": 900.0}, "celsius": 50.0,
    }  # fmt: skip
    assert line(report) == (
        "power    20.0 W (p95 30.0), 2000.0 mJ a frame, A 2.0 W, GPU 300 to 900 MHz, 50 degrees C; counting, nothing"
    )
    watts = [reading.watts for at in (99.0, 100.5, 102.0, 999.0) if (reading := sampled.at(at))]
    assert watts == [10.0, 10.0, 30.0, 30.0]


def test_without_a_sensor_it_says_so() -> None:
    with Power(None) as none:
        pass
    report = none.report(frames=10)
    assert report == {"unreadable": sensors.NONE} and none.at(0.0) is None
    assert line(report).startswith("power    cannot be read (no power sensor")
    with Power(Counting(), interval_s=9.0) as short:
        time.sleep(0)
    assert set(short.report(1)) == {"unreadable"} and power.LEAST > 1


def test_rails_that_are_not_the_whole_give_no_joules(sampled: Power) -> None:
    sampled.samples = [Sample(s.seconds, Reading(None, s.reading.rails)) for s in sampled.samples]
    report = sampled.report(frames=4)
    assert report["rails_w"] == {"A": 2.0} and not {"watts", "joules_per_frame", "gpu_mhz", "celsius"} & set(report)
