"""Inception-v3 of 2015-12-05, the network that IS [48], FID and KID are defined on, from a weights file.

The layers and their names are those of torch-fidelity and pytorch-fid, whose file
`weights-inception-2015-12-05-6726825d.pth` (or `pt_inception-...`, the same tensors; Apache-2.0, converted from
TensorFlow) is what --inception-weights takes. It differs from torchvision's Inception-v3: 1008 classes, average pooling
that leaves the padding out, max pooling in the last block, and TensorFlow 1's bilinear resize to 299x299. It is written
out here because torch-fidelity needs torchvision, has its own copy, and unpickles its weights.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton.errors import SpgvtonError
from spgvton_training.pretrained.sources import load_into, read_weights

SIDE, FEATURES, CLASSES = 299, 2048, 1008


class Conv(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, padding: int | str = "same"
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _mean_pool(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class BlockA(nn.Module):
    def __init__(self, n: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(n, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(n, 48, 1), Conv(48, 64, 5)
        self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3 = Conv(n, 64, 1), Conv(64, 96, 3), Conv(96, 96, 3)
        self.branch_pool = Conv(n, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat(
            [self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)), double, self.branch_pool(_mean_pool(x))], 1
        )


class BlockB(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(n, 384, 3, 2, 0)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(n, 64, 1), Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3, 2, 0)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class BlockC(nn.Module):
    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        row, column = (1, 7), (7, 1)
        self.branch1x1 = Conv(n, 192, 1)
        self.branch7x7_1, self.branch7x7_2, self.branch7x7_3 = Conv(n, m, 1), Conv(m, m, row), Conv(m, 192, column)
        self.branch7x7dbl_1, self.branch7x7dbl_2, self.branch7x7dbl_3 = (
            Conv(n, m, 1),
            Conv(m, m, column),
            Conv(m, m, row),
        )
        self.branch7x7dbl_4, self.branch7x7dbl_5 = Conv(m, m, column), Conv(m, 192, row)
        self.branch_pool = Conv(n, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_mean_pool(x))], 1)


class BlockD(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(n, 192, 1), Conv(192, 320, 3, 2, 0)
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(n, 192, 1), Conv(192, 192, (1, 7))
        self.branch7x7x3_3, self.branch7x7x3_4 = Conv(192, 192, (7, 1)), Conv(192, 192, 3, 2, 0)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, 2)], 1)


class BlockE(nn.Module):
    """MAX_POOL: the last block of the published network pools by maximum, the one before by mean."""

    def __init__(self, n: int, *, max_pool: bool) -> None:
        super().__init__()
        row, column = (1, 3), (3, 1)
        self.max_pool = max_pool
        self.branch1x1 = Conv(n, 320, 1)
        self.branch3x3_1 = Conv(n, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, row), Conv(384, 384, column)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(n, 448, 1), Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, row), Conv(384, 384, column)
        self.branch_pool = Conv(n, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, 1, 1) if self.max_pool else _mean_pool(x)
        branches = [
            self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single), self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double), self.branch_pool(pooled),
        ]  # fmt: skip
        return torch.cat(branches, 1)


def resize(x: Tensor, side: int = SIDE) -> Tensor:
    """TensorFlow 1's bilinear resize of (N, C, H, W) to (N, C, side, side): sample i lies at i * H / side."""
    for axis in (2, 3):
        length = x.shape[axis]
        at = torch.arange(side, device=x.device, dtype=x.dtype) * (length / side)
        low = at.long()
        part = (at - low).view(-1, 1) if axis == 2 else at - low
        a, b = x.index_select(axis, low), x.index_select(axis, (low + 1).clamp_max(length - 1))
        x = a + (b - a) * part
    return x


class Inception(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] -> pooled features (N, 2048), and logits without bias (N, 1008)."""

    sha256 = ""  # of the weights file

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2, 0)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, 1, 0)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, 1, 0)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b, self.Mixed_6c = BlockC(768, 128), BlockC(768, 160)
        self.Mixed_6d, self.Mixed_6e = BlockC(768, 160), BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b, self.Mixed_7c = BlockE(1280, max_pool=False), BlockE(FEATURES, max_pool=True)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = ((images.clamp(-1, 1) + 1) * 127.5).round()  # the published scores are of 8-bit pictures
        x = (resize(pixels) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        features = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
        return features, features @ self.fc.weight.T

    @staticmethod
    def load(path: str | Path) -> Inception:
        """The network in evaluation mode. Raises SpgvtonError for a missing, damaged or foreign file."""
        file, network = read_weights(path), Inception()
        weights = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
        if not file.holds({k: v.shape for k, v in weights.items()}):
            raise SpgvtonError(
                f"{path} does not hold the Inception network of FID: --inception-weights takes torch-fidelity's "
                "weights-inception-2015-12-05-6726825d.pth (torchvision's Inception is another network)"
            )
        load_into(network, {k: file.tensors[k] for k in weights}, file.path)
        network.sha256 = file.sha256
        return network
