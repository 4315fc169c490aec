"""A program beside a kiosk: which garments are there, wear one, save the picture that is shown.

python examples/kiosk_client.py http://127.0.0.1:8080 [TOKEN]      (docs/kiosk.md; /openapi.json has the whole interface)
"""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any


class Kiosk:
    """url: of the kiosk, without a path. token: what `state/token` holds, where it listens on more than this machine."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url, self.headers = url.rstrip("/"), {"authorization": f"Bearer {token}"} if token else {}

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """The answer's body. Raises urllib.error.HTTPError, whose body says why."""
        data = None if body is None else json.dumps(body).encode()
        headers = {**self.headers, "content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    def garments(self) -> list[dict[str, Any]]:
        """{id, name, worn, problem, ...} of each."""
        found: list[dict[str, Any]] = json.loads(self._send("GET", "/api/garments"))["garments"]
        return found

    def wear(self, garment: str) -> None:
        """Put on the garment of this id, from the next frame on."""
        self._send("PUT", "/api/garment", {"id": garment})

    def picture(self) -> bytes:
        """The next picture that is shown, JPEG."""
        return self._send("GET", "/api/frame.jpg")


def main(url: str, token: str = "", out: str = "mirror.jpg") -> None:
    kiosk = Kiosk(url, token)
    usable = [g for g in kiosk.garments() if not g["problem"]]
    print("\n".join(f"{'*' if g['worn'] else ' '} {g['name']}" for g in usable))
    kiosk.wear(usable[0]["id"])
    Path(out).write_bytes(kiosk.picture())


if __name__ == "__main__":
    main(*sys.argv[1:])
