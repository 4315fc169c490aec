"""The API of uploads: a garment's picture is sent, its mask looked at and corrected, and it goes into the catalogue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from fastapi import FastAPI, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from spgvton.errors import SpgvtonError
from spgvton.kiosk.garments.uploads import Upload
from spgvton.kiosk.service.control import Kiosk
from spgvton.kiosk.web.models import GarmentView, Name, TapPlace, UploadId, UploadView
from spgvton.kiosk.web.openapi import JPEG, PICTURE_BODY, errors
from spgvton.perception.mask_taps import Tap

log = logging.getLogger(__name__)

MAX_BODIES: Final = 4  # pictures that are received at the same time
MAX_DECODED: Final = 2  # and decoded: one of 24 megapixels is 72 MB
Made = TypeVar("Made")


class Pictures:
    """Limits what pictures that are sent at the same time cost."""

    def __init__(self) -> None:
        self._decoding, self._receiving = asyncio.Semaphore(MAX_DECODED), asyncio.Semaphore(MAX_BODIES)

    async def received(self, request: Request, action: Callable[[bytes], Made]) -> Made:
        """What ACTION makes of the request's body; SpgvtonError becomes 422, too many at once 429."""
        if self._receiving.locked():
            raise HTTPException(429, "too many uploads at once: try again in a moment", {"retry-after": "2"})
        async with self._receiving:
            data = await request.body()
        async with self._decoding:
            try:
                return await run_in_threadpool(action, data)
            except SpgvtonError as e:
                raise HTTPException(422, str(e)) from e


def upload_view(upload: Upload) -> UploadView:
    """What the API says of UPLOAD."""
    height, width = upload.picture.shape[:2]
    return UploadView(
        id=upload.id, width=width, height=height, mask=upload.mask is not None, problem=upload.problem,
        preview=f"/api/uploads/{upload.id}/preview.jpg", taps=len(upload.earlier), notes=list(upload.notes),
    )  # fmt: skip


def _pending(kiosk: Kiosk, upload_id: str) -> Upload:
    upload = kiosk.uploads.get(upload_id)
    if upload is None:
        raise HTTPException(404, "there is no such upload: it may have been too old, send the picture again")
    return upload


def add_uploads(app: FastAPI, kiosk: Kiosk, pictures: Pictures) -> None:
    """Add the routes below /api/uploads."""
    uploads = kiosk.uploads

    @app.post("/api/uploads", status_code=201, responses=errors(), openapi_extra=PICTURE_BODY)
    async def upload(request: Request) -> UploadView:
        """Send a garment's picture (PNG, JPEG or WebP as the body); its mask is found and waits to be accepted."""
        return upload_view(await pictures.received(request, uploads.add))

    @app.put("/api/uploads/{upload_id}/mask", responses=errors(404), openapi_extra=PICTURE_BODY)
    async def set_mask(upload_id: UploadId, request: Request) -> UploadView:
        """Give the mask oneself: white where the garment is, of the picture's shape."""
        found = _pending(kiosk, upload_id)
        return upload_view(await pictures.received(request, lambda data: uploads.set_mask(found, data)))

    @app.get("/api/uploads/{upload_id}/preview.jpg", responses={**errors(404), **JPEG}, response_class=Response)
    def preview(upload_id: UploadId) -> Response:
        """The picture, dark where the mask takes it for background."""
        return Response(_pending(kiosk, upload_id).preview(), media_type="image/jpeg")

    @app.post("/api/uploads/{upload_id}/accept", status_code=201, responses=errors(404, 409, 507))
    def accept(upload_id: UploadId, name: Name) -> GarmentView:
        """Put the garment into the catalogue."""
        found = _pending(kiosk, upload_id)
        if found.mask is None:
            raise HTTPException(409, "it has no mask yet: send one, or another picture")
        try:
            garment = kiosk.catalogue.save(found.picture, found.mask, name.name)
        except SpgvtonError as e:
            raise HTTPException(507, str(e)) from e
        uploads.discard(upload_id)
        log.info("garment added", extra={"garment": garment.id})
        return GarmentView.of(garment, kiosk.garment)

    @app.delete("/api/uploads/{upload_id}", status_code=204, responses=errors(404))
    def discard(upload_id: UploadId) -> None:
        """Forget an upload."""
        if not uploads.discard(upload_id):
            raise HTTPException(404, "there is no such upload")

    _add_taps(app, kiosk)


def _add_taps(app: FastAPI, kiosk: Kiosk) -> None:
    uploads = kiosk.uploads

    @app.post("/api/uploads/{upload_id}/taps", responses=errors(404))
    def tap(upload_id: UploadId, where: TapPlace) -> UploadView:
        """Correct the mask: what lies at a place, and looks like it, is garment or is not."""
        try:
            return upload_view(uploads.tap(_pending(kiosk, upload_id), Tap(where.x, where.y, where.add)))
        except SpgvtonError as e:
            raise HTTPException(422, str(e)) from e

    @app.delete("/api/uploads/{upload_id}/taps", responses=errors(404))
    def undo(upload_id: UploadId) -> UploadView:
        """Take the last tap back."""
        try:
            return upload_view(uploads.undo(_pending(kiosk, upload_id)))
        except SpgvtonError as e:
            raise HTTPException(422, str(e)) from e
