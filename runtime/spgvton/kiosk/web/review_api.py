"""The API of what was imported in bulk: looked at, corrected, accepted or rejected by staff, one by one."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query, Request, Response

from spgvton.errors import SpgvtonError
from spgvton.kiosk.garments.garment import readable
from spgvton.kiosk.garments.review import Waiting
from spgvton.kiosk.garments.uploads import decode_upload
from spgvton.kiosk.service.control import Kiosk
from spgvton.kiosk.web.models import Accepted, GarmentView, ReviewList, UploadId, UploadView, WaitingView
from spgvton.kiosk.web.openapi import JPEG, PICTURE_BODY, errors
from spgvton.kiosk.web.uploads_api import Pictures, upload_view

log = logging.getLogger(__name__)

FileName = Annotated[str, Query(min_length=1, max_length=200, description="the photograph's own name")]


def add_review(app: FastAPI, kiosk: Kiosk, pictures: Pictures) -> None:
    """Add the routes below /api/review."""
    review, catalogue = kiosk.review, kiosk.catalogue

    def view(entry: Waiting) -> WaitingView:
        article = catalogue.article(entry.stem)
        return WaitingView(
            id=entry.id, file=entry.stem, name=article.name or readable(entry.stem), listed=bool(article.name),
            category=article.category, size=article.size, price=article.price, sku=article.sku,
            kind=entry.kind, sleeve=entry.sleeve, confidence=entry.confidence, notes=list(entry.notes),
            problem=entry.problem, preview=f"/api/review/{entry.id}/preview.jpg",
        )  # fmt: skip

    @app.get("/api/review", responses=errors())
    def listed() -> ReviewList:
        """The photographs that wait, by name."""
        return ReviewList(waiting=[view(entry) for entry in review.waiting()])

    @app.post("/api/review", status_code=201, responses=errors(), openapi_extra=PICTURE_BODY)
    async def add(file: FileName, request: Request) -> WaitingView:
        """Send one photograph of many (PNG, JPEG or WebP as the body); its garment is cut out and waits for review."""

        def cut(data: bytes) -> Waiting:
            return review.add(data, file, decode_upload(data, "the picture", keep_alpha=True))

        return view(await pictures.received(request, cut))

    @app.get("/api/review/{own}/preview.jpg", responses={**errors(404, 409), **JPEG}, response_class=Response)
    def preview(own: UploadId) -> Response:
        """The photograph, dark where there is no garment; at most 480 pixels on a side."""
        try:
            return Response(review.preview(_waiting(kiosk, own)), media_type="image/jpeg")
        except SpgvtonError as e:
            raise HTTPException(409, str(e)) from e

    _add_decisions(app, kiosk)


def _waiting(kiosk: Kiosk, own: str) -> Waiting:
    entry = kiosk.review.get(own)
    if entry is None:
        raise HTTPException(404, "this photograph does not wait any more")
    return entry


def _add_decisions(app: FastAPI, kiosk: Kiosk) -> None:
    review, uploads, catalogue = kiosk.review, kiosk.uploads, kiosk.catalogue

    @app.post("/api/review/{own}/open", responses=errors(404, 409))
    def open_(own: UploadId) -> UploadView:
        """Correct its mask: for 15 minutes it is an upload of the same id, too (/api/uploads/ID/taps, mask, preview.jpg)."""
        try:
            entry = _waiting(kiosk, own)
            return upload_view(uploads.get(own) or uploads.take(review.upload(entry)))
        except SpgvtonError as e:
            raise HTTPException(409, str(e)) from e

    @app.post("/api/review/{own}/accept", status_code=201, responses=errors(404, 409, 507))
    def accept(own: UploadId, accepted: Accepted) -> GarmentView:
        """Put the garment into the catalogue, with the mask as it was corrected."""
        entry, opened = _waiting(kiosk, own), uploads.get(own)
        if accepted.corrected and opened is None:
            raise HTTPException(409, "its corrections were not kept for so long: correct it again")
        try:
            found = opened or review.upload(entry)
        except SpgvtonError as e:
            raise HTTPException(409, str(e)) from e
        if found.mask is None:
            raise HTTPException(409, "it has no mask yet: correct it by taps, or reject it")
        try:
            garment = catalogue.save(found.picture, found.mask, accepted.name, entry.stem)
            review.discard(own)
        except SpgvtonError as e:
            raise HTTPException(507, str(e)) from e
        uploads.discard(own)
        log.info("garment added", extra={"garment": garment.id})
        return GarmentView.of(garment, kiosk.garment)

    @app.delete("/api/review/{own}", status_code=204, responses=errors(404, 507))
    def reject(own: UploadId) -> None:
        """Delete it here; the photograph itself stays where it came from."""
        _waiting(kiosk, own)
        try:
            review.discard(own)
        except SpgvtonError as e:
            raise HTTPException(507, str(e)) from e
        uploads.discard(own)
