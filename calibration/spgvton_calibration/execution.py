"""Running graphs that are held in memory, with values inside them as further outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from tqdm import tqdm

from spgvton.backends.onnxruntime import session_options
from spgvton.errors import SpgvtonError
from spgvton.machine import cores
from spgvton_calibration.histogram import Histogram

Inputs = dict[str, NDArray[Any]]
Array = NDArray[Any]
T = TypeVar("T")


class Runner:
    """MODEL in ONNX Runtime on the CPU; EXPOSED values are returned beside its outputs.

    A run takes one thread, and map() runs as many at a time as there are cores: nothing waits for anything in between.
    """

    def __init__(self, model: onnx.ModelProto, exposed: Iterable[str] = ()) -> None:
        have = {o.name for o in model.graph.output}
        added = [onnx.ValueInfoProto(name=v) for v in exposed if v not in have]
        model.graph.output.extend(added)
        try:
            data = model.SerializeToString()
        except ValueError as e:  # protobuf ends at 2 GiB
            raise SpgvtonError(f"the graph is too large to be calibrated in memory: {e}") from e
        finally:
            if added:
                del model.graph.output[-len(added) :]
        options = session_options(1)
        options.add_free_dimension_override_by_name("N", 1)
        try:
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # ONNX Runtime's exceptions share no base class of its own
            raise SpgvtonError(f"ONNX Runtime cannot load the graph: {' '.join(str(e).split())[:300]}") from e
        self._inputs = [i.name for i in self._session.get_inputs()]
        self._outputs = [o.name for o in self._session.get_outputs()]

    def __call__(self, inputs: Inputs) -> dict[str, Array]:
        """Every output by name. Raises SpgvtonError where INPUTS lack something or do not fit."""
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise SpgvtonError(f"the samples lack {', '.join(missing)}: they are of another network")
        try:
            found = self._session.run(self._outputs, {name: inputs[name] for name in self._inputs})
        except Exception as e:
            raise SpgvtonError(f"the graph does not run on the samples: {' '.join(str(e).split())[:300]}") from e
        return dict(zip(self._outputs, (np.asarray(a) for a in found)))

    def map(self, samples: Sequence[Inputs], then: Callable[[dict[str, Array]], T], what: str) -> list[T]:
        """THEN(outputs) for each of SAMPLES, in their order, under a progress bar that is called WHAT.

        THEN runs in several threads at a time.
        """
        with ThreadPoolExecutor(cores()) as pool:
            try:
                made = pool.map(lambda sample: then(self(sample)), samples)
                return list(tqdm(made, desc=what, total=len(samples), unit="sample", disable=None, leave=False))
            except BaseException:  # also Ctrl-C: what has not begun is not begun
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def collect(
    model: onnx.ModelProto,
    into: Mapping[str, Histogram],
    samples: Sequence[Inputs],
    what: str,
    name: Callable[[str], str],
) -> None:
    """Add the values that INTO's tensors have on SAMPLES to its histograms. WHAT: the progress bar's words.

    NAME: what a tensor is called in an error. Raises SpgvtonError for NaN or infinity, naming the first tensor that has it.
    """
    locks = {tensor: Lock() for tensor in into}

    def add(values: dict[str, Array]) -> None:
        for tensor, histogram in into.items():
            try:
                with locks[tensor]:
                    histogram.add(values[tensor])
            except FloatingPointError as e:
                raise SpgvtonError(f"{name(tensor)} holds {e}: no range can be found; train or export it again") from e

    Runner(model, into).map(samples, add, what)


def pictures(model: onnx.ModelProto, samples: Sequence[Inputs], what: str) -> list[NDArray[np.uint8]]:
    """The try-on image (H, W, 3) that the joint graph MODEL makes of each of SAMPLES."""
    return Runner(model).map(samples, lambda made: np.asarray(made["image"][0], np.uint8), what)


class Pair(NamedTuple):
    """The joint graph in two: what depends on person and garment alone, and what each frame computes with its outputs."""

    session: onnx.ModelProto
    frame: onnx.ModelProto


def pictures_of(pair: Pair, samples: Sequence[Inputs], what: str) -> list[NDArray[np.uint8]]:
    """As pictures(), of the joint graph in two."""
    prepared = Runner(pair.session).map(samples, lambda made: made, f"{what}, session")
    return pictures(pair.frame, [{**sample, **made} for sample, made in zip(samples, prepared)], what)
