"""Human parsing: who turns a picture of a person into the 20 labels.

Three parsers share one protocol: multiclass.MulticlassParser ships, LabelMapParser reads a map made elsewhere, and OnnxParser runs
a user's own network (SCHP, LIP, CIHP, ...).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError, UsageError
from spgvton.image import Letterbox
from spgvton.labels import NUM_LABELS, check_label_set, check_semantic_map
from spgvton.perception.onnx_session import open_session
from spgvton.perception.plausibility import check_plausible
from spgvton.perception.png_indices import read_labels
from spgvton.video import cv2

UInt8 = NDArray[np.uint8]

# "imagenet": (x - mean) / std with x in [0, 1]; "unit": x in [0, 1]; "symmetric": x in [-1, 1]; "raw": x in [0, 255].
NORMALISATIONS: Final[dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # R, G, B
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "symmetric": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "raw": ((0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
}
ASPECT_TOLERANCE: Final = 0.02


class Parser(Protocol):
    """Turns a picture into a semantic map. label_set: "cihp" or "lip", what id 10 means.

    Examples:
        >>> import numpy as np
        >>> class Nobody:
        ...     label_set = "cihp"
        ...     def __call__(self, image, keypoints):
        ...         return np.zeros(image.shape[:2], np.uint8)
        >>> parser: Parser = Nobody()
    """

    label_set: str

    def __call__(self, image: UInt8, keypoints: NDArray[np.float32]) -> UInt8:
        """Label ids (H, W) uint8 of IMAGE, RGB uint8 (H, W, 3); KEYPOINTS (18, 3) in its pixels. Raises SpgvtonError."""
        ...


class LabelMapParser:
    """Reads the semantic map of one picture from a PNG of label ids, grey or with a palette (the index is the id).

    Raises SpgvtonError when PATH is not such a PNG or holds an id above 19.
    """

    def __init__(self, path: str | Path, label_set: str = "cihp") -> None:
        self.label_set = check_label_set(label_set)
        self.path = Path(path)
        self.labels = read_labels(self.path)

    def __call__(self, image: UInt8, keypoints: NDArray[np.float32]) -> UInt8:
        """The map at IMAGE's size (nearest pixel). Raises SpgvtonError when it has another shape, or is of another person."""
        (h, w), (mh, mw) = image.shape[:2], self.labels.shape
        if abs((mw / mh) / (w / h) - 1) > ASPECT_TOLERANCE:
            raise SpgvtonError(
                f"{self.path} has {mw}x{mh} pixels, but its picture {w}x{h}: give a map of the same size or aspect ratio"
            )
        labels = np.array(cv2.resize(self.labels, (w, h), interpolation=cv2.INTER_NEAREST))
        return check_plausible(labels, keypoints, self.label_set, str(self.path))


