"""The privacy notice: what this kiosk does with a customer's picture, as its settings have it, in her language.

Words are those of the language catalogue (keys `privacy.`), which a shop may replace by its own (language.folder).
"""

from __future__ import annotations

from collections.abc import Iterator

from spgvton.kiosk.mirror.lifecycle import LOST_S
from spgvton.kiosk.service.config import KioskConfig
from spgvton.kiosk.service.language import Language


def title(language: Language) -> str:
    """The notice's headline."""
    return language.words["privacy.title"]


def paragraphs(config: KioskConfig, language: Language) -> list[str]:
    """What is processed, what is kept and for how long, and whom to ask: true of CONFIG."""
    return list(_paragraphs(config, language))


def _paragraphs(config: KioskConfig, language: Language) -> Iterator[str]:
    words, mirror = language.words, config.mirror
    yield words["privacy.what"]
    yield words["privacy.not"]
    seconds = f"{LOST_S + mirror.wipe_after_s:g}"
    yield _filled(words["privacy.kept.live" if mirror.mode == "live" else "privacy.kept.pose"], seconds=seconds)
    if config.take_home.address:
        yield _filled(words["privacy.take"], minutes=f"{config.take_home.minutes:g}")
    yield words["privacy.recording" if config.recording.folder else "privacy.no-recording"]
    if config.privacy.consent:
        yield words["privacy.consent.hand" if config.hand_agrees else "privacy.consent"]
    if config.privacy.contact:
        yield _filled(words["privacy.contact"], contact=config.privacy.contact)


def _filled(text: str, **values: str) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def as_text(config: KioskConfig, language: Language) -> str:
    """The notice for a terminal, or to be printed and put beside the mirror."""
    return "\n\n".join((title(language), *paragraphs(config, language)))
