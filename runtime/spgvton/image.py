"""Pictures: bounded reading, atomic writing, normalisation, and letterboxing with its inverse.

A picture is a uint8 RGB array (H, W, 3). A network sees float32 (3, H, W) in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spgvton.errors import SpgvtonError
from spgvton.files import read_file, write_bytes
from spgvton.image_header import LFS_POINTER, jpeg_end, kind, orientation, read_header
from spgvton.image_heif import decode_heif
from spgvton.video import MAX_PICTURE_PIXELS as MAX_PIXELS
from spgvton.video import cv2

SIZE: Final = (256, 192)  # height, width of the network (section IV-A)
MAX_BYTES: Final = 32 * 2**20
MIN_SIDE: Final = 16
# What a folder is searched for. HEIC is among them so that it is read or named, not passed over.
SUFFIXES: Final = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif"))
WITH_ALPHA: Final = frozenset(("PNG", "WebP", "AVIF", "TIFF", "HEIC"))

UInt8 = NDArray[np.uint8]


def _too_large(name: str, width: int, height: int) -> SpgvtonError:
    return SpgvtonError(f"{name} has {width}x{height} pixels; at most {MAX_PIXELS // 10**6} megapixels are read")


def decode(data: bytes, name: str, *, flags: int = cv2.IMREAD_COLOR) -> UInt8:
    """Decode a PNG, JPEG, WebP, AVIF, BMP, TIFF or HEIC file held in memory, turned upright as it says itself.

    FLAGS is OpenCV's imread mode. Returns RGB (H, W, 3), what is transparent laid on white; with IMREAD_GRAYSCALE grey
    (H, W); with IMREAD_UNCHANGED RGB, RGBA or grey as the file has it, uint8 or uint16. What stands behind a JPEG's end
    is ignored (cameras pad, telephones append a film). HEIC needs pillow-heif, AVIF an OpenCV that can.
    Raises SpgvtonError when DATA is over 32 MiB, damaged, over 65 megapixels, or under 16 pixels on a side.
    """
    if len(data) > MAX_BYTES:
        raise SpgvtonError(f"{name} is {len(data) / 2**20:.0f} MiB; pictures may have at most {MAX_BYTES // 2**20} MiB")
    what = kind(data)
    if what == "JPEG":
        end = jpeg_end(data)
        if end is None:
            raise SpgvtonError(f"{name} is a truncated JPEG: copy it again")  # OpenCV would return it half grey
        data = data[:end]
    header = read_header(data)
    if header and header.width * header.height > MAX_PIXELS:
        raise _too_large(name, header.width, header.height)
    if what == "HEIC":
        picture = decode_heif(data, name, MAX_PIXELS)
    else:
        # The decoder is asked for everything, since it leaves out the alpha channel otherwise. That of a BMP means nothing.
        everything = flags != cv2.IMREAD_GRAYSCALE and what in WITH_ALPHA
        picture = _turned(_decode(data, name, what, cv2.IMREAD_UNCHANGED if everything else flags), orientation(data))
    _check(picture, name)
    if flags == cv2.IMREAD_UNCHANGED:
        return picture
    if flags == cv2.IMREAD_GRAYSCALE:
        return (
            picture
            if picture.ndim == 2
            else np.asarray(cv2.cvtColor(on_white(picture, name), cv2.COLOR_RGB2GRAY), np.uint8)
        )
    return on_white(to_8_bits(picture), name)


def _decode(data: bytes, name: str, what: str, flags: int) -> UInt8:
    """OpenCV's answer as RGB, RGBA or grey, whichever way up it was stored. Raises SpgvtonError."""
    how = flags if flags == cv2.IMREAD_UNCHANGED else flags | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), how) if data else None
    except cv2.error as e:
        raise SpgvtonError(f"{name} cannot be decoded: {e.err}") from e
    if picture is None:
        if what == "AVIF":
            raise SpgvtonError(f"{name} is an AVIF picture, which this OpenCV cannot read: save it as JPEG or PNG")
        if data.startswith(LFS_POINTER):
            raise SpgvtonError(f"{name} is a pointer of Git LFS, not the picture: run git lfs pull")
        raise SpgvtonError(f"{name} is not a picture that can be decoded (PNG, JPEG, WebP, BMP or TIFF; complete)")
    if picture.ndim == 2:
        return picture  # type: ignore[return-value]
    if picture.shape[2] not in (3, 4):
        raise SpgvtonError(f"{name} has {picture.shape[2]} channels: save it as RGB, RGBA or grey")
    how = cv2.COLOR_BGRA2RGBA if picture.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return cv2.cvtColor(picture, how)  # type: ignore[return-value]


