"""Batches of a run: their order, which a stopped run goes on with, each process's share, and the workers that load them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import torch
from lightning_fabric import Fabric
from torch.utils.data import DataLoader

from spgvton.errors import SpgvtonError, UsageError
from spgvton_training.data.mpv import MPV, Batch, PackedSamples, collate, limit_threads
from spgvton_training.networks.joint import Inputs

PREFETCH = 2  # batches that each worker makes ahead


class Order:
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


def make_loader(dataset: MPV, order: Order, fabric: Fabric, workers: int) -> DataLoader[Any]:
    """Loader of this process's batches of DATASET in ORDER. Raises SpgvtonError where WORKERS find no room for them."""
    limit_threads()
    check_shared_memory(workers, order.batch * sum(part.nbytes for part in dataset.packed(0)))
    return DataLoader(
        PackedSamples(dataset), batch_sampler=order, collate_fn=collate, num_workers=workers,  # type: ignore[arg-type]
        prefetch_factor=PREFETCH if workers else None, pin_memory=fabric.device.type == "cuda",
    )  # fmt: skip
