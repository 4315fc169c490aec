"""Percentiles, the slot between two stages, and what the report promises."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from spgvton.stream.latency import LATENCY_BUCKETS_S, RECENT_S, Histogram, LatencyMeter, RecentLatency
from spgvton.stream.report import Report
from spgvton.stream.slot import Closed, Slot


@pytest.mark.parametrize("q", [50, 90, 95, 99, 100])
def test_percentiles_agree_with_sorting(q: int) -> None:
    values = np.random.default_rng(0).lognormal(3.0, 1.0, 5000)
    histogram = Histogram()
    for v in values:
        histogram.add(float(v))
    exact = np.sort(values)[int(np.ceil(q / 100 * len(values))) - 1]
    assert histogram.percentile(q) == pytest.approx(exact, rel=0.003)
    assert histogram.max == values.max()


def test_one_slow_frame_in_a_hundred_is_the_maximum_but_not_p99() -> None:
    histogram = Histogram()
    for ms in [10.0] * 99 + [1000.0]:
        histogram.add(ms)
    assert histogram.percentile(99) == pytest.approx(10, rel=0.003)
    assert histogram.percentile(100) == pytest.approx(1000, rel=0.003)
    assert histogram.max == 1000


def test_extremes_and_nothing() -> None:
    histogram = Histogram()
    assert histogram.percentile(50) is None
    for ms in (-1.0, 0.0, 1e-9, 1e12):
        histogram.add(ms)
    assert histogram.percentile(50) == 0
    assert histogram.max == 1e12


def test_what_the_stages_do_not_explain_is_waiting() -> None:
    meter = LatencyMeter()
    meter.add(0.100, {"pose": 0.020, "synthesis": 0.050})
    assert meter.stages_ms()["waiting"]["p50"] == pytest.approx(30, rel=0.003)
    assert meter.latency_ms()["max"] == pytest.approx(100)


def test_report_has_the_promised_keys_and_is_json() -> None:
    report = Report(frames_in=3, frames_out=2, frames_synthesised=1, dropped_at={"capture": 1}, seconds=2.0)
    report.latency.add(0.1, {"pose": 0.02})
    data = json.loads(json.dumps(report.as_dict()))
    assert (data["fps"], data["fps_synthesised"]) == (1.0, 0.5)
    assert data["dropped"] == 1
    assert set(data["latency_ms"]) == {"p50", "p90", "p95", "p99", "max"}
    assert set(data["stages_ms"]["pose"]) == {"p50", "p99"}
    assert {"cpu", "cores", "ram_gib", "os", "gpu"} <= set(data["machine"])
    assert set(data["versions"]) == {"spgvton", "python", "numpy", "onnxruntime", "cv2"}
    assert all(data["versions"].values())
    assert "100" in report.summary()


def test_report_without_frames_is_json_too() -> None:
    data = json.loads(json.dumps(Report().as_dict()))
    assert data["fps"] == 0
    assert set(data["latency_ms"].values()) == {None}
    assert "0 in" in Report().summary()


def test_latest_replaces_and_counts() -> None:
    slot: Slot[int] = Slot("latest")
    for i in range(5):
        slot.put(i)
    assert slot.get() == 4
    assert slot.dropped == 4
    assert slot.get(timeout=0.01) is None


def test_wait_blocks_until_taken() -> None:
    slot: Slot[int] = Slot("wait")
    slot.put(0)
    second = threading.Thread(target=slot.put, args=(1,))
    second.start()
    time.sleep(0.05)
    assert second.is_alive()
    assert slot.get() == 0
    second.join(1)
    assert not second.is_alive()
    assert slot.get() == 1
    assert slot.dropped == 0


def test_close_lets_the_last_item_out_and_discard_does_not() -> None:
    kept: Slot[int] = Slot("wait")
    kept.put(7)
    kept.close()
    assert kept.get() == 7
    with pytest.raises(Closed):
        kept.get()
    lost: Slot[int] = Slot("wait")
    lost.put(7)
    lost.close(discard=True)
    with pytest.raises(Closed):
        lost.get()
    with pytest.raises(Closed):
        lost.put(8)
    assert lost.dropped == 2


def test_close_wakes_a_blocked_producer() -> None:
    slot: Slot[int] = Slot("wait")
    slot.put(0)
    raised = threading.Event()

    def produce() -> None:
        try:
            slot.put(1)
        except Closed:
            raised.set()

    thread = threading.Thread(target=produce)
    thread.start()
    time.sleep(0.02)
    slot.close()
    assert raised.wait(1)
    thread.join()


def test_recent_latency_counts_for_ever_and_ranks_the_last_minute() -> None:
    recent = RecentLatency()
    for i in range(100):
        recent.add(0.04, {"pose": 0.02}, now=float(i) / 100)
    recent.add(9.0, {"pose": 0.004}, now=1.0)
    counts, sums = recent.buckets()
    assert len(counts["total"]) == len(LATENCY_BUCKETS_S) + 1
    assert counts["total"][LATENCY_BUCKETS_S.index(0.05)] == 100
    assert counts["total"][-1] == 1
    assert counts["pose"][LATENCY_BUCKETS_S.index(0.02)] == 100  # the upper end belongs to the bucket
    assert counts["pose"][0] == 1
    assert sums["total"] == pytest.approx(13.0)
    assert recent.stages_ms(1.0)["total"]["p50"] == pytest.approx(40)
    assert set(recent.stages_ms(1.0)["pose"]) == {"p50", "p90", "p95", "p99"}
    recent.add(0.5, {"pose": 0.1}, now=2.0 + RECENT_S)
    assert recent.stages_ms(2.0 + RECENT_S)["total"]["p50"] == pytest.approx(500)  # the minute before is forgotten
    assert recent.stages_ms(4.0 + 2 * RECENT_S) == {}
    assert sum(recent.buckets()[0]["total"]) == 102
