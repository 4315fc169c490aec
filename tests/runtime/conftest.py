"""Fixtures of the runtime's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundle import make_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")
