"""Watchdog, notifications, logs, sensors, systemd units, recordings and the catalogue's corners."""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from kiosk_shop import make_shop, wait_for

from spgvton.cli import main
from spgvton.errors import SpgvtonError, UsageError
from spgvton.kiosk.garments import catalogue, garment
from spgvton.kiosk.mirror.mirror import Mirror
from spgvton.kiosk.service import config, logs, recording, sensors, supervisor, units
from spgvton.kiosk.service.recording import RecordingSink
from spgvton.stream import sinks


@dataclass
class Told:
    """A status for the watchdog."""

    frames_out: int = 0
    source_ok: bool = True
    state: str = "live"
    fps_out: float = 15.0
    source: str = "cam"


def make_watchdog(status: Told) -> tuple[supervisor.Watchdog, list[str]]:
    reasons: list[str] = []
    return supervisor.Watchdog(lambda: status, reasons.append, start_s=60, stall_s=10), reasons


def test_the_watchdog_judges() -> None:
    status = Told()
    dog, _ = make_watchdog(status)
    now = time.monotonic()
    assert dog.judge(status, now + 50) == supervisor.Health(True, False, "starting")
    assert "no picture for 6" in dog.judge(status, now + 62).words and not dog.judge(status, now + 62).alive
    status.frames_out = 5
    assert dog.judge(status, now + 63) == supervisor.Health(True, True, "live, 15.0 frames/s")
    assert dog.judge(status, now + 70) == supervisor.Health(True, False, "live, 15.0 frames/s")
    assert not dog.judge(status, now + 74).alive
    status.source_ok = False  # being reconnected is no stall, however long it takes
    assert dog.judge(status, now + 900) == supervisor.Health(True, False, "waiting for cam")
    status.source_ok = True
    assert dog.judge(status, now + 905).alive
    assert not dog.judge(status, now + 911).alive


def test_a_stall_gives_up_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a real socket in systemd's place."""
    monkeypatch.setattr(supervisor, "POLL_S", 0.02)
    monkeypatch.setenv("NOTIFY_SOCKET", f"@spgvton-test-{os.getpid()}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0spgvton-test-{os.getpid()}")
        listener.settimeout(30)
        status = Told(frames_out=1)
        reasons: list[str] = []
        dog = supervisor.Watchdog(lambda: status, reasons.append, start_s=60, stall_s=0.3)
        dog.start()
        heard = [listener.recv(1000).decode() for _ in range(2)]
        assert "READY=1" in heard[0] and "WATCHDOG=1" in heard[0] and "READY=1" not in heard[1]
        wait_for(lambda: reasons)
        dog.close()
    assert len(reasons) == 1 and "although cam delivers" in reasons[0] and not dog.health().alive


def test_a_mirror_in_pieces_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "POLL_S", 0.02)
    reasons: list[str] = []

    def broken() -> Told:
        raise RuntimeError("in pieces")

    dog = supervisor.Watchdog(broken, reasons.append, start_s=60, stall_s=10)
    dog.start()
    wait_for(lambda: reasons)
    assert "in pieces" in reasons[0]


