"""`cloakhouse doctor`: is everything reachable, as safely as the platform demands, and as it should be?"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.errors import IntegrityError, KeyServiceError

if TYPE_CHECKING:
    from cloakhouse.settings import Settings
    from cloakhouse.stages.connections import Finding
    from cloakhouse.stages.health_model import Health

CONNECTIONS = (
    Heading("what", whole=True),
    Heading("endpoint"),
    Heading("protocol", "negotiated", whole=True),
    Heading("detail"),
    Heading("ok"),
)
HEALTH = (
    Heading("what", whole=True),
    Heading("expected"),
    Heading("found"),
    Heading("state", whole=True),
)
NEGOTIATED = "TLS 1.3, or a connection that leaves no process"


@click.command()
@click.option("--fast", is_flag=True, help="Leave out what takes longer: the log's chain, releases, Airflow.")
@output_option
@click.pass_context
def doctor(ctx: click.Context, fast: bool, output: str) -> None:
    """Check that an installation is in order.

    Connections, rules, records, machine and Airflow: it connects to everything that is configured, shows what was
    found, and says what to do about what is wrong. Nothing is changed. Exit code 6 if something is wrong, 4 if what is
    stored isn't what was written.
    """
    from cloakhouse.settings import Settings
    from cloakhouse.stages.connections import examine
    from cloakhouse.stages.health_model import State

    settings = Settings.from_environment()
    connections, health = examine(settings), list(_health(settings, fast))
    if output == "json":
        show.write_json([*map(_connection, connections), *(one.as_dict() for one in health)])
    else:
        show.write_table(CONNECTIONS, [finding.as_dict() for finding in connections], title="Connections")
        show.write_table(HEALTH, [one.as_dict() for one in health], title="Installation")
        for what, remedy in _remedies(connections, health):
            show.note(f"{what}: {remedy}")
    if any(one.found.integrity for one in health):
        ctx.exit(IntegrityError.exit_code)
    if not all(one.ok for one in connections) or any(one.found.state is State.WRONG for one in health):
        ctx.exit(KeyServiceError.exit_code)


def _health(settings: Settings, fast: bool) -> Iterator[Health]:
    from cloakhouse.stages.health import health

    yield from health(settings, dt.datetime.now(dt.UTC), fast=fast)
    if settings.identity is None:
        from cloakhouse.flow import health as flow

        yield flow.programs()
        if not fast:
            yield from flow.airflow(settings)


def _connection(finding: Finding) -> dict[str, Any]:
    """Return a connection with the fields that every check has."""
    told = finding.as_dict()
    state = "ok" if finding.ok else "wrong"
    return {**told, "expected": NEGOTIATED, "found": f"{finding.protocol}: {finding.detail}", "state": state}


def _remedies(connections: list[Finding], health: list[Health]) -> Iterator[tuple[str, str]]:
    yield from ((one.what, one.remedy) for one in connections if not one.ok)
    yield from ((one.what, one.found.remedy) for one in health if one.found.state == "wrong")
