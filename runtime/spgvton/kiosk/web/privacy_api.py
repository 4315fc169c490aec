"""The API of the privacy notice and of the step that asks first; and the page that anybody may read."""

from __future__ import annotations

import html
import string
from typing import Annotated, Final

from fastapi import FastAPI, HTTPException, Query
from fastapi.responses import HTMLResponse

from spgvton.kiosk.service import notice
from spgvton.kiosk.service.config import KioskConfig
from spgvton.kiosk.service.control import Kiosk
from spgvton.kiosk.service.language import Language
from spgvton.kiosk.web.models import Agreed, NoticeView
from spgvton.kiosk.web.openapi import STATIC, errors

PAGE: Final = string.Template((STATIC / "privacy.html").read_text())
Code = Annotated[str | None, Query(max_length=20, description="of a language that is offered; else what is spoken now")]


def add_privacy(app: FastAPI, kiosk: Kiosk, config: KioskConfig) -> None:
    """Add the routes of notice and consent."""

    def spoken(code: str | None) -> Language:
        offered = kiosk.languages.languages
        if code is not None and code not in offered:
            raise HTTPException(404, "this language is not offered")
        return offered[code or kiosk.language]

    @app.get("/api/notice", responses=errors(404))
    def told(language: Code = None) -> NoticeView:
        """What this kiosk does with a customer's picture."""
        found = spoken(language)
        return NoticeView(title=notice.title(found), paragraphs=notice.paragraphs(config, found))

    @app.get("/privacy", include_in_schema=False)
    def page(language: Code = None) -> HTMLResponse:
        """The same as a page, for phones and printers; no token is needed."""
        found = spoken(language)
        lines = "\n    ".join(f"<p>{html.escape(line)}</p>" for line in notice.paragraphs(config, found))
        words = {"title": html.escape(notice.title(found)), "paragraphs": lines}
        return HTMLResponse(PAGE.substitute(words, lang=found.code, dir=found.direction))

    @app.post("/api/consent", status_code=204, responses=errors(409))
    def agree(agreed: Agreed) -> None:
        """The customer agrees: the camera's pictures are looked at until she is forgotten."""
        if kiosk.consent is None:
            raise HTTPException(409, "this kiosk does not ask: privacy.consent is off in kiosk.yaml")
        kiosk.consent.agree()

    @app.delete("/api/consent", status_code=204, responses=errors(409))
    def end() -> None:
        """The customer has had enough: she is forgotten at once, and the next one is asked."""
        if kiosk.consent is None:
            raise HTTPException(409, "this kiosk does not ask: privacy.consent is off in kiosk.yaml")
        kiosk.consent.ask()
