"""Everything together: the mirror in the calling thread, the web server and the watchdog beside it."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import uvicorn

from spgvton.economy import Economy
from spgvton.errors import SpgvtonError
from spgvton.kiosk.garments.catalogue import Catalogue
from spgvton.kiosk.mirror.mirror import EXIT_GAVE_UP, Mirror
from spgvton.kiosk.service import logs, sensors, supervisor
from spgvton.kiosk.service.addresses import is_loopback
from spgvton.kiosk.service.config import KioskConfig
from spgvton.kiosk.service.control import Kiosk
from spgvton.kiosk.service.language import Offer, languages
from spgvton.kiosk.service.state import StateFile, obtain_token, only_one
from spgvton.kiosk.service.take_home import TakeHome, check_reachable
from spgvton.kiosk.service.web_sink import WebSink
from spgvton.kiosk.web.app import Services, build_app
from spgvton.kiosk.web.connections import Connections, protocol
from spgvton.kiosk.web.endless import Viewers
from spgvton.kiosk.web.guard import Proxies, Token
from spgvton.kiosk.web.metrics import KioskCollector, registry
from spgvton.machine import cores
from spgvton.perception.parser_options import ParserOptions, parse_size
from spgvton.stream.sinks import Sink, WindowSink

log = logging.getLogger(__name__)

SPARE_CONNECTIONS: Final = 32  # per address, beside its live views
START_S: Final = 10.0


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises SpgvtonError: port in use, no such address, below 1024 without the right."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as e:
        reason = os.strerror(e.errno) if e.errno and e.errno > 0 else e.strerror  # getaddrinfo's numbers are negative
        raise SpgvtonError(f"cannot listen on {host}:{port}: {reason}; choose another web.port or web.host") from e


def url_of(listener: socket.socket) -> str:
    """Where a browser on this machine finds the page."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class WebServer:
    """uvicorn in a thread of its own. on_end: told why when it ended although nobody wanted that."""

    def __init__(self, services: Services, listener: socket.socket, on_end: Callable[[str], None]) -> None:
        self._listener, self._on_end = listener, on_end
        self._server = uvicorn.Server(
            uvicorn.Config(
                build_app(services), http=protocol(services.viewers.connections), ws="none", lifespan="on",
                log_config=None, access_log=False, proxy_headers=False, server_header=False, timeout_keep_alive=5,
                timeout_graceful_shutdown=1, h11_max_incomplete_event_size=16 * 2**10,
            )
        )  # fmt: skip
        self._thread = threading.Thread(target=self._run, name="spgvton-web", daemon=True)

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._listener])
        except Exception:
            log.exception("web server ended")
        if self._server.started and not self._server.should_exit:
            self._on_end("the web server ended")  # a mirror that nobody can operate

    def start(self) -> None:
        """Returns once requests are answered. Raises SpgvtonError when that does not come about."""
        self._thread.start()
        waited = threading.Event()
        for _ in range(round(START_S / 0.02)):
            if self._server.started:
                return
            waited.wait(0.02)
        raise SpgvtonError("the web server did not start: the log says why")

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(5)


@dataclass(frozen=True)
class Running:
    """A kiosk whose web server answers; its loop is run by the caller, with these sinks."""

    kiosk: Kiosk
    viewers: Viewers
    sinks: list[Sink]
    url: str
    gave_up: threading.Event
    collector: KioskCollector


@contextmanager
def started(config: KioskConfig, stop: threading.Event) -> Iterator[Running]:
    """Everything but the loop, which should run until STOP is set. Raises SpgvtonError."""
    web, gave_up = config.web, threading.Event()
    check_reachable(config)
    token = _token(config)
    with ExitStack() as stack:
        stack.enter_context(only_one(config.state))
        listener = stack.enter_context(listen(web.host, web.port))
        kiosk = _make_kiosk(config)
        mirror, sink, catalogue = kiosk.mirror, kiosk.sink, kiosk.catalogue
        stack.callback(kiosk.close)
        restoring = threading.Thread(target=kiosk.restore, name="spgvton-restore", daemon=True)
        restoring.start()  # the first picture does not wait for the garment
        stack.callback(restoring.join)
        catalogue.watch(kiosk.wear_something)
        stack.callback(catalogue.close)

        def give_up(reason: str) -> None:
            log.critical("giving up", extra={"reason": reason})
            end()

        def end() -> None:
            gave_up.set()
            stop.set()
            supervisor.exit_soon(EXIT_GAVE_UP)

        def restart() -> None:
            log.warning("a restart was asked for")
            end()

        limits = config.watchdog
        watchdog = supervisor.Watchdog(mirror.status, give_up, start_s=limits.start_s, stall_s=limits.stall_s)
        proxies = Proxies(web.trusted_proxies)
        connections = Connections(2 * web.viewers_per_address + SPARE_CONNECTIONS, shared=proxies.trusts)
        viewers, listeners = (
            Viewers(shown, connections, total=web.viewers, per_address=web.viewers_per_address, fps=web.fps)
            for shown in (sink, kiosk.moments)
        )
        collector = KioskCollector(mirror.status, viewers, sensors.Gpu(), lambda: not kiosk.state_problem)
        services = Services(
            kiosk, viewers, listeners, registry(collector), watchdog.health, config, restart, token,
            _names(config), web.upload_mib * 2**20, proxies,
        )  # fmt: skip
        server = WebServer(services, listener, give_up)
        server.start()
        stack.callback(server.close)
        sinks = kiosk.sinks
        if config.screen != "none":
            sinks.append(WindowSink(mirror.size, fullscreen=config.screen == "window:fullscreen"))
        watchdog.start()
        stack.callback(watchdog.close)
        url = url_of(listener)
        log.info("kiosk started", extra={"url": url, "source": mirror.status().source, "garment": kiosk.garment})
        yield Running(kiosk, viewers, sinks, url, gave_up, collector)


