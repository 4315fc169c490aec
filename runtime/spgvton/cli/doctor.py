"""What this machine has for try-on, and what to do about what it lacks.

Every line is ok, missing (an option you may not need) or a problem. The CPU path (Python, numpy, ONNX Runtime, OpenCV and
what is shipped) must be ok; cameras, windows, TensorRT and the like are needed only for what they are named after.

examples:
  spgvton doctor
  spgvton doctor --json
  spgvton doctor --bundle my_bundle
  spgvton doctor --kiosk shop/kiosk.yaml
  spgvton doctor --gpu --plugin build/native/libspgvton_plugin.so
  spgvton doctor --gpu --backend tensorrt-rtx --report gpu.json
Exit codes: 0 the CPU path works, 1 it does not; with --gpu: 0 every step that could run passed, 1 one failed, or there is no
GPU.

--gpu runs ten minutes of steps, each with a verdict (passed, failed, or skipped with the reason): engine, pictures against ONNX
Runtime's, plugin, FP16 and INT8, sessions one after another, 10,000 replays, live mode at 720x1280, memory, percentiles, power.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from spgvton import machine
from spgvton.cli import backend
from spgvton.doctor import gpu_checks
from spgvton.doctor.check import Check, check_import, first_line, version
from spgvton.engine.flavour import MODULES
from spgvton.errors import SpgvtonError, UsageError

CAMERA_S: Final = 5.0
MIN_FREE_GIB: Final = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `spgvton doctor`."""
    parser.add_argument("--bundle", metavar="DIR", help="model bundle to check; otherwise the shipped one")
    parser.add_argument("--kiosk", type=Path, metavar="YAML", help="also look at this kiosk.yaml")
    parser.add_argument("--json", action="store_true", help="the checks as JSON on stdout")
    parser.add_argument("--gpu", action="store_true", help="examine this machine's GPU instead, step by step")
    parser.add_argument(
        "--also", metavar="DIR", action="append", default=[],
        help="with --gpu: a bundle of another precision whose engines are built and compared too; may be given again",
    )  # fmt: skip
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.json",
        help="with --gpu: write the report there, a picture beside it (.png)",
    )
    parser.add_argument("--replays", type=int, metavar="N", help="with --gpu: frames of the step replays (10000)")
    backend.add_arguments(parser, tuple(MODULES))
    parser.set_defaults(backend=None)  # to tell whether it was given


def check_python() -> Check:
    fine = sys.version_info >= (3, 10)
    return Check(
        "python", "ok" if fine else "problem", platform.python_version(), "" if fine else "use Python 3.10 or newer"
    )


def check_numpy() -> Check:
    return Check("numpy", "ok", importlib.import_module("numpy").__version__)


def check_onnxruntime() -> Check:
    ort = importlib.import_module("onnxruntime")
    providers = ", ".join(p.removesuffix("ExecutionProvider") for p in ort.get_available_providers())
    return Check("onnxruntime", "ok", f"{ort.__version__}; providers: {providers}")


def _opencv() -> tuple[Any, dict[str, str]]:
    """The module, and what its build says about the parts that matter here."""
    cv2 = importlib.import_module("spgvton.video").cv2
    info = cv2.getBuildInformation()
    found = {}
    for part in ("GUI", "FFMPEG", "GStreamer", "v4l/v4l2"):
        match = re.search(rf"^\s*{re.escape(part)}:\s*(\S+)", info, re.MULTILINE)
        found[part] = match.group(1) if match else "NO"
    return cv2, found


def check_opencv() -> Check:
    cv2, parts = _opencv()
    flavours = [d for d in machine.DISTRIBUTIONS["cv2"] if version(d)]
    detail = f"{cv2.__version__} ({', '.join(flavours) or 'from the system'}); " + ", ".join(
        f"{name} {value}" for name, value in parts.items()
    )
    if len(flavours) > 1:
        return Check("opencv", "problem", detail, f"several OpenCVs overwrite each other: pip uninstall -y {' '.join(flavours)}"
                     " && pip install opencv-python-headless")  # fmt: skip
    if parts["FFMPEG"] != "YES":
        return Check("opencv", "problem", detail, "no video files without FFmpeg: pip install opencv-python-headless")
    return Check("opencv", "ok", detail)


