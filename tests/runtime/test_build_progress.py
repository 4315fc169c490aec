"""What `spgvton build` shows while TensorRT works for minutes: a bar per phase on a terminal, nothing in a pipe."""

from __future__ import annotations

import io
import sys
import time
from types import SimpleNamespace

import pytest

from spgvton.engine.progress import monitor


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def build_with(steps: int, pause_s: float = 0.0) -> bool:
    """The calls of a builder with a phase inside another; whether every step may go on."""

    def step_of(phase: str, number: int) -> bool:
        time.sleep(pause_s)
        return bool(shown.step_complete(phase, number))

    shown = monitor(SimpleNamespace(IProgressMonitor=type("IProgressMonitor", (), {"__init__": lambda self: None})))
    shown.phase_start("Building engine", None, 2)
    shown.phase_start("Tactic timing", "Building engine", steps)
    on = [step_of("Tactic timing", step) for step in range(steps)]
    shown.phase_finish("Tactic timing")
    on.append(shown.step_complete("Building engine", 0))
    shown.phase_finish("Building engine")
    shown.phase_finish("Building engine")  # TensorRT may say so twice
    return all(on)


def test_a_terminal_sees_the_phases_move(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert build_with(2, pause_s=0.15)  # a bar is drawn ten times a second at most
    said = terminal.getvalue()
    assert "Building engine" in said and "Tactic timing" in said
    assert "0/2" in said and "Tactic timing: 100%" in said, said


def test_a_pipe_gets_no_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    assert build_with(3) and pipe.getvalue() == ""
