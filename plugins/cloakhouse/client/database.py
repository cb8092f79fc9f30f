"""`cloakhouse database status | upgrade`: the tables of the control database."""

from __future__ import annotations

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import say
from cloakhouse.client.options import output_option
from cloakhouse.errors import ConfigurationError

ROLE_HELP = "PostgreSQL: let this role do what the platform does, and no more. It must exist."
READER_HELP = "PostgreSQL: let this role read what is published, and no more. It must exist."


@click.group()
def database() -> None:
    """Look at the control database, and migrate it.

    `upgrade` brings its tables to this version's revision. On SQLite that happens by itself. On PostgreSQL it is the
    operator's: with a role that may make tables in CLOAKHOUSE_DATABASE, run `upgrade --grant-to` the platform's role,
    and `--grant-reading-to` that of those who open published datasets; each gets its own role's URL.
    """


@database.command()
@output_option
@click.pass_context
def status(ctx: click.Context, output: str) -> None:
    """Show where the database is, how it is reached, and its revision. Exit code 2 if it can't be used as it is."""
    from cloakhouse.ledger.standing import standing
    from cloakhouse.settings import Settings

    found = standing(Settings.from_environment().database)
    if output == "json":
        show.write_json(found.as_dict())
    else:
        show.write_pairs(found.as_dict())
    if not found.usable:
        ctx.exit(ConfigurationError.exit_code)


@database.command()
@click.option("--grant-to", "role", metavar="ROLE", default="", help=ROLE_HELP)
@click.option("--grant-reading-to", "reader", metavar="ROLE", default="", help=READER_HELP)
@output_option
def upgrade(role: str, reader: str, output: str) -> None:
    """Bring the tables to this version's revision, all in one transaction.

    Run it before the new version starts; run it again after an interruption. At that revision nothing is done. There is
    no way back but a restored backup: make one first, with the version that runs now (`cloakhouse backup create`).
    """
    from cloakhouse.ledger.revisions import HEAD
    from cloakhouse.ledger.standing import bring_up
    from cloakhouse.settings import Settings

    before = bring_up(Settings.from_environment().database, role, reader)
    if output == "json":
        facts = {"before": before or "", "revision": HEAD, "changed": before != HEAD, "granted_to": role}
        facts["reading_granted_to"] = reader
        show.write_json(facts)
        return
    say(f"revision {HEAD} already" if before == HEAD else f"revision {HEAD} now; it was {before or 'empty'}")
    if role:
        say(f"{role} may do what the platform does")
    if reader:
        say(f"{reader} may read what is published, and note its reads")
