"""Training of the parser network: one stage, endless samples, resumed from the last saved state."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder, write_text
from spgvton_training.checkpoint import load_state, save_state
from spgvton_training.data.mpv import limit_threads
from spgvton_training.fabric import make_fabric
from spgvton_training.loader import PREFETCH, check_shared_memory
from spgvton_training.monitor import Monitor
from spgvton_training.parsing.checkpoint import ParserCheckpoint
from spgvton_training.parsing.config import ParserRun
from spgvton_training.parsing.data import ParserBatch, ParserData
from spgvton_training.parsing.evaluate import evaluate, framed, sheet
from spgvton_training.parsing.network import ParserNetwork
from spgvton_training.parsing.objective import class_weights, terms
from spgvton_training.parsing.sources import Labelled, find
from spgvton_training.resume import differences
from spgvton_training.schedule import rate_factor

VALIDATED: Final = 48  # pictures of each folder of --validate that are scored at each save
SHOWN: Final = 8  # of them on samples.png
LAST_RATE: Final = 0.01  # of the learning rate, at the end of the cosine


class _Indices:
    """Batches of sample numbers from iteration START on: this process's share of an endless line."""

    def __init__(self, batch: int, start: int, stop: int, rank: int, world: int) -> None:
        if batch % world:
            raise UsageError(f"a batch of {batch} cannot be shared by {world} processes: choose a multiple")
        self.batch, self.start, self.stop, self.rank, self.world = batch, start, stop, rank, world

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[int]]:
        for iteration in range(self.start, self.stop):
            yield list(range(iteration * self.batch + self.rank, (iteration + 1) * self.batch, self.world))


