"""schemathesis sends what the OpenAPI allows, and what it does not, to a running kiosk: no 500, no hang, no undeclared answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import schemathesis.specs.openapi.schemas  # now, not while the kiosk's threads compile: CPython 3.11 fails on that
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from kiosk_shop import Served, serve
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.result import Ok

LEFT_OUT = {
    "/stream.mjpg",
    "/api/events",
    "/api/restart",
}  # test_kiosk_web.py and test_touchless.py read them; test_kiosk_process.py is ended by it
HANG_S = 20
EXAMPLES = 6  # per operation and mode
FAST = settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)  # fmt: skip
OPERATIONS, WITH_INPUT = 19, 11  # of today's schema; one that shrinks would leave the test nothing to do


@pytest.fixture(scope="module")
def slow_kiosk(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path) -> Iterator[Served]:
    """A kiosk whose loop leaves the processor to the requests."""
    with serve(tmp_path_factory.mktemp("schema"), tiny_bundle, source="synthetic://?fps=2") as served:
        yield served


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_operation_answers_as_it_says(slow_kiosk: Served, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(slow_kiosk.client.get("/openapi.json").json())
    url = slow_kiosk.running.url.rstrip("/")
    checks = CHECKS.get_by_names(["status_code_conformance", "content_type_conformance", "response_schema_conformance"])
    found = list(schema.get_all_operations())
    operations = [result.ok() for result in found if isinstance(result, Ok)]
    assert len(operations) == len(found), "an operation of the schema cannot be read"
    operations = [operation for operation in operations if operation.path not in LEFT_OUT]
    sent = {label for operation in operations for label in _send(operation, mode, url, checks)}
    assert len(operations) >= OPERATIONS
    assert len(sent) >= (OPERATIONS if mode is GenerationMode.POSITIVE else WITH_INPUT)
    assert slow_kiosk.status()["source_ok"]


def _send(operation: Any, mode: GenerationMode, url: str, checks: list[Any]) -> list[str]:
    """Requests to OPERATION; its label once for each."""
    sent: list[str] = []

    @FAST
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        answer = case.call(base_url=url, timeout=HANG_S)
        assert answer.status_code != 500, case.as_curl_command()
        case.validate_response(answer, checks=checks)
        sent.append(operation.label)

    with suppress(Unsatisfiable):  # without parameters and body nothing can be wrong
        send()
    return sent
