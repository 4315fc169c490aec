"""The three training stages (section III-E): G1; then G2, the GMMs and G3 with G1 fixed; then everything together.

An extension puts a stage 0 before them: the GMMs alone, on true masks. A method of the comparison has stages of its own
(`Method.phases`).

On Lightning Fabric: one process on the CPU or a GPU, or one process per GPU started by torchrun on one or more nodes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder
from spgvton_training import qat
from spgvton_training.checkpoint import Checkpoint, save_state, started_from
from spgvton_training.comparison.method import Method
from spgvton_training.comparison.objective import ComparisonObjective
from spgvton_training.comparison.recipes import check_method
from spgvton_training.comparison.registry import build_network
from spgvton_training.config import STAGES, RunConfig
from spgvton_training.data.layout import Triple
from spgvton_training.data.mpv import MPV, Batch
from spgvton_training.distill import Distillation, Teacher, check_teacher, inherit
from spgvton_training.fabric import NetworksInBfloat16, make_fabric
from spgvton_training.loader import Order, make_loader, parts
from spgvton_training.monitor import Monitor, Samples
from spgvton_training.networks.joint import JointModel
from spgvton_training.objective import Critics, Objective, Pair, critic_names
from spgvton_training.preparation import check_pretrained, label_weights
from spgvton_training.pretrained.face import FaceEncoder
from spgvton_training.pretrained.perceptual import Perceptual
from spgvton_training.resume import STATE, hash_triples, read_state
from spgvton_training.schedule import rate_factor

COSINE_FROM, LAST_RATE = 0.5, 0.03  # shares: of a stage, of the learning rate


@dataclass
class Trainer:
    """One run: a configuration, a data set, a folder for its checkpoints. `fit()` resumes from the folder's last state.

    triples: those to train on (data.check.select_triples) instead of all that the data set lists. perceptual, face:
    pretrained networks of Eqs. 4, 12 and of Eq. 15. init: weights to start from instead of random ones. teacher: a
    network to distil; without `init` its weights are started from wherever they fit. qat: ranges with which the networks
    compute as in INT8 (spgvton_training.qat). Raises UsageError when a loss is on and its network is not given, or when
    qat comes without init.
    """

    config: RunConfig
    data: str
    folder: Path
    triples: Sequence[Triple] | None = None
    perceptual: Perceptual | None = None
    face: FaceEncoder | None = None
    workers: int = 1
    save_every: int = 200
    command: str = ""
    init: Checkpoint | None = None
    teacher: Teacher | None = None
    qat: Sequence[qat.Row] | None = None
    fabric: Fabric = field(default_factory=make_fabric)

    def __post_init__(self) -> None:
        c = self.config
        check_pretrained(c, self.perceptual, self.face)
        check_teacher(c, self.teacher)
        check_method(c)
        make_folder(self.folder)
        torch.manual_seed(c.seed)
        if self.init and self.init.config.method != c.network.method:
            raise UsageError(f"a run of {c.network.method} cannot start from a checkpoint of {self.init.config.method}")
        start = started_from(self.init, c.network) if self.init else build_network(c.network)
        device = self.fabric.device
        self.distilled: dict[str, Any] = {}  # what the checkpoint says of the teacher
        distillation = self._prepare(start, device)
        self.model: JointModel | Method = start.to(device)
        channels = self.model.all_critics(c.losses) if isinstance(self.model, Method) else None
        self.critics = Critics(c.losses, c.discriminators, channels).to(device)
        if isinstance(self.fabric.strategy.precision, NetworksInBfloat16):
            # Weights alone decide the layout: bfloat16 convolutions are faster this way, on AMX as on tensor cores.
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.critics.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if self.teacher:
                self.teacher.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dataset = MPV(
            self.data, "train", size=c.network.size, label_set=c.network.label_set,
            unpaired=c.data.unpaired, augment=c.data.augment, keypoint_noise=c.data.keypoint_noise, tone=c.data.tone,
            foreign=c.data.foreign, backdrop=c.data.backdrop, label_noise=c.data.label_noise, task=c.data.task,
            forget_arms=c.network.forget_arms, seed=c.seed, triples=self.triples,
        )  # fmt: skip
        self.objective = self._objective(device, distillation)
        self.average: AveragedModel | None = None
        if c.optimiser.ema is not None:
            update = get_ema_multi_avg_fn(c.optimiser.ema)
            self.average = AveragedModel(self.model, multi_avg_fn=update, use_buffers=True)
        self.monitor = Monitor(self.folder, Samples(self.dataset), active=self.fabric.is_global_zero)
        self.hours = 0.0
        self.stage, self.iteration = STAGES[0], 0

    def _prepare(self, start: JointModel | Method, device: torch.device) -> Distillation | None:
        """START made ready for INT8 or to learn from the teacher, where the run asks for that."""
        if isinstance(start, Method):
            if self.teacher or self.qat is not None:
                what = "distilled" if self.teacher else "fine-tuned for INT8"
                raise UsageError(f"{self.config.network.method} cannot be {what}: leave that option out")
            return None
        if self.qat is not None:
            if self.init is None:
                raise UsageError("INT8 is fine-tuned from a trained network: give its weights, too")
            qat.fake_quantise(start, self.qat)
        if not self.teacher:
            return None
        self.distilled = self.teacher.describe() | ({} if self.init else inherit(start, self.teacher.model))
        self.teacher.model.to(device)
        return Distillation(self.teacher, start, self.config.losses).to(device)

    def _objective(self, device: torch.device, distillation: Distillation | None) -> Objective | ComparisonObjective:
        c = self.config
        perceptual = self.perceptual.to(device) if self.perceptual else None
        if isinstance(self.model, Method):
            return ComparisonObjective(self.model, c, self.critics, perceptual)
        return Objective(
            self.model, c, self.critics,
            class_weights=label_weights(self.dataset).to(device) if c.losses.class_weights else None,
            perceptual=perceptual, face=self.face.to(device) if self.face else None, distillation=distillation,
        )  # fmt: skip

    # --- what is trained ---------------------------------------------------------------------------------------------
    def modules(self) -> list[nn.Module]:
        """The networks that the stage trains; the others are fixed, in evaluation mode."""
        m, c = self.model, self.config
        if isinstance(m, Method):
            return m.trained_in(self.stage)
        gmms: list[nn.Module] = [m.gmm1, *([m.gmm2] if c.losses.cycle else [])]
        flow: list[nn.Module] = [] if m.residual is None else [m.residual]
        rest: list[nn.Module] = [m.g2, *gmms, *flow, m.g3]
        matching = gmms + (flow if c.losses.predicted_matching else [])
        by_stage: dict[int, list[nn.Module]] = {0: matching, 1: [m.g1], 2: rest, 3: [m.g1, *rest]}
        distillation = self.objective.distillation
        return by_stage[self.stage] + (distillation.modules_of(self.stage) if distillation else [])

    def stage_critics(self) -> list[nn.Module]:
        c = self.config.losses
        m = self.model
        names = m.critics(self.stage, c) if isinstance(m, Method) else critic_names(self.stage, c)
        return [self.critics[name] for name in names]

    # --- the loop ----------------------------------------------------------------------------------------------------
    def fit(self) -> Checkpoint:
        """Train from the last saved state to the end. Raises SpgvtonError when a term is not finite, naming it."""
        state = read_state(self.folder, self._identity())
        if state:
            self.model.load_state_dict(state["model"])
            self.critics.load_state_dict(state["critics"])
            if self.objective.distillation is not None:
                self.objective.distillation.load_state_dict(state["distillation"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.stage, self.iteration, self.hours = state["stage"], state["iteration"], state["hours"]
        elif self.fabric.is_global_zero:
            self.config.save(self.folder / "config.yaml")
        while self.stage <= STAGES[-1]:
            if self.config.optimiser.of_stage(self.stage)[0]:
                self._fit_stage(state)
            state = None
            self.stage, self.iteration = self.stage + 1, 0
        checkpoint = self.checkpoint()
        if self.fabric.is_global_zero:
            checkpoint.save(self.folder / "model.safetensors")
        self.monitor.close()
        return checkpoint

    def _optimiser(self, modules: list[nn.Module], state: dict[str, Any] | None) -> torch.optim.Optimizer:
        o = self.config.optimiser
        parameters = [p for module in modules for p in module.parameters()]
        optimiser = torch.optim.Adam(
            parameters, o.of_stage(self.stage)[2], o.betas, weight_decay=o.weight_decay, fused=True
        )
        if state:
            optimiser.load_state_dict(state)
        return optimiser

    def _fit_stage(self, state: dict[str, Any] | None) -> None:
        total, batch_size, learning_rate = self.config.optimiser.of_stage(self.stage)
        modules, critics = self.modules(), self.stage_critics()
        self.objective.requires_grad_(False).eval()
        self.critics.requires_grad_(False)
        for module in modules:
            module.requires_grad_(True).train()
        optimisers = [self._optimiser(modules, state["optimisers"][0] if state else None)]
        objective = self.fabric.setup_module(self.objective)
        wrapped_critics = None
        if critics:
            _require_gradients(critics, True)
            optimisers.append(self._optimiser(critics, state["optimisers"][1] if state else None))
            wrapped_critics = self.fabric.setup_module(self.critics)
        optimisers = [self.fabric.setup_optimizers(optimiser) for optimiser in optimisers]  # type: ignore[misc]

        order = Order(
            len(self.dataset), batch_size, self.config.seed + 1000 * self.stage, self.iteration, total,
            self.fabric.global_rank, self.fabric.world_size,
        )  # fmt: skip
        loader = make_loader(self.dataset, order, self.fabric, self.workers)
        started = time.monotonic()
        bar = tqdm(
            loader, initial=self.iteration, total=total, desc=f"stage {self.stage}", unit="it", smoothing=0.05,
            disable=not self.fabric.is_global_zero,
        )  # fmt: skip
        for batch in bar:
            o = self.config.optimiser
            begin = COSINE_FROM if o.cosine else 1.0
            factor = rate_factor(self.iteration, total, warm_up=o.warm_up, last=LAST_RATE, begin=begin)
            for optimiser in optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = learning_rate * factor
            terms, pairs = self._generator_step(objective, modules, optimisers[0], batch.to(self.fabric.device), total)
            if wrapped_critics is not None:
                terms |= self._critic_step(wrapped_critics, critics, optimisers[1], pairs)
            if self.average is not None:
                self.average.update_parameters(self.model)
            self.iteration += 1
            bar.set_postfix(self.monitor.add(terms), refresh=False)
            if self.iteration % self.save_every == 0 or self.iteration == total:
                now = time.monotonic()
                self.hours += (now - started) / 3600
                started = now
                self._save(optimisers, learning_rate * factor)

    def _generator_step(
        self, objective: nn.Module, modules: list[nn.Module], optimiser: torch.optim.Optimizer, batch: Batch, total: int
    ) -> tuple[dict[str, Tensor], list[dict[str, Pair]]]:
        """One update of the generators. Returns the terms' means, and what the discriminators are to compare."""
        count = self.config.optimiser.accumulate
        optimiser.zero_grad(set_to_none=True)
        means: dict[str, Tensor] = {}
        compared: list[dict[str, Pair]] = []
        for part, micro in enumerate(parts(batch, count)):
            seed = self.config.seed * 1_000_003 + self.stage * 10**8 + self.iteration
            generator = torch.Generator().manual_seed(seed + 10**10 * (self.fabric.global_rank * count + part))
            with self._no_sync(objective, part < count - 1):
                terms, pairs = objective(micro, self.stage, self.iteration / total, generator)
                self._backward(terms, count)
            for name, value in terms.items():
                means[name] = means.get(name, torch.zeros(())) + value.detach().cpu() / count
            compared.append({name: Pair(p.real.detach(), p.fake.detach()) for name, p in pairs.items()})
        self._step(optimiser, modules)
        return means, compared

    def _critic_step(
        self, wrapped: nn.Module, critics: list[nn.Module], optimiser: torch.optim.Optimizer,
        compared: list[dict[str, Pair]],
    ) -> dict[str, Tensor]:  # fmt: skip
        """One update of the discriminators."""
        optimiser.zero_grad(set_to_none=True)
        penalise = self.iteration % self.config.discriminators.r1_every == 0
        means: dict[str, Tensor] = {}
        _require_gradients(critics, True)
        for part, pairs in enumerate(compared):
            if not pairs:
                continue
            with self._no_sync(wrapped, part < len(compared) - 1):
                terms = wrapped(pairs, penalise)
                self._backward(terms, len(compared))
            for name, value in terms.items():
                means[name] = means.get(name, torch.zeros(())) + value.detach().cpu() / len(compared)
        self._step(optimiser, critics)
        _require_gradients(critics, False)
        return means

    def _no_sync(self, module: nn.Module, enabled: bool) -> Any:
        return self.fabric.no_backward_sync(module) if enabled else nullcontext()  # type: ignore[arg-type]

    def _backward(self, terms: dict[str, Tensor], count: int) -> None:
        loss = torch.stack(list(terms.values())).sum()
        if not loss.isfinite():
            bad = [k for k, v in terms.items() if not v.isfinite()]
            raise SpgvtonError(
                f"stage {self.stage}, iteration {self.iteration}: {', '.join(bad) or 'loss'} is not finite; "
                "lower the learning rate, or check the data"
            )
        self.fabric.backward(loss / count)

    def _step(self, optimiser: torch.optim.Optimizer, modules: list[nn.Module]) -> None:
        clip = self.config.optimiser.clip
        if clip is not None:
            for module in modules:  # each by itself: one network's large gradient must not shrink another's
                nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimiser.step()

    # --- what is kept ------------------------------------------------------------------------------------------------
    def _identity(self) -> dict[str, Any]:
        """What a run must have in common with the state that it resumes from."""
        identity = {
            "run": self.config.to_dict(), "pretrained": self._pretrained(), "world": self.fabric.world_size,
            "triples": hash_triples(self.dataset.triples), **({} if self.qat is None else {"qat": [dict(row) for row in self.qat]}),
        }  # fmt: skip
        return identity | ({"teacher": self.teacher.sha256} if self.teacher else {})

    def _pretrained(self) -> dict[str, Any]:
        networks = {"perceptual": self.perceptual, "face": self.face}
        return {name: network.describe() for name, network in networks.items() if network is not None}

    def _save(self, optimisers: list[torch.optim.Optimizer], rate: float) -> None:
        if self.fabric.is_global_zero:
            earlier = sum(self.config.optimiser.of_stage(stage)[0] for stage in range(self.stage))
            self.monitor.log(
                self._shown(), earlier + self.iteration,
                stage=self.stage, iteration=self.iteration, hours=round(self.hours, 4), lr=rate,
            )  # fmt: skip
            save_state(
                self.folder / STATE,
                dict(
                    model=self.model.state_dict(), critics=self.critics.state_dict(),
                    average=self.average.state_dict() if self.average is not None else None,
                    distillation=self.objective.distillation.state_dict() if self.objective.distillation else None,
                    optimisers=[optimiser.state_dict() for optimiser in optimisers],
                    stage=self.stage, iteration=self.iteration, hours=self.hours, config=self._identity(),
                ),
            )  # fmt: skip
            self.checkpoint().save(self.folder / "model.safetensors")
        self.fabric.barrier()

    def _shown(self) -> JointModel | Method:
        """The network as it is saved: with `ema` the running average."""
        return self.model if self.average is None else self.average.module  # type: ignore[return-value]

    def checkpoint(self) -> Checkpoint:
        provenance = dict(
            command=self.command, data=str(self.data), triples=len(self.dataset), hours=round(self.hours, 3),
            stage=self.stage, iteration=self.iteration, run=self.config.to_dict(), pretrained=self._pretrained(),
            processes=self.fabric.world_size, device=str(self.fabric.device), torch=torch.__version__,
        )  # fmt: skip
        if self.distilled:
            provenance["distilled_from"] = self.distilled
        if self.init:
            provenance["started_from"] = self.init.provenance
        if self.qat is not None:
            provenance["qat"] = qat.rows_of(self._shown(), self.qat)
        return Checkpoint(self.config.network, qat.weights_of(self._shown()), provenance)


def _require_gradients(modules: list[nn.Module], wanted: bool) -> None:
    for module in modules:
        module.requires_grad_(wanted)
