"""Pictures that come from a browser: their type and size are read from the first bytes, before anything is decoded.

A decoder allocates what the header asks for, so a file of 100 bytes may cost gigabytes. Only PNG, JPEG and WebP are taken,
of at most 24 megapixels; what is kept is a new file made from the decoded pixels, so nothing else that was in the upload
(metadata, scripts, a second format) reaches the disk.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spgvton import image
from spgvton.errors import SpgvtonError
from spgvton.image_header import Header, kind, read_header
from spgvton.kiosk.pictures import jpeg, overlay, smaller
from spgvton.mask import decode_mask, same_shape
from spgvton.perception.garment_mask import MAX_AREA, MIN_AREA, Cutout, cut_out
from spgvton.perception.mask_taps import Tap, corrected

UInt8 = NDArray[np.uint8]

MAX_PIXELS: Final = 24_000_000
PENDING: Final = 8
PENDING_S: Final = 15 * 60.0
UNDOS: Final = 12  # taps that can be taken back


def decode_upload(data: bytes, name: str, *, keep_alpha: bool) -> UInt8:
    """RGB (H, W, 3), or RGBA where KEEP_ALPHA and the file has it; at most MAX_SIDE pixels on the long side.

    Raises SpgvtonError for another type, more than 24 megapixels, fewer than 16 pixels on a side, or damage.
    """
    header = check_upload(data, name)
    picture = image.decode_colour(data, name, keep_alpha=keep_alpha and header.format != "JPEG")
    if sorted(picture.shape[:2]) != sorted((header.height, header.width)):  # EXIF may have turned it
        raise SpgvtonError(f"{name} is damaged: its header and its pixels differ in size")
    return smaller(picture)


def check_upload(data: bytes, name: str) -> Header:
    """What DATA says it is. Raises SpgvtonError for another type than PNG, JPEG or WebP, or more than 24 megapixels."""
    header = read_header(data)
    if header is None:
        found = kind(data)
        raise SpgvtonError(f"{name} is not a PNG, JPEG or WebP picture" + (f", but {found}" if found else ""))
    if header.width * header.height > MAX_PIXELS:
        raise SpgvtonError(
            f"{name} has {header.width}x{header.height} pixels; at most {MAX_PIXELS // 10**6} megapixels are taken"
        )
    return header


@dataclass(frozen=True)
class Upload:
    """A garment that waits for someone to say that its mask is right.

    picture: RGB (H, W, 3). mask: (H, W), 255 = garment; None where none was found, and `problem` says why. earlier: the masks
    before the last taps. notes: what of a garment that somebody wears cannot be seen.
    """

    id: str
    picture: UInt8
    mask: UInt8 | None
    problem: str | None
    received: float
    earlier: tuple[UInt8 | None, ...] = ()
    notes: tuple[str, ...] = ()

    def preview(self) -> bytes:
        """JPEG of the picture with its mask, or of the bare picture."""
        return jpeg(self.picture if self.mask is None else overlay(self.picture, self.mask))


def garment_in(picture: UInt8) -> tuple[Cutout | None, str | None]:
    """The garment in PICTURE, RGB or RGBA; or why there is none, for staff."""
    try:
        return cut_out(picture), None
    except SpgvtonError as e:
        return None, str(e).replace("give --garment-mask", "send a mask for it")


class Uploads:
    """At most 8 pending uploads, in memory, for 15 minutes; the oldest gives way. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: OrderedDict[str, Upload] = OrderedDict()

    def _drop_old(self) -> None:
        now = time.monotonic()
        for upload in [u for u in self._pending.values() if now - u.received > PENDING_S]:
            del self._pending[upload.id]
        while len(self._pending) > PENDING:
            self._pending.popitem(last=False)

    def add(self, data: bytes) -> Upload:
        """Decode a garment's picture and find its mask (alpha counts). Raises SpgvtonError for a bad picture."""
        picture = decode_upload(data, "the picture", keep_alpha=True)
        found, problem = garment_in(picture)
        rgb = np.ascontiguousarray(picture[..., :3])
        mask, notes = (found.mask, found.notes) if found else (None, ())
        return self.take(Upload(secrets.token_urlsafe(12), rgb, mask, problem, time.monotonic(), notes=notes))

    def take(self, upload: Upload) -> Upload:
        """Let UPLOAD wait here, in place of an earlier one of its id."""
        with self._lock:
            self._pending.pop(upload.id, None)
            self._pending[upload.id] = upload
            self._drop_old()
        return upload

    def get(self, upload_id: str) -> Upload | None:
        """A pending upload, or None."""
        with self._lock:
            self._drop_old()
            return self._pending.get(upload_id)

    def set_mask(self, upload: Upload, data: bytes) -> Upload:
        """UPLOAD with the mask of its own size in DATA (grey picture, white = garment). Raises SpgvtonError."""
        check_upload(data, "the mask")
        grey = decode_mask(data, "the mask")
        h, w = upload.picture.shape[:2]
        mask = np.where(same_shape(grey, (h, w), "the mask") > 127, 255, 0).astype(np.uint8)
        if not MIN_AREA < (mask > 127).mean() < MAX_AREA:
            raise SpgvtonError("the mask should be white where the garment is and black around it")
        return self._keep(replace(upload, mask=mask, problem=None))

    def tap(self, upload: Upload, tap: Tap) -> Upload:
        """UPLOAD with what lies under TAP added to its mask, or taken from it. Raises SpgvtonError; then nothing changes."""
        before = np.zeros(upload.picture.shape[:2], np.uint8) if upload.mask is None else upload.mask
        mask = corrected(upload.picture, before, tap)
        if not MIN_AREA < (mask > 127).mean() < MAX_AREA and not tap.add:
            raise SpgvtonError("next to nothing would be left of the garment: tap elsewhere, or undo")
        return self._keep(replace(upload, mask=mask, problem=None, earlier=(*upload.earlier, upload.mask)[-UNDOS:]))

    def undo(self, upload: Upload) -> Upload:
        """UPLOAD as it was before the last tap. Raises SpgvtonError where there was none."""
        if not upload.earlier:
            raise SpgvtonError("there is no tap to undo")
        return self._keep(replace(upload, mask=upload.earlier[-1], earlier=upload.earlier[:-1]))

    def _keep(self, changed: Upload) -> Upload:
        with self._lock:
            if changed.id in self._pending:
                self._pending[changed.id] = changed
        return changed

    def discard(self, upload_id: str) -> bool:
        """Forget an upload; False when there was none."""
        with self._lock:
            return self._pending.pop(upload_id, None) is not None