def check_window() -> Check:
    _, parts = _opencv()
    display = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
    if parts["GUI"] in ("NONE", "NO"):
        advice = "for --sink window: pip uninstall -y opencv-python-headless && pip install opencv-python"
        return Check("window", "missing", f"OpenCV without a GUI; display: {display or 'none'}", advice)
    if not display:
        advice = "for --sink window: log in on the screen, or export DISPLAY=:0"
        return Check("window", "missing", f"GUI {parts['GUI']}, but no display", advice)
    return Check("window", "ok", f"GUI {parts['GUI']}, display {display}")


def check_cameras() -> Check:
    devices = sorted(Path("/dev").glob("video[0-9]*"))
    indices = [i for i in range(4) if Path(f"/dev/video{i}") in devices or sys.platform != "linux"]
    if not indices:
        return Check("cameras", "missing", "no /dev/video0 to 3", "for --source 0: plug one in; or use a file or URL")
    found: list[str] = []
    refused: list[str] = []
    for index in indices:
        said = _in_time(lambda index=index: _look(index), CAMERA_S)  # type: ignore[misc]
        (found if said and said[0] else refused).append(said[1] if said else f"{index}: no answer in {CAMERA_S:.0f} s")
    if found:
        return Check("cameras", "ok", "; ".join(found))
    return Check("cameras", "missing", "; ".join(refused), "close other programs that use it; check your access to it")


def _look(index: int) -> tuple[bool, str]:
    from spgvton.stream.capture import open_camera

    try:
        source = open_camera(index)
    except Exception as e:  # noqa: BLE001 - it is shown
        return False, str(e).partition(":")[0]
    source.close()
    return True, f"{index}: {source.size[1]}x{source.size[0]} at {source.fps:.0f} fps"


