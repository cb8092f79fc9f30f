"""`cloakhouse metrics show | token`: what Prometheus scrapes, and the token that it needs for that."""

from __future__ import annotations

import click

from cloakhouse.client.key_common import installation, say


@click.group()
def metrics() -> None:
    """Show metrics, and let Prometheus scrape them.

    The console answers at /metrics (in Airflow: /auditor/metrics) once a token is made. docs/operations.md lists the
    metrics; infra/prometheus has alert rules, infra/grafana a dashboard.
    """


@metrics.command()
def show() -> None:
    """Write all metrics as text (Prometheus 0.0.4), for people or node_exporter's textfile collector.

    Exit code 6 when a part could not be read: its `cloakhouse_part_up` is 0, and `cloakhouse doctor` says why.
    """
    from cloakhouse.console.metrics_text import exposition
    from cloakhouse.errors import KeyServiceError
    from cloakhouse.stages.metrics import Metrics, sources

    samples = Metrics(sources(installation())).collect()
    click.echo(exposition(samples)[0].decode(), nl=False)
    if any(sample.name == "cloakhouse_part_up" and not sample.value for sample in samples):
        click.get_current_context().exit(KeyServiceError.exit_code)


@metrics.command()
@click.option("--drop", is_flag=True, help="Have no token hold: nobody may scrape.")
def token(drop: bool) -> None:
    """Make the token that a scraper shows, and print it once. The one before ends.

    The installation keeps its SHA-256 alone. Put it in a file of Prometheus' (`authorization: credentials_file`).
    """
    from cloakhouse.console.metrics_token import drop_token, make_token

    settings = installation()
    if drop:
        say("the token doesn't hold any more" if drop_token(settings) else "there was no token")
        return
    click.echo(make_token(settings))
