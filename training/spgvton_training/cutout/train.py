"""Training of the cut-out network: one loop, one process. Stopped at any time, the same call goes on from the last state."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from spgvton import image
from spgvton.errors import SpgvtonError
from spgvton.files import make_folder
from spgvton.perception.cutout import SIDE, letterbox
from spgvton_training.checkpoint import load_state, save_state
from spgvton_training.cutout.checkpoint import CutoutCheckpoint
from spgvton_training.cutout.network import Answer, CutoutNetwork
from spgvton_training.cutout.photographs import UNKNOWN, Piece
from spgvton_training.cutout.scenes import Library, Sample, sample
from spgvton_training.schedule import rate_factor

LAST_RATE: Final = 0.02  # of the learning rate, at the end of the cosine
SHOWN: Final = 24  # photographs on samples.jpg


@dataclass(frozen=True)
class Recipe:
    """What a run is to do."""

    iterations: int = 3000
    batch: int = 16
    rate: float = 1.5e-3
    weight_decay: float = 0.01
    warmup: int = 40
    average: float = 0.995  # of the weights that are kept
    kind: float = 0.25  # weights of the losses beside the mask's
    sleeve: float = 0.15
    seed: int = 1
    bfloat16: bool = True


class Batch(tuple[Tensor, Tensor, Tensor, Tensor, Tensor]):
    """picture (n, 3, SIDE, SIDE) 0...255, mask (n, 1, SIDE, SIDE), weight (n,), kind (n,), sleeve (n,)."""


def collate(samples: list[Sample]) -> Batch:
    """SAMPLES as tensors."""
    picture = torch.from_numpy(np.stack([s.picture for s in samples])).permute(0, 3, 1, 2)
    mask = torch.from_numpy(np.stack([s.mask for s in samples]))[:, None]
    weight = torch.tensor([s.weight for s in samples], dtype=torch.float32)
    kind, sleeve = (torch.tensor(ids) for ids in ([s.kind for s in samples], [s.sleeve for s in samples]))
    return Batch((picture.float().contiguous(memory_format=torch.channels_last), mask, weight, kind, sleeve))


def losses(answer: Answer, batch: Batch, recipe: Recipe) -> dict[str, Tensor]:
    """mask: cross-entropy, more along the outline, and soft Dice; kind, sleeve: cross-entropy of those known."""
    _, mask, weight, kind, sleeve = batch
    logits = answer.mask.float()
    total = weight.sum().clamp_min(1)
    outline = F.max_pool2d(mask, 7, 1, 3) - -F.max_pool2d(-mask, 7, 1, 3)
    pixel = F.binary_cross_entropy_with_logits(logits, mask, reduction="none") * (1 + 2 * outline)
    share = logits.sigmoid()
    both = (share * mask).sum((1, 2, 3))
    # an empty mask is right when next to nothing is found
    dice = 1 - (2 * both + 50) / (share.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 50)
    return {
        "mask": (pixel.mean((1, 2, 3)) * weight).sum() / total,
        "dice": 0.5 * (dice * weight).sum() / total,
        "kind": recipe.kind * _classify(answer.kind, kind),
        "sleeve": recipe.sleeve * _classify(answer.sleeve, sleeve),
    }


def _classify(logits: Tensor, truth: Tensor) -> Tensor:
    if not (truth != UNKNOWN).any():
        return logits.sum() * 0
    return F.cross_entropy(logits.float(), truth, ignore_index=UNKNOWN, label_smoothing=0.05)


class Trainer:
    """Trains NETWORK on LIBRARY into FOLDER. PROVENANCE goes into the checkpoint, beside recipe, hours and iterations."""

    def __init__(
        self, network: CutoutNetwork, library: Library, recipe: Recipe, folder: Path, provenance: dict[str, Any],
        save_every: int = 100,
    ) -> None:  # fmt: skip
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.library, self.recipe, self.save_every = library, recipe, save_every
        self.folder, self.provenance = make_folder(folder), provenance
        self.average = AveragedModel(self.network, multi_avg_fn=averaging(recipe.average), use_buffers=True)
        self.optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.rate, weight_decay=recipe.weight_decay)
        self.iteration, self.hours = 0, 0.0
        if (folder / "state.pt").is_file():
            self._resume(load_state(folder / "state.pt"))

    def fit(self) -> CutoutCheckpoint:
        """Train to the end of the recipe. Raises SpgvtonError for a loss that is not finite."""
        recipe, sums, since = self.recipe, dict[str, float](), time.monotonic()
        bar = tqdm(range(self.iteration, recipe.iterations), initial=self.iteration, total=recipe.iterations, unit="it")
        for i in bar:
            first = i * recipe.batch
            batch = collate([sample(self.library, recipe.seed, first + k) for k in range(recipe.batch)])
            terms = self._step(batch, rate_factor(i, recipe.iterations, warm_up=recipe.warmup, last=LAST_RATE))
            self.iteration = i + 1
            sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
            if self.iteration % self.save_every == 0 or self.iteration == recipe.iterations:
                self.hours, since = self.hours + (time.monotonic() - since) / 3600, time.monotonic()
                self._save({name: value / self.save_every for name, value in sums.items()})
                sums = {}
            bar.set_postfix({name: f"{value:.3f}" for name, value in terms.items()}, refresh=False)
        return self.checkpoint()

    def _step(self, batch: Batch, factor: float) -> dict[str, float]:
        self.network.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.rate * factor
        torch.manual_seed(self.recipe.seed + self.iteration)  # of dropout
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            answer = self.network(batch[0])
        terms = losses(answer, batch, self.recipe)
        loss = torch.stack(list(terms.values())).sum()
        if not loss.isfinite():
            raise SpgvtonError(f"iteration {self.iteration}: the loss is not finite; lower the learning rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.average.update_parameters(self.network)
        return {name: float(value.detach()) for name, value in terms.items()}

    def checkpoint(self) -> CutoutCheckpoint:
        """The averaged weights so far."""
        made = {"iteration": self.iteration, "hours": round(self.hours, 3), "recipe": asdict(self.recipe)}
        weights = {k: v.detach().clone().contiguous() for k, v in self.average.module.state_dict().items()}
        return CutoutCheckpoint(weights, self.provenance | made | {"torch": torch.__version__})

    def _identity(self) -> dict[str, Any]:
        """What a run must have in common with the state that it resumes from."""
        return {"recipe": asdict(self.recipe), "data": self.provenance.get("data")}

    def _resume(self, state: dict[str, Any]) -> None:
        if state["identity"] != self._identity():
            raise SpgvtonError(f"{self.folder} holds a run with other data or another recipe: give another --out")
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.iteration, self.hours = state["iteration"], state["hours"]

    def _save(self, means: dict[str, float]) -> None:
        with (self.folder / "log.jsonl").open("a") as f:
            f.write(json.dumps({"iteration": self.iteration, "hours": round(self.hours, 4), **means}) + "\n")
        save_state(
            self.folder / "state.pt",
            dict(
                network=self.network.state_dict(), average=self.average.state_dict(), hours=self.hours,
                optimiser=self.optimiser.state_dict(), iteration=self.iteration, identity=self._identity(),
            ),
        )  # fmt: skip
        checkpoint = self.checkpoint()
        checkpoint.save(self.folder / "model.safetensors")
        step = max(1, len(self.library.photographs) // SHOWN)
        image.write(self.folder / "samples.jpg", sheet(checkpoint.network(), self.library.photographs[::step][:SHOWN]))


def averaging(decay: float) -> Callable[..., None]:
    """A running average that forgets sooner at first; for AveragedModel."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        share = 1 - min(decay, (1 + float(count)) / (10 + float(count)))
        for old, new in zip(averaged, current):
            old.lerp_(new, share) if old.is_floating_point() else old.copy_(new)

    return update


def sheet(network: CutoutNetwork, pieces: list[Piece], columns: int = 8) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Each of PIECES over its cut-out by NETWORK, on pink."""
    cells = []
    for piece in pieces:
        picture = letterbox(piece.picture)[0]
        with torch.inference_mode():
            answer = network(torch.from_numpy(picture).permute(2, 0, 1)[None].float())
        mask = answer.mask[0, 0].sigmoid().numpy()[..., None]
        cut = picture * mask + np.array([255, 0, 200]) * (1 - mask)
        cells.append(np.concatenate([picture, cut.astype(np.uint8)]))
    cells += [np.zeros((2 * SIDE, SIDE, 3), np.uint8)] * (-len(cells) % columns)
    return np.concatenate([np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)])
