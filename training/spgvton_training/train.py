"""The three training stages (section III-E): G1; then G2, the GMMs and G3 with G1 fixed; then everything together."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from spgvton.errors import SpgvtonError
from spgvton.files import make_folder
from spgvton.labels import NUM_LABELS
from spgvton_training import losses
from spgvton_training.checkpoint import Checkpoint, load_state, save_state
from spgvton_training.data.mpv import MPV, Batch, collate
from spgvton_training.networks.config import NetworkConfig
from spgvton_training.networks.joint import JointModel, build_model
from spgvton_training.networks.tps import tps_grid


@dataclass(frozen=True)
class TrainConfig:
    """How to train. Defaults are the paper's (section IV-C); `mini_training()` is what the pilot found to pay."""

    iterations: tuple[int, int, int] = (70_000, 70_000, 100_000)
    batch_sizes: tuple[int, int, int] = (16, 8, 8)
    learning_rates: tuple[float, float, float] = (2e-4, 2e-4, 2e-4)
    betas: tuple[float, float] = (0.0, 0.999)
    weight_decay: float = 5e-4
    cosine: bool = False  # second half of each stage decays to 3%
    lambdas: tuple[float, float, float, float] = (10.0, 10.0, 20.0, 10.0)  # lambda_1 .. lambda_4
    alpha: tuple[float, float] = (2.0, 0.5)  # Eq. 11
    erase_probability: float = 1.0  # of a random rectangle in I_p (section III-D)
    seed: int = 0
    # --- extensions, off by default ---
    semantic_l1_scale: float = 1.0
    class_weights: bool = False
    structure: float = 0.0  # weight of losses.structure beside each image L1
    flow: float = 0.0  # weight of losses.warp_flow
    smoothness: float = 0.0  # weight of losses.theta_smoothness
    clothes_regulariser: bool = False  # |M - M_t^C| instead of |1 - M|
    gmm_from_start: bool = False  # the GMMs learn on true masks beside G1 in stage 1 already
    unpaired: bool = False  # also train on triples in which the garment changes (synthetic data has their truth)


def mini_training(**changes: Any) -> TrainConfig:
    """The recipe of the shipped small networks."""
    recipe: dict[str, Any] = dict(
        batch_sizes=(8, 4, 4), learning_rates=(1e-3, 1e-3, 5e-4), betas=(0.5, 0.999), weight_decay=0.0, cosine=True,
        erase_probability=0.5, semantic_l1_scale=20.0, class_weights=True, structure=1.0, flow=5.0, smoothness=0.01,
        clothes_regulariser=True, gmm_from_start=True,
        unpaired=True,
    )  # fmt: skip
    return TrainConfig(**{**recipe, **changes})


