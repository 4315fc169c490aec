"""Workers that end with their parent; lists as Windows writes them; what differs when a run is resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spgvton.errors import SpgvtonError
from spgvton_training.data.layout import PAIRED, Exclusions, Triple, read_pairs
from spgvton_training.loader import check_shared_memory
from spgvton_training.resume import differences

POOL = """
import os, sys, time
from spgvton_training.workers import process_pool
from pool_work import work
if __name__ == "__main__":
    pool = process_pool(2)
    jobs = [pool.submit(work, 60) for _ in range(8)]
    print(*{job.result() for job in [pool.submit(os.getpid) for _ in range(1)]} if False else "", flush=True)
    time.sleep(60)
"""
WORK = """
import os, time
def work(seconds):
    open(f"{os.environ['PIDS']}/{os.getpid()}", "w").close()
    time.sleep(seconds)
"""


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_killed_with_all_its_workers(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(POOL)
    (tmp_path / "pool_work.py").write_text(WORK)
    pids = tmp_path / "pids"
    pids.mkdir()
    environment = os.environ | {"PIDS": str(pids), "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    process = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], env=environment, cwd=tmp_path)
    end = time.monotonic() + 120
    while len(list(pids.iterdir())) < 2:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    workers = [int(p.name) for p in pids.iterdir()]
    end = time.monotonic() + 30
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < end, "workers outlive a killed parent"
        time.sleep(0.1)


def test_lists_with_a_mark_and_blank_lines(tmp_path: Path) -> None:
    rows = "a/1.jpg\ta/2.jpg\tg/s.jpg\ttrain\r\n\r\nb/1.jpg\tb/2.jpg\tg/s.jpg\ttrain\r\n\r\n  \r\n"
    (tmp_path / PAIRED).write_bytes(b"\xef\xbb\xbf" + rows.encode())
    expected = [Triple("a/1.jpg", "a/2.jpg", "g/s.jpg"), Triple("b/1.jpg", "b/2.jpg", "g/s.jpg")]
    assert read_pairs(tmp_path, "train") == expected
    (tmp_path / "noise.txt").write_bytes(b"\xef\xbb\xbfa/1.jpg\r\n\r\n")
    assert set(Exclusions.read(tmp_path / "noise.txt").names) == {"a/1.jpg"}
    (tmp_path / PAIRED).unlink()
    os.mkfifo(tmp_path / PAIRED)
    with pytest.raises(SpgvtonError, match="no ordinary file"):
        read_pairs(tmp_path, "train")


def test_what_differs_is_named() -> None:
    earlier = {"run": {"seed": 1, "optimiser": {"rate": 2e-4, "batch": [16, 8]}}, "triples": "a" * 64, "world": 1}
    now = {"run": {"seed": 2, "optimiser": {"rate": 1e-4, "batch": [16, 8]}}, "triples": "b" * 64, "world": 1}
    assert differences(earlier, earlier) == []
    assert differences(earlier, now) == [
        "optimiser.rate: 0.0002 before, 0.0001 now", "seed: 1 before, 2 now", "the data set's triples",
    ]  # fmt: skip
    assert differences({"run": {}}, {"run": {"a": 1}}) == ["a: None before, 1 now"]


def test_too_little_shared_memory_is_one_line() -> None:
    check_shared_memory(0, 2**50)
    check_shared_memory(1, 1)
    with pytest.raises(SpgvtonError, match="--shm-size=1g, or --workers 0"):
        check_shared_memory(2, 2**50)
