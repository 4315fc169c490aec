"""The web application: pages, REST API (described by /openapi.json), live view, metrics and health."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from spgvton.errors import SpgvtonError
from spgvton.kiosk.pictures import jpeg as encode_jpeg
from spgvton.kiosk.pictures import overlay, smaller
from spgvton.kiosk.service.config import AttractConfig, KioskConfig
from spgvton.kiosk.service.control import Kiosk, NotKept
from spgvton.kiosk.service.rates import Rates
from spgvton.kiosk.service.supervisor import Health
from spgvton.kiosk.web.endless import EventsResponse, MjpegResponse, Viewers
from spgvton.kiosk.web.guard import COOKIE, Guard, Proxies, Token, too_many, wrong_token
from spgvton.kiosk.web.looks_api import add_looks
from spgvton.kiosk.web.models import (
    Choice,
    GarmentId,
    GarmentList,
    GarmentView,
    LanguageCode,
    LanguageName,
    LanguageView,
    PageView,
    Secret,
    Speech,
    StatusView,
    Switch,
)  # fmt: skip
from spgvton.kiosk.web.openapi import JPEG, STATIC, errors
from spgvton.kiosk.web.privacy_api import add_privacy
from spgvton.kiosk.web.review_api import add_review
from spgvton.kiosk.web.take_home_api import add_take_home
from spgvton.kiosk.web.uploads_api import Pictures, add_uploads
from spgvton.version import __version__

log = logging.getLogger(__name__)

PAGES: Final = {"/": "mirror.html", "/operator": "operator.html", "/review": "review.html", "/login": "login.html"}
PICTURE_SIDE: Final = 1080
KEPT: Final = {"cache-control": "private, max-age=86400"}
YEAR_S: Final = 365 * 24 * 3600


@dataclass(frozen=True)
class Services:
    """What the application serves. viewers: of the live view; listeners: of moments. registry: of /metrics. health: called for each probe.

    restart: ends the process soon.
    """

    kiosk: Kiosk
    viewers: Viewers
    listeners: Viewers
    registry: CollectorRegistry
    health: Callable[[], Health]
    config: KioskConfig
    restart: Callable[[], None]
    token: Token | None = None
    hosts: tuple[str, ...] = ()
    upload_bytes: int = 12 * 2**20
    proxies: Proxies | None = None


def build_app(services: Services) -> ASGIApp:
    """The whole application behind its guard."""
    failures = Rates(rate=5 / 60, burst=5)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.kiosk.sink.attach()
        services.kiosk.moments.attach()
        yield

    app = FastAPI(
        title="spgvton kiosk", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.add_exception_handler(Exception, _failed)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(RequestValidationError, _not_understood)
    _add_pages(app)
    _add_operations(app, services)
    _add_view(app, services)
    _add_decisions(app, services.kiosk)
    _add_page(app, services.kiosk, services.config.attract)
    _add_garments(app, services)
    pictures = Pictures()
    add_uploads(app, services.kiosk, pictures)
    add_review(app, services.kiosk, pictures)
    add_looks(app, services.kiosk)
    add_take_home(app, services.kiosk)
    add_privacy(app, services.kiosk, services.config)
    _add_login(app, services.token, failures)
    _describe_security(app)
    return Guard(
        app, token=services.token, hosts=services.hosts, rates=Rates(rate=100, burst=300), failures=failures,
        upload_bytes=services.upload_bytes, proxies=services.proxies,
    )  # fmt: skip


async def _gone(_: Request, error: Exception) -> Response:
    """Whoever sent this hears no answer."""
    log.info("a request was cut off")
    return Response(status_code=400)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("request failed", extra={"path": request.url.path, "method": request.method}, exc_info=error)
    return JSONResponse({"detail": "the kiosk failed to answer this; its log says why"}, 500)


async def _not_understood(_: Request, error: Exception) -> Response:
    """A request that the schema does not allow, in one line, as every other error; what was sent is not sent back."""
    assert isinstance(error, RequestValidationError)
    problems = [f"{'.'.join(str(step) for step in e['loc'])}: {e['msg']}" for e in error.errors()]
    return JSONResponse({"detail": "; ".join(problems)[:1000]}, 422)


def _describe_security(app: FastAPI) -> None:
    """OpenAPI says how the token is given."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            schema["components"]["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
            }
            schema["security"] = [{}, {"bearer": []}, {"cookie": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_pages(app: FastAPI) -> None:
    for path, file in PAGES.items():

        @app.get(path, include_in_schema=False)
        async def page(file: str = file) -> FileResponse:
            return FileResponse(STATIC / file)

    app.mount("/static", StaticFiles(directory=STATIC))


def _add_operations(app: FastAPI, services: Services) -> None:
    def probe(fine: bool, words: str) -> Response:
        return Response(words + "\n", 200 if fine else 503, media_type="text/plain")

    @app.get("/healthz", responses={200: {"content": {"text/plain": {}}}, 503: {}}, response_class=Response)
    def healthz() -> Response:
        """200 while the loop makes progress or waits for its source; 503 when it is about to be restarted."""
        health = services.health()
        return probe(health.alive, health.words)

    @app.get("/readyz", responses={200: {"content": {"text/plain": {}}}, 503: {}}, response_class=Response)
    def readyz() -> Response:
        """200 while pictures come out."""
        health = services.health()
        return probe(health.ready, health.words)

    @app.post("/api/restart", status_code=202, responses=errors())
    def restart() -> None:
        """End the process with exit code 75, so that its supervisor (the service, a container's restart policy) starts it anew."""
        services.restart()

    @app.get("/metrics", responses={**errors(), 200: {"content": {"text/plain": {}}}}, response_class=Response)
    def metrics() -> Response:
        """Prometheus text format."""
        return Response(generate_latest(services.registry), headers={"content-type": CONTENT_TYPE_LATEST})


def _add_view(app: FastAPI, services: Services) -> None:
    kiosk, boot = services.kiosk, secrets.token_hex(4)

    @app.get("/api/status", responses=errors())
    def status() -> StatusView:
        """State of the loop, for pages."""
        found = kiosk.status()
        wanted = {f.name: getattr(found, f.name) for f in fields(found) if f.name in StatusView.model_fields}
        return StatusView(
            boot=boot, can_record=kiosk.recording is not None, viewers=kiosk.sink.viewers,
            state_problem=kiosk.state_problem, language=kiosk.language,
            asks=kiosk.consent is not None, asking=kiosk.consent is not None and kiosk.consent.asking, **wanted,
        )  # fmt: skip

    @app.get("/stream.mjpg", responses={**errors(503), 200: {"content": {"multipart/x-mixed-replace": {}}}},
             response_class=Response)  # fmt: skip
    async def stream(request: Request) -> Response:
        """The live view, endless."""
        assert request.client is not None  # uvicorn on TCP always has one
        refusal = services.viewers.refusal(request.client.host)
        if refusal:
            raise HTTPException(503, refusal, {"retry-after": "5"})
        return MjpegResponse(services.viewers)

    @app.get("/api/events", responses={**errors(503), 200: {"content": {"text/event-stream": {}}}},
             response_class=Response)  # fmt: skip
    async def events(request: Request) -> Response:
        """Server-sent events, endless: each one a JSON object {state, hint_code, hand, highlighted, choice, agreeing} as it changes."""
        assert request.client is not None
        refusal = services.listeners.refusal(request.client.host)
        if refusal:
            raise HTTPException(503, refusal, {"retry-after": "5"})
        return EventsResponse(services.listeners)

    @app.get("/api/frame.jpg", responses={**errors(503), **JPEG}, response_class=Response)
    async def frame() -> Response:
        """The next frame as one JPEG."""
        with kiosk.sink.watching():
            try:
                encoded = await asyncio.wait_for(kiosk.sink.next(), 5)
            except asyncio.TimeoutError:
                encoded = None
        if encoded is None:
            raise HTTPException(503, "no picture comes from the mirror now")
        return Response(encoded.data, media_type="image/jpeg")


def _add_decisions(app: FastAPI, kiosk: Kiosk) -> None:
    @app.put("/api/garment", responses=errors(404, 409, 507))
    def choose(choice: Choice) -> GarmentView:
        """Wear a garment from the next frame on."""
        if kiosk.catalogue.get(choice.id) is None:
            raise HTTPException(404, "there is no such garment")
        try:
            return GarmentView.of(kiosk.choose(choice.id), choice.id)
        except NotKept as e:
            raise HTTPException(507, str(e)) from e
        except SpgvtonError as e:
            raise HTTPException(409, str(e)) from e

    @app.post("/api/retake", status_code=204, responses=errors())
    def retake() -> None:
        """Forget the person and take a new source picture."""
        kiosk.retake()

    @app.put("/api/privacy", status_code=204, responses=errors(507))
    def privacy(switch: Switch) -> None:
        """Show and keep no camera picture while on. 507: so it is now, but a restart would forget it."""
        try:
            kiosk.set_privacy(switch.on)
        except NotKept as e:
            raise HTTPException(507, str(e)) from e

    @app.put("/api/recording", status_code=204, responses=errors(409))
    def recording(switch: Switch) -> None:
        """Write the shown pictures to a file while on; a badge says so."""
        try:
            kiosk.set_recording(switch.on)
        except SpgvtonError as e:
            raise HTTPException(409, str(e)) from e


def _add_page(app: FastAPI, kiosk: Kiosk, attract: AttractConfig) -> None:
    offered = kiosk.languages.languages

    @app.get("/api/page", responses=errors())
    def page() -> PageView:
        """What the customer's page needs to know once."""
        names = [LanguageName(code=each.code, name=each.name, direction=each.direction) for each in offered.values()]
        return PageView(
            languages=names, mirrored=kiosk.mirror.mirrored, hints_in_picture=kiosk.mirror.written,
            touchless=kiosk.touchless is not None, hand_agrees=kiosk.hand_watch is not None, attract=attract,
            take_home=kiosk.take_home is not None,
        )  # fmt: skip

    @app.get("/api/languages/{code}", responses=errors(404))
    def words(code: LanguageCode) -> LanguageView:
        """All that the page says in one language."""
        if code not in offered:
            raise HTTPException(404, "this language is not offered")
        spoken = offered[code]
        return LanguageView(code=code, name=spoken.name, direction=spoken.direction, words=dict(spoken.words))

    @app.put("/api/language", status_code=204, responses=errors(404))
    def speak(speech: Speech) -> None:
        """Speak another language until the customer is forgotten."""
        try:
            kiosk.speak(speech.code)
        except SpgvtonError as e:
            raise HTTPException(404, str(e)) from e


def _add_garments(app: FastAPI, services: Services) -> None:
    kiosk, catalogue = services.kiosk, services.kiosk.catalogue

    @app.get("/api/garments", responses=errors())
    def garments() -> GarmentList:
        """The catalogue by name; those with a problem cannot be worn."""
        worn = kiosk.garment
        views = [GarmentView.of(garment, worn) for garment in catalogue.garments()]
        return GarmentList(garments=views, problem=catalogue.problem, list_problems=list(catalogue.list_problems[:50]))

    @app.get("/api/garments/{garment}/thumbnail.jpg", responses={**errors(404), **JPEG}, response_class=Response)
    def thumbnail(garment: GarmentId) -> Response:
        """240 x 240 pixels."""
        data = catalogue.thumbnail(garment)
        if not data:
            raise HTTPException(404, "there is no such garment, or it has no picture")
        # Its URL changes with the file.
        return Response(data, media_type="image/jpeg", headers=KEPT)

    @app.get("/api/garments/{garment}/picture.jpg", responses={**errors(404, 409), **JPEG}, response_class=Response)
    def picture(garment: GarmentId) -> Response:
        """The garment's picture, at most 1080 pixels on a side; what is not garment is white."""
        if catalogue.get(garment) is None:
            raise HTTPException(404, "there is no such garment")
        try:
            found, mask = catalogue.load(garment)
        except SpgvtonError as e:
            raise HTTPException(409, str(e)) from e
        cut = np.where(mask[..., None] > 127, found, np.uint8(255))
        # Its URL changes with the file.
        return Response(encode_jpeg(smaller(cut, PICTURE_SIDE)), media_type="image/jpeg", headers=KEPT)

    @app.get("/api/garments/{garment}/mask.jpg", responses={**errors(404, 409), **JPEG}, response_class=Response)
    def mask(garment: GarmentId) -> Response:
        """The garment with the mask that is used."""
        if catalogue.get(garment) is None:
            raise HTTPException(404, "there is no such garment")
        try:
            return Response(encode_jpeg(overlay(*catalogue.load(garment))), media_type="image/jpeg")
        except SpgvtonError as e:
            raise HTTPException(409, str(e)) from e

    @app.delete("/api/garments/{garment}", status_code=204, responses=errors(404, 507))
    def remove(garment: GarmentId) -> None:
        """Delete a garment's files. Who wears it keeps it on."""
        try:
            found = catalogue.remove(garment)
        except SpgvtonError as e:
            raise HTTPException(507, str(e)) from e
        if not found:
            raise HTTPException(404, "there is no such garment")
        log.info("garment removed", extra={"garment": garment})


def _add_login(app: FastAPI, token: Token | None, failures: Rates) -> None:
    @app.post("/api/login", status_code=204, responses=errors())
    def login(secret: Secret, request: Request, response: Response) -> None:
        """Exchange the token for a cookie."""
        address = request.client.host if request.client else ""
        if token is None:
            return
        if not token.is_secret(secret.token.strip()):
            wait = wrong_token(failures, address)
            if wait:
                raise HTTPException(429, too_many(wait), {"retry-after": str(wait)})
            raise HTTPException(401, "wrong token")
        response.set_cookie(COOKIE, token.cookie, max_age=YEAR_S, httponly=True, samesite="strict")
