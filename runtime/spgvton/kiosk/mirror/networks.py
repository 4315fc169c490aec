"""The networks of a mirror: how they are opened, and opened anew when a back end fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spgvton.backends import Backend, open_backend
from spgvton.backends.contract import LIVE, POSE
from spgvton.bundle import Bundle
from spgvton.economy import Economy
from spgvton.errors import SpgvtonError, UsageError
from spgvton.kiosk.mirror.dresser import Dresser, Session
from spgvton.kiosk.mirror.live_dresser import LiveDresser, OutlivedParser
from spgvton.kiosk.mirror.source_capture import SourceCapture
from spgvton.kiosk.mirror.status import Mode
from spgvton.live.compositors import COMPOSITORS, open_compositor
from spgvton.live.network import LiveNetwork
from spgvton.live.tryon import LiveTryOn
from spgvton.machine import cores
from spgvton.perception.parser_options import FOR_PICTURES, FOR_STREAMS, SHIPPED
from spgvton.perception.parsing import Parser
from spgvton.session import TryOn


@dataclass(frozen=True)
class Networks:
    """What Mirror's arguments of these names ask for. Raises UsageError for a compositor that the mode does not have."""

    bundle: str | Path | None
    mode: Mode
    backend: str
    threads: int | None
    warp: str | None
    plugin: Path | None
    compositor: str
    compositor_library: Path | None
    parser: Parser | None
    economy: Economy

    def __post_init__(self) -> None:
        if self.mode == "pose" and self.compositor != COMPOSITORS[0]:
            raise UsageError(f"compositor {self.compositor} puts garments on the camera's frames: it is for live mode")

    def live_dresser(self, open_live: Callable[[], LiveTryOn] | None, *, latest: bool) -> LiveDresser:
        """For live mode; OPEN_LIVE instead of these networks. Raises SpgvtonError."""
        return LiveDresser(open_live or self._live(), latest=latest, max_age_s=self.economy.max_age_s)

    def dresser(self, open_session: Callable[[], Session] | None) -> tuple[Dresser, SourceCapture]:
        """For pose mode, and what takes the customer's picture for it. Raises SpgvtonError."""
        parser = self.parser or SHIPPED[FOR_PICTURES](None)
        dresser = Dresser(open_session or self._posing(parser))
        return dresser, SourceCapture(parser, dresser.size)

    def _engine(self) -> tuple[Bundle, Backend]:
        bundle = Bundle.open(self.bundle, mode=self.mode)
        graph = LIVE if self.mode == "live" else POSE
        return bundle, open_backend(
            self.backend, bundle, mode=graph, threads=self.threads, warp=self.warp, plugin=self.plugin
        )

    def _live(self) -> Callable[[], LiveTryOn]:
        """Opens what live mode needs; the parser once."""
        parser = OutlivedParser(self.parser or SHIPPED[FOR_STREAMS](cores()))

        def open_live() -> LiveTryOn:
            # What the compositor lacks is told before engines are built.
            compositor = open_compositor(self.compositor, self.compositor_library)
            bundle, backend = self._engine()
            network = LiveNetwork(bundle, backend=backend)
            return LiveTryOn(network, parser=parser, economy=self.economy, compositor=compositor)

        return open_live

    def _posing(self, parser: Parser) -> Callable[[], Session]:
        """Opens what pose mode needs."""

        def open_tryon() -> Session:
            bundle, backend = self._engine()
            if bundle.label_set != parser.label_set:
                raise SpgvtonError(
                    f"the parser gives {parser.label_set} labels, the bundle was trained on {bundle.label_set}"
                )
            return TryOn(bundle, backend=backend, economy=self.economy)

        return open_tryon