def test_nobody_to_notify(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not supervisor.notify(READY="1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not supervisor.notify(READY="1")


def test_logs_are_json_lines() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as e:
        record = logging.LogRecord(
            "a.b", logging.ERROR, "f.py", 1, "broke %s", ("it",), (ValueError, e, e.__traceback__)
        )
    record.path = Path("/x")
    line = logs.JsonFormatter().format(record)
    data = json.loads(line)
    assert "\n" not in line and data["message"] == "broke it" and data["level"] == "error" and data["path"] == "/x"
    assert "two\nlines" in data["exception"] and data["time"].endswith("Z")


def test_sensors_read_what_is_there(tmp_path: Path) -> None:
    for number, (kind, value) in enumerate([("CPU-therm", "45500"), ("GPU-therm", "junk"), ("CPU-therm", "50000")]):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(kind + "\n")
        (zone / "temp").write_text(value)
    assert sensors.temperatures(tmp_path) == {"CPU-therm": 45.5, "CPU-therm-2": 50.0}
    found = sensors.memory()
    assert found["total"] > found["available"] > 0 and found["resident"] > 10**6
    assert sensors.memory(tmp_path / "none") == {}
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '61, 1024, 8192, 37'\necho '[N/A], 1, 2, 3'\n")
    tool.chmod(0o755)
    first, second = sensors.Gpu(str(tool)).read()
    assert first == {"temperature.gpu": 61, "memory.used": 1024, "memory.total": 8192, "utilization.gpu": 37}
    assert "temperature.gpu" not in second
    assert sensors.Gpu("/bin/false").read() == []


def test_units_are_hardened_and_valid(tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_shop(tmp_path / "a shop", tiny_bundle, source="csi://0", recording="{folder: /srv/rec}")
    root = tmp_path / "root"
    assert main(["kiosk", "install", "--config", str(path), "--root", str(root)]) == 0  # systemd-analyze found no fault
    unit = root / "etc/systemd/system" / units.SERVICE
    text = unit.read_text()
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "BindPaths=-/tmp/argus_socket",
                 "User=spgvton", "Type=notify", "WatchdogSec=20", "CapabilityBoundingSet=", "DevicePolicy=closed",
                 "DeviceAllow=char-video4linux rw", "RestartPreventExitStatus=2"):  # fmt: skip
        assert line in text.splitlines()
    assert f'--config "{path.resolve()}"' in text and "/srv/rec" in text
    assert "m spgvton video" in (root / "etc/sysusers.d" / units.USERS).read_text()
    assert main(["kiosk", "install", "--config", str(path), "--dry-run", "--root", str(tmp_path / "none")]) == 0
    assert "ProtectSystem=strict" in capsys.readouterr().out and not (tmp_path / "none").exists()
    for user in ("root", "a b", "x\nUser=root"):
        assert main(["kiosk", "install", "--config", str(path), "--user", user]) == 2


@pytest.mark.parametrize("backend", ["onnxruntime", "auto", "tensorrt", "tensorrt-rtx"])
def test_a_first_build_is_not_cut_off(tmp_path: Path, tiny_bundle: Path, backend: str) -> None:
    """An engine takes minutes: killed at the start limit and begun again, it would never be ready."""
    path = make_shop(tmp_path / "shop", tiny_bundle, mirror=f"{{backend: {backend}}}")
    text = units.service_unit(config.load(path), path, "spgvton")
    before = [line for line in text.splitlines() if line.startswith("ExecStartPre=")]
    assert ("TimeoutStartSec=infinity" in text) == bool(before) == (backend != "onnxruntime")
    assert all(line.endswith(f"kiosk prepare --config {path}") for line in before)


def test_the_unit_lets_a_jetsons_gpu_in() -> None:
    """JetPack 6 and 7 name the group of its nodes after the device; systemd compares as fnmatch does."""
    groups = [d.split()[0].removeprefix("char-") for d in units.DEVICES if d.startswith("char-")]
    for group in ("17000000.gpu", "17000000.ga10b", "host1x-fence", "nvidia-uvm", "drm", "video4linux"):
        assert any(fnmatch.fnmatchcase(group, g) for g in groups), group
    assert {"/dev/nvmap rw", "/dev/host1x-fence rw", "/dev/nvgpu/igpu0/ctrl rw"} <= set(units.DEVICES)


def test_prepare_opens_the_back_end_once(tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kiosk", "prepare", "--config", str(make_shop(tmp_path / "shop", tiny_bundle))]) == 0
    assert "backend onnxruntime" in capsys.readouterr().err
    plugin = "{backend: onnxruntime, plugin: lib/p.so, warp: plugin}"
    path = make_shop(tmp_path / "other", tiny_bundle, mirror=plugin)
    assert config.load(path).mirror.plugin == (tmp_path / "other/lib/p.so").resolve()
    assert main(["kiosk", "prepare", "--config", str(path)]) == 2
    assert "--warp and --plugin are for --backend tensorrt" in capsys.readouterr().err


def test_prepare_says_what_the_cuda_compositor_lacks(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_shop(tmp_path / "shop", tiny_bundle, mirror="{compositor: cuda, compositor_library: lib/c.so}")
    assert config.load(path).mirror.compositor_library == (tmp_path / "shop/lib/c.so").resolve()
    assert main(["kiosk", "prepare", "--config", str(path)]) == 1
    assert "cannot load the CUDA compositor" in capsys.readouterr().err
    with pytest.raises(UsageError, match="it is for live mode"):
        Mirror("clip.mp4", tiny_bundle, mode="pose", compositor="cuda")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_rates_the_unit(tmp_path: Path, tiny_bundle: Path) -> None:
    shop = config.load(make_shop(tmp_path / "shop", tiny_bundle))
    unit = tmp_path / units.SERVICE
    unit.write_text(units.service_unit(shop, tmp_path / "shop/kiosk.yaml", "spgvton"))
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)]  # 2.0 of 10
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-400:]
    unit.write_text(unit.read_text() + "\nNonsense")
    assert units.check({unit: ""})


def test_a_browser_unit_needs_its_programs(tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = config.load(make_shop(tmp_path / "shop", tiny_bundle))
    monkeypatch.setattr(units.shutil, "which", lambda name: None)
    with pytest.raises(SpgvtonError, match="apt-get install cage"):
        units.browser_unit(shop, "spgvton")
    monkeypatch.setattr(units.shutil, "which", lambda name: f"/usr/bin/{name}")
    text = units.browser_unit(shop, "spgvton")
    assert "/usr/bin/cage -- /usr/bin/chromium --kiosk" in text and "http://127.0.0.1:8080/" in text


def test_a_recording_that_meets_a_full_disk_ends_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    sink = RecordingSink(tmp_path, 1, ended.set)
    picture = np.zeros((64, 48, 3), np.uint8)
    sink.write(picture, 0.0)
    assert not list(tmp_path.iterdir())  # nobody asked
    monkeypatch.setattr(sinks, "MIN_FREE_BYTES", 2**62)
    sink.start()
    sink.write(picture, 0.1)
    assert ended.is_set() and "are free" in (sink.problem or "")
    monkeypatch.undo()
    sink.start()
    for n in range(20):
        sink.write(picture, n / 15)
    assert sink.problem is None
    sink.stop()
    sink.idle()
    (file,) = [p for p in tmp_path.iterdir() if not p.name.startswith(".")]
    assert cv2.VideoCapture(str(file)).read()[0]


def test_a_recording_ends_by_itself(tmp_path: Path) -> None:
    ended = threading.Event()
    sink = RecordingSink(tmp_path, 1e-6, ended.set)
    sink.start()
    sink.write(np.zeros((64, 48, 3), np.uint8), 0.0)
    assert ended.is_set() and sink.problem is None and list(tmp_path.iterdir())


def test_a_clock_set_back_overwrites_no_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording.time, "strftime", lambda form: "mirror-20261025-023000")
    sink = RecordingSink(tmp_path, 1, lambda: None)
    for brightness in (0, 90):
        sink.start()
        sink.write(np.full((64, 48, 3), brightness, np.uint8), 0.0)
        sink.stop()
        sink.idle()
    names = ["mirror-20261025-023000-2.mkv", "mirror-20261025-023000.mkv"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    means = [cv2.VideoCapture(str(tmp_path / name)).read()[1].mean() for name in names]
    assert means[0] > 60 and means[1] < 30


def test_a_recording_cut_off_by_a_kill_does_not_hide(tmp_path: Path) -> None:
    script = f"""
import os, signal, numpy as np
from pathlib import Path
from spgvton.kiosk.service.recording import RecordingSink
sink = RecordingSink(Path({str(tmp_path)!r}), 1, lambda: None)
sink.start()
noise = np.random.default_rng(0)
for n in range(150):
    sink.write(noise.integers(0, 255, (240, 320, 3), np.uint8), n / 15)
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    (hidden,) = tmp_path.iterdir()
    assert hidden.name.startswith(".")
    (tmp_path / f".mirror-at-work.{os.getppid()}.part.mkv").write_bytes(b"x")
    RecordingSink(tmp_path, 1, lambda: None)
    found = {p.name for p in tmp_path.iterdir()} - {f".mirror-at-work.{os.getppid()}.part.mkv"}
    (name,) = found
    assert re.fullmatch(r"mirror-\d{8}-\d{6}-cut\.mkv", name)
    assert cv2.VideoCapture(str(tmp_path / name)).read()[0]


def test_a_catalogue_forgets_what_was_removed(tmp_path: Path, shirt: bytes) -> None:
    """Garments come and go for months: nothing is kept of those that went, and no file stays open."""
    found = catalogue.Catalogue(tmp_path)
    descriptors = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        file = tmp_path / f"season-{number}.png"
        file.write_bytes(shirt)
        assert found.refresh() and found.load(file.stem)[1].any()
        file.unlink()
        assert found.refresh()
    assert not found._checked and not found._prepared and not found.garments()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_fault_while_looking_is_not_the_last_look(
    tmp_path: Path, shirt: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = catalogue.Catalogue(tmp_path)
    monkeypatch.setattr(catalogue, "POLL_S", 0.02)
    real, calls = catalogue.jpeg, 0

    def broken(picture: np.ndarray, quality: int = 85) -> bytes:
        nonlocal calls
        calls += 1
        if calls < 5:
            raise cv2.error("out of memory")
        return real(picture, quality)

    monkeypatch.setattr(catalogue, "jpeg", broken)
    found.watch(lambda: None)
    try:
        (tmp_path / "late.png").write_bytes(shirt)
        wait_for(lambda: (late := found.get("late")) and late.key in found._thumbnails)
    finally:
        found.close()
    assert calls >= 5
    assert [r.getMessage() for r in caplog.records] == ["the catalogue could not be looked at"]  # four times, told once


def test_pictures_are_decoded_two_at_a_time(tmp_path: Path, shirt: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty requests for forty garments of 24 megapixels would otherwise take 3 GB."""
    for number in range(6):
        (tmp_path / f"g{number}.png").write_bytes(shirt)
    found = catalogue.Catalogue(tmp_path)
    inside, most, lock, full = 0, 0, threading.Lock(), threading.Event()
    real = catalogue.garment_mask

    def slow(picture: np.ndarray) -> np.ndarray:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside == catalogue.PREPARING:
                full.set()
        full.wait(30)  # on a busy machine the second one comes late
        time.sleep(0.05)
        with lock:
            inside -= 1
        return real(picture)

    monkeypatch.setattr(catalogue, "garment_mask", slow)
    threads = [threading.Thread(target=found.load, args=(f"g{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == catalogue.PREPARING and len(found._prepared) == catalogue.PREPARED


def test_names_of_files_become_ids() -> None:
    assert garment.garment_id("red-shirt") == "red-shirt"
    assert garment.garment_id("Red Shirt") == "red-shirt-" + garment.garment_id("Red Shirt")[-8:]
    assert garment.garment_id("Red Shirt") != garment.garment_id("Red_Shirt")
    assert garment.garment_id("..").startswith("garment-") and garment.garment_id("衣").startswith("garment-")
    assert garment.clean_name("a\n\x00b\u202e  c" + "x" * 100) == ("a b c" + "x" * 100)[: garment.MAX_NAME]


def test_a_catalogue_with_everything_wrong_in_it(tmp_path: Path, shirt: bytes) -> None:
    (tmp_path / "twice.png").write_bytes(shirt)
    (tmp_path / "twice.jpg").write_bytes(shirt)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "other_mask.png").write_bytes(shirt)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("/dev/zero")
    (tmp_path / ".hidden.png").write_bytes(shirt)
    (tmp_path / "named.png").write_bytes(shirt)
    (tmp_path / "named.txt").write_bytes("Grün \xff\n2".encode("latin-1"))
    (tmp_path / "mismatch.png").write_bytes(shirt)
    (tmp_path / "mismatch_mask.png").write_bytes(cv2.imencode(".png", np.zeros((50, 50), np.uint8))[1].tobytes())
    found = catalogue.Catalogue(tmp_path)
    found.refresh()  # looks at the pictures, too
    problems = {g.id: g.problem for g in found.garments()}
    assert len(problems) == 5 and "rename one" in str(problems.pop(garment.garment_id("twice.png")))
    assert problems["twice"] is None and "empty.png" in str(problems["empty"])
    assert found.get("named").name.startswith("Gr")  # type: ignore[union-attr]
    with pytest.raises(SpgvtonError, match="50x50 pixels"):
        found.load("mismatch")
    assert "50x50" in str(found.get("mismatch").problem)  # type: ignore[union-attr]
    assert not found.refresh()  # and it is not forgotten, nor tried again, until the file changes
    (tmp_path / "mismatch_mask.png").unlink()
    assert found.refresh() and found.load("mismatch")[1].any()
    with pytest.raises(SpgvtonError, match="there is no garment"):
        found.load("../secret")


def test_a_folder_that_goes_away_keeps_its_garments(tmp_path: Path, shirt: bytes) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "a.png").write_bytes(shirt)
    found = catalogue.Catalogue(folder)
    folder.rename(tmp_path / "away")
    found.refresh()
    assert [g.id for g in found.garments()] == ["a"] and "cannot read" in str(found.problem)
    (tmp_path / "away").rename(folder)
    found.refresh()
    assert found.problem is None
