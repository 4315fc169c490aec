"""`spgvton doctor --gpu`: the engine, the GPU's pictures against ONNX Runtime's, and a benchmark."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import closing
from dataclasses import asdict
from typing import Any

from spgvton import machine
from spgvton.backends import tell
from spgvton.backends.tensorrt import TensorRtBackend, build_engine, require_gpu
from spgvton.bench.parity import benchmark, parity
from spgvton.bundle import Bundle
from spgvton.errors import SpgvtonError
from spgvton.session import TryOn


def examine(args: argparse.Namespace) -> dict[str, Any]:
    """Engine, parity, benchmark, machine: JSON types only. Raises SpgvtonError where there is no GPU, or it fails."""
    bundle = Bundle.open(args.bundle)
    name = args.backend or "tensorrt"
    gpu = require_gpu(name)
    tell(
        f"{gpu.name} (SM {gpu.sm}, {gpu.memory / 2**30:.1f} GiB): building the engine of {bundle.folder}, or finding it"
    )
    built = build_engine(name, bundle, args.warp, args.plugin)
    for line in (*built.advice, f"engine {built.engine}: {built.cache}; comparing with ONNX Runtime, then timing"):
        tell(line)
    backend = TensorRtBackend(bundle, built, gpu, say=tell)
    with closing(TryOn(bundle, backend=backend)) as session:
        compared = parity(session, TryOn(bundle))
        timed = benchmark(session)
        state = machine.gpu_state()  # at once: clocks fall when the GPU idles
        described = session.describe()
    modules = (built.backend.replace("-", "_"), "pycuda")
    return {
        "ok": compared.holds, "backend": described, "engine": built.report(), "parity": compared.as_dict(),
        "benchmark": asdict(timed), "gpu_state": state, "machine": machine.describe(),
        "versions": {**machine.versions(), **{name: machine.version_of(name) for name in modules}},
    }  # fmt: skip


def summary(report: dict[str, Any]) -> str:
    """The report for people."""
    p, b, m = report["parity"], report["benchmark"], report["machine"]
    latency = "  ".join(f"{name} {ms:.2f}" for name, ms in b["latency_ms"].items())
    state = ", ".join(f"{k} {v}" for k, v in report["gpu_state"].items()) or "clocks and power mode cannot be read"
    backend, engine = report["backend"], report["engine"]
    lines = {
        "engine": f"{engine['engine']} ({engine['cache']}), {backend['precision']}, CUDA graph: {backend['cuda_graph']}",
        "parity": f"{'holds' if p['holds'] else 'DOES NOT HOLD'} on {p['inputs']} inputs: mean error {p['mean_error']} of 255 "
        f"(allowed {p['allowed_mean']}), worst pixel {p['max_error']} (allowed {p['allowed_max']})",
        "latency": f"{latency}  ms, keypoints to picture on the host; {b['frames']} frames, all counted, after "
        f"{b['warm_up']} warm-up frames",
        "GPU": f"{backend['device']}; right after: {state}",
        "machine": f"{m['cpu']}, {m['cores']} cores, {m['ram_gib']} GiB; {m['os']}; {m['gpu']}",
        "versions": ", ".join(f"{k} {v}" for k, v in report["versions"].items() if v),
    }
    return "\n".join(f"{name:<10} {text}" for name, text in lines.items())


def run(args: argparse.Namespace) -> int:
    """`spgvton doctor --gpu`. Returns the exit code; raises SpgvtonError."""
    report = examine(args)
    print(summary(report), file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(report, indent=1))
    if not report["ok"]:
        raise SpgvtonError("the GPU's pictures are not ONNX Runtime's (see parity): do not use this back end here")
    return 0
