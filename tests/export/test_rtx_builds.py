"""Every graph of both presets, float32 and float16, through TensorRT-RTX's parser and builder, which need no GPU.

The presets are four channels wide here: their operators and types are what a builder may refuse. The shipped bundle is
built at full size in tests/runtime/test_engine.py; for `paper` at full size see docs/engines.md.
"""

from pathlib import Path
from types import ModuleType

import pytest

from spgvton.bundle import Bundle
from spgvton.engine.build import Options, build
from spgvton_export.fp16_bundle import convert_bundle
from spgvton_export.samples import demo_samples


@pytest.fixture(scope="module")
def half(small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("half") / "fp16"
    samples = demo_samples(small_bundle.size, small_bundle.label_set)[:1]
    return convert_bundle(small_bundle, folder, samples, inputs="shipped demo", seconds=0)[0]


@pytest.mark.parametrize(
    ("graph", "warp"),
    [*((g, "function") for g in ("g1", "g2", "gmm1", "gmm2", "g3")), ("tryon", "function"), ("tryon", "plugin")],
)
def test_both_precisions_build(
    rtx: ModuleType, small_bundle: Bundle, half: Bundle, graph: str, warp: str, tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    library = request.getfixturevalue("plugin") if warp == "plugin" else None
    sizes = {}
    for bundle in (small_bundle, half):
        built = build(
            bundle,
            Options(bundle.precision, "tensorrt-rtx", graph, warp, library, sm=("89",), folder=tmp_path / bundle.precision),
        )
        assert built.facts["plugin_layers"] == (warp == "plugin")  # PLUGIN_V3 layers of the network
        plan = built.engine.read_bytes()
        assert (b"TpsGridSample" in plan) == (warp == "plugin")
        # Layers by type of output: float16 computes something, and float32 bundles have none of it.
        halves = built.facts["layers"].get("HALF", 0)
        assert halves > 20 if bundle.precision == "fp16" else halves <= len(bundle.manifest["files"])
        sizes[bundle.precision] = len(plan)
    assert sizes["fp16"] > 0
