"""Network streams: motion JPEG over HTTP, read here; everything else (RTSP, H.264 over HTTP, ...) by FFmpeg.

Motion JPEG has a reader of its own because OpenCV's squeezes every later picture to the size of the first one when a
camera changes its resolution in mid-stream, and says nothing; and because a time-out of ours ends a stalled read.
"""

from __future__ import annotations

import base64
import http.client
import io
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from spgvton import image
from spgvton.errors import SpgvtonError, UsageError
from spgvton.image import MAX_BYTES
from spgvton.image_header import jpeg_end
from spgvton.stream import capture
from spgvton.stream.frames import Frame, Source, UInt8, check_size, frame_of

PORTS: Final = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?::\d{1,5})?(?=[/?#]|$)")
END_OF_IMAGE: Final = b"\xff\xd9"
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
        scheme = url.partition("://")[0]
        user, rest = split_user(url.partition("://")[2])
        try:
            parts = urlsplit(f"{scheme}://{rest}")
            host, port = parts.hostname, parts.port or PORTS[parts.scheme]
            url.encode()  # raises where the command line's bytes were not UTF-8
        except ValueError as e:
            raise UsageError(
                f"the {scheme}:// address is none ({e}): write it as {scheme}://USER:PASSWORD@HOST/PATH"
            ) from e
        if not host:
            raise UsageError(f"the {scheme}:// address names no host: write it as {scheme}://HOST/PATH")
        name = parts._replace(query="").geturl()
        user_name, _, password = (unquote(part) for part in user.partition(":"))
        basic = f"{user_name}:{password}".encode()
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # FFmpeg splits at the first of the characters that passwords may hold, and decodes what is quoted.
        quoted = f"{quote(user_name, safe='')}:{quote(password, safe='')}@" if user else ""
        return Address(
            f"{scheme}://{quoted}{rest}", name, scheme, host, port, path,
            f"Basic {base64.b64encode(basic).decode()}" if user else None,
        )  # fmt: skip


def split_user(rest: str) -> tuple[str, str]:
    """("USER:PASSWORD", "HOST:PORT/PATH...") of what stands behind "://" in a URL; ("", REST) where it names no user.

    People write passwords with @, # and / as they are. The user ends at the last @ that a full host name or address
    follows; without one, where the standard (RFC 3986) puts it; and where that gives no host, at the last @.
    """
    cuts = [at for at, letter in enumerate(rest) if letter == "@"]
    standard = re.split(r"[/?#]", rest, maxsplit=1)[0]
    full = [at for at in cuts if (host := HOST.match(rest[at + 1 :])) and _is_full(host[1])]
    proper = HOST.fullmatch(standard.rpartition("@")[2])
    if proper and "@" not in standard and (":" not in standard or _is_full(proper[1]) or not full):
        return "", rest
    if full:
        cut = full[-1]
    elif proper or not cuts:
        cut = standard.rfind("@")
    else:
        cut = cuts[-1]
    return rest[: max(cut, 0)], rest[cut + 1 :]


def _is_full(host: str) -> bool:
    return host.startswith("[") or "." in host or host == "localhost"


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
            boundary = response.headers.get_param("boundary") or ""
            return MjpegStream(address.name, stream_socket, response, str(boundary))
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

    def __init__(
        self, name: str, stream_socket: socket.socket, response: io.BufferedIOBase, boundary: str = ""
    ) -> None:
        self.name, self._socket, self._response = name, stream_socket, response
        self._boundary = boundary.strip('"').strip("-").encode("latin-1", "replace")
        self._between = False  # the line that was read last is the next part's boundary
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
        length = 0
        started, self._between = self._between, False
        while True:
            line = self._response.readline(MAX_LINE)
            if not line:
                raise ValueError("the server ended the stream")
            if line.startswith(b"--"):
                started, length = True, 0
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
            if started and not line.strip():
                break
        # Some servers tell no length, or a wrong one: the picture's own end counts.
        data = bytearray(self._response.read(length) if length <= MAX_BYTES else b"")
        if not data or (data.startswith(b"\xff\xd8") and jpeg_end(bytes(data)) is None):
            self._read_on(data)
        return bytes(data)

    def _read_on(self, data: bytearray) -> None:
        """Append to DATA up to the end-of-image marker, which is never inside the compressed data, or to the boundary."""
        while len(data) <= MAX_BYTES:
            line = self._response.readline(1 << 16)
            if not line:
                raise ValueError("the server ended the stream")
            if line.startswith(b"--") and self._boundary and line.strip().strip(b"-") == self._boundary:
                self._between = True
                return
            seam = max(0, len(data) - 1)
            data += line
            if END_OF_IMAGE in data[seam:] and jpeg_end(bytes(data)) is not None:
                return
        raise ValueError("a picture without end")

    def close(self) -> None:
        self._closing.set()
        with suppress(OSError):  # wakes a reader; a closed descriptor would not
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
