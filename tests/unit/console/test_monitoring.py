"""The dashboard and the alert rules: only metrics and labels that are exposed, in the form that their programs read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloakhouse.ledger.alert_rules import SEVERITIES
from cloakhouse.ledger.audit_event import ALLOWED, FAILED, REFUSED
from cloakhouse.stages.health import CHECKS
from cloakhouse.stages.metrics import PARTS
from cloakhouse.stages.metrics_log import COUNTED
from cloakhouse.stages.metrics_model import FAMILIES

INFRA = Path(__file__).parents[3] / "infra"
OF_PROMETHEUS = {"up"}
WORDS = {  # of PromQL: https://prometheus.io/docs/prometheus/latest/querying/
    *("sum", "count", "max", "min", "rate", "increase", "time", "vector", "min_over_time", "label_values"),
    *("by", "on", "or", "and", "unless"),
}
TARGETS = {"instance", "job"}  # labels that Prometheus adds
VALUES = {
    "operation": {action.replace(" ", "_") for action in COUNTED},
    "decision": {ALLOWED, REFUSED, FAILED},
    "severity": set(SEVERITIES),
    "part": set(PARTS),
    "job": {"cloakhouse"},
}


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((INFRA / "grafana" / "cloakhouse.json").read_text())
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((INFRA / "prometheus" / "cloakhouse-rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield every expression with the text beside it that may name labels."""
    for panel in dashboard()["panels"]:
        yield from ((target["expr"], target["legendFormat"]) for target in panel.get("targets", []))
    for rule in rules():
        yield rule["expr"], rule["annotations"]["summary"]


def names(expression: str) -> set[str]:
    """Return the metrics that an expression names: what is no word of PromQL, no label and no text."""
    bare = re.sub(r"\{[^}]*\}|\"[^\"]*\"|\[[^\]]*\]|\b(by|on)\s*\([^)]*\)", " ", expression)
    return set(re.findall(r"[A-Za-z_:][A-Za-z0-9_:]*", bare)) - WORDS


@pytest.mark.parametrize(("expression", "beside"), list(expressions()))
def test_an_expression_names_only_what_is_exposed(expression: str, beside: str) -> None:
    found = names(expression)
    assert found
    assert found - OF_PROMETHEUS <= FAMILIES.keys()
    known = {label for name in found - OF_PROMETHEUS for label in FAMILIES[name].labels} | TARGETS
    matchers = re.findall(r"([a-z_]+)(=~|!=|!~|=)\"([^\"]*)\"", expression)
    grouped = [one for by in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression) for one in by.split(",")]
    assert {matcher[0] for matcher in matchers} | {one.strip() for one in grouped} <= known
    for label, _, value in matchers:
        assert label == "instance" or set(value.split("|")) <= VALUES[label]
    told = set(re.findall(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}", beside))
    kept = {one.strip() for one in grouped} if re.match(r"(sum|count|max|min)\b", expression) else known
    assert told <= kept


def test_a_name_that_is_not_exposed_is_found() -> None:
    assert names('sum by (dataset) (rate(cloakhouse_rows{instance="x"}[5m])) / up') == {"cloakhouse_rows", "up"}


def test_no_panel_shows_a_number_where_nothing_is_known() -> None:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            assert names(target["expr"])
            assert "vector(" not in target["expr"]  # it is there, too, when nobody answers


def test_what_is_old_or_never_was_is_told_by_a_rule() -> None:
    told = " ".join(rule["expr"] for rule in rules())
    for moment in ("collected", "checkpoint", "log_verified", "coverage"):
        assert f"time() - cloakhouse_{moment}_timestamp_seconds" in told
    assert "unless on (instance) cloakhouse_checkpoint_timestamp_seconds" in told


def test_the_dashboard_has_the_form_of_grafana() -> None:
    model = dashboard()
    assert model.keys() >= {"uid", "title", "schemaVersion", "panels", "templating", "time", "tags", "version"}
    assert (model["schemaVersion"], "id" in model) == (39, False)
    variables = {one["name"] for one in model["templating"]["list"]}
    ids = [panel["id"] for panel in model["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in model["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert not cells & taken
        taken |= cells
        if panel["type"] != "row":
            assert panel["type"] in {"stat", "timeseries", "bargauge"}
            assert panel["description"].endswith(".")
            assert panel["targets"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            refs = [target["refId"] for target in panel["targets"]]
            assert len(set(refs)) == len(refs)
    used = set(re.findall(r"\$\{?([a-z]+)\}?", json.dumps(model["panels"])))
    assert used <= variables


def test_every_metric_but_few_is_on_the_dashboard_or_in_a_rule() -> None:
    named = {name for expression, _ in expressions() for name in names(expression)}
    left = {name.removeprefix("cloakhouse_") for name in FAMILIES.keys() - named}
    assert left <= {
        *("partition_timestamp_seconds", "unvalidated_partitions", "budget_epsilon"),
        *("siem_receivers", "log_entries"),
    }


def test_every_rule_says_what_is_wrong_and_what_to_do() -> None:
    for rule in rules():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in SEVERITIES
        assert rule["annotations"].keys() == {"summary", "action"}
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_the_page_of_operations_lists_every_metric_and_every_check() -> None:
    page = (INFRA.parent / "docs" / "operations.md").read_text()
    for family in FAMILIES.values():
        assert f"| `{family.name}` | {family.kind.value} | {', '.join(family.labels)} | {family.help} |" in page
    for check in CHECKS:
        assert f"| {check.what} | {check.expected} | {'' if check.slow else 'yes'} |" in page
    assert set(re.findall(r"`(cloakhouse_\w+)`", page)) <= FAMILIES.keys()