class OnnxParser:
    """Runs a user's own parsing network in ONNX format.

    The network takes one float picture (1, 3, h, w) and gives logits (1, 20, h', w') or a label map (1, h', w'); with
    several outputs the first that fits is used. Its input size is read from the file (SIZE, (height, width), where the
    file leaves it open); the picture is fitted into it with black borders, as SCHP does, and the labels are brought back.

    bgr: channel order. SCHP and most LIP/CIHP networks were trained on OpenCV's BGR (the default), torchvision ones on RGB.
    normalisation: one of NORMALISATIONS. With "imagenet" the mean and deviation follow their own colour; SCHP's published
    code lists them in B, G, R order, which is the same.
    Raises SpgvtonError when the file is not ONNX or the network has another signature.

    Examples:
        >>> parser = OnnxParser("schp.onnx", label_set="lip")  # doctest: +SKIP
        >>> TryOn(parser=parser)  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | Path,
        label_set: str = "cihp",
        *,
        bgr: bool = True,
        normalisation: str = "imagenet",
        size: tuple[int, int] | None = None,
        threads: int = 1,
    ) -> None:
        self.label_set = check_label_set(label_set)
        if normalisation not in NORMALISATIONS:
            raise UsageError(f"normalisation '{normalisation}' is unknown: use one of {', '.join(NORMALISATIONS)}")
        self.path = Path(path)
        self.bgr, self.normalisation = bgr, normalisation
        self._session = open_session(self.path, threads)
        self._trusted = False  # has given a map that fits its picture
        self._input, self.size = self._check_input(size)
        self._output = self._choose_output()

    def _check_input(self, size: tuple[int, int] | None) -> tuple[str, tuple[int, int]]:
        inputs = self._session.get_inputs()
        described = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            raise SpgvtonError(
                f"{self.path}: a parser takes one float picture (1, 3, h, w), this model takes {described}"
            )
        batch, channels, *sides = inputs[0].shape
        if (isinstance(batch, int) and batch != 1) or (isinstance(channels, int) and channels != 3):
            raise SpgvtonError(
                f"{self.path}: a parser takes one float picture (1, 3, h, w), this model takes {described}"
            )
        fixed = tuple(s if isinstance(s, int) and s > 0 else None for s in sides)
        if size is None and None in fixed:
            raise SpgvtonError(
                f"{self.path} leaves its input size open ({described}): give the size it was trained at (--parser-size "
                "HxW; parser_size in kiosk.yaml)"
            )
        chosen = tuple(f or s for f, s in zip(fixed, size or (0, 0)))
        if size is not None and chosen != tuple(size):
            raise SpgvtonError(f"{self.path} takes {fixed[0]}x{fixed[1]} (height x width), not {size[0]}x{size[1]}")
        return inputs[0].name, (int(chosen[0]), int(chosen[1]))

    def _choose_output(self) -> str:
        for o in self._session.get_outputs():
            shape = [s if isinstance(s, int) else None for s in o.shape]
            if (len(shape) == 4 and shape[1] in (NUM_LABELS, None)) or len(shape) == 3:
                return str(o.name)
        outputs = ", ".join(f"{o.name} {o.shape}" for o in self._session.get_outputs())
        raise SpgvtonError(
            f"{self.path}: a parser gives logits (1, {NUM_LABELS}, h, w) or labels (1, h, w), this model gives {outputs}"
        )

    def __call__(self, image: UInt8, keypoints: NDArray[np.float32]) -> UInt8:
        """Label ids (H, W) uint8 of IMAGE, RGB uint8 (H, W, 3). Raises SpgvtonError.

        The first map must fit the keypoints: a network of another label set, or one that is fed wrongly, is known by that.
        """
        labels = self._parse(image)
        if not self._trusted:
            check_plausible(labels, keypoints, self.label_set, f"the map that {self.path} gave")
            self._trusted = bool((keypoints[:, 2] > 0).any())
        return labels

    def _parse(self, image: UInt8) -> UInt8:
        letterbox = Letterbox.fit((image.shape[0], image.shape[1]), self.size)
        x = letterbox.apply(image, border=0).astype(np.float32) / 255
        mean, std = NORMALISATIONS[self.normalisation]
        x = (x - np.array(mean, np.float32)) / np.array(std, np.float32)
        if self.bgr:
            x = x[..., ::-1]
        feed = {self._input: np.ascontiguousarray(x.transpose(2, 0, 1)[None], dtype=np.float32)}
        try:
            result = self._session.run([self._output], feed)[0]
        except Exception as e:  # ONNX Runtime's own classes
            raise SpgvtonError(f"{self.path} failed on a picture: {str(e).strip().splitlines()[0]}") from e
        return self._to_labels(np.asarray(result), letterbox)

    def _to_labels(self, result: NDArray[Any], letterbox: Letterbox) -> UInt8:
        """The network's output brought back to the picture's size."""
        if result.ndim == 4 and result.shape[:2] == (1, NUM_LABELS):
            # Logits are interpolated, then compared: smoother outlines than those of resized labels. One label at a time:
            # twenty maps of a large photo would not fit into memory.
            if not np.isfinite(result).all():
                raise SpgvtonError(f"{self.path} gave NaN or infinity: is it damaged, or its fp16 too narrow?")
            labels = np.zeros(letterbox.source, np.uint8)
            best = np.full(letterbox.source, -np.inf, np.float32)
            for i, logits in enumerate(result[0].astype(np.float32)):
                score = self._restore(logits, letterbox, cv2.INTER_LINEAR)
                labels[score > best] = i
                np.maximum(best, score, out=best)
            return labels
        if result.ndim == 3 and result.shape[0] == 1:
            ids = result[0]
            if np.issubdtype(ids.dtype, np.floating):
                if not np.isfinite(ids).all():
                    raise SpgvtonError(f"{self.path} gave NaN or infinity: is it damaged, or its fp16 too narrow?")
                if not np.array_equal(ids, np.rint(ids)):
                    raise SpgvtonError(f"{self.path}: its output {result.shape} holds fractions, not label ids")
                ids = ids.astype(np.int64)
            ids = check_semantic_map(ids, f"the output of {self.path}")
            return self._restore(ids, letterbox, cv2.INTER_NEAREST).astype(np.uint8)
        raise SpgvtonError(
            f"{self.path} gave {result.shape}: a parser gives logits (1, {NUM_LABELS}, h, w) or labels (1, h, w)"
        )

    @staticmethod
    def _restore(channel: NDArray[Any], letterbox: Letterbox, interpolation: int) -> NDArray[Any]:
        """One channel of any resolution -> the picture's size, without the borders."""
        framed = cv2.resize(channel, letterbox.target[::-1], interpolation=interpolation)
        flags = interpolation | cv2.WARP_INVERSE_MAP
        size = letterbox.source[::-1]
        return np.asarray(cv2.warpAffine(framed, letterbox.matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE))
