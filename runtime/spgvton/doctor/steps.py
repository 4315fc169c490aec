"""The steps of `spgvton doctor --gpu` in their order, and how they are run: a step that fails lets the others run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from spgvton.doctor import engines, live_loop, memory, parity, percentiles, plugin, power, replays, sessions
from spgvton.doctor.contract import PASSED, Outcome, Rig, Skipped, Step, Verdict
from spgvton.errors import SpgvtonError

STEPS: Final[dict[str, Step]] = {
    "engine": engines.run_own,
    "parity": parity.run,
    "plugin": plugin.run,
    "build_fp16": engines.run_fp16,
    "build_int8": engines.run_int8,
    "sessions": sessions.run,
    "replays": replays.run,
    "live": live_loop.run,
    "memory": memory.run,
    "benchmark": percentiles.run,
    "power": power.run,
}


def run_steps(rig: Rig, steps: Mapping[str, Step] = STEPS) -> list[Verdict]:
    """Every one of STEPS on RIG, whatever becomes of those before it. Raises nothing but KeyboardInterrupt and the like."""
    return [_run(name, step, rig) for name, step in steps.items()]


def skip_all(reason: str, steps: Mapping[str, Step] = STEPS) -> list[Verdict]:
    """The verdicts where no step can run, for REASON."""
    return [Verdict(name, f"skipped: {reason}", 0.0) for name in steps]


def _run(name: str, step: Step, rig: Rig) -> Verdict:
    rig.say(f"{name} ...")
    start = time.perf_counter()
    outcome: Outcome | None = None
    try:
        outcome = step(rig)
        verdict = f"failed: {outcome.fault}" if outcome.fault else PASSED
    except Skipped as e:
        verdict = f"skipped: {e}"
    except SpgvtonError as e:
        verdict = f"failed: {e}"
    except Exception as e:  # noqa: BLE001 - it is shown, and the other steps may still say something
        verdict = f"failed: {type(e).__name__}: {e}"
    return Verdict(name, " ".join(verdict.split()), round(time.perf_counter() - start, 2), outcome)
