"""Network streams: motion JPEG over HTTP, read here; everything else (RTSP, H.264 over HTTP, ...) by FFmpeg.

Motion JPEG has a reader of its own because OpenCV's squeezes every later picture to the size of the first one when a
camera changes its resolution in mid-stream, and says nothing; and because a time-out of ours ends a stalled read.
"""

from __future__ import annotations

import base64
import http.client
import io
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from spgvton import image
from spgvton.errors import SpgvtonError, UsageError
from spgvton.image import MAX_BYTES
from spgvton.stream import capture
from spgvton.stream.sources import Frame, Source, UInt8, check_size, frame_of

PORTS: Final = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
MAX_LINE: Final = 1024  # of a part's headers
MAX_DAMAGED: Final = 30  # pictures in a row


@dataclass(frozen=True)
class Address:
    """A URL taken apart. name: for messages, without user, password and query."""

    url: str
    name: str
    scheme: str
    host: str
    port: int
    path: str
    authorization: str | None

    @staticmethod
    def parse(url: str) -> Address:
        """Raises UsageError."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or PORTS[parts.scheme]
            url.encode()  # raises where the command line's bytes were not UTF-8
        except ValueError as e:
            raise UsageError(f"{url.rpartition('@')[2]} is not a URL: {e}") from e
        if not host:
            raise UsageError(f"{url} names no host: write it as {parts.scheme}://HOST/PATH")
        name = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
        user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        basic = f"Basic {base64.b64encode(user.encode()).decode()}" if parts.username else None
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Address(url, name, parts.scheme, host, port, path, basic)


def open_url(address: Address, *, realtime: bool) -> Source:
    """A stream, or a VideoFile where the address holds a video with an end. Raises SpgvtonError."""
    try:
        # FFmpeg does not tell why it fails
        socket.create_connection((address.host, address.port), timeout=capture.OPEN_TIMEOUT_S).close()
    except OSError as e:
        reason = e.strerror or str(e) or type(e).__name__
        raise SpgvtonError(
            f"{address.name} cannot be reached ({reason}): check the address and that it is switched on"
        ) from e
    if address.scheme.startswith("http"):
        stream = _open_mjpeg(address)
        if stream is not None:
            return stream
    return capture.open_stream(address.url, address.name, realtime=realtime)


def _open_mjpeg(address: Address) -> Source | None:
    """None where the address holds something else, or wants a log-in that only FFmpeg knows (digest)."""
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    connection = kind(address.host, address.port, timeout=capture.OPEN_TIMEOUT_S)
    try:
        connection.connect()
        stream_socket = connection.sock  # the response takes it away from the connection
        headers = {"Authorization": address.authorization} if address.authorization else {}
        connection.request("GET", address.path, headers=headers)
        response = connection.getresponse()
        if response.status == 200 and response.headers.get_content_type() == "multipart/x-mixed-replace":
            return MjpegStream(address.name, stream_socket, response)
    except (OSError, http.client.HTTPException) as e:
        connection.close()
        raise SpgvtonError(f"{address.name} does not answer as a web server does ({e}): check the address") from e
    except SpgvtonError:
        connection.close()
        raise
    connection.close()
    return None


class MjpegStream(Source):
    """multipart/x-mixed-replace over HTTP: parts with a header each, and in them a JPEG."""

    live = True
    fps = capture.DEFAULT_FPS  # the format announces none

    def __init__(self, name: str, stream_socket: socket.socket, response: io.BufferedIOBase) -> None:
        self.name, self._socket, self._response = name, stream_socket, response
        self._closing, self._index = threading.Event(), 0
        self._socket.settimeout(capture.OPEN_TIMEOUT_S)
        self._ahead: tuple[UInt8, float] | None = self._next()
        self.size = check_size(self._ahead[0], name)
        self._socket.settimeout(capture.READ_TIMEOUT_S)

    def read(self) -> Frame | None:
        if self._closing.is_set():
            return None
        try:
            picture, captured = self._ahead or self._next()
        except SpgvtonError:
            if self._closing.is_set():
                return None
            raise
        self._ahead = None
        self._index += 1
        return frame_of(picture, self._index - 1, None, captured)

    def _next(self) -> tuple[UInt8, float]:
        """The next picture that can be decoded, RGB, and when its last byte came."""
        for _ in range(MAX_DAMAGED):
            try:
                data = self._part()
            except (OSError, ValueError, http.client.HTTPException) as e:
                raise SpgvtonError(f"{self.name} was lost ({str(e) or type(e).__name__}): check its network") from e
            captured = time.monotonic()
            with suppress(SpgvtonError):  # one damaged picture is no loss
                return image.decode(data, self.name), captured
        raise SpgvtonError(f"{self.name} sends pictures that cannot be decoded: check that it sends motion JPEG")

    def _part(self) -> bytes:
        """The bytes of the next part. Raises OSError, ValueError or HTTPException where there is none."""
        length = None
        started = False
        while True:
            line = self._response.readline(MAX_LINE)
            if not line:
                raise ValueError("the server ended the stream")
            if line.startswith(b"--"):
                started, length = True, None
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = int(value)
            if started and not line.strip():
                break
        if length is None:
            return self._until_end_of_jpeg()
        if not 0 <= length <= MAX_BYTES:
            raise ValueError(f"a picture of {length} bytes")
        data = self._response.read(length)
        if len(data) < length:
            raise ValueError("the server ended the stream")
        return data

    def _until_end_of_jpeg(self) -> bytes:
        """Servers that tell no length: up to the end-of-image marker, which is never inside the compressed data."""
        data = bytearray()
        while len(data) <= MAX_BYTES:
            line = self._response.readline(1 << 16)
            if not line:
                raise ValueError("the server ended the stream")
            data += line
            if line.rstrip(b"\r\n").endswith(b"\xff\xd9"):
                return bytes(data)
        raise ValueError("a picture without end")

    def close(self) -> None:
        self._closing.set()
        with suppress(OSError):  # wakes a reader; a closed descriptor would not
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
