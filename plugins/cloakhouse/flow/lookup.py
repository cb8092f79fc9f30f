"""Looking up a connection of Airflow's, where a failure is a failure.

Airflow's own lookup goes on to the next place when one of them fails, and tells "no such connection" when the API
server is away. That would send data to this machine's folder because a server was restarted. Here each place answers,
or the lookup is an error:

1. the environment (AIRFLOW_CONN_...) and the secrets backend that Airflow is configured with, if any;
2. in a task, the Execution API, through the task's supervisor; in scheduler, DAG processor and API server, Airflow's
   database, in a session of its own: the scheduler's mustn't be committed by others; in any other process, nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloakhouse.errors import CloakhouseError, ConfigurationError, StageError

RUNNER = "airflow.sdk.execution_time.task_runner"
SECRETS = ("uri", "password", "sslpassword")  # of an extra: the last two are parameters of libpq


@dataclass(frozen=True)
class Found:
    """A connection. What may hold a secret is not shown."""

    id: str
    kind: str = ""
    host: str = ""
    port: int | None = None
    login: str = ""
    schema: str = ""
    password: str = field(default="", repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


def lookup(connection_id: str) -> Found | None:
    """Return the connection with this id, or None where every place answers that there is none.

    Its password is masked in Airflow's logs from here on. Raises StageError when a place can't be asked or doesn't
    answer (that may pass), ConfigurationError for a connection whose `extra` is no JSON object.
    """
    try:
        found = _asked(connection_id)
    except CloakhouseError:
        raise
    except Exception as fault:  # noqa: BLE001 - its text may quote the connection
        raise _unanswered(connection_id, type(fault).__qualname__) from None
    if found is not None:
        _mask(found)
    return found


def found_of(connection_id: str, connection: Any) -> Found | None:
    """Return what a connection of any class of Airflow's holds, None for None. Raises ConfigurationError."""
    if connection is None:
        return None
    schema = connection.schema_ if hasattr(connection, "schema_") else connection.schema
    return Found(
        connection_id,
        str(connection.conn_type or ""),
        str(connection.host or ""),
        int(connection.port) if connection.port else None,
        str(connection.login or ""),
        str(schema or ""),
        str(connection.password or ""),
        _extra(connection_id, connection.extra),
    )


def other_form(
    connection_id: str, expected: str, found: str = "other fields, or a field missing"
) -> ConfigurationError:
    """Return the refusal of a connection that Airflow has, but not in the form that the platform reads."""
    return ConfigurationError(
        where=f"Airflow's connection {connection_id}",
        expected=expected,
        found=found,
        not_done="nothing was read or written",
        remedy=f"correct it: airflow connections delete {connection_id}, then add it as docs/engines.md shows",
        code="engines",
    )


def _asked(connection_id: str) -> Found | None:
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    for backend in ensure_secrets_backend_loaded():
        name = type(backend).__name__
        if name == "ExecutionAPISecretsBackend":
            found = _of_execution_api(connection_id)
        elif name == "MetastoreBackend":
            found = _of_database(connection_id)
        else:
            found = found_of(connection_id, backend.get_connection(conn_id=connection_id))
        if found is not None:
            return found
    return None


def _of_execution_api(connection_id: str) -> Found | None:
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection

    try:
        answer = sys.modules[RUNNER].SUPERVISOR_COMMS.send(GetConnection(conn_id=connection_id))
    except AirflowRuntimeError as refusal:
        answer = refusal.error
    if not isinstance(answer, ErrorResponse):
        return found_of(connection_id, answer)
    if answer.error == ErrorType.CONNECTION_NOT_FOUND:
        return None
    raise _unanswered(connection_id, str(answer.error.value))


def _of_database(connection_id: str) -> Found | None:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        return found_of(connection_id, session.scalar(select(Connection).where(Connection.conn_id == connection_id)))


def _extra(connection_id: str, text: Any) -> Mapping[str, Any]:
    if isinstance(text, Mapping) or not text:
        return text or {}
    try:
        extra = json.loads(text)
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise other_form(connection_id, "a JSON object as its extra", "another text")
    return extra


def _mask(found: Found) -> None:
    from airflow.sdk.log import mask_secret

    for secret in (found.password, *(found.extra.get(name) for name in SECRETS)):
        if secret and isinstance(secret, str):
            mask_secret(secret)


def _unanswered(connection_id: str, found: str) -> StageError:
    return StageError(
        where=f"Airflow's connection {connection_id}",
        expected="the connection, or that there is none",
        found=f"no answer ({found})",
        not_done="nothing was read or written: what the connection names must not be guessed",
        remedy="look at Airflow's API server, database and secrets backend; Airflow runs the task again",
        code="connection",
    )
