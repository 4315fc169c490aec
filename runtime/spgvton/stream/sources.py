"""Where frames come from: a camera, a network stream, a video file, a picture or a folder of pictures, the shipped clip.

open_source() reads one word, the URI, and returns a Source. A source is *live* when frames come by their own clock
(camera, network stream, or a file paced like one): then the loop shows the latest frame and drops what it cannot follow.
Otherwise a frame comes whenever read() is called and none is lost.
"""

from __future__ import annotations

import re
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from spgvton import image
from spgvton.errors import SpgvtonError, UsageError
from spgvton.stream.frames import CameraOptions, Frame, Pacer, Source, check_size, frame_of

PICTURES_FPS: Final = 10.0
SCHEMES: Final = ("http", "https", "rtsp", "rtsps")
KINDS: Final = (
    "a video file, a picture, a folder of pictures, a camera (0, 1, /dev/video0; /dev/video0?size=1280x720&fps=30), "
    "csi://0, an http(s):// or rtsp:// URL, or synthetic:// (the shipped clip without end)"
)


class Pictures(Source):
    """Picture files, one frame each, at 10 frames per second."""

    live = False

    def __init__(self, files: list[Path], name: str, *, realtime: bool = False) -> None:
        self.name, self.fps, self.count, self.live = name, PICTURES_FPS, len(files), realtime
        self._files, self._pacer, self._closing = files, Pacer(realtime), threading.Event()
        self._next = 0
        self.size = check_size(image.read(files[0]), str(files[0]))

    def read(self) -> Frame | None:
        index = self._next
        if index >= len(self._files) or not self._pacer.wait(index / self.fps, self._closing):
            return None
        captured = time.monotonic()
        picture = image.read(self._files[index])
        self._next += 1
        return frame_of(picture, index, None if self.live else index / self.fps, captured)

    def close(self) -> None:
        self._closing.set()


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts frame2 before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name) if part]


def _open_folder(folder: Path, realtime: bool) -> Source:
    try:
        files = sorted((f for f in folder.iterdir() if f.suffix.lower() in image.SUFFIXES), key=_natural)
    except OSError as e:
        raise SpgvtonError(f"cannot read folder {folder}: {e.strerror or e}") from e
    if not files:
        raise SpgvtonError(
            f"folder {folder} holds no picture: put PNG, JPEG, WebP, AVIF, HEIC, BMP or TIFF files into it"
        )
    return Pictures(files, str(folder), realtime=realtime)


class Connector(NamedTuple):
    """How to open a URI. open: raises SpgvtonError. may_be_lost: a device or network stream, which may come back."""

    open: Callable[[], Source]
    name: str
    may_be_lost: bool


def connector(uri: str, *, realtime: bool = False) -> Connector:
    """What opens URI once; see open_source(). Raises UsageError for a URI of no known kind."""
    from spgvton.stream import capture, gstreamer, network, synthetic  # OpenCV's video part; pictures do not need it

    if not uri:
        raise UsageError(f"the source is empty: give {KINDS}")
    bare, _, query = uri.partition("?")
    scheme, _, rest = bare.partition("://") if "://" in bare else ("", "", bare)
    if scheme in SCHEMES:
        address = network.Address.parse(uri)
        return Connector(lambda: network.open_url(address, realtime=realtime), address.name, True)
    if scheme == "csi":
        if not re.fullmatch(r"\d", rest):
            raise UsageError(f"'{uri}' names no CSI camera: write csi://0 or csi://1")
        options = CameraOptions.parse(query, uri)
        return Connector(lambda: gstreamer.open_csi(int(rest), options), bare, True)
    if scheme == "synthetic":
        scene = synthetic.Scene.parse(rest, query, uri)
        return Connector(lambda: synthetic.Synthetic(scene), uri, False)
    if scheme not in ("", "file"):
        raise UsageError(f"'{scheme}://' is not a source that can be opened: give {KINDS}")
    # Also /dev/v4l/by-id/...; another camera may have its number tomorrow, so the link is read anew at each opening.
    if re.fullmatch(r"\d{1,3}", bare) or (bare.startswith("/dev/") and not Path(bare).is_file()):
        options = CameraOptions.parse(query, uri)
        return Connector(lambda: capture.open_camera(_camera_index(bare), options), f"camera {bare}", True)
    path = Path(uri.removeprefix("file://"))
    return Connector(lambda: _open_path(path, realtime), str(path), False)


def _camera_index(device: str) -> int:
    """The number of a camera that is given as number, /dev/videoN or a link to one."""
    found = re.fullmatch(r"(?:/dev/video)?(\d{1,3})", device if device.isdigit() else str(Path(device).resolve()))
    if not found:
        raise SpgvtonError(f"{device} is not a camera: `spgvton doctor` lists those that are there")
    return int(found[1])


def _open_path(path: Path, realtime: bool) -> Source:
    from spgvton.stream import capture

    try:
        mode = path.stat().st_mode
    except FileNotFoundError as e:
        raise SpgvtonError(f"{path} does not exist: give {KINDS}") from e
    except (OSError, ValueError) as e:  # an unreadable folder, a name that is too long or holds a zero byte
        raise SpgvtonError(f"cannot open {str(path)!r:.200}: {getattr(e, 'strerror', None) or e}") from e
    if stat.S_ISDIR(mode):
        return _open_folder(path, realtime)
    if path.suffix.lower() in image.SUFFIXES:
        return Pictures([path], str(path), realtime=realtime)
    return capture.open_file(path, realtime=realtime)


def open_source(uri: str, *, realtime: bool | None = None) -> Source:
    """Open a source and check that its first frame can be decoded.

    uri: what KINDS lists. realtime: True hands a file's frames out at their own pace, as a camera would (so it counts as
    live); False or None as fast as they are asked for. Cameras and streams always have their own pace; one that is lost
    or stalls is opened again for PATIENCE_S (supervised.py), then read() raises SpgvtonError.
    Raises UsageError for a URI of no known kind, SpgvtonError when it cannot be opened or decoded.

    Examples:
        >>> from spgvton import DemoAssets, open_source
        >>> source = open_source(str(DemoAssets.open().clip))
        >>> source.size, source.fps, source.live
        ((720, 540), 15.0, False)
        >>> source.read().image.shape  # None at the end
        (720, 540, 3)
        >>> source.close()
    """
    from spgvton.stream.supervised import SupervisedSource

    how = connector(uri, realtime=bool(realtime))
    source = how.open()
    return SupervisedSource(how.open, how.name, first=source) if how.may_be_lost and source.live else source
