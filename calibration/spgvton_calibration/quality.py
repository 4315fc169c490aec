"""How much of the picture INT8 loses: SSIM against the ground truth, before and after, on held-out samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from spgvton import labels as lb
from spgvton import ssim
from spgvton.video import cv2
from spgvton_calibration.data import Sample
from spgvton_calibration.execution import Inputs, Pair, Runner, pictures, pictures_of

UInt8 = NDArray[np.uint8]
REGIONS: Final = ("image", "clothes", "face")  # face: with hair, as `spgvton evaluate` has it


class Judge:
    """Compares graphs with a REFERENCE graph on SAMPLES.

    The drop of a region is mean SSIM(reference, truth) - SSIM(graph, truth), SSIM averaged inside the region. Where nobody
    was photographed in the pose (recorded sessions), the reference's picture itself is the truth, so that the drop is 1
    - SSIM(graph, reference), which is stricter; regions are then those of the semantic map that G1 predicts.
    """

    def __init__(
        self, samples: Sequence[Sample], reference: onnx.ModelProto, g1: onnx.ModelProto, label_set: str
    ) -> None:
        self.samples = samples
        self.images = self.run(reference, "reference")
        self._targets = [image if s.truth is None else s.truth for s, image in zip(samples, self.images)]
        find = Runner(g1) if any(s.labels is None for s in samples) else None
        self._masks = []
        for s, target in zip(samples, self._targets):
            labels = s.labels if s.labels is not None or find is None else _predicted(find, s.inputs, target.shape[:2])
            assert labels is not None
            self._masks.append((np.isin(labels, lb.clothes(label_set)), np.isin(labels, lb.HEAD)))
        self.reference_ssim = self.ssim(self.images)

    def run(self, model: onnx.ModelProto, what: str, count: int | None = None) -> list[UInt8]:
        """MODEL's pictures of the first COUNT samples."""
        return pictures(model, [s.inputs for s in self.samples[:count]], what)

    def run_pair(self, pair: Pair, what: str) -> list[UInt8]:
        """As run(), of the joint graph in two."""
        return pictures_of(pair, [s.inputs for s in self.samples], what)

    def ssim(self, images: Sequence[UInt8]) -> NDArray[np.float64]:
        """SSIM (N, 3) of IMAGES in REGIONS; NaN where a sample has no such region."""
        rows = []
        for image, target, masks in zip(images, self._targets, self._masks):
            values = ssim.ssim_map(image, target)
            rows.append([float(values.mean()), *(ssim.inside(values, m) for m in masks)])
        return np.array(rows)

    def drop(self, images: Sequence[UInt8]) -> dict[str, float]:
        """The drop of each region, see the class; 0 for a region that no sample has."""
        difference = self.reference_ssim[: len(images)] - self.ssim(images)
        return {
            region: float(np.nanmean(column)) if np.isfinite(column).any() else 0.0
            for region, column in zip(REGIONS, difference.T)
        }

    def mean_reference_ssim(self) -> dict[str, float]:
        """SSIM of the reference against the truth in each region that any sample has."""
        columns = zip(REGIONS, self.reference_ssim.T)
        return {region: float(np.nanmean(c)) for region, c in columns if np.isfinite(c).any()}

    def fidelity(self, images: Sequence[UInt8]) -> tuple[float, float]:
        """Mean SSIM and PSNR (dB) of IMAGES against the reference's pictures."""
        pairs = list(zip(images, self.images))
        similar = float(np.mean([ssim.ssim_map(a, b).mean() for a, b in pairs]))
        return similar, float(np.mean([ssim.psnr(a, b) for a, b in pairs]))


def _predicted(g1: Runner, inputs: Inputs, size: tuple[int, ...]) -> UInt8:
    labels = g1(inputs)["semantic"][0].argmax(0).astype(np.uint8)
    return np.asarray(cv2.resize(labels, (size[1], size[0]), interpolation=cv2.INTER_NEAREST), np.uint8)
