"""The rooms stand on each other: imports go down only, no circle anywhere, the runtime never sees torch (docs/architecture.md).

Every import counts, also those inside functions and under TYPE_CHECKING: a circle that is hidden is one all the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("runtime/spgvton", "training/spgvton_training", "export/spgvton_export", "calibration/spgvton_calibration")
# Rooms of the runtime from below; every file beside them is the contract, under them all. One line: they do not know
# each other.
ROOMS = (
    ("perception", "engine"),
    ("backends",),
    ("live", "recording"),
    ("session",),
    ("stream",),
    ("kiosk",),  # with rooms of its own: KIOSK
    ("bench",),
    ("doctor",),
    ("cli",),
    ("__main__",),
)
RENDERER = "spgvton_training.synthetic."
RENDERER_ROOMS = ("drawing", "people", "clothes", "render")  # from below; the files beside them are above
# The same inside the kiosk; a file beside its rooms is under them all.
KIOSK = (("mirror", "garments"), ("service",), ("web",))


def modules() -> dict[str, Path]:
    """Every module of the four packages: dotted name -> file."""
    found = {}
    for package in (ROOT / floor for floor in FLOORS):
        for file in package.rglob("*.py"):
            parts = file.relative_to(package.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(file: Path) -> Iterator[str]:
    """Dotted names that FILE imports; of `from a import b` a.b, which may be a module or something in one."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Module -> those of the four packages that it imports."""
    known = modules()
    edges: dict[str, set[str]] = {}
    for module, file in known.items():
        names = ((name, name.rpartition(".")[0]) for name in imported(file))
        edges[module] = {next(n for n in pair if n in known) for pair in names if not known.keys().isdisjoint(pair)}
    assert len(edges) > 300 and "spgvton.labels" in edges["spgvton.person"]
    return edges


def floor(module: str) -> tuple[int, int, int]:
    """(package, room in the runtime, room in the kiosk), each counted from below."""
    package, room, inner, *_ = [*module.split("."), "", ""]
    names = [Path(f).name for f in FLOORS]

    def place(name: str, rooms: tuple[tuple[str, ...], ...]) -> int:
        return next((i for i, beside in enumerate(rooms, 1) if name in beside), 0)

    return names.index(package), place(room, ROOMS), place(inner, KIOSK) if room == "kiosk" else 0


def test_no_circle(graph: dict[str, set[str]]) -> None:
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_imports_go_down_only(graph: dict[str, set[str]]) -> None:
    """To a lower package; inside the runtime to a lower room, or within one."""
    climbs = []
    for module, others in graph.items():
        for other in others:
            depth = 3 if module.startswith("spgvton.kiosk.") else 2
            same_room = module.split(".")[:depth] == other.split(".")[:depth]
            below = (
                floor(other) < floor(module) if module.startswith("spgvton.") else floor(other)[0] <= floor(module)[0]
            )
            contract = floor(module) == floor(other) == (0, 0, 0)
            if not (same_room or below or contract):
                climbs.append(f"{module} -> {other}")
    assert not climbs


def test_imports_go_down_only_in_the_renderer(graph: dict[str, set[str]]) -> None:
    """The version, which stands in the package itself, is everybody's."""

    def room(module: str) -> int:
        name = module.removeprefix(RENDERER).partition(".")[0]
        return RENDERER_ROOMS.index(name) if name in RENDERER_ROOMS else len(RENDERER_ROOMS)

    own = {
        module: [o for o in others if o.startswith(RENDERER)]
        for module, others in graph.items()
        if module.startswith(RENDERER)
    }
    assert {room(module) for module in own} == set(range(len(RENDERER_ROOMS) + 1))
    climbs = [
        f"{module} -> {other}" for module, others in own.items() for other in others if room(other) > room(module)
    ]
    assert not climbs


def test_the_runtime_never_imports_torch() -> None:
    importers = [
        name for name, file in modules().items()
        if name.split(".")[0] == "spgvton" and any(n.split(".")[0] == "torch" for n in imported(file))
    ]  # fmt: skip
    assert not importers
