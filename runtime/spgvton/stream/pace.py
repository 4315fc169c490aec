"""How many camera frames are shown where the networks get too little of the processor beside them.

Pose and compositing of every frame come at once, parser and networks as often as they can. On a slow or a busy machine
thirty frames a second leave them next to nothing, and the garment follows late. Then fewer frames are shown, each as
fresh as before.
"""

from __future__ import annotations

from typing import Final

PROMPT_S: Final = 0.25  # an answer that takes longer follows too late
EASY: Final = 0.7  # of that: then more frames may be shown again
STEP: Final = 1.3
QUICKEST_S: Final = 1 / 40  # between two frames; what is less need not be waited for
SLOWEST_S: Final = 1 / 12


class Pace:
    """answered() after each answer; interval_s: seconds that should lie between two frames that are shown, 0 = all."""

    def __init__(self) -> None:
        self.interval_s = 0.0

    def answered(self, seconds: float) -> None:
        """An answer of parser and network took so long."""
        if seconds > PROMPT_S:
            self.interval_s = min(STEP * max(self.interval_s, QUICKEST_S), SLOWEST_S)
        elif seconds < EASY * PROMPT_S:
            self.interval_s = self.interval_s / STEP if self.interval_s > QUICKEST_S else 0.0
