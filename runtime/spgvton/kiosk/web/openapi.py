"""What several parts of the API say of themselves in /openapi.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from spgvton.kiosk.web.models import Problem

STATIC: Final = Path(__file__).parent / "static"
Responses = dict[int | str, dict[str, Any]]

JPEG: Final[Responses] = {200: {"content": {"image/jpeg": {}}}}
PICTURE_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {f"image/{kind}": {"schema": {"type": "string", "format": "binary"}}
                    for kind in ("png", "jpeg", "webp")},
    }
}  # fmt: skip


def errors(*codes: int) -> Responses:
    """OpenAPI's `responses` for these codes; the guard's own codes can follow any request."""
    return {code: {"model": Problem} for code in (*codes, 400, 401, 403, 408, 413, 421, 422, 429)}
