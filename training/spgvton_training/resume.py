"""The state of an earlier run in the same folder: read, and refused where it is not a state of this very run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spgvton.errors import SpgvtonError
from spgvton_training.checkpoint import load_state
from spgvton_training.config import parse
from spgvton_training.data.layout import Triple

STATE = "state.pt"  # in a run's folder


def differences(earlier: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two nested dictionaries, as "option: before, now"; at most five of them."""
    if isinstance(earlier, dict) and isinstance(now, dict):
        found: list[str] = []
        for key in sorted({*earlier, *now}, key=str):
            path = key if name in ("", "run") else f"{name}.{key}"
            found += differences(earlier.get(key), now.get(key), str(path)) if earlier.get(key) != now.get(key) else []
        return found if len(found) <= 5 else [*found[:5], f"and {len(found) - 5} more"]
    words = {"triples": "the data set's triples", "world": "number of processes", "qat": "the ranges of --qat"}
    if name in words or len(f"{earlier}{now}") > 80:
        return [words.get(name, name)]
    return [f"{name}: {earlier} before, {now} now"]


def hash_triples(triples: Sequence[Triple]) -> str:
    """SHA-256 of TRIPLES in their order, in hex."""
    return hashlib.sha256("\n".join(f"{t.source}\t{t.target}\t{t.cloth}" for t in triples).encode()).hexdigest()


def read_state(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The state that a run of the same IDENTITY saved in FOLDER, None where there is none.

    identity: what both must have in common, "run" being a configuration as a dictionary. Raises SpgvtonError for the
    state of another run, naming what differs, and of another version.
    """
    file = folder / STATE
    if not file.exists():
        return None
    state = load_state(file)
    try:
        earlier = state["config"] | {"run": parse(state["config"]["run"]).to_dict()}  # an option since then is off
    except (KeyError, TypeError, ValueError, SpgvtonError) as e:
        raise SpgvtonError(
            f"{file} was saved by another version ({e}): go on with that one, or choose another --out"
        ) from e
    if earlier != identity:
        changed = "; ".join(differences(earlier, identity))
        raise SpgvtonError(
            f"{folder} holds a run with another configuration or data ({changed}): choose another --out, or give "
            "the same options"
        )
    return state
