"""Atomic writes: a reader sees the old file or the whole new one, never a part of it; and no output replaces an input.

Everything that is written goes through atomic_path(), so the second rule is kept here: whoever reads files says so by
inputs() (the command line does for all of its arguments, a video file for itself), and until then they are not replaced,
by whatever name or link they are reached.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from spgvton.errors import SpgvtonError

# What a folder that is read is read for; a video or a table of figures may be written into it again and again.
READ_SUFFIXES: Final = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".onnx", ".safetensors", ".json", ".txt", ".yaml")
)
FileId = tuple[int, int]  # device, inode
_files: Counter[FileId] = Counter()
_folders: Counter[FileId] = Counter()
_written: set[Path] = set()  # temporaries of files that are being written


def _id(path: Path) -> FileId | None:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


@contextmanager
def inputs(*paths: str | Path) -> Iterator[None]:
    """While inside, nothing of this process replaces PATHS, nor what is read of the folders among them.

    Paths that do not exist are nothing to protect. May be entered by several readers of one file.
    """
    found = [(key, _folders if path.is_dir() else _files) for path in map(Path, paths) if (key := _id(path))]
    for key, group in found:
        group[key] += 1
    try:
        yield
    finally:
        for key, group in found:
            group[key] -= 1
            if not group[key]:
                del group[key]


def is_input(path: Path) -> bool:
    """Whether PATH, or what it links to, is protected by inputs()."""
    if _id(path) in _files:
        return True
    if not _folders or path.name.startswith(".") or path.suffix.lower() not in READ_SUFFIXES or not path.exists():
        return False
    places = (path.parent.resolve(), path.resolve().parent)  # of the name, and of what it links to
    return any(_id(folder) in _folders for place in places for folder in (place, *place.parents))


def check_output(path: Path) -> None:
    """Raise SpgvtonError unless PATH is free, or an ordinary file that no one reads or writes."""
    if is_input(path):
        raise SpgvtonError(f"{path} is read by this command and would be replaced: name another file to write")
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "no ordinary file (a device, pipe or socket)"
        raise SpgvtonError(f"cannot write {path}: it is {kind}; name a file")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside PATH (same suffix); on success it replaces PATH, on failure it is removed.

    Raises SpgvtonError when PATH is an input or written twice, the folder is missing, read-only or the disk is full.
    """
    target = Path(path)
    check_output(target)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    mine = Path(os.path.abspath(temporary))
    if mine in _written:
        raise SpgvtonError(f"{target} is being written already: name another file")
    _written.add(mine)
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as e:
        raise SpgvtonError(f"cannot write {target}: {e.strerror or e}") from e
    finally:
        _written.discard(mine)
        with suppress(OSError):  # the folder may be gone
            temporary.unlink()


def read_file(path: str | Path, limit: int, what: str = "files", *, head: bool = False) -> bytes:
    """The bytes of an ordinary file of at most LIMIT bytes; with HEAD its first LIMIT bytes, however long it is.

    Never waits for a pipe, and never reads a device without end. Raises SpgvtonError, which names PATH and WHAT is too large.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            reason = "it is a folder" if stat.S_ISDIR(mode) else "it is no ordinary file (a device, pipe or socket)"
            raise SpgvtonError(f"cannot read {path}: {reason}")
        # Opened without waiting: it may have become a pipe since.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(limit if head else limit + 1) if head or size <= limit else b""
    except (OSError, ValueError) as e:
        raise SpgvtonError(f"cannot read {path}: {getattr(e, 'strerror', None) or e}") from e
    if not head and max(size, len(data)) > limit:
        raise SpgvtonError(f"{path} is {size / 2**20:.0f} MiB; {what} may have at most {limit / 2**20:g} MiB")
    return data


def printable(text: object) -> str:
    """TEXT as it may be sent as JSON: bytes of file names that are not UTF-8 are written out."""
    return str(text).encode("utf-8", "backslashreplace").decode()


@contextmanager
def utf8_path(path: str | Path) -> Iterator[str]:
    """PATH as C libraries take it: absolute, so that a colon in it names no protocol, and UTF-8.

    A name of other bytes crashes OpenCV; such a file is reached by a link, which is there until this ends. The file need not
    exist yet.
    """
    absolute = os.path.abspath(path)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="spgvton-") as folder:
            suffix = "".join(c for c in Path(absolute).suffix if c.isascii())
            link = Path(folder, f"file{suffix}")
            link.symlink_to(absolute)
            yield str(link)
        return
    yield absolute


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except (OSError, ValueError):
        return False


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write DATA to PATH atomically. Raises SpgvtonError."""
    if is_input(Path(path)) and _holds(Path(path), data):
        return  # a run that is resumed from its own configuration
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write TEXT to PATH atomically as UTF-8. Raises SpgvtonError."""
    write_bytes(path, text.encode())


def make_folder(path: str | Path) -> Path:
    """Create PATH and its parents. Raises SpgvtonError when that is not possible."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise SpgvtonError(f"cannot create folder {folder}: {e.strerror or e}") from e
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SpgvtonError(f"cannot write into folder {folder}: permission denied")
    return folder


def own_folder(path: str | Path, marker: str) -> Path:
    """make_folder() for a data set that is written in many files: PATH has the file MARKER, or is empty or new.

    Raises SpgvtonError for a folder with anything else in it: the files of a data set would lie among it, or replace it.
    """
    folder = make_folder(path)
    try:
        foreign = next((p.name for p in folder.iterdir() if not p.name.startswith(".")), None)
    except OSError as e:
        raise SpgvtonError(f"cannot read folder {folder}: {e.strerror or e}") from e
    if foreign is not None and not (folder / marker).is_file():
        raise SpgvtonError(f"{folder} holds something else already ({foreign} ...): give a new or an empty folder")
    return folder


def user_cache() -> Path:
    """$XDG_CACHE_HOME/spgvton, or ~/.cache/spgvton: for what can be made again. The folder may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spgvton"
