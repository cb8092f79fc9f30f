"""Does a shell name the lake, the keys and the control database that Airflow's connections name?

Tasks go by the connections, and most commands by the shell's variables alone (`cloakhouse.flow.engines`): where the two
differ, an operator looks at another installation than the one that runs. What can't be looked up is told as not
compared, and never as fine. Results are words: no value of a connection leaves the process that looked it up.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from types import SimpleNamespace

from cloakhouse.errors import CloakhouseError, ConfigurationError
from cloakhouse.flow.engines import CHOICES, resolved, value_of
from cloakhouse.flow.lookup import Found as Connection
from cloakhouse.flow.lookup import found_of
from cloakhouse.settings import Settings
from cloakhouse.stages.health_model import Found, Health, fine, skipped, wrong

NONE, SAME, DIFFERS, UNSET, UNREADABLE, UNANSWERED = "none", "same", "differs", "unset", "unreadable", "unanswered"
NOT_ASKED = "Airflow never ran here, and no AIRFLOW_CONN_CLOAKHOUSE_... is set"
NO_ANSWER = "no answer from Airflow within two minutes, or a fault"
FIELDS = ("conn_type", "host", "port", "login", "schema", "password", "extra")
TEXTS = {
    DIFFERS: "differs from {variable}",
    UNSET: "names another than the default that counts here, as {variable} is empty",
    UNREADABLE: "has another form than the platform reads",
}
Look = Callable[[str], Connection | None]


def choices(settings: Settings, environment: Mapping[str, str], look: Look) -> dict[str, str]:
    """Return for each connection how it compares with `settings`, which were read from `environment`."""
    return {name: _compared(name, settings, environment, look) for name in CHOICES}


def of_environment(environment: Mapping[str, str]) -> dict[str, str] | None:
    """Return what `choices` does, by AIRFLOW_CONN_... alone and without Airflow; None where there is none of them."""
    if not any(_variable(name) in environment for name in CHOICES):
        return None
    return choices(Settings.from_environment(environment), environment, lambda name: _told(name, environment))


def as_health(found: Mapping[str, str] | None, why: str = NOT_ASKED) -> Health:
    """Return the check: `found` is what `choices` tells, None where nobody could be asked, because of `why`."""
    return Health("Airflow's connections", "what this shell's variables name, or none", _judged(found, why))


def _judged(found: Mapping[str, str] | None, why: str) -> Found:
    if found is None or set(found) != set(CHOICES):
        return skipped(f"not compared: {why}")
    bad = [f"{name} {TEXTS[how].format(variable=CHOICES[name][0])}" for name, how in found.items() if how in TEXTS]
    if bad:
        remedy = "name the same in both, or one of them alone (docs/engines.md): tasks and this shell differ"
        return wrong("; ".join(bad), remedy)
    if away := [name for name, how in found.items() if how not in (NONE, SAME)]:
        return skipped(f"not compared: {', '.join(away)} can't be looked up here")
    same = [name for name, how in found.items() if how == SAME]
    return fine(f"the same: {', '.join(same)}" if same else "there is none: variables alone choose")


def _compared(name: str, settings: Settings, environment: Mapping[str, str], look: Look) -> str:
    try:
        found = look(name)
    except ConfigurationError:
        return UNREADABLE
    except CloakhouseError:
        return UNANSWERED
    if found is None:
        return NONE
    try:
        value_of(found)
    except ConfigurationError:
        return UNREADABLE
    try:
        chosen = resolved(settings, environment, {name: found})
    except ConfigurationError:
        return DIFFERS
    return SAME if chosen == settings else UNSET


def _told(name: str, environment: Mapping[str, str]) -> Connection | None:
    """Return the connection in AIRFLOW_CONN_..., as JSON. Raises CloakhouseError for Airflow's URIs, which only Airflow
    reads, ConfigurationError for an `extra` of another form."""
    text = environment.get(_variable(name))
    if not text:
        return None
    try:
        content = json.loads(text)
        return found_of(name, SimpleNamespace(**{field: content.get(field) for field in FIELDS}))
    except (ValueError, AttributeError, TypeError):
        raise CloakhouseError(
            where=_variable(name),
            expected="a connection as JSON",
            found="another text",
            not_done="it was not compared",
            remedy="write it as docs/engines.md shows",
        ) from None


def _variable(name: str) -> str:
    return f"AIRFLOW_CONN_{name.upper()}"


def told_by_airflow() -> dict[str, str]:
    """Return what `choices` does, as Airflow's scheduler looks connections up; for a process that is Airflow's."""
    from cloakhouse.flow.lookup import lookup

    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"  # else Airflow's own database is not among the places
    return choices(Settings.from_environment(), os.environ, lookup)
