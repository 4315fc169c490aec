"""What a script of `polygraphy run` calls for --spgvton-bundle and --spgvton-plugin. Needs no torch.

RealInputs       data loader: inputs of a bundle's graph from the shipped demo
GraphForPlugin   a graph without the function body of the warp, serialised for TensorRT's parser
WithPlugin       any other loader, with the plugin registered first
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from polygraphy import config, util
from polygraphy.backend.base import BaseLoader
from polygraphy.mod.trt_importer import lazy_import_trt

from spgvton.backends.samples import live_samples
from spgvton.bundle import MODES, Bundle
from spgvton.engine import flavour
from spgvton.engine.graph import prepare
from spgvton.errors import SpgvtonError
from spgvton_export.fp16.bundle import load_graph
from spgvton_export.fp16.check import Chain, warp_graph
from spgvton_export.polygraphy.errors import one_line
from spgvton_export.samples import demo_samples

Shape = Sequence[Any]  # an int per axis; anything else where the size is dynamic
Feed = dict[str, NDArray[Any]]


def inputs_of(path: Path) -> dict[str, Shape]:
    """Names and shapes of an ONNX graph's inputs. Raises SpgvtonError for a file that is none."""
    graph = load_graph(path).graph
    weights = {t.name for t in graph.initializer}
    return {
        i.name: [d.dim_value if d.HasField("dim_value") else d.dim_param for d in i.type.tensor_type.shape.dim]
        for i in graph.input
        if i.name not in weights
    }


def graph_for(bundle: Bundle, takes: Mapping[str, Shape]) -> str:
    """Name of the graph of BUNDLE that has the inputs TAKES; no two graphs have the same.

    By its inputs and not by its file, so that an engine, an edited graph, or the same graph of another precision finds its
    inputs. Raises SpgvtonError where there is none, or where its sizes are others.
    """
    for name in bundle.graphs:
        has = inputs_of(bundle.graph(name))
        if has.keys() != takes.keys():
            continue
        for tensor, shape in has.items():
            given = takes[tensor]
            if len(given) != len(shape) or any(
                isinstance(a, int) and isinstance(b, int) and b >= 0 and a != b for a, b in zip(shape, given)
            ):
                raise SpgvtonError(
                    f"the model takes {tensor} {tuple(given)}, {name} of bundle {bundle.folder} {tuple(shape)}: "
                    "give the bundle that the model belongs to"
                )
        return name
    raise SpgvtonError(
        f"the model takes {', '.join(takes)}, as no graph of bundle {bundle.folder} does: give a graph of spgvton export, "
        "and its bundle"
    )


class RealInputs:
    """Inputs of a bundle's graph, one batch of one per iteration, made of the shipped person, garments and clip.

    folder: the bundle. iterations: how many; the nine samples (of the live graph six) repeat. Polygraphy sets `input_metadata`, what the
    first runner takes, before it iterates; that decides which graph it is.
    """

    def __init__(self, folder: str, iterations: int | None = None) -> None:
        self.folder = folder
        self.iterations = iterations
        self.input_metadata: Any = None

    def __iter__(self) -> Iterator[Feed]:
        with one_line():
            bundle = Bundle.open(self.folder)
            graph = graph_for(bundle, {name: entry.shape for name, entry in self.input_metadata.items()})
            is_joint = graph in MODES.values()
            samples = (live_samples if graph == MODES["live"] else demo_samples)(bundle.size, bundle.label_set)
            chain = None if is_joint else Chain(bundle, warp_graph(load_graph(bundle.graph("tryon"))))
        feeds: list[Feed] = []
        for i in range(len(samples) if self.iterations is None else self.iterations):
            if i < len(samples):
                with one_line():
                    values = samples[i] if chain is None else chain.run(samples[i])[graph][0]
                feeds.append({name: values[name] for name in self.input_metadata})
            yield feeds[i % len(samples)]


class GraphForPlugin(BaseLoader):  # type: ignore[misc]
    """The ONNX graph at PATH as bytes: function body of the warp stripped, weights included."""

    def __init__(self, path: str) -> None:
        self.path = path

    def call_impl(self) -> bytes:
        with one_line():
            model, _ = prepare(Path(self.path), "plugin")
            return model.SerializeToString()


class WithPlugin(BaseLoader):  # type: ignore[misc]
    """OBJ, or what it returns when it is called, with LIBRARY registered in TensorRT's registry before."""

    registered: set[str] = set()  # noqa: RUF012 - of the process, as the registry is

    def __init__(self, library: str, obj: Any) -> None:
        self.library = library
        self.obj = obj

    def call_impl(self, *args: Any, **kwargs: Any) -> Any:
        if self.library not in self.registered:
            with one_line():
                trt = flavour.load("tensorrt-rtx" if config.USE_TENSORRT_RTX else "tensorrt")
                flavour.register_plugin(trt, lazy_import_trt().get_plugin_registry(), Path(self.library))
            self.registered.add(self.library)
        return util.invoke_if_callable(self.obj, *args, **kwargs)[0]
