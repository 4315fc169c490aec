"""Atomic writes: a reader sees the old file or the whole new one, never a part of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spgvton.errors import SpgvtonError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside PATH (same suffix); on success it replaces PATH, on failure it is removed.

    Raises SpgvtonError when the folder is missing, read-only or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as e:
        raise SpgvtonError(f"cannot write {target}: {e.strerror or e}") from e
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write DATA to PATH atomically. Raises SpgvtonError."""
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


def user_cache() -> Path:
    """$XDG_CACHE_HOME/spgvton, or ~/.cache/spgvton: for what can be made again. The folder may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spgvton"
