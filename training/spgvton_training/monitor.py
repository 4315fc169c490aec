"""What one sees of a training run: log.jsonl, TensorBoard, and a contact sheet of the same few samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from spgvton.errors import SpgvtonError
from spgvton.image import write
from spgvton_training.comparison.method import Method
from spgvton_training.data.mpv import MPV, Batch, collate
from spgvton_training.networks.joint import JointModel
from spgvton_training.sheet import contact_sheet, stages

UInt8 = NDArray[np.uint8]
Model = TypeVar("Model", bound=nn.Module)
SAMPLES = 4


class Samples:
    """The contact sheet of the same few samples of DATA, as a model makes them now; never augmented."""

    def __init__(self, data: MPV) -> None:
        self._data = data
        self._chosen: Batch | None = None

    def _choose(self) -> Batch:
        """Of the test split where there is one, else of the training split."""
        data = self._data
        kind: dict[str, Any] = dict(size=data.size, label_set=data.label_set)
        try:
            shown = MPV(data.root, "test", **kind)
        except SpgvtonError:
            shown = MPV(data.root, "train", **kind)
        step = max(1, len(shown) // SAMPLES)
        return collate([shown[i] for i in range(0, len(shown), step)][:SAMPLES])

    def __call__(self, model: JointModel | Method) -> UInt8:
        if self._chosen is None:
            self._chosen = self._choose()
        return contact_sheet(stages(model, self._chosen.to(next(model.parameters()).device)))


class Monitor(Generic[Model]):
    """Collects loss terms between saves. Only the ACTIVE one (of rank 0) writes. draw: samples.png of a model in evaluation mode."""

    def __init__(self, folder: Path, draw: Callable[[Model], UInt8], *, active: bool) -> None:
        self.folder = folder
        self._draw = draw
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._writer = SummaryWriter(str(folder / "tensorboard")) if active else None

    def add(self, terms: dict[str, Tensor]) -> dict[str, str]:
        """Count one iteration's terms. Returns the means since the last log, for a progress bar."""
        self._count += 1
        for name, value in terms.items():
            self._sums[name] = self._sums.get(name, torch.zeros(())) + value.detach().cpu()
        return {name: f"{float(v) / self._count:.3f}" for name, v in self._sums.items()}

    def log(self, model: Model, step: int, **context: Any) -> None:
        """Write the means since the last log, and the samples as MODEL makes them now."""
        terms = {name: float(value) / max(1, self._count) for name, value in self._sums.items()}
        self._sums, self._count = {}, 0
        if self._writer is None:
            return
        with (self.folder / "log.jsonl").open("a") as f:
            f.write(json.dumps({**context, **terms}) + "\n")
        for name, value in terms.items():
            self._writer.add_scalar(f"loss/{name}", value, step)
        self._writer.add_scalar("learning rate", context["lr"], step)
        training = {name: module.training for name, module in model.named_modules()}
        picture = self._draw(model.eval())
        for name, module in model.named_modules():
            module.training = training[name]
        write(self.folder / "samples.png", picture)
        self._writer.add_image("samples", picture, step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
