"""NVTX ranges round the stages of a frame, for Nsight Systems and other tools: `nsys profile spgvton run ...`.

They need the package nvtx (extra `profile`). Without it every function stays the very one that it was, so nothing is spent.
Nested ranges of one thread: a stage, and inside it its parts. All are in the domain "spgvton".
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

DOMAIN: Final = "spgvton"
_NOTHING: Final = nullcontext()


@functools.cache
def _domain() -> Any:
    """nvtx's domain, or None where the package is not installed. It does nothing unless a tool listens."""
    try:
        return importlib.import_module("nvtx").get_domain(DOMAIN)
    except ImportError:
        return None


def span(name: str) -> AbstractContextManager[None]:
    """A range called NAME as a block."""
    return _NOTHING if _domain() is None else _pushed(name)


@contextmanager
def _pushed(name: str) -> Iterator[None]:
    _domain().push_range(_attributes(name))
    try:
        yield
    finally:
        _domain().pop_range()


@functools.cache
def _attributes(name: str) -> Any:
    return _domain().get_event_attributes(message=name)


def ranged(name: str, function: Callable[P, T]) -> Callable[P, T]:
    """FUNCTION, each call of which is a range called NAME; FUNCTION itself where there is no nvtx."""
    if _domain() is None:
        return function

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        with _pushed(name):
            return function(*args, **kwargs)

    return call
