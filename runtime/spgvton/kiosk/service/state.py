"""What a kiosk remembers over restarts: the garment worn, and whether it was switched to private. And its token.

Recording is not among them: after a restart it is off until someone switches it on again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from spgvton.errors import SpgvtonError
from spgvton.files import atomic_path, make_folder, read_file, write_text

log = logging.getLogger(__name__)
MIN_TOKEN: Final = 16
REVIEW: Final = "review"  # folder beside state.json: photographs that wait for staff
MAX_STATE: Final = 64 * 2**10  # bytes


@dataclass(frozen=True)
class Saved:
    """garment: id in the catalogue, or None."""

    garment: str | None = None
    privacy: bool = False


CLOSED: Final = Saved(None, True)  # where nobody knows what was decided, no camera picture is shown


class StateFile:
    """state.json in FOLDER, which is created where it is missing. Written atomically. Raises SpgvtonError.

    damaged: that what was decided is not known; "" otherwise.
    """

    def __init__(self, folder: Path) -> None:
        self.path = make_folder(folder) / "state.json"
        self.damaged = ""  # until somebody decides anew
        self._unwritten = ""

    @property
    def problem(self) -> str:
        """What is wrong with it, for staff; "" while nothing is."""
        return self._unwritten or self.damaged

    def read(self) -> Saved:
        """What was saved last. A file that cannot be read or understood counts as private: the mirror must come up."""
        if not os.path.lexists(self.path):
            return Saved()
        try:
            data = json.loads(read_file(self.path, MAX_STATE).decode())
            garment, privacy = data["garment"], data["privacy"]
            if not isinstance(garment, str | None) or not isinstance(privacy, bool):
                raise TypeError("a value of the wrong type")
        except (SpgvtonError, ValueError, KeyError, TypeError, RecursionError) as e:
            self.damaged = (
                f"{self.path.name} was damaged, so the mirror is private: switch that off where it should not be"
            )
            log.error("state file is damaged: privacy is on", extra={"path": str(self.path), "error": str(e)})
            return CLOSED
        return Saved(garment, privacy)

    def write(self, saved: Saved) -> None:
        """Raises SpgvtonError where SAVED is not on disk afterwards."""
        try:
            write_text(self.path, json.dumps(asdict(saved)))
        except SpgvtonError as e:
            self._unwritten = f"not kept over a restart: {e}"
            raise
        self._unwritten = ""


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """While inside, FOLDER is this kiosk's alone: two that write one state undo each other's.

    Raises SpgvtonError where another one has it. The lock goes with the process, however that ends.
    """
    descriptor = os.open(make_folder(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise SpgvtonError(
                f"another kiosk uses {folder}: stop it, or give this one a state folder of its own"
            ) from e
        except OSError as e:
            log.warning("the state folder cannot be locked", extra={"error": str(e)})  # a network file system
        yield
    finally:
        os.close(descriptor)


def obtain_token(folder: Path) -> tuple[str, bool]:
    """The token in FOLDER/token, and whether it was made just now (then it should be shown, once).

    Raises SpgvtonError when the file can be read by others, is too short, or cannot be written.
    """
    path = make_folder(folder) / "token"
    try:
        if path.stat().st_mode & 0o077:
            raise SpgvtonError(f"{path} can be read by other users: chmod 600 {path}")
        token = read_file(path, MAX_STATE).decode("ascii").strip()
        if len(token) < MIN_TOKEN:
            raise SpgvtonError(f"{path} has fewer than {MIN_TOKEN} characters: delete it, and a new one is made")
        return token, False
    except FileNotFoundError:
        pass
    except UnicodeDecodeError as e:
        raise SpgvtonError(f"{path} is not plain text: delete it, and a new one is made") from e
    except OSError as e:
        raise SpgvtonError(f"cannot read {path}: {e.strerror or e}") from e
    token = secrets.token_urlsafe(24)
    with atomic_path(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
    return token, True