def validation(root: str | Path, run: ParserRun) -> list[Labelled]:
    """Up to VALIDATED pictures spread over the folder ROOT, framed as the runtime frames them. Raises SpgvtonError."""
    items = find(root, run.label_set)
    return [framed(item, run.network.size) for item in items[:: -(-len(items) // VALIDATED)]]


@dataclass
class ParserTrainer:
    """One run: folders of labelled pictures, one for its checkpoints. `fit()` resumes from the folder's last state.

    photographs: folders of pictures without people, for backgrounds and cloth. validate: folders that are scored at each save and
    shown on samples.png (without any, training pictures are shown). init: weights to start from instead of random ones.
    """

    run: ParserRun
    data: Sequence[str]
    folder: Path
    photographs: Sequence[str] = ()
    validate: Sequence[str] = ()
    workers: int = 1
    save_every: int = 200
    command: str = ""
    init: ParserCheckpoint | None = None
    fabric: Fabric = field(default_factory=make_fabric)

    def __post_init__(self) -> None:
        r = self.run
        make_folder(self.folder)
        torch.manual_seed(r.seed)
        self.dataset = ParserData(
            self.data, r.network.size, label_set=r.label_set, shares=r.shares, photographs=self.photographs, seed=r.seed,
            rendered=r.rendered, photos=r.photos, rare=r.rare,
        )  # fmt: skip
        self.scored = {Path(root).name: validation(root, r) for root in self.validate}
        network = ParserCheckpoint(r.network, self.init.weights).network() if self.init else ParserNetwork(r.network)
        device = self.fabric.device
        self.network = network.train().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        update = get_ema_multi_avg_fn(r.ema)
        self.average = AveragedModel(self.network, multi_avg_fn=update, use_buffers=True)
        self.weights = class_weights().to(device)
        self.monitor: Monitor[nn.Module] = Monitor(self.folder, self._sheet, active=self.fabric.is_global_zero)
        self.hours, self.iteration, self.scores = 0.0, 0, dict[str, dict[str, float]]()

    def _sheet(self, network: nn.Module) -> Any:
        assert isinstance(network, ParserNetwork)
        each = max(1, SHOWN // max(1, len(self.scored)))
        shown = [p for people in self.scored.values() for p in people[:: -(-len(people) // each)]]
        return sheet(network, shown or [framed(item, self.run.network.size) for item in self.dataset.items[:SHOWN]])

    # --- the loop ----------------------------------------------------------------------------------------------------
    def fit(self) -> ParserCheckpoint:
        """Train from the last saved state to the end. Raises SpgvtonError when the loss is not finite, or the run is another."""
        optimiser = torch.optim.AdamW(
            self.network.parameters(), self.run.learning_rate, weight_decay=self.run.weight_decay, fused=True
        )
        self._resume(optimiser)
        wrapped, fast = self.fabric.setup(self.network, optimiser)
        order = _Indices(
            self.run.batch_size, self.iteration, self.run.iterations, self.fabric.global_rank, self.fabric.world_size
        )
        limit_threads()
        check_shared_memory(self.workers, self.run.batch_size * sum(part.nbytes for part in self.dataset[0]))
        loader: DataLoader[ParserBatch] = DataLoader(
            self.dataset, batch_sampler=order, num_workers=self.workers,  # type: ignore[arg-type]
            prefetch_factor=PREFETCH if self.workers else None, pin_memory=self.fabric.device.type == "cuda",
        )  # fmt: skip
        started = time.monotonic()
        bar = tqdm(
            loader, initial=self.iteration, total=self.run.iterations, desc="parser", unit="it", smoothing=0.05,
            disable=not self.fabric.is_global_zero,
        )  # fmt: skip
        for batch in bar:
            factor = rate_factor(self.iteration, self.run.iterations, warm_up=self.run.warm_up, last=LAST_RATE)
            rate = self.run.learning_rate * factor
            for group in fast.param_groups:
                group["lr"] = rate
            bar.set_postfix(self.monitor.add(self._step(wrapped, fast, ParserBatch(*batch))), refresh=False)
            self.iteration += 1
            if self.iteration % self.save_every == 0 or self.iteration == self.run.iterations:
                now = time.monotonic()
                self.hours += (now - started) / 3600
                started = now
                self._save(optimiser, rate)
        checkpoint = self.checkpoint()
        if self.fabric.is_global_zero:
            checkpoint.save(self.folder / "model.safetensors")
        self.monitor.close()
        return checkpoint

    def _step(self, network: Any, optimiser: Any, batch: ParserBatch) -> dict[str, Tensor]:
        """One update. Returns the terms of the loss."""
        picture, keypoints, labels = batch.normalised(self.fabric.device)
        found = terms(network(picture.contiguous(memory_format=torch.channels_last), keypoints), labels, self.weights)
        loss = torch.stack(list(found.values())).sum()
        if not loss.isfinite():
            raise SpgvtonError(
                f"iteration {self.iteration}: the loss is not finite; lower learning_rate, or check the data"
            )
        optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.run.clip)
        optimiser.step()
        self.average.update_parameters(self.network)
        return found

    # --- what is kept ------------------------------------------------------------------------------------------------
    def _identity(self) -> dict[str, Any]:
        """What a run must have in common with the state that it resumes from."""
        files = "\n".join(str(item.picture) for item in self.dataset.items) + f"\n{len(self.dataset.photographs.files)}"
        return {
            "run": self.run.to_dict(), "pictures": hashlib.sha256(files.encode()).hexdigest(), "world": self.fabric.world_size,
        }  # fmt: skip

    def _resume(self, optimiser: torch.optim.Optimizer) -> None:
        file = self.folder / "state.pt"
        if not file.exists():
            if self.fabric.is_global_zero:
                write_text(self.folder / "config.yaml", self.run.to_yaml())
            return
        state = load_state(file)
        if state["identity"] != self._identity():
            changed = "; ".join(differences(state["identity"], self._identity()))
            raise SpgvtonError(
                f"{self.folder} holds a run with another configuration or data ({changed}): choose another --out, or give the "
                "same options"
            )
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        self.iteration, self.hours = state["iteration"], state["hours"]

    def _save(self, optimiser: torch.optim.Optimizer, rate: float) -> None:
        if self.fabric.is_global_zero:
            shown: ParserNetwork = self.average.module.eval()  # type: ignore[assignment]
            self.scores = {name: evaluate(shown, people) for name, people in self.scored.items()}
            flat = {
                f"{name}/{key}": v
                for name, scores in self.scores.items()
                for key, v in scores.items()
                if "label" not in key
            }
            self.monitor.log(
                shown, self.iteration, iteration=self.iteration, hours=round(self.hours, 4), lr=rate, **flat
            )
            save_state(
                self.folder / "state.pt",
                dict(
                    network=self.network.state_dict(), average=self.average.state_dict(), optimiser=optimiser.state_dict(),
                    iteration=self.iteration, hours=self.hours, identity=self._identity(),
                ),
            )  # fmt: skip
            self.checkpoint().save(self.folder / "model.safetensors")
        self.fabric.barrier()

    def checkpoint(self) -> ParserCheckpoint:
        """The running average of the weights, and where it comes from."""
        provenance = dict(
            command=self.command, data=[str(root) for root in self.data], pictures=len(self.dataset),
            photographs=len(self.dataset.photographs.files), iteration=self.iteration, hours=round(self.hours, 3),
            run=self.run.to_dict(), scores=self.scores, processes=self.fabric.world_size, device=str(self.fabric.device),
            torch=torch.__version__,
        )  # fmt: skip
        if self.init:
            provenance["started_from"] = self.init.provenance
        weights = {name: value.contiguous() for name, value in self.average.module.state_dict().items()}
        return ParserCheckpoint(self.run.network, weights, provenance)
