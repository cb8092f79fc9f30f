"""`cloakhouse auditor`: the auditors' console without Airflow, for one person on this machine."""

from __future__ import annotations

import click

from cloakhouse.settings import Settings


@click.command()
@click.option("--port", type=click.IntRange(1_024, 65_535), default=8090, show_default=True, help="Port to listen on.")
def auditor(port: int) -> None:
    """Show the auditors' console in a browser.

    For this machine and one browser only: prints an address that works once. Everything is read only, but for
    acknowledging alerts; who acts in the log is the
    principal of CLOAKHOUSE_IDENTITY. In Airflow the same console is at /auditor (`cloakhouse console`).
    """
    from cloakhouse.console.session import serve
    from cloakhouse.stages.authority import actor

    settings = Settings.from_environment()
    serve(settings, actor(settings), port)
