"""Structured logs: one JSON object a line on stderr, which systemd's journal and every collector take.

Libraries print to stderr what they like (libpng a line for each odd file, whose text a file may hold). captured_stderr() takes
those lines away from them and logs each as a message: nothing that is printed can pass for a line of the log.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from starlette.requests import ClientDisconnect

# What every record has anyway; the rest came by `extra=`.
STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """{"time", "level", "logger", "message", ..., "exception"}; time is UTC, ISO 8601."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {
            "time": f"{at}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{key: value for key, value in vars(record).items() if key not in STANDARD},
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


# What is no fault of the kiosk: somebody went away, or it is being stopped while somebody sends.
GONE: Final = (asyncio.CancelledError, ClientDisconnect, BrokenPipeError, ConnectionResetError)
FULL: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
REPEAT_S: Final = 60.0  # a machine that is out of descriptors says so no more often
MAX_LINE: Final = 2000


class Quiet(logging.Filter):
    """One line, without a traceback, for requests that were cut off and for a machine that is out of descriptors."""

    def __init__(self) -> None:
        super().__init__()
        self._told = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, GONE):
            record.msg, record.args, record.exc_info = "a request was cut off", (), None
            record.levelno, record.levelname = logging.INFO, "INFO"
        elif isinstance(error, OSError) and error.errno in FULL:
            if time.monotonic() - self._told < REPEAT_S:
                return False
            self._told = time.monotonic()
            record.msg = f"{os.strerror(error.errno)}: raise LimitNOFILE, or lower web.viewers"
            record.args, record.exc_info = (), None
        elif record.name == "uvicorn.error" and record.getMessage().startswith("Cancel "):
            record.levelno, record.levelname = logging.INFO, "INFO"  # requests that were under way at the end
        return True


@contextmanager
def captured_stderr() -> Iterator[None]:
    """While inside, what anything in this process prints to descriptor 2 is logged, a line a message.

    set_up() is called with the real stderr. What is still in the pipe when the process is killed is lost.
    """
    sys.stderr.flush()
    real = os.dup(2)
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)
    stream = os.fdopen(os.dup(real), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    set_up(stream=stream)

    def listen() -> None:
        with os.fdopen(reader, "rb") as lines:
            while line := lines.readline(MAX_LINE):
                text = line.decode("utf-8", "backslashreplace").strip()
                if text:
                    logging.getLogger("stderr").warning("%s", text)

    listener = threading.Thread(target=listen, name="spgvton-stderr", daemon=True)
    listener.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)  # closes the pipe's last writer in this process
        os.close(real)
        listener.join(1.0)  # a child that outlives us may hold the pipe open


def set_up(level: int = logging.INFO, stream: Any = None) -> None:
    """Send this process's logs to STREAM (stderr) as JSON, in place of whatever was set up before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(Quiet())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.WARNING)
