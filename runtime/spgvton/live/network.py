"""The live network: a framed camera picture, its labels and its pose in; rendered picture, masks and warp out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spgvton.backends import Backend, open_backend
from spgvton.backends.contract import KEYPOINTS, LIVE, Array
from spgvton.backends.sharing import sibling
from spgvton.bundle import Bundle
from spgvton.keypoints import check_keypoints
from spgvton.labels import check_semantic_map
from spgvton.live.arms import forget_arms
from spgvton.live.spline import bent, cloth_positions
from spgvton.person import Garment

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]


class LiveOutput(NamedTuple):
    """What the network says about one frame, at network size. The arrays are the caller's to keep."""

    rendered: UInt8  # I_r (H, W, 3): the customer in the garment as G3 renders them, before C_w is put in by Eq. 10
    composition: UInt8  # M (H, W), 255 = the warped garment's own pixels
    clothes_mask: UInt8  # M_p^C (H, W), 255 = the new clothes
    semantic: UInt8  # label ids (H, W) of the customer in the garment
    theta: Float  # (2, G*G): where the spline's control points, on the frame, come from on the garment's picture
    residual: Float | None = None  # R (2, H/4, W/4) of a network with `residual_flow` (spline.bent)

    @property
    def positions(self) -> Float:
        """Which pixel (x, y) of the garment's picture, at network size, each pixel shows: float32 (H, W, 2)."""
        h, w = self.clothes_mask.shape
        splined = cloth_positions(self.theta, (h, w))
        return splined if self.residual is None else bent(splined, self.residual)


class LiveNetwork:
    """Runs a bundle's live graph: the customer of the frame itself, in its own pose, in one garment.

    >>> network = LiveNetwork()                        # shipped weights, ONNX Runtime
    >>> network.set_garment(Garment.of(picture, mask))
    >>> output = network(framed, labels, keypoints)

    bundle: a model bundle or its folder; None = the shipped one. backend: one of spgvton.backends.CPU_BACKENDS, "auto", or
    what open_backend(mode=LIVE) opened; close() closes either. threads: of a back end given by name.
    Not thread-safe, but the thread may change between two calls; see sibling() for several mirrors.
    Raises SpgvtonError for a bundle without live graphs, or where BACKEND cannot be used.
    """

    def __init__(
        self, bundle: str | Path | Bundle | None = None, *, backend: str | Backend = "onnxruntime",
        threads: int | None = None,
    ) -> None:  # fmt: skip
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle, mode="live")
        self._backend: Backend = (
            open_backend(backend, self.bundle, mode=LIVE, threads=threads) if isinstance(backend, str) else backend
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network in pixels."""
        return self.bundle.size

    @property
    def label_set(self) -> str:
        """Whose ids the labels are: "cihp" or "lip"."""
        return self.bundle.label_set

    def describe(self) -> dict[str, str]:
        """Back end, version, device, threads, graphs."""
        return self._backend.describe()

    def sibling(self) -> LiveNetwork:
        """A network for another customer and garment on the same opened engine; each may have a thread of its own.

        Raises SpgvtonError where the back end serves one mirror only.
        """
        return LiveNetwork(self.bundle, backend=sibling(self._backend))

    def set_garment(self, garment: Garment) -> None:
        """The garment of the frames to come; what depends on it alone is computed at the next one."""
        self._backend.set_static("cloth", garment.image[None])
        self._backend.set_static("cloth_mask", garment.mask[None])

    def __call__(self, picture: UInt8, labels: UInt8, keypoints: Float) -> LiveOutput:
        """PICTURE RGB uint8 (H, W, 3), LABELS uint8 (H, W) and KEYPOINTS float32 (18, 3), all in the network's frame.

        A network that was trained so (Bundle.forget_arms) is shown LABELS without bare arms.
        Raises SpgvtonError for keypoints that are NaN, labels above 19, or when no garment is set; ValueError for another size.
        """
        labels, keypoints = check_semantic_map(labels), check_keypoints(keypoints)
        if self.bundle.forget_arms:
            labels = forget_arms(labels, keypoints)
        frame: dict[str, Array] = {
            "picture": np.asarray(picture, np.uint8)[None],
            "labels": labels[None],
            KEYPOINTS: keypoints[None],
        }
        made = self._backend.infer(frame)
        return LiveOutput(**{name: array[0] for name, array in made.items()})

    def forget(self) -> None:
        """Let nothing be held of the last frame; the garment stays. Not while a call is under way."""
        self._backend.forget()

    def close(self) -> None:
        """Give the back end's memory back; calling it again does nothing."""
        self._backend.close()
