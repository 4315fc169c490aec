"""What a run of the loop measured, for people (summary) and for scripts (as_dict)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from spgvton import machine
from spgvton.stream.latency import LatencyMeter


@dataclass
class Report:
    """Every captured frame is in exactly one of: frames_out, dropped_at.

    frames_synthesised: of frames_out, those whose picture was made for them; the others show the last one, or the camera.
    dropped_at: stage -> frames it had finished and nobody took. missed: sink -> frames (of frames_out) that it was too
    slow for. unusable: reason -> frames (of frames_out) whose pose
    could not be dressed; they show the last good image. again: reason -> frames (of frames_out) that show the last picture
    again although they could be dressed: spgvton.economy. answers: of the networks in live mode, which may be fewer than frames;
    None in pose mode. seconds: from the first read to the last frame presented.
    """

    frames_in: int = 0
    frames_out: int = 0
    frames_synthesised: int = 0
    dropped_at: dict[str, int] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)
    unusable: dict[str, int] = field(default_factory=dict)
    again: dict[str, int] = field(default_factory=dict)
    answers: int | None = None
    seconds: float = 0.0
    policy: str = "wait"
    interrupted: bool = False
    problem: str | None = None  # what the source said at its end, such as a truncated file
    latency: LatencyMeter = field(default_factory=LatencyMeter)

    @property
    def fps(self) -> float:
        """Presented frames per second of wall time, capture and presentation included."""
        return self.frames_out / self.seconds if self.seconds > 0 else 0.0

    @property
    def fps_synthesised(self) -> float:
        """Frames per second for which a picture was made."""
        return self.frames_synthesised / self.seconds if self.seconds > 0 else 0.0

    @property
    def answers_per_s(self) -> float | None:
        """How often the networks answered in live mode."""
        if self.answers is None:
            return None
        return self.answers / self.seconds if self.seconds > 0 else 0.0

    @property
    def dropped(self) -> int:
        return sum(self.dropped_at.values())

    def as_dict(self) -> dict[str, Any]:
        """The report's keys as DESIGN.md section 2 promises them, and some more; JSON types only."""
        return {
            "fps": round(self.fps, 2),
            "fps_synthesised": round(self.fps_synthesised, 2),
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "frames_synthesised": self.frames_synthesised,
            "again": self.again,
            "answers": self.answers,
            "answers_per_s": None if self.answers_per_s is None else round(self.answers_per_s, 2),
            "dropped": self.dropped,
            "dropped_at": self.dropped_at,
            "missed": self.missed,
            "unusable": self.unusable,
            "seconds": round(self.seconds, 3),
            "policy": self.policy,
            "interrupted": self.interrupted,
            "problem": self.problem,
            "latency_ms": self.latency.latency_ms(),
            "stages_ms": self.latency.stages_ms(),
            "machine": machine.describe(),
            "versions": machine.versions(),
        }

    def summary(self) -> str:
        """A small table for people."""
        missed = "".join(f", {n} missed by {sink}" for sink, n in self.missed.items())
        unusable = "".join(f", {n} with {reason}" for reason, n in self.unusable.items())
        again = "".join(f", {n} shown again ({reason})" for reason, n in self.again.items())
        made = f", {self.fps_synthesised:.1f} of them synthesised" if self.again else ""
        rate = self.answers_per_s
        answers = "" if rate is None else f", the networks answered {rate:.1f} times/s,"
        lines = [
            f"frames   {self.frames_in} in, {self.frames_out} out, {self.dropped} dropped{missed}{unusable}{again}",
            f"speed    {self.fps:.1f} frames/s{made}{answers} over {self.seconds:.1f} s (policy: {self.policy})",
        ]
        if self.latency.frames:
            total = "  ".join(f"{name} {ms:.0f}" for name, ms in self.latency.latency_ms().items())
            queued = (
                "" if self.policy == "latest" else " (frames wait for the slowest stage; live they are dropped instead)"
            )
            lines.append(f"latency  {total}  ms, capture to present{queued}")
            lines.append("stage         p50      p99  ms")
            for name, ms in self.latency.stages_ms().items():
                lines.append(f"  {name:<10} {ms['p50'] or 0:6.1f}   {ms['p99'] or 0:6.1f}")
        return "\n".join(lines)
