"""What this shell's variables and Airflow's connections choose: the same, or told as it is; never fine unlooked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from cloakhouse.errors import StageError
from cloakhouse.flow import health_choices
from cloakhouse.flow.engines import CHOICES, CONTROL, KEYS, LAKE
from cloakhouse.flow.health_choices import as_health, choices, of_environment
from cloakhouse.flow.lookup import Found
from cloakhouse.settings import Settings
from cloakhouse.stages.health_model import State

BUCKET = "s3://retail/lake?region=eu-west-1"
POSTGRES = {
    "conn_type": "postgres",
    "host": "127.0.0.1",
    "login": "house",
    "password": "not-shown",
    "schema": "control",
}


def told(environment: Mapping[str, str], connections: Mapping[str, Found]) -> dict[str, str]:
    return choices(Settings.from_environment(environment), environment, connections.get)


def uri(name: str, value: str) -> dict[str, Found]:
    return {name: Found(name, "generic", extra={"uri": value})}


@pytest.mark.parametrize(
    ("environment", "how"),
    [
        ({"CLOAKHOUSE_LAKE": BUCKET}, "same"),
        ({"CLOAKHOUSE_LAKE": "s3://retail/other?region=eu-west-1"}, "differs"),
        ({}, "unset"),
    ],
)
def test_a_lake(environment: dict[str, str], how: str) -> None:
    found = told(environment, uri(LAKE, BUCKET))
    assert found == {LAKE: how, KEYS: "none", CONTROL: "none"}
    health = as_health(found).found
    assert health.state is (State.OK if how == "same" else State.WRONG)
    assert bool(health.remedy) is (how != "same")
    assert "retail" not in health.text  # words, and no value


def test_keys_and_databases_are_compared_by_what_they_mean(tmp_path: Path) -> None:
    keys = {"CLOAKHOUSE_KEYS": "age:" + str(tmp_path / "x" / ".." / "keystore")}
    assert told(keys, uri(KEYS, f"age:{tmp_path / 'keystore'}"))[KEYS] == "same"
    database = {"CLOAKHOUSE_DATABASE": "postgresql+psycopg://house:not-shown@127.0.0.1/control"}
    connection = Found(CONTROL, "postgres", "127.0.0.1", None, "house", "control", "not-shown")
    assert told(database, {CONTROL: connection})[CONTROL] == "same"
    other = {"CLOAKHOUSE_DATABASE": "postgresql://house:not-shown@127.0.0.1/drill"}
    found = told(other, {CONTROL: connection})
    assert found[CONTROL] == "differs"
    assert "not-shown" not in str(as_health(found))


def test_what_can_not_be_looked_up_is_never_fine() -> None:
    def away(name: str) -> Found | None:
        raise StageError(where=name, expected="x", found="y", not_done="z", remedy="w", code="connection")

    found = choices(Settings.from_environment({}), {}, away)
    assert as_health(found).found.state is State.SKIPPED
    assert "not compared" in as_health(found).found.text
    assert as_health(None).found.state is as_health({}, health_choices.NO_ANSWER).found.state is State.SKIPPED
    assert "no answer" in as_health({}, health_choices.NO_ANSWER).found.text
    assert as_health({**found, LAKE: "differs"}).found.state is State.WRONG
    assert as_health(dict.fromkeys(CHOICES, "none")).found.state is State.OK


def test_a_connection_of_another_form_is_wrong() -> None:
    assert told({}, {LAKE: Found(LAKE, "generic", "host")})[LAKE] == "unreadable"


def test_variables_of_airflow_are_read_without_it() -> None:
    assert of_environment({"CLOAKHOUSE_LAKE": BUCKET}) is None
    lake = {"AIRFLOW_CONN_CLOAKHOUSE_LAKE": json.dumps({"conn_type": "generic", "extra": {"uri": BUCKET}})}
    assert of_environment({**lake, "CLOAKHOUSE_LAKE": BUCKET}) == {LAKE: "same", KEYS: "none", CONTROL: "none"}
    control = {"AIRFLOW_CONN_CLOAKHOUSE_CONTROL": json.dumps(POSTGRES)}
    here = {"CLOAKHOUSE_DATABASE": "postgresql://house:not-shown@127.0.0.1/control"}
    assert (of_environment({**control, **here}) or {})[CONTROL] == "same"
    for text in ("generic://?uri=s3%3A%2F%2Fx", "[]", "7"):  # Airflow alone reads its URIs
        found = of_environment({"AIRFLOW_CONN_CLOAKHOUSE_LAKE": text})
        assert (found or {})[LAKE] == "unanswered"
    extra = json.dumps({"conn_type": "generic", "extra": "{"})
    assert (of_environment({"AIRFLOW_CONN_CLOAKHOUSE_LAKE": extra}) or {})[LAKE] == "unreadable"
