"""A soak of the real mirror: customers come and go, garments change, and memory, descriptors and threads must not grow."""

from __future__ import annotations

import csv
import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.bench import plot, trend
from spgvton.demo_assets import ShopGarment
from spgvton.errors import SpgvtonError
from spgvton.files import write_text
from spgvton.kiosk.mirror.mirror import Mirror
from spgvton.stream.sinks import NullSink

Float = NDArray[np.float64]

WARM_UP: Final = 1 / 3  # of the time, and at most
WARM_UP_S: Final = 120.0
GARMENT_S: Final = 5.0
SAVE_S: Final = 60.0
COLUMNS: Final = ("seconds", "rss_mib", "fds", "threads", "fps", "frames_out", "customers", "garments")
# Growth that counts as none: of the resident memory a part of its mean, of the others a number.
RSS_FLOOR: Final = 0.02
COUNT_FLOOR: Final = 1.0
QUANTITIES: Final = {"rss_mib": "resident memory, MiB", "fds": "open file descriptors", "threads": "threads"}


def usage() -> tuple[float, int, int]:
    """(resident memory in MiB, open file descriptors, threads) of this process. Raises SpgvtonError without /proc."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        fds = len(os.listdir("/proc/self/fd")) - 1  # listing the folder opens it
        threads = len(os.listdir("/proc/self/task"))
    except OSError as e:
        raise SpgvtonError(f"memory and descriptors are read from Linux's /proc, which is not here: {e}") from e
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, fds, threads


@dataclass
class Samples:
    """Rows of COLUMNS, in memory that is taken at the beginning, so that the soak does not see itself."""

    room: int
    count: int = 0
    _rows: Float = field(init=False)

    def __post_init__(self) -> None:
        self._rows = np.full((self.room, len(COLUMNS)), -1.0)  # touches every page

    def add(self, *values: float) -> None:
        """One row; dropped where there is no room."""
        if self.count < self.room:
            self._rows[self.count] = values
            self.count += 1

    def __getitem__(self, column: str) -> Float:
        return self._rows[: self.count, COLUMNS.index(column)]

    def csv(self) -> str:
        """As a table with a head line."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([f"{v:.10g}" for v in row.round(3)] for row in self._rows[: self.count])
        return text.getvalue()


class Soak:
    """Runs MIRROR for SECONDS and samples it.

    garments: worn in turn, GARMENT_S each. table: the CSV, written every minute and at the end. on_sample: told how many
    seconds have passed. After run(): samples, code (the mirror's), interrupted.
    """

    def __init__(
        self, mirror: Mirror, garments: Sequence[ShopGarment], seconds: float, table: Path, *,
        interval_s: float = 1.0, garment_s: float = GARMENT_S, on_sample: Callable[[float], None] | None = None,
    ) -> None:  # fmt: skip
        self.samples = Samples(int(seconds / interval_s) + 2)
        self.code, self.interrupted = 0, False
        self._mirror, self._garments, self._seconds, self._table = mirror, garments, seconds, table
        self._interval_s, self._garment_s, self._on_sample = interval_s, garment_s, on_sample
        self._stop, self._over = threading.Event(), False
        self._error: BaseException | None = None
        self._worn = self._customers = 0
        self._was_live = False

    def run(self) -> None:
        """In the main thread, so that Ctrl-C ends it early. Raises SpgvtonError."""
        sampler = threading.Thread(target=self._sample, name="spgvton-soak", daemon=True)
        sampler.start()
        self.code = self._mirror.run([NullSink()], self._stop)
        self.interrupted = not self._over and not self.code
        self._stop.set()
        sampler.join()
        if self._error:
            raise self._error

    def _sample(self) -> None:
        """Thread body: look, change the garment, and end it all."""
        try:
            start = time.monotonic()
            saved = 0.0
            while not self._stop.is_set() and (passed := time.monotonic() - start) < self._seconds:
                self._look(passed)
                if passed - saved > SAVE_S:
                    saved = passed
                    write_text(self._table, self.samples.csv())
                next_at = start + self.samples.count * self._interval_s
                self._stop.wait(max(0.0, next_at - time.monotonic()))
            write_text(self._table, self.samples.csv())
        except BaseException as e:  # noqa: BLE001 - raised again in run()
            self._error = e
        finally:
            self._over = not self._stop.is_set()
            self._stop.set()

    def _look(self, passed: float) -> None:
        if passed >= self._worn * self._garment_s:
            garment = self._garments[self._worn % len(self._garments)]
            self._worn += 1
            self._mirror.set_garment(f"garment {self._worn}", *garment)
        status = self._mirror.status()
        # "left" is still the same customer, who may come back.
        if status.state == "live" and not self._was_live:
            self._customers += 1
        if status.state != "left":
            self._was_live = status.state == "live"
        self.samples.add(passed, *usage(), status.fps_out, status.frames_out, self._customers, self._worn)
        if self._on_sample:
            self._on_sample(passed)


@dataclass(frozen=True)
class Verdict:
    """What the samples say. trends: column -> Trend after the warm-up. samples: all of them."""

    samples: Samples
    trends: dict[str, trend.Trend]

    @staticmethod
    def of(samples: Samples) -> Verdict:
        """Raises SpgvtonError where there are too few samples, or where no customer was dressed: that proves nothing."""
        seconds = samples["seconds"]
        after = seconds >= min(WARM_UP_S, WARM_UP * seconds[-1]) if len(seconds) else np.zeros(0, bool)
        if after.sum() < trend.MIN_BLOCKS:
            raise SpgvtonError(f"only {after.sum()} samples after the warm-up: soak for a minute at least")
        if not samples["customers"][-1]:
            raise SpgvtonError("no customer was dressed, so nothing was tested: choose a source that shows a person")
        trends = {}
        for name in QUANTITIES:
            values = samples[name][after]
            floor = RSS_FLOOR * float(values.mean()) if name == "rss_mib" else COUNT_FLOOR
            trends[name] = trend.fit(seconds[after], values, floor=floor)
        return Verdict(samples, trends)

    @property
    def judged_s(self) -> float:
        """Seconds that the trends are of."""
        first, last = next(iter(self.trends.values())).seconds
        return last - first

    @property
    def too_short(self) -> bool:
        """Whether there were fewer customers' times than a trend needs: then growth means little, and none means nothing."""
        return self.judged_s < trend.MIN_BLOCKS * trend.BLOCK_S

    @property
    def growing(self) -> list[str]:
        """Names of what grows."""
        return [name for name, line in self.trends.items() if line.grows]

    def as_dict(self) -> dict[str, Any]:
        """JSON types only."""
        last = {name: float(self.samples[name][-1]) for name in COLUMNS}
        return {
            "seconds": round(last["seconds"], 1),
            "warm_up_s": round(next(iter(self.trends.values())).seconds[0], 1),
            "frames_out": int(last["frames_out"]),
            "customers": int(last["customers"]),
            "garments": int(last["garments"]),
            "trends": {name: line.as_dict() for name, line in self.trends.items()},
            "grows": self.growing,
            "too_short": self.too_short,
        }

    def plot(self, caption: str) -> NDArray[np.uint8]:
        """RGB picture; see plot.draw()."""
        panels = {title: (self.samples[name], self.trends[name]) for name, title in QUANTITIES.items()}
        return plot.draw(self.samples["seconds"], panels, caption)
