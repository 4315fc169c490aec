"""The three training stages (section III-E): G1; then G2, the GMMs and G3 with G1 fixed; then everything together.

An extension puts a stage 0 before them: the GMMs alone, on true masks. A method of the comparison has stages of its own
(`Method.phases`).

On Lightning Fabric: one process on the CPU or a GPU, or one process per GPU started by torchrun on one or more nodes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from spgvton.errors import SpgvtonError, UsageError
from spgvton.files import make_folder
from spgvton.labels import NUM_LABELS
from spgvton_training import qat
from spgvton_training.checkpoint import Checkpoint, load_state, save_state, started_from
from spgvton_training.comparison.method import Method
from spgvton_training.comparison.objective import ComparisonObjective
from spgvton_training.comparison.recipes import check_method
from spgvton_training.comparison.registry import build_network
from spgvton_training.config import STAGES, RunConfig, parse
from spgvton_training.data.layout import Triple
from spgvton_training.data.mpv import MPV, Batch, PackedSamples, collate, limit_threads
from spgvton_training.distill import Distillation, Teacher, check_teacher, inherit
from spgvton_training.monitor import Monitor, Samples
from spgvton_training.networks.joint import Inputs, JointModel
from spgvton_training.objective import Critics, Objective, Pair, critic_names
from spgvton_training.pretrained.face import FaceEncoder
from spgvton_training.pretrained.perceptual import Perceptual
from spgvton_training.schedule import rate_factor

COSINE_FROM, LAST_RATE = 0.5, 0.03  # shares: of a stage, of the learning rate
PREFETCH = 2  # batches that each worker makes ahead
PRECISIONS = ("32-true", "bf16-mixed")  # float16 would need loss scaling for two optimisers; bfloat16 does not


class _NetworksInBfloat16(MixedPrecision):
    """Autocast, but inputs stay as they are: in bfloat16 keypoints move by half a pixel and pictures lose their shades."""

    def convert_input(self, data: Any) -> Any:
        return data


def make_fabric(accelerator: str = "auto", precision: str = "32-true") -> Fabric:
    """Fabric for the processes that torchrun started, or for this one alone. Raises UsageError."""
    local, world = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    on_gpu = accelerator != "cpu" and torch.cuda.is_available()
    how = _NetworksInBfloat16("bf16-mixed", "cuda" if on_gpu else "cpu") if precision == "bf16-mixed" else None
    try:
        fabric = Fabric(accelerator=accelerator, devices=local, num_nodes=world // local, plugins=how)
    except Exception as e:  # Fabric raises many kinds for a device that is not there
        raise UsageError(f"cannot train on '{accelerator}' with {precision}: {' '.join(str(e).split())}") from e
    fabric.launch()
    return fabric


def label_weights(data: MPV, samples: int = 128) -> Tensor:
    """Class weights (20,) for the focal loss: frequency ** -0.35 over some triples of DATA, mean weight of a pixel 1.

    A label that none of them holds is rare, not unwanted: it gets the largest weight.
    """
    count = torch.zeros(NUM_LABELS, dtype=torch.float64)
    for triple in data.triples[:: max(1, len(data.triples) // samples)]:
        labels = torch.from_numpy(data.photo(triple.target).labels.astype("int64"))
        count += torch.bincount(labels.ravel(), minlength=NUM_LABELS)
    frequency = count / count.sum()
    weight = (frequency + 1e-3) ** -0.35
    return (weight / (weight * frequency).sum()).float()


class _Order:
    """This process's share of the batches from iteration START on: the same order whether or not the run was stopped.

    Items are (index, epoch).
    """

    def __init__(
        self, length: int, batch: int, seed: int, start: int, stop: int, rank: int = 0, world: int = 1
    ) -> None:  # fmt: skip
        if length < batch:
            raise SpgvtonError(f"the data set has {length} triples, fewer than the batch size {batch}")
        if batch % world:
            raise UsageError(f"a batch of {batch} cannot be shared by {world} processes: choose a multiple")
        self.length, self.batch, self.seed, self.start, self.stop = length, batch, seed, start, stop
        self.rank, self.world = rank, world

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
            mine = permutation[step * self.batch : (step + 1) * self.batch][self.rank :: self.world]
            yield [(int(i), epoch) for i in mine]


def parts(batch: Batch, count: int) -> list[Batch]:
    """BATCH cut into COUNT smaller ones."""
    columns = [t.chunk(count) for t in (*batch.inputs, *batch[1:])]
    width = len(Inputs._fields)
    return [Batch(Inputs(*row[:width]), *row[width:]) for row in zip(*columns)]


def differences(earlier: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two nested dictionaries, as "option: before, now"; at most five of them."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        found: list[str] = []
        for key in sorted({*earlier, *now}, key=str):
            path = key if name in ("", "run") else f"{name}.{key}"
            found += differences(earlier.get(key), now.get(key), str(path)) if earlier.get(key) != now.get(key) else []
        return found if len(found) <= 5 else [*found[:5], f"and {len(found) - 5} more"]
    words = {"triples": "the data set's triples", "world": "number of processes", "qat": "the ranges of --qat"}
    if name in words or len(f"{earlier}{now}") > 80:
        return [words.get(name, name)]
    return [f"{name}: {earlier} before, {now} now"]


def check_shared_memory(workers: int, batch_bytes: int) -> None:
    """Workers hand their batches over in /dev/shm; where that is too small they die of SIGBUS. Raises SpgvtonError."""
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        return  # another system, another way
    needed = workers * (PREFETCH + 1) * batch_bytes
    if workers and free < needed:
        raise SpgvtonError(
            f"/dev/shm has {free / 2**20:.0f} MiB free, {workers} workers need {needed / 2**20:.0f}: docker run --shm-size=1g, "
            "or --workers 0"
        )


def check_pretrained(config: RunConfig, perceptual: Perceptual | None, face: FaceEncoder | None) -> None:
    """Raise UsageError when a loss is on and its network is not given."""
    wanted = (
        (config.losses.perceptual, perceptual, "perceptual", "Eqs. 4 and 12", "VGG-19, VGG-16 or SqueezeNet 1.1"),
        (config.losses.identity, face, "identity", "Eq. 15", "SphereFace-20 or dlib's face encoder"),
    )
    for on, network, name, equations, accepted in wanted:
        if on and network is None:
            option = "--perceptual-weights" if name == "perceptual" else "--face-weights"
            raise UsageError(
                f"the {name} loss ({equations}) needs a pretrained network: give {option} FILE ({accepted}), or switch "
                f"the loss off with --set losses.{name}=false"
            )


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
        if isinstance(self.fabric.strategy.precision, _NetworksInBfloat16):
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
        state_file = self.folder / "state.pt"
        state = load_state(state_file) if state_file.exists() else None
        if state:
            try:
                earlier = state["config"] | {
                    "run": parse(state["config"]["run"]).to_dict()
                }  # an option since then is off
            except (KeyError, TypeError, ValueError, SpgvtonError) as e:
                raise SpgvtonError(
                    f"{state_file} was saved by another version ({e}): go on with that one, or choose another --out"
                ) from e
            if earlier != self._identity():
                changed = "; ".join(differences(earlier, self._identity()))
                raise SpgvtonError(
                    f"{self.folder} holds a run with another configuration or data ({changed}): choose another --out, or give "
                    "the same options"
                )
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

        order = _Order(
            len(self.dataset), batch_size, self.config.seed + 1000 * self.stage, self.iteration, total,
            self.fabric.global_rank, self.fabric.world_size,
        )  # fmt: skip
        limit_threads()
        check_shared_memory(self.workers, batch_size * sum(part.nbytes for part in self.dataset.packed(0)))
        loader = DataLoader(
            PackedSamples(self.dataset), batch_sampler=order, collate_fn=collate, num_workers=self.workers,  # type: ignore[arg-type,var-annotated]
            prefetch_factor=PREFETCH if self.workers else None, pin_memory=self.fabric.device.type == "cuda",
        )  # fmt: skip
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
        triples = hashlib.sha256(
            "\n".join(f"{t.source}\t{t.target}\t{t.cloth}" for t in self.dataset.triples).encode()
        ).hexdigest()
        identity = {
            "run": self.config.to_dict(), "pretrained": self._pretrained(), "world": self.fabric.world_size,
            "triples": triples, **({} if self.qat is None else {"qat": [dict(row) for row in self.qat]}),
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
                self.folder / "state.pt",
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
