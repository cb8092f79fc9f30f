"""Which engines an installation uses: as the variables say, or Airflow's connections; never a guess between them.

| connection | variable | what it chooses | by |
| --- | --- | --- | --- |
| cloakhouse_lake | CLOAKHOUSE_LAKE | where the lake's objects are | extra `uri` |
| cloakhouse_keys | CLOAKHOUSE_KEYS | the key service | extra `uri` |
| cloakhouse_control | CLOAKHOUSE_DATABASE | the control database | type postgres, or extra `uri` alone |

A connection counts where its variable is empty. Where both are there they must say the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from cloakhouse.errors import ConfigurationError
from cloakhouse.flow.lookup import Found, lookup, other_form
from cloakhouse.ledger.database_url import database_url
from cloakhouse.settings import Settings, absolute_keys

LAKE, KEYS, CONTROL = "cloakhouse_lake", "cloakhouse_keys", "cloakhouse_control"
CHOICES = {
    LAKE: ("CLOAKHOUSE_LAKE", "store"),
    KEYS: ("CLOAKHOUSE_KEYS", "keys"),
    CONTROL: ("CLOAKHOUSE_DATABASE", "database"),
}
POSTGRES = ("postgres", "generic")  # the second is what `airflow connections add` makes of types without a provider
Lookup = Callable[[str], Found | None]


def settings(look: Lookup = lookup) -> Settings:
    """Return the settings of this process within Airflow: those of its environment, with what its connections choose.

    Raises ConfigurationError where a connection and a variable disagree or a connection can't be read, StageError
    where Airflow doesn't answer.
    """
    return resolved(Settings.from_environment(), os.environ, {name: look(name) for name in CHOICES})


def resolved(told: Settings, environment: Mapping[str, str], found: Mapping[str, Found | None]) -> Settings:
    """Return `told`, read from `environment`, with what the connections `found` choose. Raises ConfigurationError."""
    changes = {}
    for name, (variable, attribute) in CHOICES.items():
        connection = found.get(name)
        if connection is None:
            continue
        chosen = value_of(connection)
        if not environment.get(variable):
            changes[attribute] = chosen
        elif _canonical(name, chosen) != _canonical(name, getattr(told, attribute)):
            raise _disagree(name, variable)
    return replace(told, **changes)  # type: ignore[arg-type]


def value_of(connection: Found) -> str:
    """Return the value that a variable would have in place of `connection`. Raises ConfigurationError."""
    if connection.id == CONTROL and "uri" not in connection.extra:
        return _url(connection)
    uri, rest = connection.extra.get("uri"), set(connection.extra) - {"uri"}
    own = (connection.host, connection.port, connection.login, connection.schema, connection.password)
    if not isinstance(uri, str) or not uri or rest or any(own):
        raise other_form(connection.id, "an extra with uri, a text, and nothing else")
    if connection.id == CONTROL:
        database_url(uri)
    return absolute_keys(uri) if connection.id == KEYS else uri


def _url(connection: Found) -> str:
    """Return the URL of a connection of the type `postgres`; its extra holds parameters of libpq."""
    texts = all(isinstance(value, str | int) for value in connection.extra.values())
    if connection.kind not in POSTGRES or not connection.schema or not texts:
        raise other_form(
            connection.id, "type postgres or generic, schema (the database's name), extra of texts; or extra uri"
        )
    url = sa.URL.create(
        "postgresql",
        connection.login or None,
        connection.password or None,
        connection.host or None,
        connection.port,
        connection.schema,
        {name: str(value) for name, value in connection.extra.items()},
    )
    text = url.render_as_string(hide_password=False)
    database_url(text)
    return text


def _canonical(name: str, value: str) -> Any:
    return database_url(value) if name == CONTROL else value


def _disagree(name: str, variable: str) -> ConfigurationError:
    return ConfigurationError(
        where=f"Airflow's connection {name}, and {variable}",
        expected="one of them, or the same in both",
        found="two that differ",
        not_done="nothing was read or written",
        remedy=f"unset {variable} where Airflow runs, or delete the connection; see docs/engines.md",
        code="engines",
    )
