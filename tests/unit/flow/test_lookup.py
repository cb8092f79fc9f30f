"""A connection is found where it is, is absent where all say so, and an outage is neither.

The Execution API is the part that can't run here without a whole Airflow: these tests put its answers in place of it.
tests/stores/test_airflow_on_postgresql.py asks the real one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import ConnectionResult, ErrorResponse, GetConnection

from cloakhouse.errors import ConfigurationError, StageError
from cloakhouse.flow.lookup import Found, lookup

SECRET = "Zwetschgenhuber"
NAME = "cloakhouse_lake"
VARIABLE = "AIRFLOW_CONN_CLOAKHOUSE_LAKE"


@pytest.fixture(autouse=True)
def _no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv("_AIRFLOW_PROCESS_CONTEXT", raising=False)


def in_a_task(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Any]) -> list[str]:
    asked: list[str] = []

    def send(message: Any) -> Any:
        if not isinstance(message, GetConnection):
            return None
        asked.append(message.conn_id)
        return answer()

    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", SimpleNamespace(send=send), raising=False)
    return asked


def test_the_environment_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lookup(NAME) is None
    asked = in_a_task(monkeypatch, lambda: pytest.fail("asked"))
    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "generic", "extra": {"uri": "s3://x"}}))
    assert lookup(NAME) == Found(NAME, "generic", extra={"uri": "s3://x"})
    assert asked == []


def test_a_task_asks_the_execution_api(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"conn_id": NAME, "conn_type": "postgres", "host": "h", "schema": "s", "login": "l", "port": 1}
    asked = in_a_task(monkeypatch, lambda: ConnectionResult(**fields, password=SECRET, extra='{"a": "b"}'))
    found = lookup(NAME)
    assert found == Found(NAME, "postgres", "h", 1, "l", "s", SECRET, {"a": "b"})
    assert asked == [NAME]
    in_a_task(monkeypatch, lambda: ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND))
    assert lookup(NAME) is None


@pytest.mark.parametrize("error", [e for e in ErrorType if e is not ErrorType.CONNECTION_NOT_FOUND])
def test_any_other_answer_of_the_execution_api_is_an_error(monkeypatch: pytest.MonkeyPatch, error: ErrorType) -> None:
    in_a_task(monkeypatch, lambda: ErrorResponse(error=error, detail={"text": SECRET}))
    with pytest.raises(StageError) as refused:
        lookup(NAME)
    assert refused.value.retryable
    assert SECRET not in str(refused.value)


def test_an_execution_api_that_is_away_is_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> Any:
        raise ConnectionError(SECRET)

    in_a_task(monkeypatch, away)
    with caplog.at_level(logging.DEBUG), pytest.raises(StageError) as refused:
        lookup(NAME)
    assert refused.value.code == "stage.connection"
    assert "ConnectionError" in refused.value.found
    assert SECRET not in str(refused.value) + caplog.text
    assert refused.value.__suppress_context__


def test_a_connection_in_the_environment_that_can_not_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "{" + SECRET)
    with pytest.raises(StageError) as refused:
        lookup(NAME)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("extra", [f"{SECRET}", f'["{SECRET}"]', "7"])
def test_an_extra_that_is_no_object_is_an_error(monkeypatch: pytest.MonkeyPatch, extra: str) -> None:
    fields = {"conn_id": NAME, "conn_type": "generic", "host": "", "schema": "", "login": "", "port": None}
    in_a_task(monkeypatch, lambda: ConnectionResult(**fields, password="", extra=extra))
    with pytest.raises(ConfigurationError) as refused:
        lookup(NAME)
    assert SECRET not in str(refused.value)


def test_a_server_that_can_not_read_its_database_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow import settings as airflow_settings

    def broken() -> Any:
        raise OSError(SECRET)

    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    monkeypatch.setattr(airflow_settings, "NonScopedSession", broken)
    with pytest.raises(StageError) as refused:
        lookup(NAME)
    assert SECRET not in str(refused.value)


def test_every_secret_of_a_connection_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk._shared.secrets_masker import redact

    secrets = {name: f"{SECRET}-{name}" for name in ("uri", "password", "sslpassword")}
    fields = {"conn_id": NAME, "conn_type": "postgres", "host": "h", "schema": "s", "login": "l", "port": 1}
    extra = json.dumps({**secrets, "sslmode": "verify-full"})
    in_a_task(monkeypatch, lambda: ConnectionResult(**fields, password=f"{SECRET}-own", extra=extra))
    lookup(NAME)
    for secret in (*secrets.values(), f"{SECRET}-own"):
        assert secret not in str(redact(f"said {secret}."))
    assert redact("verify-full") == "verify-full"
