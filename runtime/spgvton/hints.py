"""What a person before the camera is told, each with a code that stays when the words change.

The value is the English of logs, windows and programs; the kiosk's page says a code in the customer's language
(kiosk/service/languages).
"""

from __future__ import annotations

from enum import Enum


class Hint(str, Enum):
    """A hint is its English words: it compares, prints and is written as them."""

    STEP_IN_FRONT = "step in front of the mirror"
    STEP_BACK = "step back"
    TOO_CLOSE = "please step back a little"
    COME_CLOSER = "come closer"
    STEP_TO_THE_MIDDLE = "step to the middle"
    TURN = "turn to the mirror"
    FACE = "face the mirror"
    STAND_STRAIGHT = "stand straight"
    HOLD_STILL = "stand straight and hold still"
    ARMS_HANG = "let your arms hang"
    ARMS_AWAY = "arms a little away from the body"
    OTHERS = "one person at a time, please"
    CROWDED = "somebody else is in touch with you: one person at a time, please"
    COME_BACK = "come back to go on"
    CHOOSE = "choose a garment"
    WAIT = "one moment, please"
    DARK = "the camera sees nothing"
    NOBODY = "no person in the picture"
    NO_SHOULDERS = "shoulders not visible"
    TOO_SMALL = "person too small"

    def __str__(self) -> str:
        return self.value

    @property
    def code(self) -> str:
        """Such as "step-back"."""
        return self.name.lower().replace("_", "-")


def code_of(words: str) -> str:
    """The code of the hint that says WORDS; "" where none does."""
    return Hint(words).code if words in _WORDS else ""


_WORDS = frozenset(hint.value for hint in Hint)