def _in_time(function: Callable[[], Any], seconds: float) -> Any:
    """FUNCTION's result, or None when it takes longer: drivers can hang."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    thread.join(seconds)
    return results[0] if results else None


def check_gstreamer() -> Check:
    tool = shutil.which("gst-launch-1.0")
    if not tool:
        advice = "for CSI cameras on Jetson only: apt-get install gstreamer1.0-tools gstreamer1.0-plugins-good"
        return Check("gst-launch-1.0", "missing", "not on PATH", advice)
    return Check("gst-launch-1.0", "ok", first_line([tool, "--version"]))


def check_openvino() -> Check:
    return check_import("openvino", "a faster back end on many CPUs: pip install 'spgvton[openvino]'")


def check_torch() -> Check:
    found = version("torch")
    if found is None:
        return Check(
            "torch", "missing", "not installed; the runtime never needs it", "to train: pip install 'spgvton[train]'"
        )
    return Check("torch", "ok", f"{found} (for training only)")


def check_disk() -> Check:
    free = shutil.disk_usage(".").free / 2**30
    detail = f"{free:.1f} GiB free in the current folder"
    if free < MIN_FREE_GIB:
        return Check("disk", "problem", detail, "free some space: engines and videos want a few GiB")
    return Check("disk", "ok", detail)


def check_models() -> Check:
    from spgvton.perception.multiclass import MulticlassParser
    from spgvton.perception.pose import PoseEstimator

    start = time.perf_counter()
    PoseEstimator()
    MulticlassParser()
    return Check(
        "perception models", "ok", f"pose and human parser load ({1e3 * (time.perf_counter() - start):.0f} ms)"
    )


def check_bundle(bundle: str | None) -> Check:
    """Loads the bundle (which compares its hashes) and dresses the shipped person once."""
    from spgvton.cli import demo
    from spgvton.demo_assets import DemoAssets
    from spgvton.session import TryOn

    start = time.perf_counter()
    session = TryOn(bundle)
    keypoints, size = demo.set_person(session)
    garment = DemoAssets.open().garment(1)
    session.set_garment(garment.picture, mask=garment.mask)
    loaded = time.perf_counter()
    session(keypoints, size)
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        session(keypoints, size)
        times.append(1e3 * (time.perf_counter() - begin))
    detail = f"{bundle or 'shipped'}: loads, hashes agree ({loaded - start:.1f} s); one try-on takes {sorted(times)[1]:.0f} ms"
    return Check("model bundle", "ok", detail)


def guarded(name: str, check: Callable[[], Check], *, required: bool) -> Check:
    """Run CHECK; whatever it raises becomes a line of the table. (spgvton.video raises SystemExit without OpenCV.)"""
    try:
        result = check()
    except (Exception, SystemExit) as e:  # noqa: BLE001 - it is shown
        advice = "pip install 'spgvton[headless]'" if isinstance(e, (ImportError, SystemExit)) else "reinstall spgvton"
        result = Check(name, "problem", f"{type(e).__name__}: {e}".splitlines()[0], advice)
    result.required = required
    return result


def examine(bundle: str | None = None) -> list[Check]:
    """All checks, in the order they are shown. Never raises."""
    plan: list[tuple[str, Callable[[], Check], bool]] = [
        ("python", check_python, True),
        ("numpy", check_numpy, True),
        ("onnxruntime", check_onnxruntime, True),
        ("opencv", check_opencv, True),
        ("perception models", check_models, True),
        ("model bundle", lambda: check_bundle(bundle), True),
        ("disk", check_disk, False),
        ("window", check_window, False),
        ("cameras", check_cameras, False),
        ("gst-launch-1.0", check_gstreamer, False),
        ("openvino", check_openvino, False),
        ("CUDA driver", gpu_checks.check_cuda_driver, False),
        ("nvcc", gpu_checks.check_nvcc, False),
        ("tensorrt", gpu_checks.check_tensorrt, False),
        ("tensorrt_rtx", gpu_checks.check_tensorrt_rtx, False),
        ("pycuda.driver", gpu_checks.check_pycuda, False),
        ("torch", check_torch, False),
    ]
    return [guarded(name, check, required=required) for name, check, required in plan]


def table(checks: list[Check]) -> str:
    """The checks for people; the advice stands under its line."""
    lines = []
    for c in checks:
        lines.append(f"{c.status:<8} {c.name:<18} {c.detail}")
        if c.advice:
            lines.append(f"{'':<27} -> {c.advice}")
    return "\n".join(lines)


def check_kiosk(path: Path) -> Check:
    """Whether a kiosk.yaml can be read, and phones reach what it announces to them."""
    from spgvton.kiosk.service import config
    from spgvton.kiosk.service.take_home import check_reachable

    try:
        found = config.load(path)
        check_reachable(found)
    except SpgvtonError as e:
        return Check("kiosk.yaml", "problem", str(e), "mend it", required=True)
    told = found.take_home.address
    return Check(
        "kiosk.yaml", "ok", f"{path}; " + (f"phones fetch stills from {told}" if told else "no stills for phones")
    )


def run(args: argparse.Namespace) -> int:
    """`spgvton doctor`. Returns the exit code."""
    if args.gpu:
        return int(importlib.import_module("spgvton.cli.doctor_gpu").run(args))
    if args.backend or args.warp or args.plugin or args.also or args.report or args.replays is not None:
        raise UsageError("--backend, --warp, --plugin, --also, --report and --replays go with --gpu")
    checks = examine(args.bundle) + ([check_kiosk(args.kiosk)] if args.kiosk else [])
    works = all(c.status == "ok" for c in checks if c.required)
    verdict = "The CPU path works." if works else "The CPU path does not work: see the problems above."
    if args.json:
        facts = {"machine": machine.describe(), "versions": machine.versions()}
        print(json.dumps({"ok": works, "checks": [asdict(c) for c in checks], **facts}, indent=1))
        print(verdict, file=sys.stderr)
    else:
        print(f"{table(checks)}\n\n{verdict} Next: {'spgvton demo' if works else 'do what the arrows say'}")
    return 0 if works else 1
