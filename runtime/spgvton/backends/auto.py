"""`--backend auto`: which back end is fastest for this bundle and mode on this machine? Measured once, then remembered.

Candidates are what is installed and gives the bundle's own picture: ONNX Runtime and OpenVINO, each with the joint graph as
it is and in two, rewritten (which of them is faster differs by machine), and TensorRT where a GPU answers.
openvino-bf16 gives a slightly other picture, so it is never chosen, only asked for by name. Each candidate is opened (which
is not timed), then they dress the shipped person in turn for two seconds. The choice is kept in choices.json in the user's
cache folder, by machine, bundle and mode; other versions of anything that ran, or a damaged file, and it is measured again.
A candidate that fails to open is named, and its failure is not remembered: the next start tries again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from spgvton import machine
from spgvton.backends.contract import POSE, Backend, Mode
from spgvton.backends.samples import demo_samples, dress, live_samples
from spgvton.bundle import MANIFEST, Bundle, sha256
from spgvton.engine.flavour import MODULES
from spgvton.engine.gpu import first_gpu
from spgvton.errors import SpgvtonError
from spgvton.files import make_folder, user_cache, write_text

SECONDS: Final = 2.0  # for all candidates together
WARM_UP: Final = 2  # frames of each, not counted
MIN_FRAMES: Final = 3  # of each
FORMAT: Final = "spgvton-choices-1"
JOINT: Final = " with the joint graph"  # behind a candidate's name
KEPT: Final = 50  # choices; the oldest go
Say = Callable[[str], None]


@dataclass(frozen=True)
class Choice:
    """What was chosen, see candidates(). median_ms: of a frame, by candidate. failed: candidate -> why it cannot be used."""

    backend: str
    median_ms: dict[str, float]
    failed: dict[str, str]

    def why(self) -> str:
        """One line: "openvino (18.2 ms a frame; onnxruntime 21.0 ms)"."""
        others = [f"{name} {ms:.1f} ms" for name, ms in self.median_ms.items() if name != self.backend]
        others += [f"{name} cannot be used: {reason}" for name, reason in self.failed.items()]
        rest = f"; {'; '.join(others)}" if others else "; there is no other one here"
        return f"{self.backend} ({self.median_ms[self.backend]:.1f} ms a frame{rest})"


def choices_file() -> Path:
    return user_cache() / "choices.json"


def candidates(bundle: Bundle, mode: Mode) -> list[str]:
    """Back ends whose packages are installed, and whose device is there.

    Those on the CPU stand for the pair of MODE's joint graph that they run by default; with JOINT behind the name they run
    the joint graph as it is, where BUNDLE has both.
    """
    names = ["onnxruntime"]
    if importlib.util.find_spec("openvino"):
        names.append("openvino")
    if bundle.precision != "int8" and bundle.pair(mode.joint):
        names += [name + JOINT for name in names]
    if first_gpu() is not None and importlib.util.find_spec("pycuda"):
        names += [name for name, module in MODULES.items() if importlib.util.find_spec(module)]
    return names


def place_of(bundle: Bundle, mode: Mode, threads: int | None) -> str:
    """Key of this machine, BUNDLE and MODE: processor, its instructions, cores, threads, and the bundle's manifest."""
    facts = [
        machine.cpu_model(), sorted(machine.cpu_flags()), machine.cores(), threads, sha256(bundle.folder / MANIFEST),
        mode.name,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def versions(names: list[str]) -> dict[str, str | None]:
    """Of everything that could decide otherwise: spgvton, the candidates NAMES, the GPU."""
    backends = [name.removesuffix(JOINT) for name in names]
    found = {name: machine.version_of(MODULES.get(name, name)) for name in backends}
    return {"spgvton": machine.versions()["spgvton"], **found, "gpu": machine.gpu()}


def open_fastest(
    bundle: Bundle, by_name: Callable[..., Backend], *, mode: Mode = POSE, threads: int | None = None, say: Say
) -> Backend:
    """The remembered back end, or the fastest of candidates(), opened by BY_NAME, which is spgvton.backends.open_backend.

    Raises SpgvtonError where none can be used.
    """

    def opener(name: str) -> Backend:
        return _open(name, by_name, bundle, mode, threads, say)

    bundle.graph(mode.joint)  # a bundle without the mode says so once
    names = candidates(bundle, mode)
    have, place, file = versions(names), place_of(bundle, mode, threads), choices_file()
    choices, damage = _read(file)
    known = choices.get(place)
    if damage:
        say(f"auto: {file} is damaged ({damage}): measuring again")
    elif known and known["versions"] != have:
        say(f"auto: {_difference(known['versions'], have)}: measuring again")
    elif known:
        choice = Choice(known["backend"], known["median_ms"], {})
        try:
            opened = opener(choice.backend)
        except SpgvtonError as e:
            say(f"auto: {choice.backend}, chosen on {known['when']}, cannot be opened now ({e}): measuring again")
        else:
            say(f"auto: {choice.why()}, as measured on {known['when']} (remembered in {file})")
            return opened
    choice, opened = measure(bundle, names, mode, opener, say)
    say(f"auto: {choice.why()}, measured now for this bundle on this machine")
    if not choice.failed:
        _remember(file, choices, place, choice, have, say)
    return opened


def measure(
    bundle: Bundle, names: list[str], mode: Mode, opener: Callable[[str], Backend], say: Say
) -> tuple[Choice, Backend]:
    """Open NAMES by OPENER, time them in turn, close all but the fastest. Raises SpgvtonError where none can be used."""
    samples = (demo_samples if mode is POSE else live_samples)(bundle.size, bundle.label_set)
    opened: dict[str, Backend] = {}
    failed: dict[str, str] = {}
    for name in names:
        try:
            backend = opened[name] = opener(name)
            dress(backend, samples[0], mode)
            for sample in samples[:WARM_UP]:
                backend.infer({name: sample[name] for name in mode.frame})
        except SpgvtonError as e:
            failed[name] = str(e)
            say(f"auto: {name} cannot be used: {e}")
            if name in opened:
                opened.pop(name).close()
    if not opened:
        raise SpgvtonError(f"no back end can run {bundle.folder}: {'; '.join(f'{n}: {e}' for n, e in failed.items())}")
    times: dict[str, list[float]] = {name: [] for name in opened}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or len(times[next(iter(times))]) < MIN_FRAMES:
        for name, backend in opened.items():
            sample = samples[len(times[name]) % len(samples)]
            frame = {i: sample[i] for i in mode.frame}
            begin = time.perf_counter()
            backend.infer(frame)
            times[name].append(1e3 * (time.perf_counter() - begin))
    medians = {name: round(float(np.median(t)), 3) for name, t in times.items()}
    best = min(medians, key=lambda name: medians[name])
    for name, backend in opened.items():
        if name != best:
            backend.close()
    return Choice(best, medians, failed), opened[best]


def _open(
    name: str, by_name: Callable[..., Backend], bundle: Bundle, mode: Mode, threads: int | None, say: Say
) -> Backend:
    """The candidate NAME, opened by BY_NAME."""
    form = "joint" if name.endswith(JOINT) else "pair"
    name = name.removesuffix(JOINT)
    if name in MODULES:
        return by_name(name, bundle, mode=mode, say=say)
    return by_name(name, bundle, mode=mode, threads=threads, form=form, say=say)


def _read(file: Path) -> tuple[dict[str, Any], str]:
    """What is remembered, by place, and what is wrong with the file ("": nothing)."""
    try:
        data = json.loads(file.read_text())
        if data["format"] != FORMAT:
            return {}, f"format {data['format']!r}"
        for entry in data["choices"].values():
            if (
                entry["backend"] not in entry["median_ms"]
                or not isinstance(entry["versions"], dict)
                or not entry["when"]
            ):
                return {}, "an entry lacks its figures"
        choices: dict[str, Any] = data["choices"]
        return choices, ""
    except (FileNotFoundError, NotADirectoryError):
        return {}, ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        return {}, f"{type(e).__name__}: {e}".splitlines()[0]


def _remember(file: Path, choices: dict[str, Any], place: str, choice: Choice, have: dict[str, Any], say: Say) -> None:
    kept = {key: entry for key, entry in choices.items() if key != place}
    kept = dict(list(kept.items())[-(KEPT - 1) :])
    kept[place] = {
        "backend": choice.backend, "median_ms": choice.median_ms, "versions": have,
        "when": time.strftime("%Y-%m-%d"),
    }  # fmt: skip
    try:
        make_folder(file.parent)
        write_text(file, json.dumps({"format": FORMAT, "choices": kept}, indent=1) + "\n")
    except SpgvtonError as e:
        say(f"auto: the choice is not remembered, so the next start measures again: {e}")


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    changed = [f"{k} {old.get(k)} -> {new.get(k)}" for k in sorted({*old, *new}) if old.get(k) != new.get(k)]
    return ", ".join(changed)
