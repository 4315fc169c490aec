"""What each rewrite gains in ONNX Runtime on this machine, and how far its result is from the joint graph's.

  python -m spgvton_export.rewrites.measure --bundle bundles/realtime --rounds 25 --out results/graph-rewrites.csv

Joint graph and candidate run in turn on one thread; what is compared is the thread's CPU time, which other load on the
machine disturbs less than the clock on the wall. `split` is the session and frame graph without any rewrite; every
other line is the split with that rewrite and, since the others build on it, batch-norm. Lines are appended to --out.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from tqdm import tqdm

from spgvton.backends.onnxruntime import open_graph, session_options
from spgvton.bundle import PAIRS, WEIGHTS, Bundle
from spgvton.files import make_folder
from spgvton.machine import cpu_model
from spgvton_export.fp16.bundle import load_graph
from spgvton_export.rewrites import REWRITES, split_and_rewrite
from spgvton_export.rewrites.check import Values, feed, run_all
from spgvton_export.samples import demo_samples
from spgvton_export.shared_weights import attach_weights, detach_weights


def open_pair(bundle: Bundle, names: Sequence[str], folder: Path) -> list[ort.InferenceSession]:
    """Session and frame graph of BUNDLE with the rewrites NAMES, on one thread; written into FOLDER."""
    joint = load_graph(bundle.graph("tryon"))
    weights = detach_weights(joint)
    session, frame, _ = split_and_rewrite(joint, weights, names)
    opened = []
    for name, model in zip(PAIRS["tryon"], (session, frame)):
        path = folder / f"{name}.onnx"
        attach_weights(model, weights, folder / WEIGHTS)
        path.write_bytes(model.SerializeToString())
        opened.append(open_graph(path, session_options(1)))
    return opened


def cpu_ms(session: ort.InferenceSession, values: Values) -> float:
    """CPU time of this thread, in milliseconds, for one run."""
    given = feed(session, values)
    start = time.thread_time()
    session.run(None, given)
    return 1e3 * (time.thread_time() - start)


def measure(bundle: Bundle, names: Sequence[str], rounds: int) -> dict[str, float]:
    """Medians over ROUNDS, their ratio, and the largest difference of 255, of the joint graph and its rewritten pair."""
    sample = demo_samples(bundle.size, bundle.label_set)[0]
    options = session_options(1)
    options.add_free_dimension_override_by_name("N", 1)
    joint = open_graph(bundle.graph("tryon"), options)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / WEIGHTS).write_bytes((bundle.folder / WEIGHTS).read_bytes())
        session, frame = open_pair(bundle, names, folder)
        values = {**sample, **run_all(session, sample)}
        difference = np.abs(run_all(joint, sample)["image"].astype(int) - run_all(frame, values)["image"])
        times = np.array([[cpu_ms(joint, sample), cpu_ms(frame, values)] for _ in range(rounds)])
        per_session = cpu_ms(session, sample)
    before, after = np.median(times, 0)
    return {
        "tryon_ms": round(before, 1), "frame_ms": round(after, 1), "ratio": round(after / before, 3),
        "session_ms": round(per_session, 1), "max_abs_difference": int(difference.max()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", help="default: the shipped one")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--out", type=Path, required=True, metavar="CSV")
    args = parser.parse_args()
    bundle = Bundle.open(args.bundle)
    make_folder(args.out.parent)
    base = {name: ("batch-norm", name) for name in REWRITES if name != "batch-norm"}
    candidates: dict[str, tuple[str, ...]] = {
        "split": (),
        "batch-norm": ("batch-norm",),
        **base,
        "all": tuple(REWRITES),
    }
    machine = {"threads": 1, "cpu": cpu_model(), "onnxruntime": ort.__version__}
    for name, names in tqdm(candidates.items(), unit="rewrite"):
        found = measure(bundle, names, args.rounds)
        row = {
            "network": bundle.manifest["network"]["preset"],
            "rewrite": name,
            **found,
            "rounds": args.rounds,
            **machine,
        }
        new = not args.out.exists()
        with args.out.open("a", newline="") as f:
            writer = csv.DictWriter(f, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()