def run_kiosk(config: KioskConfig) -> int:
    """Run until SIGTERM, Ctrl-C or the window's end. Returns 0, or 75 when the supervisor should start it again.

    Raises UsageError and SpgvtonError for what no restart can mend (wrong settings, port in use).
    """
    stop = threading.Event()
    _token(config)  # a terminal may be told a new one; what is captured goes into the journal
    with logs.captured_stderr(), started(config, stop) as running:
        code = running.kiosk.mirror.run(running.sinks, stop)
        supervisor.notify(STOPPING="1")
    return EXIT_GAVE_UP if running.gave_up.is_set() else code


def _make_kiosk(config: KioskConfig) -> Kiosk:
    with ThreadPoolExecutor(1) as beside:  # networks are opened outside of Python: the folder is read meanwhile
        reading = beside.submit(Catalogue, config.catalogue, config.state / "thumbnails")
        mirror = make_mirror(config)
    recording = (config.recording.folder, config.recording.minutes) if config.recording.folder else None
    return Kiosk(
        mirror, reading.result(), StateFile(config.state), WebSink(config.web.jpeg_quality, config.web.max_side), recording,
        _languages(config), _take_home(config), ask=config.privacy.consent,
        dwell_s=config.touchless.dwell_s if config.touchless.enabled else None, hand_agrees=config.hand_agrees,
    )  # fmt: skip


def _token(config: KioskConfig) -> Token | None:
    """The token where one is needed; printed when it is made."""
    if config.web.token == "auto" and is_loopback(config.web.host) and not config.web.trusted_proxies:
        return None
    secret, new = obtain_token(config.state)
    if new:
        # Not into a journal, where others may read it.
        words = f"is {secret} (kept" if sys.stderr.isatty() else "was made (it is"
        print(f"spgvton kiosk: the token {words} in {config.state / 'token'})", file=sys.stderr)
    return Token(secret)


def _take_home(config: KioskConfig) -> TakeHome | None:
    """Holds stills for phones, where kiosk.yaml says how they reach this machine."""
    wanted = config.take_home
    return TakeHome(wanted.address, wanted.minutes, wanted.most) if wanted.address else None


def _names(config: KioskConfig) -> tuple[str, ...]:
    """The names under which the page is served."""
    announced = urlsplit(config.take_home.address or "").hostname
    return (config.web.host, socket.gethostname(), *config.web.allowed_hosts, *([announced] if announced else []))


def _languages(config: KioskConfig) -> Offer:
    wanted = config.language
    return Offer(languages(wanted.folder), wanted.default, wanted.offered)


def make_mirror(config: KioskConfig) -> Mirror:
    """The mirror that CONFIG asks for. Raises SpgvtonError."""
    options = config.mirror
    size = parse_size(options.parser_size) if options.parser_size else None
    wants = ParserOptions(size, options.parser_colour, options.parser_normalisation)
    threads = options.threads or cores()
    parser = wants.open(options.parser, options.label_set, threads) if options.parser else None
    return Mirror(
        config.source, config.bundle, mode=options.mode, rotate=options.rotate, threads=options.threads, policy=options.policy,
        wipe_after_s=options.wipe_after_s, parser=parser, mirrored=options.mirrored, view=options.view, written=config.screen != "none",
        backend=options.backend, warp=options.warp, plugin=options.plugin,
        compositor=options.compositor, compositor_library=options.compositor_library,
        patience_s=config.watchdog.source_s or float("inf"),
        economy=Economy(options.still_threshold, options.max_age_ms and options.max_age_ms / 1e3, options.steady),
    )  # fmt: skip
