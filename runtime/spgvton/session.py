"""The try-on session: one person, one garment, many poses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spgvton import labels as lb
from spgvton.backends import CPU_BACKENDS, Backend, open_backend
from spgvton.backends.contract import PERSON, Array
from spgvton.backends.sharing import sibling
from spgvton.bundle import Bundle
from spgvton.economy import Economy, StillRule
from spgvton.errors import SpgvtonError
from spgvton.files import check_output, make_folder
from spgvton.image import Letterbox
from spgvton.keypoints import check_keypoints
from spgvton.live.tryon import LiveTryOn
from spgvton.machine import cores
from spgvton.perception.garment_mask import garment_mask
from spgvton.perception.parser_options import FOR_PICTURES, SHIPPED
from spgvton.perception.parsing import Parser
from spgvton.perception.plausibility import check_plausible
from spgvton.perception.pose import PoseEstimator, why_unusable
from spgvton.person import Garment, PersonRepresentation, framing, place
from spgvton.recording import Recorder
from spgvton.steady import Blend

UInt8 = NDArray[np.uint8]
Float = NDArray[np.float32]


class TryOn:
    """Virtual try-on of one person and one garment.

    bundle: a model bundle or its folder; None = the shipped one of each mode. backend: a name, or what spgvton.backends.open_backend
    opened for this bundle's pose mode; close() closes either. threads: of a back end given by name. On the CPU each mode is opened when it
    is first used.
    parser: makes a semantic map where set_person() is given none; None = the shipped one for pictures.
    economy: for streams. When a picture may be given again instead of a new one (it is the same object then), and whether
    pictures are calmed. None = neither.
    Not thread-safe: one thread calls it. A garment may be changed between any two frames.

    Examples:
        >>> from spgvton import TryOn, image
        >>> session = TryOn()  # shipped weights, ONNX Runtime
        >>> session.set_garment(image.read("shirt.jpg"))  # RGB uint8 (h, w, 3)
        >>> me = image.read("me.jpg")
        >>> session.live(me).shape == me.shape  # live mode: the picture itself, its person in the shirt
        True
        >>> session.set_person(me)
        >>> session(me).shape  # pose mode: the person of set_person() in this picture's pose
        (256, 192, 3)
    """

    def __init__(
        self, bundle: str | Path | Bundle | None = None, *, backend: str | Backend = "onnxruntime",
        threads: int | None = None, parser: Parser | None = None, economy: Economy | None = None,
    ) -> None:  # fmt: skip
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        self._own_bundle = bundle is not None
        self._name, self._threads = (backend if isinstance(backend, str) else CPU_BACKENDS[0]), threads
        self._opened: Backend | None = None if isinstance(backend, str) else backend
        self._statics: dict[str, Array] = {}  # what the pose mode is to be given when it is opened
        if self._opened is None and not (self._name in (*CPU_BACKENDS, "auto") and "live" in self.bundle.modes):
            self._opened = open_backend(self._name, self.bundle, threads=threads)
        self._live: LiveTryOn | None = None
        self._shop: tuple[UInt8, UInt8] | None = None  # the garment's picture and mask, until live mode wears it
        self._live_may = False  # whether live mode wears, or can wear, the present garment
        self._parser = parser
        self._still_pose: PoseEstimator | None = None
        self._economy = economy = economy or Economy()
        self._still = StillRule[UInt8](economy.still_threshold)
        self._blend = Blend() if economy.steady else None
        self._box: Letterbox | None = None  # of the last frame, whose scale is kept while it fits

    @property
    def _backend(self) -> Backend:
        """Of pose mode, opened at the first use."""
        if self._opened is None:
            self._opened = open_backend(self._name, self.bundle, threads=self._threads)
            for name, array in self._statics.items():
                self._opened.set_static(name, array)
            self._statics.clear()
        return self._opened

    def _set_static(self, name: str, array: Array) -> None:
        if self._opened is None:
            self._statics[name] = array
        else:
            self._opened.set_static(name, array)

    def sibling(self) -> TryOn:
        """A session for another person and garment on the same opened engine; each may have a thread of its own.

        The parser is shared. Raises SpgvtonError where the back end serves one session only (TensorRT).
        """
        return TryOn(self.bundle, backend=sibling(self._backend), parser=self._parser)

    def close(self) -> None:
        """Give the back end's memory back. Needed with GPUs; calling it again does nothing."""
        for opened in (self._opened, self._live):
            if opened is not None:
                opened.close()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result in pixels."""
        return self.bundle.size

    @property
    def box(self) -> Letterbox:
        """How the last frame was put into the network's. Raises SpgvtonError before the first one."""
        if self._box is None:
            raise SpgvtonError("no frame has been dressed yet")
        return self._box

    def describe(self) -> dict[str, str]:
        """Back end, version, device, threads."""
        return (self._live if self._live and self._opened is None else self._backend).describe()

    def record(self, path: str | Path, count: int, *, images: bool = False) -> Recorder:
        """Record what the network is fed from now on, up to COUNT poses, into the file PATH (see spgvton.recording).

        images: with the person's picture, face included; otherwise poses and garments only.

        Call it before set_person() and set_garment(). The file is written by the recorder's save(), by close(), or when it
        is full. Raises SpgvtonError where PATH cannot be written.
        """
        make_folder(Path(path).resolve().parent)  # now rather than after an hour of recording
        check_output(Path(path))
        self._opened = recorder = Recorder(self._backend, path, count, self.size, self.bundle.label_set, images=images)
        return recorder

    def _pose(self, picture: UInt8) -> Float:
        if self._still_pose is None:
            self._still_pose = PoseEstimator(smooth=False)
        self._still_pose.reset()
        return self._still_pose(picture)

    def set_person(self, picture: UInt8, *, keypoints: Float | None = None, labels: UInt8 | None = None) -> None:
        """The person to dress, from an RGB picture (h, w, 3) with the whole upper body in view.

        keypoints (18, 3) in its pixels and labels (h, w), its semantic map in the bundle's label set, are estimated
        where they are not given. Raises SpgvtonError when no usable person is in the picture.
        """
        found = self._pose(picture) if keypoints is None else check_keypoints(keypoints)
        reason = why_unusable(found, (picture.shape[0], picture.shape[1]))
        if reason:
            raise SpgvtonError(f"the person's picture cannot be used: {reason}")
        if labels is None:
            if self._parser is None:
                self._parser = SHIPPED[FOR_PICTURES](None)
            if self._parser.label_set != self.bundle.label_set:
                raise SpgvtonError(
                    f"the parser gives {self._parser.label_set} labels, the bundle was trained on {self.bundle.label_set}"
                )
            labels = self._parser(picture, found)
        else:
            labels = lb.check_semantic_map(labels)
            check_plausible(labels, found, self.bundle.label_set, "the semantic map")
        self.use_person(
            PersonRepresentation.of(picture, labels, found, label_set=self.bundle.label_set, size=self.size)
        )

    def use_person(self, person: PersonRepresentation) -> None:
        """The person, prepared before (perhaps by another thread) for this bundle's label set and size."""
        self._box = None
        self._forget_pictures()
        for name in ("reference_map", "head", "body"):
            self._set_static(name, getattr(person, name)[None])
        self._set_static("source_keypoints", person.keypoints[None])

    def _forget_pictures(self) -> None:
        self._still.reset()
        if self._blend:
            self._blend.reset()

    def forget_person(self) -> None:
        """Let nothing be held of the person, on the GPU neither; the next frame needs another one first."""
        self._box = None
        self._forget_pictures()
        for name in PERSON:
            self._statics.pop(name, None)
        if self._opened is not None:
            self._opened.forget()
        if self._live:
            self._live.forget()

    def set_garment(self, picture: UInt8, *, mask: UInt8 | None = None) -> None:
        """The garment, from a photograph of it RGB or RGBA (h, w, 3 or 4), lying or hanging, of any background.

        mask (h, w), 255 = garment, is found where it is not given. Raises SpgvtonError when no garment is found.
        """
        mask = garment_mask(picture) if mask is None else mask
        colours = np.ascontiguousarray(picture[..., :3])
        self.use_garment(Garment.of(colours, mask, size=self.size))
        self._shop, self._live_may = (colours, mask), True

    def use_garment(self, garment: Garment) -> None:
        """The garment, prepared before for this bundle's size. Live mode needs its picture: set_garment()."""
        self._forget_pictures()
        self._shop, self._live_may = None, False
        self._set_static("cloth", garment.image[None])
        self._set_static("cloth_mask", garment.mask[None])

    def live(self, frame: UInt8) -> UInt8:
        """Live mode: FRAME, RGB uint8 (h, w, 3), at its own size with its own person in the garment.

        Each call is a picture by itself; spgvton.live.tryon.LiveTryOn has what a stream needs. No set_person() is needed. Bundle and
        parser are this session's; so is the back end where it was given by name, else it is ONNX Runtime. Raises SpgvtonError where nobody
        in the frame can be dressed (the reason in a few words), when no garment is set, or for a bundle without live mode.

        Examples:
            >>> import cv2, numpy as np
            >>> session, camera = TryOn(), cv2.VideoCapture(0)  # doctest: +SKIP
            >>> session.set_garment(cv2.imread("shirt.jpg")[..., ::-1])  # doctest: +SKIP
            >>> while camera.isOpened():  # doctest: +SKIP
            ...     frame = np.ascontiguousarray(camera.read()[1][..., ::-1])  # RGB
            ...     cv2.imshow("mirror", session.live(frame)[..., ::-1])
            ...     cv2.waitKey(1)
        """
        if not self._live_may:
            raise SpgvtonError("no garment is set yet: live mode needs its picture, by set_garment()")
        if self._live is None:
            parser = self._parser or SHIPPED[FOR_PICTURES](self._threads or cores())
            self._live = LiveTryOn(
                self.bundle if self._own_bundle else None,
                backend=self._name,
                threads=self._threads,
                parser=parser,
                economy=self._economy,
            )
        if self._shop is not None:
            self._live.set_garment(self._shop[0], mask=self._shop[1])
            self._shop = None
        return self._live(frame)

    def __call__(self, target: UInt8 | Float, frame_size: tuple[int, int] | None = None) -> UInt8:
        """The try-on image, RGB uint8 (H, W, 3) at `size`.

        target: a frame, RGB uint8 (h, w, 3), whose pose is estimated; or keypoints (18, 3), in pixels of a frame of
        FRAME_SIZE (height, width), which defaults to the network's own size. Raises SpgvtonError for NaN keypoints, an
        unusable pose, or when person or garment are not set.
        """
        array = np.asarray(target)
        if array.ndim == 3:
            frame_size = (array.shape[0], array.shape[1])
            array = self._pose(array.astype(np.uint8, copy=False))
            reason = why_unusable(array, frame_size)
            if reason:
                raise SpgvtonError(f"no usable pose in the frame: {reason}")
        keypoints = check_keypoints(array)
        box = framing(keypoints, frame_size or self.size, self.size)
        if self._box and self._box.source == box.source and 1 / 1.2 < box.scale / self._box.scale < 1.2:
            box = framing(keypoints, box.source, self.size, scale=self._box.scale)
        self._box = box
        placed = place(keypoints, box)
        picture = self._still.same(placed)
        if picture is None:
            picture = self._backend.run(placed[None])[0]
            if self._blend:
                picture = self._blend(picture)
            self._still.made(placed, picture)
        return picture
