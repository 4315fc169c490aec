"""The API of the customer's last looks: kept, compared, dropped."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException, Response

from spgvton.kiosk.mirror.looks import Look
from spgvton.kiosk.service.control import Kiosk
from spgvton.kiosk.web.models import LookId, LookList, LookView
from spgvton.kiosk.web.openapi import JPEG, errors


def add_looks(app: FastAPI, kiosk: Kiosk) -> None:
    """Add the routes below /api/looks."""
    looks = kiosk.looks

    def view(look: Look) -> LookView:
        picture = f"/api/looks/{look.id}/look.jpg"
        return LookView(id=look.id, garment=look.garment, name=look.name, picture=picture)

    @app.get("/api/looks", responses=errors())
    def listed() -> LookList:
        """The last looks of this customer, the oldest first. They are in memory, and dropped when she is forgotten."""
        return LookList(looks=[view(look) for look in looks.all()])

    @app.post("/api/looks", responses=errors())
    def keep() -> LookList:
        """Keep how she looks now, where she is dressed; one that is left for another garment is kept by itself."""
        kiosk.keep_look()
        return listed()

    @app.get("/api/looks/{look}/look.jpg", responses={**errors(404), **JPEG}, response_class=Response)
    def picture(look: LookId) -> Response:
        """At most 1280 pixels on a side, not mirrored."""
        found = looks.get(look)
        if found is None:
            raise HTTPException(404, "this look is forgotten")
        return Response(found.data, media_type="image/jpeg")

    @app.delete("/api/looks", status_code=204, responses=errors())
    def wipe() -> None:
        """Drop them all now."""
        looks.wipe()
