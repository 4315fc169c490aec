"""Engines on disk: each with a sidecar that says what it was built from. A stale one is rebuilt, and the reason told."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from spgvton.bundle import sha256
from spgvton.files import user_cache, write_bytes, write_text

FORMAT: Final = "spgvton-engine-1"
Key = dict[str, Any]


def default_folder(bundle: Path) -> Path:
    """Where the engines of a bundle lie: $XDG_CACHE_HOME/spgvton/engines/<name of its folder>-<hash of its path>."""
    path = bundle.resolve()
    return user_cache() / "engines" / f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def sidecar_of(engine: Path) -> Path:
    return engine.with_name(f"{engine.name}.json")


def why_stale(engine: Path, key: Key) -> str | None:
    """None when ENGINE is whole and was built from KEY; else the reason to build, "" where there is no engine yet."""
    if not engine.exists():
        return ""
    try:
        sidecar = json.loads(sidecar_of(engine).read_text())
        found, recorded = sidecar["key"], sidecar["engine"]["sha256"]
        if sidecar["format"] != FORMAT:
            return f"its sidecar has format {sidecar['format']!r}"
        differing = sorted(k for k in {*key, *found} if key.get(k) != found.get(k))
    except OSError:
        return "it has no sidecar"
    except (ValueError, KeyError, TypeError):
        return "its sidecar is damaged"
    if differing:
        return "; ".join(f"{k}: {_short(found.get(k))} -> {_short(key.get(k))}" for k in differing)
    return None if sha256(engine) == recorded else "it is not the file that was written (hash differs)"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{text[:8]}..." if len(text) == 64 else text


@contextmanager
def only_builder(folder: Path) -> Iterator[None]:
    """Inside the block no other process builds into FOLDER; one that does is waited for, and that is said.

    Two builders at once would take each other's GPU memory and measure each other. Where the file system knows no locks,
    nothing is locked.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another process builds into {folder}: waiting for it", file=sys.stderr)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # gives the lock back; so does the process's end


def read_facts(engine: Path) -> dict[str, Any]:
    """What `write` was told about an engine that is not stale."""
    facts: dict[str, Any] = json.loads(sidecar_of(engine).read_text())["facts"]
    return facts


def write(engine: Path, plan: bytes, key: Key, facts: dict[str, Any]) -> None:
    """Write the engine, then its sidecar, each atomically: a crash between them leaves a stale engine, not a wrong one.

    Raises SpgvtonError when the folder cannot be written or the disk is full.
    """
    write_bytes(engine, plan)
    digest = {"sha256": hashlib.sha256(plan).hexdigest(), "bytes": len(plan)}
    sidecar = {"format": FORMAT, "key": key, "engine": digest, "facts": facts}
    write_text(sidecar_of(engine), json.dumps(sidecar, indent=2) + "\n")
