"""Prometheus metrics, read from the mirror's own status at each scrape: nothing is counted twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from spgvton.economy import OVERLOAD, STILL
from spgvton.kiosk.mirror.lifecycle import State
from spgvton.kiosk.mirror.status import MirrorStatus
from spgvton.kiosk.service import sensors
from spgvton.kiosk.web.endless import Viewers
from spgvton.stream.latency import LATENCY_BUCKETS_S
from spgvton.version import __version__

STATES: Final = get_args(State)


class KioskCollector(Collector):
    """Metrics of one kiosk; names begin with spgvton_."""

    def __init__(
        self, status: Callable[[], MirrorStatus], viewers: Viewers, gpu: sensors.Gpu, saved: Callable[[], bool]
    ) -> None:
        self._status, self._viewers, self._gpu, self._saved = status, viewers, gpu, saved
        self._start = time.time()

    def describe(self) -> list[Metric]:
        return []  # keeps the registry from collecting at registration, before there is a mirror

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield from self._loop(status)
        yield from self._stages(status)
        yield from self._web()
        yield from self._machine()

    def _loop(self, status: MirrorStatus) -> Iterator[Metric]:
        versions = {
            "version": __version__,
            "mode": status.mode,
            "source": status.source,
            "garment": status.garment or "",
        }
        yield InfoMetricFamily(
            "spgvton", "what runs", {**versions, **{f"backend_{k}": v for k, v in status.backend.items()}}
        )
        yield GaugeMetricFamily("spgvton_start_time_seconds", "start of the process, Unix time", self._start)
        yield CounterMetricFamily("spgvton_frames_in", "frames captured", status.frames_in)
        yield CounterMetricFamily("spgvton_frames_out", "frames presented", status.frames_out)
        yield CounterMetricFamily(
            "spgvton_frames_synthesised", "frames presented whose picture was made for them", status.frames_synthesised
        )
        yield CounterMetricFamily("spgvton_answers", "answers of the networks in live mode", status.answers)
        yield GaugeMetricFamily("spgvton_answers_per_second", "answers of the networks, lately", status.answers_per_s)
        again = CounterMetricFamily(
            "spgvton_frames_again", "frames presented that show the last picture again", labels=["reason"]
        )
        for reason in (STILL, OVERLOAD):
            again.add_metric([reason], status.frames_again.get(reason, 0))
        yield again
        yield GaugeMetricFamily("spgvton_fps_in", "frames captured a second, lately", status.fps_in)
        yield GaugeMetricFamily("spgvton_fps_out", "frames presented a second, lately", status.fps_out)
        if status.frame_age_s is not None:
            yield GaugeMetricFamily("spgvton_frame_age_seconds", "age of the newest frame", status.frame_age_s)
        yield GaugeMetricFamily("spgvton_source_ok", "1 while the source delivers", status.source_ok)
        yield GaugeMetricFamily("spgvton_dark", "1 while its pictures show nothing", status.dark)
        yield CounterMetricFamily(
            "spgvton_restarts", "times that source or back end were opened again", status.restarts
        )
        yield GaugeMetricFamily("spgvton_privacy", "1 while no camera picture is shown", status.privacy)
        yield GaugeMetricFamily("spgvton_recording", "1 while pictures are recorded", status.recording)
        yield GaugeMetricFamily("spgvton_state_saved", "1 while what was decided is on disk", self._saved())
        state = GaugeMetricFamily("spgvton_state", "1 for the state of the person before the mirror", labels=["state"])
        for name in STATES:
            state.add_metric([name], name == status.state)
        yield state

    def _stages(self, status: MirrorStatus) -> Iterator[Metric]:
        dropped = CounterMetricFamily(
            "spgvton_dropped", "frames that a stage finished and nobody took", labels=["stage"]
        )
        for stage, count in status.dropped.items():
            dropped.add_metric([stage], count)
        yield dropped
        latency = HistogramMetricFamily(
            "spgvton_latency_seconds", "time per stage, and capture to present", labels=["stage"]
        )
        for stage, counts in status.latency_s.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, LATENCY_BUCKETS_S), "+Inf"), counts):
                total += count
                buckets.append((bound, total))
            latency.add_metric([stage], buckets, status.latency_sum_s.get(stage))
        yield latency

    def _web(self) -> Iterator[Metric]:
        viewers = self._viewers
        yield GaugeMetricFamily("spgvton_web_viewers", "live views", viewers.sink.viewers)
        yield CounterMetricFamily(
            "spgvton_web_viewers_dropped", "views ended because they took no frame", viewers.dropped_slow
        )
        yield CounterMetricFamily(
            "spgvton_web_frames_encoded", "JPEGs made, one per frame for all views", viewers.sink.encoded
        )
        connections = viewers.connections
        yield GaugeMetricFamily("spgvton_web_connections", "open connections", len(connections))
        yield CounterMetricFamily("spgvton_web_connections_refused", "connections over the limit", connections.refused)

    def _machine(self) -> Iterator[Metric]:
        temperature = GaugeMetricFamily(
            "spgvton_temperature_celsius", "of the machine's zones and GPUs", labels=["zone"]
        )
        for zone, degrees in sensors.temperatures().items():
            temperature.add_metric([zone], degrees)
        memory = GaugeMetricFamily(
            "spgvton_memory_bytes", "resident: this process; total, available: the machine", labels=["kind"]
        )
        for kind, amount in sensors.memory().items():
            memory.add_metric([kind], amount)
        for index, gpu in enumerate(self._gpu.read()):
            if "temperature.gpu" in gpu:
                temperature.add_metric([f"gpu{index}"], gpu["temperature.gpu"])
            for kind in ("used", "total"):
                if f"memory.{kind}" in gpu:
                    memory.add_metric([f"gpu{index}_{kind}"], gpu[f"memory.{kind}"] * 2**20)
        yield temperature
        yield memory


def registry(collector: Collector) -> CollectorRegistry:
    """A registry of its own, so that several kiosks fit into one process (as tests have them)."""
    out = CollectorRegistry(auto_describe=False)
    out.register(collector)
    return out
