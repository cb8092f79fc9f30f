"""The command line. Each command is a thin function over a room that can be called from Python as well."""

from __future__ import annotations

import os
import sys

import click

from cloakhouse.client import (
    access,
    alerting,
    auditing,
    backing_up,
    budget,
    bundling,
    carding,
    collecting,
    comparing,
    completion,
    consenting,
    console_cli,
    contracts,
    database,
    disclosure,
    doctor,
    edge,
    erasing,
    exporting,
    governing,
    holding,
    keys,
    log_exporting,
    metrics_cli,
    querying,
    reading,
    reporting,
    restoring,
    retaining,
    running,
    subjects,
    tracing,
    versions,
)
from cloakhouse.client.failures import CarefulGroup
from cloakhouse.errors import ConfigurationError
from cloakhouse.logs import configure

EPILOG = """\b
Shell completion:
  bash  eval "$(cloakhouse completion bash)"
  zsh   eval "$(cloakhouse completion zsh)"
  fish  cloakhouse completion fish | source
"""


@click.group(cls=CarefulGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cloakhouse", prog_name="cloakhouse")
def cli() -> None:
    """Cloakhouse: from a retailer's feed to synthetic data that model teams may read.

    Answers go to standard output, messages to standard error. CLOAKHOUSE_HOME names the folder of the installation.

    \b
    Exit codes:
      0    done
      1    a stage did not finish, or an internal error (CLOAKHOUSE_DEBUG=1 shows it)
      2    usage: the command, a contract or a setting can't be used
      3    refused by policy
      4    integrity: data is not what it must be
      5    not found
      6    a service (keys, disk, database, program) is unavailable
      130  interrupted
    """


for command in (
    running.sample,
    running.run,
    running.console,
    reading.datasets,
    reading.describe,
    reading.read,
    reading.evidence,
    exporting.export,
    comparing.diff,
    tracing.lineage,
    carding.card,
    versions.versions,
    versions.rollback,
    versions.withdraw,
    versions.expire,
    versions.tag,
    versions.untag,
    versions.hold,
    versions.unhold,
    collecting.collect,
    retaining.retention,
    contracts.contracts,
    keys.keys,
    access.access,
    disclosure.detokenize,
    disclosure.link,
    erasing.erase,
    holding.legal_hold,
    subjects.subject,
    edge.tokenize,
    consenting.consent,
    auditing.audit,
    alerting.alerts,
    reporting.report,
    governing.governance,
    console_cli.auditor,
    budget.budget,
    querying.query,
    database.database,
    backing_up.backup,
    doctor.doctor,
    metrics_cli.metrics,
    completion.completion,
):
    cli.add_command(command)
for command in (log_exporting.export, log_exporting.forward, bundling.bundle, bundling.verify_bundle):
    auditing.audit.add_command(command)
for command in (restoring.restore, restoring.settle):
    backing_up.backup.add_command(command)


def main() -> None:
    """Run the command line and end the process with its exit code (see `cloakhouse -h`)."""
    os.umask(0o077)  # what a command writes, and what it starts writes, is for its user alone
    _fill_standard_streams()
    try:
        configure()
    except ConfigurationError as problem:
        click.echo(problem.explain(), err=True)
        raise SystemExit(problem.exit_code) from None
    cli(prog_name="cloakhouse")


def _fill_standard_streams() -> None:
    """Open those of the three standard streams that the caller closed, as nothing: the next file would get the number,
    and what a program that we start prints would be written into it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
