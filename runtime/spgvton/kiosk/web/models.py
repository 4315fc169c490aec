"""What the API says and takes, as OpenAPI describes it."""

from __future__ import annotations

import zlib
from typing import Annotated, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from spgvton.kiosk.garments.garment import MAX_NAME, Garment
from spgvton.kiosk.mirror.lifecycle import State
from spgvton.kiosk.mirror.status import Mode
from spgvton.kiosk.service.config import AttractConfig
from spgvton.kiosk.service.language import CODE, Direction

GarmentId = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="as listed by /api/garments")]
LanguageCode = Annotated[str, Path(pattern=CODE, description="as listed by /api/page")]
UploadId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{16}$", description="as answered by POST /api/uploads")]

TakeSecret = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{32}$", description="as answered by POST /api/take-home")]
LookId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="as listed by /api/looks")]


class Body(BaseModel):
    """A request's JSON: nothing unknown, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Choice(Body):
    id: str = Field(max_length=64)


class Switch(Body):
    on: bool


class Name(Body):
    name: str = Field(min_length=1, max_length=MAX_NAME)


class Speech(Body):
    code: str = Field(max_length=20)


class LanguageView(BaseModel):
    """What the page says in one language; direction: "ltr" or "rtl"."""

    code: str
    name: str
    direction: Direction
    words: dict[str, str]


class LanguageName(BaseModel):
    code: str
    name: str
    direction: Direction


class PageView(BaseModel):
    """What the customer's page needs to know once; it changes with status.boot at most."""

    languages: list[LanguageName] = Field(description="that are offered; one alone needs no button")
    mirrored: bool = Field(description="the live view is: pictures that are not should be flipped beside it")
    take_home: bool = Field(description="a customer may take a still home on her phone")
    hints_in_picture: bool = Field(description="English hints are written into the live view: a window shows it too")
    touchless: bool = Field(description="a raised hand chooses")
    hand_agrees: bool = Field(description="a raised hand that is held still agrees to be looked at")
    attract: AttractConfig


class Accepted(Name):
    """corrected: its mask was corrected; where those corrections are gone, nothing is accepted."""

    corrected: bool = False


class Agreed(Body):
    agreed: Literal[True]


class Consent(Body):
    """What the customer was asked on the screen, and agreed to. look: one of /api/looks; else how she looks now."""

    consent: Literal[True]
    look: str | None = Field(default=None, max_length=32)


class TapPlace(Body):
    """x, y: shares of the picture's width and height. add: what lies there is garment; else it is not."""

    x: float = Field(ge=0, le=1)
    y: float = Field(ge=0, le=1)
    add: bool


class Secret(Body):
    token: str = Field(min_length=1, max_length=200)


class Problem(BaseModel):
    """Every error."""

    detail: str


class GarmentView(BaseModel):
    """One garment; problem says why it cannot be worn. category to sku: of the shop's list, empty where it says nothing."""

    id: str
    name: str
    category: str
    size: str
    price: str
    sku: str
    thumbnail: str
    problem: str | None
    worn: bool

    @staticmethod
    def of(garment: Garment, worn: str | None) -> GarmentView:
        # The stamp changes with the file, so that a browser may keep the thumbnail.
        version = zlib.crc32(repr(garment.stamp).encode())
        url = f"/api/garments/{garment.id}/thumbnail.jpg?v={version}"
        article = garment.article
        return GarmentView(
            id=garment.id, name=garment.name, thumbnail=url, problem=garment.problem, worn=garment.id == worn,
            category=article.category, size=article.size, price=article.price, sku=article.sku,
        )  # fmt: skip


class GarmentList(BaseModel):
    """problem: of the folder itself. list_problems: rows of the shop's list that are left out, one line each, the first 50."""

    garments: list[GarmentView]
    problem: str | None
    list_problems: list[str]


class UploadView(BaseModel):
    """An upload that waits to be accepted. mask: whether there is one; where not, problem says why. taps: that can be undone.

    notes: what of a garment that somebody wears cannot be seen, a few words each.
    """

    id: str
    width: int
    height: int
    mask: bool
    problem: str | None
    preview: str
    taps: int
    notes: list[str]


class WaitingView(BaseModel):
    """A photograph that was imported and waits for review. file: its name, without suffix. listed: `name` is of the shop's list.

    kind, sleeve, confidence (0 to 1): of the cut-out. problem: why there is no mask. notes: as UploadView's.
    """

    id: str
    file: str
    name: str
    listed: bool
    category: str
    size: str
    price: str
    sku: str
    kind: str
    sleeve: str
    confidence: float
    notes: list[str]
    problem: str | None
    preview: str


class ReviewList(BaseModel):
    waiting: list[WaitingView]


class LookView(BaseModel):
    """A still of this customer. garment: its id; name: for people."""

    id: str
    garment: str
    name: str
    picture: str


class LookList(BaseModel):
    looks: list[LookView]


class TakeHomeOffer(BaseModel):
    """A still waits for a phone. qr: the QR code of url, rows of 0 and 1 (dark), without quiet zone. seconds: until it is dropped."""

    secret: str
    url: str
    qr: list[str]
    seconds: int


class TakeHomeState(BaseModel):
    seconds: int = Field(description="until the still is dropped; 0 where it is gone")


class NoticeView(BaseModel):
    title: str
    paragraphs: list[str]


class StatusView(BaseModel):
    """What pages show. boot changes with every start of the process.

    asks: nobody is looked at before they have agreed; asking: nobody has.
    """

    boot: str
    mode: Mode
    state: State
    hint: str = Field(description="in English; empty where there is none")
    hint_code: str = Field(description="the same as a code that stays, such as step-back")
    language: str = Field(description="code of the language that is spoken to the customer")
    garment: str | None
    fps_in: float
    fps_out: float
    frames_in: int
    frames_out: int
    answers: int = Field(description="of the networks in live mode, so far")
    answers_per_s: float
    frames_synthesised: int
    frames_again: dict[str, int]
    dropped: dict[str, int]
    stages_ms: dict[str, dict[str, float]]
    frame_age_s: float | None = Field(description="null before the first frame")
    source: str
    source_ok: bool
    dark: bool
    restarts: int
    backend: dict[str, str]
    privacy: bool
    asks: bool
    asking: bool
    recording: bool
    can_record: bool
    viewers: int
    last_error: str
    state_problem: str = Field(description="what of the customers' decisions is not on disk; empty while all is well")
