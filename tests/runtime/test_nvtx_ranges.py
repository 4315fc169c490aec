"""NVTX ranges: which stages have one, that they end, and that nothing is wrapped where the package is missing."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from spgvton import nvtx_ranges
from spgvton.nvtx_ranges import ranged, span
from spgvton.stream.frames import Frame, Source
from spgvton.stream.loop import CAPTURE, COMPOSE, POSE, PRESENT, SYNTHESIS, Perception, run_loop
from spgvton.stream.sinks import NullSink

PICTURE = np.zeros((4, 4, 3), np.uint8)


class Domain:
    """Stands in for nvtx.Domain: notes what is pushed and popped, by thread."""

    def __init__(self) -> None:
        self.ranges: list[str] = []
        self.open: dict[int, list[str]] = {}

    def get_event_attributes(self, message: str) -> str:
        return message

    def push_range(self, attributes: str) -> None:
        self.ranges.append(attributes)
        self.open.setdefault(threading.get_ident(), []).append(attributes)

    def pop_range(self) -> None:
        self.open[threading.get_ident()].pop()


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    def clear() -> None:
        nvtx_ranges._domain.cache_clear()
        nvtx_ranges._attributes.cache_clear()

    clear()
    yield
    clear()


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> Domain:
    found = Domain()
    monkeypatch.setitem(sys.modules, "nvtx", SimpleNamespace(get_domain=lambda name: found))  # type: ignore[arg-type]
    return found


class Two(Source):
    """A source of two frames."""

    name, size, fps, live = "two", (4, 4), 30.0, False

    def __init__(self) -> None:
        self.left = 2

    def read(self) -> Frame | None:
        self.left -= 1
        return Frame(PICTURE, 1 - self.left, 0.0, 0.0) if self.left >= 0 else None

    def close(self) -> None: ...


def test_every_stage_of_a_frame_has_a_range(domain: Domain) -> None:
    keypoints = np.ones((18, 3), np.float32)
    run_loop(Two(), lambda frame: Perception(keypoints), lambda frame, k: PICTURE, lambda view: PICTURE, [NullSink()])
    assert {name: domain.ranges.count(name) for name in set(domain.ranges)} == {
        CAPTURE: 3, POSE: 2, SYNTHESIS: 2, COMPOSE: 2, PRESENT: 2,
    }  # fmt: skip
    assert not any(domain.open.values())


def test_a_range_ends_where_the_work_fails(domain: Domain) -> None:
    def broken() -> None:
        assert domain.open[threading.get_ident()] == ["outer", "broken"]
        raise ValueError("here")

    with pytest.raises(ValueError, match="here"), span("outer"):
        ranged("broken", broken)()
    assert not any(domain.open.values()) and domain.ranges == ["outer", "broken"]


def test_without_the_package_nothing_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvtx", None)  # type: ignore[arg-type]
    assert ranged("pose", len) is len
    assert span("pose") is span("compose")
    with span("pose"):
        assert ranged("pose", len)([1]) == 1


def test_the_real_package() -> None:
    pytest.importorskip("nvtx", reason="pip install 'spgvton[profile]'")
    importlib.import_module("nvtx")
    with span("outer"):
        assert ranged("pose", len)([1, 2]) == 2
