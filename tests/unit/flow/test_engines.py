"""Connections choose engines where the environment doesn't; where both do, they agree or nothing is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloakhouse.errors import ConfigurationError
from cloakhouse.flow import engines
from cloakhouse.flow.engines import CONTROL, KEYS, LAKE, resolved, value_of
from cloakhouse.flow.lookup import Found
from cloakhouse.settings import Settings

SECRET = "Zwetschgenhuber"
S3 = "s3://retail-lake/prod?region=eu-west-1"
BAO = "bao:https://bao.example:8200/transit?ca=/etc/ca.pem&token-file=/run/token"


def uri(name: str, value: Any, **more: Any) -> Found:
    return Found(name, "generic", extra={"uri": value, **more})


def control(**changes: Any) -> Found:
    fields: dict[str, Any] = {
        "kind": "postgres",
        "host": "db.example",
        "port": 5433,
        "login": "cloakhouse",
        "schema": "control",
        "password": f"{SECRET}@/:%",
        "extra": {"sslrootcert": "/etc/ca.pem"},
    }
    return Found(CONTROL, **{**fields, **changes})


def settings_of(home: Path, **variables: str) -> tuple[Settings, dict[str, str]]:
    environment = {"CLOAKHOUSE_HOME": str(home), **variables}
    return Settings.from_environment(environment), environment


def test_connections_choose_what_the_environment_leaves_open(tmp_path: Path) -> None:
    told, environment = settings_of(tmp_path)
    chosen = resolved(told, environment, {LAKE: uri(LAKE, S3), KEYS: uri(KEYS, BAO), CONTROL: control()})
    assert (chosen.store, chosen.keys) == (S3, BAO)
    assert chosen.database == (
        f"postgresql://cloakhouse:{SECRET}%40%2F%3A%25@db.example:5433/control?sslrootcert=%2Fetc%2Fca.pem"
    )
    assert resolved(told, environment, {LAKE: None, KEYS: None, CONTROL: None}) == told
    assert SECRET not in repr(chosen) + repr(control())
    assert SECRET not in str(chosen.for_workers())


def test_defaults_are_no_choice_and_travel_to_airflow_as_none(tmp_path: Path) -> None:
    told, _ = settings_of(tmp_path)
    told = told.with_home(tmp_path)
    environment = told.environment_of_airflow()
    names = ("CLOAKHOUSE_KEYS", "CLOAKHOUSE_LAKE")
    assert {environment[name] for name in names} == {""}
    assert Settings.from_environment(environment) == told
    assert resolved(told, environment, {KEYS: uri(KEYS, BAO)}).keys == BAO


@pytest.mark.parametrize(
    ("name", "variable", "same", "other", "found"),
    [
        (LAKE, "CLOAKHOUSE_LAKE", S3, "s3://another/prod", uri(LAKE, S3)),
        (KEYS, "CLOAKHOUSE_KEYS", BAO, "age:/keys", uri(KEYS, BAO)),
        (KEYS, "CLOAKHOUSE_KEYS", "age:/x/../keys", BAO, uri(KEYS, "age:/keys")),
        (
            CONTROL,
            "CLOAKHOUSE_DATABASE",
            "postgresql+psycopg://cloakhouse@localhost/control",
            f"postgresql://cloakhouse:{SECRET}@localhost/control",
            control(host="localhost", port=None, password="", extra={}),
        ),
    ],
)
def test_a_connection_and_a_variable_agree_or_nothing_is_done(
    tmp_path: Path, name: str, variable: str, same: str, other: str, found: Found
) -> None:
    told, environment = settings_of(tmp_path, **{variable: same})
    assert resolved(told, environment, {name: found}) == told
    told, environment = settings_of(tmp_path, **{variable: other})
    with pytest.raises(ConfigurationError) as refused:
        resolved(told, environment, {name: found})
    assert refused.value.code == "configuration.engines"
    assert variable in refused.value.where
    assert name in refused.value.where
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "found",
    [
        uri(LAKE, ""),
        uri(LAKE, 7),
        uri(LAKE, S3, region="eu-west-1"),
        Found(LAKE, "aws", login=SECRET, password=SECRET, extra={"uri": S3}),
        Found(LAKE, "generic"),
        Found(KEYS, "generic", host="bao.example"),
        control(kind="mysql"),
        control(schema=""),
        control(extra={"sslrootcert": ["/etc/ca.pem"]}),
        control(extra={"uri": f"postgresql://u:{SECRET}@localhost/x"}),
    ],
)
def test_a_connection_with_other_fields_is_refused_and_not_shown(found: Found) -> None:
    with pytest.raises(ConfigurationError) as refused:
        value_of(found)
    assert refused.value.code == "configuration.engines"
    assert SECRET not in str(refused.value)


def test_a_control_database_elsewhere_needs_verified_tls() -> None:
    with pytest.raises(ConfigurationError) as refused:
        value_of(control(extra={"sslmode": "require"}))
    assert refused.value.code == "configuration.database"
    assert SECRET not in str(refused.value)
    socket = "postgresql://cloakhouse@/control?host=/run/postgresql"
    assert value_of(uri(CONTROL, socket)) == socket


def test_within_airflow_each_connection_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAKE", "KEYS", "DATABASE"):
        monkeypatch.delenv(f"CLOAKHOUSE_{name}", raising=False)
    monkeypatch.setenv("CLOAKHOUSE_HOME", str(tmp_path))
    asked = []

    def look(name: str) -> Found | None:
        asked.append(name)
        return uri(LAKE, S3) if name == LAKE else None

    chosen = engines.settings(look)
    assert asked == [LAKE, KEYS, CONTROL]
    assert (chosen.store, chosen.keys) == (S3, Settings.from_environment().keys)
