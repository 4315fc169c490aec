"""The engines of the bundle itself; then those in FP16 and INT8, of whichever bundles there are in these forms, and their
pictures.

A bundle has one precision. FP16 is made of an FP32 bundle where spgvton's export is installed; INT8 needs pictures to be
calibrated on, so a bundle in INT8 is given or there is none.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from spgvton.bundle import MODES, Bundle
from spgvton.doctor import parity
from spgvton.doctor.contract import Outcome, Rig, Skipped
from spgvton.engine.half import in_half
from spgvton.errors import SpgvtonError

CALIBRATE: Final = "spgvton calibrate --bundle {} --data YOUR_DATA --out NEW, then --also NEW"
FACTS: Final = ("cache", "bytes", "seconds", "plugin_layers", "layers")


def form(rig: Rig, precision: str) -> Bundle:
    """A bundle in PRECISION: the rig's, one of its others, or for fp16 one that is made of the rig's. Raises Skipped."""
    for bundle in (rig.bundle, *rig.others):
        if bundle.precision == precision:
            return bundle
    own = rig.bundle
    if precision == "fp16" and own.precision == "fp32":
        try:
            return in_half(own)
        except SpgvtonError as e:
            raise Skipped(f"{e}: give one by --also") from e
    if precision == "int8":
        source = own.folder if own.precision != "int8" else "FP32_BUNDLE"
        raise Skipped(f"no INT8 bundle: make one ({CALIBRATE.format(source)})")
    raise Skipped(f"{own.folder} is {own.precision}, which holds no {precision} form: give one by --also")


def _engines(rig: Rig, bundle: Bundle) -> dict[str, Any]:
    """The engines of both modes by graph; where BUNDLE lacks a mode, why."""
    try:
        from spgvton.engine.build import Options, build
        from spgvton.engine.parts import PARTS
    except ModuleNotFoundError as e:  # onnx
        raise SpgvtonError(f"{e.name} is missing: pip install 'spgvton[{rig.backend}]'") from e
    made: dict[str, Any] = {}
    for joint in MODES.values():
        try:
            bundle.graph(joint)
        except SpgvtonError as e:
            made[joint] = f"skipped: {e}"
            continue
        for graph in [part for part, whole in PARTS.items() if whole == joint] or [joint]:
            built = build(bundle, Options(bundle.precision, rig.backend, graph, warp=rig.warp, plugin=rig.plugin))
            report = built.report()
            made[graph] = {key: report[key] for key in FACTS if key in report} | {"advice": list(built.advice)}
    return made


def _told(engines: dict[str, Any]) -> str:
    """_engines() for people."""
    told = [f"{name} {e['cache']}" if isinstance(e, dict) else f"{name} {e}" for name, e in engines.items()]
    advice = [line for e in engines.values() if isinstance(e, dict) for line in e["advice"]]
    return "; ".join((*told, *dict.fromkeys(advice)))


def run_own(rig: Rig) -> Outcome:
    """Build (or find) the engines of the rig's bundle. facts: by graph."""
    if not rig.is_gpu:
        raise Skipped(f"{rig.backend} builds no engines")
    engines = _engines(rig, rig.bundle)
    return Outcome(f"{rig.bundle.precision}: {_told(engines)}", engines)


def run(precision: str, rig: Rig) -> Outcome:
    """Build (or find) the engines in PRECISION, and compare the pictures. facts: bundle, engines, parity."""
    if not rig.is_gpu:
        raise Skipped(f"{rig.backend} builds no engines")
    bundle = form(rig, precision)
    engines = _engines(rig, bundle)
    found = parity.compare(rig, bundle)
    facts = {"bundle": bundle.folder.name, "engines": engines, "parity": found.as_dict()}
    return Outcome(f"{_told(engines)}; {parity.told(found)}", facts, parity.fault(found))


run_fp16 = partial(run, "fp16")
run_int8 = partial(run, "int8")
