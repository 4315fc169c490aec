"""What the Grafana dashboard and the alert rules ask for is what a kiosk exposes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from kiosk_shop import Served
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, InfoMetricFamily

MONITORING = Path(__file__).resolve().parents[4] / "deploy" / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana-dashboard.json").read_text())
RULES = [rule for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
ASKED = {f"panel {p['title']} {t['refId']}": t["expr"] for p in DASHBOARD["panels"] for t in p["targets"]}
ASKED |= {f"alert {rule['alert']}": rule["expr"] for rule in RULES}
OF_PROMETHEUS = {"instance", "job", "le"}


def exposed(kiosk: Served) -> dict[str, set[str]]:
    """Name of each series -> its labels, of what this kiosk's collector gives, also where it has no value on this machine."""
    found: dict[str, set[str]] = {}
    collector = kiosk.running.collector
    for family in collector.collect():
        names = [family.name]
        if isinstance(family, CounterMetricFamily):
            names = [f"{family.name}_total"]
        elif isinstance(family, HistogramMetricFamily):
            names = [f"{family.name}_{part}" for part in ("bucket", "count", "sum")]
        elif isinstance(family, InfoMetricFamily):
            names = [f"{family.name}_info"]
        for name in names:
            found[name] = {*getattr(family, "_labelnames", ()), *(k for s in family.samples for k in s.labels)}
    return found


def test_every_series_and_label_that_is_asked_for_is_exposed(kiosk: Served) -> None:
    there = exposed(kiosk)
    assert len(there) > 20 and "spgvton_state_saved" in there
    names = set(re.findall(r"^(spgvton_\w+)", kiosk.client.get("/metrics").text, re.MULTILINE))
    assert names <= there.keys() | {f"{name}_created" for name in there}  # and nothing else is exposed
    for where, expression in ASKED.items():
        for name, selector in re.findall(r"(spgvton_\w+)(?:\{([^}]*)\})?", expression):
            assert name in there, (where, name)
            labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector))
            assert labels <= there[name] | OF_PROMETHEUS, (where, name)
        for group in re.findall(r"by \(([^)]*)\)", expression):
            wanted = {label.strip() for label in group.split(",")} - OF_PROMETHEUS
            assert wanted <= set().union(*(there[n] for n in re.findall(r"spgvton_\w+", expression))), where


@pytest.mark.parametrize("where", ASKED)
def test_expressions_are_closed(where: str) -> None:
    expression = ASKED[where]
    for opening, closing in ("()", "[]", "{}"):
        assert expression.count(opening) == expression.count(closing)
    assert expression.count('"') % 2 == 0


def test_the_alerts_are_those_that_a_shop_needs() -> None:
    names = [rule["alert"] for rule in RULES]
    assert {"MirrorFrozen", "MirrorRestarts", "MirrorStateNotSaved", "MirrorHot"} <= set(names)
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert (
            rule["labels"]["severity"] in ("warning", "critical")
            and "{{ $labels.instance }}" in rule["annotations"]["summary"]
        )
        assert rule["annotations"]["description"]


def test_the_dashboard_hangs_together() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids) and DASHBOARD["uid"]
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD["panels"]))) <= variables
    taken = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in DASHBOARD["panels"]]
    assert len(set(taken)) == len(taken) and all(
        p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in DASHBOARD["panels"]
    )