# Label frequencies are measured on the first triples of the data set; weight = frequency ** -0.35, mean weight 1.
def label_weights(data: MPV, samples: int = 64) -> Tensor:
    """Class weights (20,) for the focal loss."""
    count = torch.zeros(NUM_LABELS, dtype=torch.float64)
    for triple in data.triples[:: max(1, len(data.triples) // samples)]:
        labels = torch.from_numpy(data.photo(triple.target).labels.astype("int64"))
        count += torch.bincount(labels.ravel(), minlength=NUM_LABELS)
    frequency = count / count.sum()
    weight = torch.where(frequency > 0, (frequency + 1e-3) ** -0.35, 0.0)
    return (weight / (weight * frequency).sum()).float()


def erase(image: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """I'_p: a random rectangle of each image set to 0 with PROBABILITY (section III-D)."""
    out = image.clone()
    h, w = image.shape[-2:]
    for i in range(len(out)):
        chance, a, b, c, d = torch.rand(5, generator=generator).tolist()
        if chance < probability:
            eh, ew = int(h * (0.1 + 0.35 * a)), int(w * (0.1 + 0.35 * b))
            y, x = int(c * (h - eh)), int(d * (w - ew))
            out[i, :, y : y + eh, x : x + ew] = 0
    return out


class _Order:
    """Batches of (index, epoch) from iteration START on: the same order whether or not the run was interrupted."""

    def __init__(self, length: int, batch: int, seed: int, start: int, stop: int) -> None:
        if length < batch:
            raise SpgvtonError(f"the data set has {length} triples, fewer than the batch size {batch}")
        self.length, self.batch, self.seed, self.start, self.stop = length, batch, seed, start, stop

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = self.length // self.batch
        permutation, drawn = torch.empty(0), -1
        for iteration in range(self.start, self.stop):
            epoch, step = divmod(iteration, per_epoch)
            if epoch != drawn:
                permutation = torch.randperm(self.length, generator=torch.Generator().manual_seed(self.seed + epoch))
                drawn = epoch
            yield [(int(i), epoch) for i in permutation[step * self.batch : (step + 1) * self.batch]]


@dataclass
class Trainer:
    """One run: a network, a data set, a folder for its checkpoints. `fit()` resumes from the folder's last state.

    init: weights to start from instead of random ones. A stage of 0 iterations is left out.
    """

    network: NetworkConfig
    config: TrainConfig
    data: str
    folder: Path
    workers: int = 1
    save_every: int = 200
    command: str = ""
    init: Checkpoint | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    def __post_init__(self) -> None:
        make_folder(self.folder)
        torch.manual_seed(self.config.seed)
        start = Checkpoint(self.network, self.init.weights).model() if self.init else build_model(self.network)
        self.model: JointModel = start.to(self.device)
        self.dataset = MPV(
            self.data, "train", size=self.network.size, label_set=self.network.label_set,
            unpaired=self.config.unpaired, augment=True, seed=self.config.seed,
        )  # fmt: skip
        self.class_weights = label_weights(self.dataset).to(self.device) if self.config.class_weights else None
        self.hours = 0.0
        self.stage, self.iteration = 1, 0

    # --- what is trained, and on what loss ---------------------------------------------------------------------------
    def modules(self) -> list[nn.Module]:
        """The modules that the stage trains; the others are fixed, in evaluation mode."""
        m = self.model
        gmms: list[nn.Module] = [m.gmm1, m.gmm2]
        first = [m.g1, *(gmms if self.config.gmm_from_start else [])]
        return {1: first, 2: [m.g2, *gmms, m.g3], 3: [m.g1, m.g2, *gmms, m.g3]}[self.stage]

    def loss(self, batch: Batch, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """The stage's terms of Eq. 17, weighted; their sum is minimised. PROGRESS of the stage runs from 0 to 1."""
        m, c, x = self.model, self.config, batch.inputs
        person = m.person(x)
        worn = 1 - m.not_clothes[0, :, 0, 0]
        target_mask = worn[batch.target_labels][:, None]
        with torch.set_grad_enabled(self.stage != 2):
            logits = m.semantic_logits(person, x.cloth_mask, x.keypoints)
        semantic = logits.softmax(1)
        terms = {} if self.stage == 2 else self._semantic_terms(logits, semantic, batch.target_labels)
        if self.stage == 1:
            if c.gmm_from_start:
                _, gmm_terms = self._warp_terms(batch, target_mask, target_mask)
                terms |= gmm_terms
            return terms

        coarse = m.coarse(semantic, m.fill(person, semantic), x.cloth, x.keypoints)
        terms["coarse"] = c.lambdas[1] * losses.coarse_l1(coarse.image, batch.target, coarse.mask, target_mask)
        # The predicted mask is noise at first: the GMMs start on the true one.
        early = self.stage == 2 and progress < 0.5
        warped, gmm_terms = self._warp_terms(batch, target_mask if early else coarse.mask, target_mask)
        erased = erase(coarse.image, c.erase_probability, generator)
        final = m.synthesise(erased, coarse.mask, warped, x.keypoints)
        terms["final"] = c.lambdas[3] * losses.composition_l1(
            final.image, batch.target, final.composition, target_mask if c.clothes_regulariser else None, c.alpha
        )
        if c.structure:
            terms["coarse_structure"] = c.lambdas[1] * c.structure * losses.structure(coarse.image, batch.target)
            weight = c.lambdas[3] * c.alpha[0] * c.structure
            terms["final_structure"] = weight * losses.structure(final.image, batch.target)
        return terms | gmm_terms

    def _semantic_terms(self, logits: Tensor, semantic: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """L_fl and L_recon^s of Eq. 2, at the resolution of G1."""
        c = self.config
        if self.model.semantic_stride == 2:
            labels = labels[:, ::2, ::2]
        truth = nn.functional.one_hot(labels, NUM_LABELS).permute(0, 3, 1, 2).float()
        return {
            "focal": c.lambdas[0] * losses.focal(logits, labels, self.class_weights),
            "semantic_l1": c.semantic_l1_scale * losses.semantic_l1(semantic, truth),
        }

    def _warp_terms(self, batch: Batch, mask: Tensor, target_mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """C_w for the clothes mask MASK, and L_cwm (Eqs. 8 and 9) with its extensions."""
        m, c, x = self.model, self.config, batch.inputs
        theta = m.match(x.cloth_mask, mask, x.keypoints)
        warped, warped_mask = m.warp(torch.cat([x.cloth, x.cloth_mask], 1), theta).split([3, 1], 1)
        restored = m.warp(warped, m.match_back(warped_mask, x.cloth_mask))
        target_clothes = batch.target * target_mask + (1 - target_mask)  # C_t on white, like C
        lambda_3 = c.lambdas[2]
        terms = {"cycle": lambda_3 * losses.conductible_cycle(warped, target_clothes, restored, x.cloth)}
        if c.flow:
            terms["flow"] = lambda_3 * c.flow * losses.warp_flow(tps_grid(theta, self.network.size), batch.flow)
        if c.smoothness:
            smooth = losses.theta_smoothness(theta, self.network.grid_size)
            terms["smooth"] = lambda_3 * c.smoothness * smooth
        return warped, terms

    # --- the loop ----------------------------------------------------------------------------------------------------
    def fit(self) -> Checkpoint:
        """Train from the last saved state to the end. Raises SpgvtonError when a term is not finite, naming it."""
        state_file = self.folder / "state.pt"
        state = load_state(state_file) if state_file.exists() else None
        if state:
            if state["config"] != json.loads(json.dumps([asdict(self.config), self.network.to_dict()])):
                raise SpgvtonError(f"{self.folder} holds a run with another configuration: choose another --out")
            self.model.load_state_dict(state["model"])
            self.stage, self.iteration, self.hours = state["stage"], state["iteration"], state["hours"]
        while self.stage <= 3:
            if self.config.iterations[self.stage - 1]:
                self._fit_stage(state["optimiser"] if state else None)
            state = None
            self.stage, self.iteration = self.stage + 1, 0
        checkpoint = self.checkpoint()
        checkpoint.save(self.folder / "model.safetensors")
        return checkpoint

    def _fit_stage(self, optimiser_state: dict[str, Any] | None) -> None:
        c, index = self.config, self.stage - 1
        total, rate = c.iterations[index], c.learning_rates[index]
        modules = self.modules()
        self.model.requires_grad_(False).eval()
        for module in modules:
            module.requires_grad_(True).train()
        parameters = [p for module in modules for p in module.parameters()]
        optimiser = torch.optim.Adam(parameters, rate, c.betas, weight_decay=c.weight_decay)
        if optimiser_state:
            optimiser.load_state_dict(optimiser_state)
        order = _Order(len(self.dataset), c.batch_sizes[index], c.seed + 1000 * self.stage, self.iteration, total)
        loader = DataLoader(
            self.dataset, batch_sampler=order, collate_fn=collate, num_workers=self.workers,  # type: ignore[arg-type]
            persistent_workers=False, prefetch_factor=2 if self.workers else None,
        )  # fmt: skip
        started, sums, count = time.monotonic(), {}, 0  # type: ignore[var-annotated]
        bar = tqdm(loader, initial=self.iteration, total=total, desc=f"stage {self.stage}", unit="it", smoothing=0.05)
        for batch in bar:
            progress = self.iteration / total
            factor = min(1.0, (self.iteration + 1) / 50)
            if c.cosine and progress > 0.5:
                factor *= 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (progress - 0.5) / 0.5))
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
            generator = torch.Generator().manual_seed(c.seed * 1_000_003 + self.stage * 10**8 + self.iteration)
            terms = self.loss(batch.to(self.device), progress, generator)
            loss = torch.stack(list(terms.values())).sum()
            if not loss.isfinite():
                bad = [k for k, v in terms.items() if not v.isfinite()]
                raise SpgvtonError(
                    f"stage {self.stage}, iteration {self.iteration}: {', '.join(bad) or 'loss'} is not finite; "
                    "lower the learning rate, or check the data"
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            for module in modules:  # each by itself: one module's large gradient must not shrink another's
                nn.utils.clip_grad_norm_(module.parameters(), 20.0)
            optimiser.step()
            self.iteration += 1
            for k, v in terms.items():
                sums[k] = sums.get(k, 0.0) + v.item()
            count += 1
            bar.set_postfix({k: f"{v / count:.3f}" for k, v in sums.items()}, refresh=False)
            if self.iteration % self.save_every == 0 or self.iteration == total:
                now = time.monotonic()
                self.hours += (now - started) / 3600
                started = now
                self._log({k: v / count for k, v in sums.items()}, rate * factor)
                sums, count = {}, 0
                self._save(optimiser)

    def _log(self, terms: dict[str, float], rate: float) -> None:
        line = dict(stage=self.stage, iteration=self.iteration, hours=round(self.hours, 4), lr=rate, **terms)
        with (self.folder / "log.jsonl").open("a") as f:
            f.write(json.dumps(line) + "\n")

    def _save(self, optimiser: torch.optim.Optimizer) -> None:
        save_state(
            self.folder / "state.pt",
            dict(
                model=self.model.state_dict(), optimiser=optimiser.state_dict(), stage=self.stage,
                iteration=self.iteration, hours=self.hours,
                config=json.loads(json.dumps([asdict(self.config), self.network.to_dict()])),
            ),
        )  # fmt: skip
        self.checkpoint().save(self.folder / "model.safetensors")

    def checkpoint(self) -> Checkpoint:
        provenance = dict(
            command=self.command, data=str(self.data), triples=len(self.dataset), hours=round(self.hours, 3),
            stage=self.stage, iteration=self.iteration, training=asdict(self.config), torch=torch.__version__,
            losses="reconstruction terms of the three stages (no adversarial, perceptual or face identity term)",
        )  # fmt: skip
        if self.init:
            provenance["started_from"] = self.init.provenance
        return Checkpoint(self.network, dict(self.model.state_dict()), provenance)
