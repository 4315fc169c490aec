"""The network: a framed picture and the customer's keypoints -> 20 labels, and one for everybody else."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from spgvton.errors import SpgvtonError
from spgvton.keypoints import NUM_KEYPOINTS
from spgvton.labels import NUM_LABELS
from spgvton_training.networks.ushape import UShape

SOMEBODY_ELSE: Final = NUM_LABELS  # channel 20: another person, or everybody where there are no keypoints
NUM_CLASSES: Final = NUM_LABELS + 1
POSE_STRIDE: Final = 4  # where the keypoints enter: two pixels more or less are an estimator's noise
POSE_SIGMA: Final = 8.0  # pixels at height 256: of a keypoint's bell


@dataclass(frozen=True)
class ParserConfig:
    """Shape of the network. channels: at 1/2, 1/4, 1/8 and 1/16 of the resolution."""

    height: int = 256
    width: int = 192
    channels: tuple[int, int, int, int] = (24, 48, 96, 128)

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> ParserConfig:
        """Raises SpgvtonError for values that describe no network."""
        try:
            config = ParserConfig(**values | {"channels": tuple(int(c) for c in values["channels"])})
        except (TypeError, KeyError, ValueError) as e:
            raise SpgvtonError(f"this describes no parser network: {e}") from e
        if len(config.channels) != 4 or min(config.channels) < 1 or config.height % 16 or config.width % 16:
            raise SpgvtonError(f"a parser network has four widths and sides that are multiples of 16, got {config}")
        return config


def pose_maps(keypoints: Tensor, size: tuple[int, int], stride: int = POSE_STRIDE) -> Tensor:
    """A bell round each keypoint: float32 (N, 18, H / stride, W / stride) of [0, 1], of KEYPOINTS in pixels of SIZE (H, W).

    keypoints: float32 (N, 18, 3), (x, y, score); score <= 0 gives an empty map. A bell is a column times a row, so a graph draws
    all of them with one product; and unlike the discs of joint.heat_maps it says which way the keypoint lies.
    """
    sigma = POSE_SIGMA * size[0] / 256
    x, y, score = keypoints.float().unbind(-1)

    def bell(centre: Tensor, count: int) -> Tensor:
        at = torch.arange(count, device=keypoints.device, dtype=torch.float32) * stride + (stride - 1) / 2
        return torch.exp(-0.5 * ((at - centre[..., None]) / sigma).square())

    columns = bell(x, size[1] // stride) * (score > 0).float()[..., None]
    return bell(y, size[0] // stride)[..., None] * columns[:, :, None]


class ParserNetwork(UShape):
    """forward(picture, keypoints) -> logits.

    picture: float32 (N, 3, H, W), RGB in [-1, 1]; (H, W) is the config's size, 256x192. keypoints: float32 (N, 18, 3), (x, y, score)
    of the customer in pixels of the picture, pixel centres at integers; score <= 0 = not seen, and x and y are then ignored.
    Returns float32 (N, 21, H / 2, W / 2): logits of the 20 CIHP labels of the customer, and of SOMEBODY_ELSE (channel 20).
    Pixel i of the logits has its centre at 2 i + 0.5 of the picture: bilinear upsampling with align_corners=False fits.
    """

    def __init__(self, config: ParserConfig | None = None) -> None:
        chosen = config or ParserConfig()
        super().__init__(chosen.channels)
        self.config = chosen
        self.pose = nn.Conv2d(NUM_KEYPOINTS, self.config.channels[1], 3, 1, 1)
        self.head = nn.Conv2d(self.config.channels[0], NUM_CLASSES, 1)

    def forward(self, picture: Tensor, keypoints: Tensor) -> Tensor:
        pose = self.pose(pose_maps(keypoints, self.config.size))
        logits: Tensor = self.head(self.decode(self.encode(picture, pose))).float()
        return logits
