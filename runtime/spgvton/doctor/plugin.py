"""The TPS plugin against the same warp of standard operators, on the same GPU: pictures, and time of a frame."""

from __future__ import annotations

from contextlib import closing

from spgvton.bench.parity import benchmark, parity
from spgvton.doctor.contract import Outcome, Rig, Skipped
from spgvton.doctor.parity import told

FRAMES = 100


def run(rig: Rig) -> Outcome:
    """See the module. facts: parity (of the two engines), p50_ms {plugin, function}."""
    if not rig.is_gpu:
        raise Skipped(f"{rig.backend} has no plugin")
    if rig.plugin is None:
        raise Skipped(
            "no plugin was given: build it (cmake -B build/native && cmake --build build/native) and give --plugin "
            "build/native/libspgvton_plugin.so"
        )
    with closing(rig.session(warp="plugin")) as by_plugin, closing(rig.session(warp="function")) as by_function:
        found = parity(by_plugin, by_function)
        timed = {"plugin": benchmark(by_plugin, FRAMES), "function": benchmark(by_function, FRAMES)}
    medians = {name: t.latency_ms["p50"] for name, t in timed.items()}
    words = f"{told(found)}; frame p50 {medians['plugin']:.2f} ms with the plugin, {medians['function']:.2f} without"
    wrong = "" if found.holds else f"the plugin's pictures are not those of the standard operators: {told(found)}"
    return Outcome(words, {"parity": found.as_dict(), "p50_ms": medians}, wrong)