def _check(picture: UInt8, name: str) -> None:
    h, w = picture.shape[:2]
    if h * w > MAX_PIXELS:
        raise _too_large(name, w, h)
    if min(h, w) < MIN_SIDE:
        raise SpgvtonError(f"{name} has {w}x{h} pixels; at least {MIN_SIDE}x{MIN_SIDE} are needed")
    if picture.dtype not in (np.uint8, np.uint16):
        raise SpgvtonError(f"{name} has {picture.dtype} pixels: save it with 8 bits per channel")


def _turned(picture: UInt8, how: int) -> UInt8:
    """PICTURE upright, where EXIF says that it was stored as HOW (1 to 8)."""
    if how >= 5:  # rows and columns are exchanged
        picture = np.swapaxes(picture, 0, 1)
    if how in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    if how in (3, 4, 7, 8):
        picture = picture[::-1]
    return np.ascontiguousarray(picture)


def to_8_bits(picture: NDArray[Any]) -> UInt8:
    """uint16 to its upper byte; uint8 as it is."""
    return (picture >> 8).astype(np.uint8) if picture.dtype == np.uint16 else picture


def on_white(picture: UInt8, name: str = "the picture") -> UInt8:
    """RGB (H, W, 3) of grey, RGB or RGBA uint8; what is transparent shows white, not the colour that is stored below it.

    Raises SpgvtonError where all of it is transparent.
    """
    if picture.ndim == 2:
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB), np.uint8)
    if picture.shape[2] == 3:
        return picture
    alpha = picture[..., 3:]
    if not alpha.any():
        raise SpgvtonError(f"{name} is wholly transparent: save it without its alpha channel")
    if alpha.min() == 255:
        return np.ascontiguousarray(picture[..., :3])
    solid = alpha.astype(np.uint16)
    return ((picture[..., :3] * solid + 255 * (255 - solid) + 127) // 255).astype(np.uint8)


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a picture file. Raises SpgvtonError when it cannot be read or is over 32 MiB."""
    return read_file(path, MAX_BYTES, "pictures")


def read(path: str | Path, *, flags: int = cv2.IMREAD_COLOR) -> UInt8:
    """Read a picture file; see decode().

    Examples:
        >>> from spgvton import image
        >>> picture = image.read("shirt.jpg")
        >>> picture.dtype, picture.shape
        (dtype('uint8'), (1024, 768, 3))
    """
    return decode(read_bytes(path), str(path), flags=flags)


def decode_colour(data: bytes, name: str, *, keep_alpha: bool) -> UInt8:
    """RGB (H, W, 3), or RGBA where KEEP_ALPHA and DATA has it, with 8 bits. See decode(); a wholly transparent picture is refused."""
    if keep_alpha and kind(data) in WITH_ALPHA:
        picture = to_8_bits(decode(data, name, flags=cv2.IMREAD_UNCHANGED))
        with_alpha = picture.ndim == 3 and picture.shape[2] == 4
        return (
            picture if with_alpha and picture[..., 3].any() else on_white(picture, name)
        )  # which refuses what is empty
    return decode(data, name)


def read_colour(path: str | Path, *, keep_alpha: bool) -> UInt8:
    """Read a picture file; see decode_colour()."""
    return decode_colour(read_bytes(path), str(path), keep_alpha=keep_alpha)


def write(path: str | Path, picture: NDArray[np.generic], *, quality: int = 95) -> None:
    """Write an RGB (H, W, 3), RGBA (H, W, 4) or grey (H, W) picture atomically; the suffix chooses the format.

    Examples:
        >>> import numpy as np
        >>> from spgvton import image
        >>> image.write("grey.png", np.full((64, 48, 3), 128, np.uint8))
        >>> image.read("grey.png")[0, 0].tolist()
        [128, 128, 128]
    """
    order = cv2.COLOR_RGBA2BGRA if picture.shape[-1] == 4 else cv2.COLOR_RGB2BGR
    bgr = cv2.cvtColor(picture, order) if picture.ndim == 3 else picture
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if Path(path).suffix.lower() in (".jpg", ".jpeg") else []
    ok, data = cv2.imencode(Path(path).suffix, bgr, options)
    if not ok:
        raise SpgvtonError(f"{path}: cannot encode a picture of shape {picture.shape}")
    write_bytes(path, data.tobytes())


def normalise(picture: UInt8) -> NDArray[np.float32]:
    """uint8 (H, W, 3) in [0, 255] -> float32 (3, H, W) in [-1, 1].

    Examples:
        >>> import numpy as np
        >>> from spgvton import image
        >>> image.normalise(np.array([[[0, 255, 255]]], np.uint8)).ravel().tolist()
        [-1.0, 1.0, 1.0]
    """
    return np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32) / 127.5 - 1.0


def denormalise(tensor: NDArray[np.float32]) -> UInt8:
    """float32 (3, H, W) in [-1, 1] -> uint8 (H, W, 3), rounded and clipped. Inverse of normalise().

    Examples:
        >>> import numpy as np
        >>> from spgvton import image
        >>> image.denormalise(np.array([-1, 0, 2], np.float32).reshape(3, 1, 1)).tolist()
        [[[0, 128, 255]]]
    """
    return np.clip(np.rint((tensor.transpose(1, 2, 0) + 1.0) * 127.5), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Letterbox:
    """A uniform scale and shift that puts a picture of any size into a frame: x' + 0.5 = scale * (x + 0.5) + pad.

    Coordinates are pixel centres at integers. A negative pad cuts that much off.
    """

    source: tuple[int, int]  # height, width
    target: tuple[int, int]
    scale: float
    pad: tuple[float, float]  # left, top, in target pixels

    @staticmethod
    def fit(source: tuple[int, int], target: tuple[int, int] = SIZE) -> Letterbox:
        """The letterbox from SOURCE (height, width) into TARGET.

        Examples:
            >>> import numpy as np
            >>> from spgvton.image import Letterbox
            >>> box = Letterbox.fit((720, 1280), (256, 192))
            >>> box.scale, box.pad
            (0.15, (0.0, 74.0))
            >>> box.points_back(box.points(np.array([[640, 360]], np.float32))).round(2).tolist()
            [[640.0, 360.0]]
        """
        (h, w), (H, W) = source, target
        scale = min(H / h, W / w)
        return Letterbox(source, target, scale, ((W - w * scale) / 2, (H - h * scale) / 2))

    @staticmethod
    def around(
        source: tuple[int, int], scale: float, point: tuple[float, float], at: tuple[float, float],
        target: tuple[int, int] = SIZE,
    ) -> Letterbox:  # fmt: skip
        """SOURCE at SCALE, with its POINT (x, y) as near to AT (x, y) of the target as the picture's edges allow.

        Along an axis on which the scaled picture is smaller than the target it is centred.
        """
        pads = []
        for extent, room, p, a in zip(source[::-1], target[::-1], point, at):
            spare = room - extent * scale
            pads.append(spare / 2 if spare >= 0 else min(max(a + 0.5 - scale * (p + 0.5), spare), 0.0))
        return Letterbox(source, target, scale, (pads[0], pads[1]))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """2x3 affine matrix from source to target pixel centres."""
        s, (px, py) = self.scale, self.pad
        shift = 0.5 * s - 0.5
        return np.array([[s, 0, px + shift], [0, s, py + shift]])

    def apply(self, picture: NDArray[np.generic], *, border: int = 255, nearest: bool = False) -> NDArray[np.generic]:
        """Resample a picture or semantic map into the target frame; outside it is BORDER."""
        if self.scale == 1 and self.source == self.target:
            return picture
        interpolation = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
        matrix = self.matrix
        if not nearest and self.scale < 0.5:  # area-average first: plain bilinear sampling would alias
            h, w = self.source
            size = (max(1, round(w * self.scale)), max(1, round(h * self.scale)))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            matrix = np.array([[1.0, 0, self.pad[0]], [0, 1.0, self.pad[1]]])
        return cv2.warpAffine(
            picture, matrix, self.target[::-1], flags=interpolation, borderMode=cv2.BORDER_CONSTANT,
            borderValue=(border,) * 4,
        )  # fmt: skip

    def points(self, keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, 2+) points from source to target; further columns (scores) pass through."""
        out = keypoints.astype(np.float32, copy=True)
        out[:, :2] = keypoints[:, :2] @ self.matrix[:, :2].T + self.matrix[:, 2]
        return out

    def points_back(self, keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, 2+) points from target to source. Inverse of points()."""
        out = keypoints.astype(np.float32, copy=True)
        out[:, :2] = (keypoints[:, :2] - self.matrix[:, 2]) / self.scale
        return out

    def invert(self, picture: NDArray[np.generic]) -> NDArray[np.generic]:
        """Resample a target-size picture back to the source size (the padding is cut off)."""
        if self.scale == 1 and self.source == self.target:
            return picture
        h, w = self.source
        return cv2.warpAffine(
            picture, self.matrix, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
