"""The API of stills that customers take home, and the page that their phones open."""

from __future__ import annotations

import html
import logging
import string
import time
from typing import Final

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse

from spgvton.errors import SpgvtonError
from spgvton.kiosk.service.control import Kiosk
from spgvton.kiosk.service.language import Language
from spgvton.kiosk.service.take_home import PATH, Busy, TakeHome, qr_rows
from spgvton.kiosk.web.models import Consent, TakeHomeOffer, TakeHomeState, TakeSecret
from spgvton.kiosk.web.openapi import STATIC, errors

log = logging.getLogger(__name__)

PAGE: Final = string.Template((STATIC / "take.html").read_text())
GONE: Final = "This picture was fetched already, or its time is over. Nothing of it is left."


def add_take_home(app: FastAPI, kiosk: Kiosk) -> None:
    """Add the routes below /api/take-home and /take."""
    _add_mirror_side(app, kiosk)
    _add_phone_side(app, kiosk)


def _add_mirror_side(app: FastAPI, kiosk: Kiosk) -> None:
    def service() -> TakeHome:
        if kiosk.take_home is None:
            raise HTTPException(404, "this kiosk has no take_home.address in kiosk.yaml")
        return kiosk.take_home

    @app.post("/api/take-home", status_code=201, responses=errors(404, 409))
    def offer(consent: Consent) -> TakeHomeOffer:
        """With the customer's consent, hold a still of her for her phone: once, and for some minutes."""
        found = service()
        try:
            secret = kiosk.offer_still(consent.look)
        except Busy as e:
            raise HTTPException(429, str(e), {"retry-after": "5"}) from e
        except SpgvtonError as e:
            raise HTTPException(409, str(e)) from e
        url = found.url(secret)
        return TakeHomeOffer(secret=secret, url=url, qr=qr_rows(url), seconds=round(found.seconds))

    @app.get("/api/take-home/{secret}", responses=errors(404))
    def state(secret: TakeSecret) -> TakeHomeState:
        """Whether the still is there yet."""
        found = service().get(secret)
        return TakeHomeState(seconds=max(1, round(found.until - time.monotonic())) if found else 0)

    @app.delete("/api/take-home/{secret}", status_code=204, responses=errors(404))
    def drop(secret: TakeSecret) -> None:
        """Drop the still now."""
        service().drop(secret)


def _add_phone_side(app: FastAPI, kiosk: Kiosk) -> None:
    def gone(request: Request) -> Response:
        wait = kiosk.take_home.wrong(request.client.host if request.client else "") if kiosk.take_home else 0
        if wait:
            return Response(GONE + "\n", 429, {"retry-after": str(wait)}, "text/plain")
        return Response(GONE + "\n", 404, media_type="text/plain")

    @app.get(PATH + "{secret}/", include_in_schema=False)
    def page(secret: TakeSecret, request: Request) -> Response:
        """What a phone shows first: programs that look at links before people do take nothing away."""
        found = kiosk.take_home.get(secret) if kiosk.take_home else None
        return HTMLResponse(_page(kiosk.languages.languages[found.language])) if found else gone(request)

    @app.get(PATH + "{secret}/look.jpg", include_in_schema=False)
    def picture(secret: TakeSecret, request: Request) -> Response:
        """The still, once."""
        data = kiosk.take_home.take(secret) if kiosk.take_home else None
        if data is None:
            return gone(request)
        log.info("a still was taken home")
        return Response(data, 200, {"content-disposition": 'attachment; filename="look.jpg"'}, "image/jpeg")


def _page(language: Language) -> str:
    words = {
        key.replace(".", "_"): html.escape(text) for key, text in language.words.items() if key.startswith("take.")
    }
    return PAGE.substitute(words, lang=language.code, dir=language.direction)
