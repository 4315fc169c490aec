"""What a kiosk remembers over restarts: the garment worn, and whether it was switched to private. And its token.

Recording is not among them: after a restart it is off until someone switches it on again.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from spgvton.errors import SpgvtonError
from spgvton.files import atomic_path, make_folder, write_text

log = logging.getLogger(__name__)
MIN_TOKEN: Final = 16


@dataclass(frozen=True)
class Saved:
    """garment: id in the catalogue, or None."""

    garment: str | None = None
    privacy: bool = False


class StateFile:
    """state.json in FOLDER, which is created where it is missing. Written atomically. Raises SpgvtonError."""

    def __init__(self, folder: Path) -> None:
        self.path = make_folder(folder) / "state.json"

    def read(self) -> Saved:
        """What was saved last; a file that is damaged counts as none, for the mirror must come up."""
        try:
            data = json.loads(self.path.read_text("utf-8"))
            garment, privacy = data["garment"], data["privacy"]
            if not isinstance(garment, str | None) or not isinstance(privacy, bool):
                raise TypeError("a value of the wrong type")
        except FileNotFoundError:
            return Saved()
        except (OSError, ValueError, KeyError, TypeError) as e:
            log.warning("state file is damaged and is ignored", extra={"path": str(self.path), "error": str(e)})
            return Saved()
        return Saved(garment, privacy)

    def write(self, saved: Saved) -> None:
        write_text(self.path, json.dumps(asdict(saved)))


def obtain_token(folder: Path) -> tuple[str, bool]:
    """The token in FOLDER/token, and whether it was made just now (then it should be shown, once).

    Raises SpgvtonError when the file can be read by others, is too short, or cannot be written.
    """
    path = make_folder(folder) / "token"
    try:
        if path.stat().st_mode & 0o077:
            raise SpgvtonError(f"{path} can be read by other users: chmod 600 {path}")
        token = path.read_text("ascii").strip()
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
