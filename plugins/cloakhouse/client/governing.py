"""The commands `governance check` and `governance record`, `dpia`, `transparency`: contracts against laws, and the
documents that laws ask for."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cloakhouse.client import show
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.contracts.processing import LAWS
from cloakhouse.errors import ValidationRefused
from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from cloakhouse.governance.organisation import Organisation

Command = TypeVar("Command", bound=Callable[..., Any])
FORMATS = ("html", "markdown", "json-ld")
FINDINGS = (
    Heading("dataset", whole=True),
    Heading("profile"),
    Heading("severity"),
    Heading("clause"),
    Heading("finding"),
    Heading("write", "to write"),
)


def _common(command: Command) -> Command:
    """Add what all commands of the group take: datasets, profiles and the file of the organisation."""
    datasets = click.argument("datasets", nargs=-1, metavar="[DATASET]...")
    profile = click.option(
        "--profile",
        "profiles",
        multiple=True,
        type=click.Choice(LAWS),
        help="Law to check against; may be repeated. Those in force for the organisation if not given.",
    )
    organisation = click.option(
        "--organisation",
        "organisation_file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="CLOAKHOUSE_ORGANISATION",
        help="Who the controller is.  [default: organisation.yaml beside the folder of contracts]",
    )
    return datasets(profile(organisation(command)))


def _document_options(command: Command) -> Command:
    """Add what commands that write a document take besides."""
    form = click.option(
        "--format", "form", type=click.Choice(FORMATS), default="html", show_default=True, help="Form of the document."
    )
    out = click.option(
        "--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write; standard output if not given."
    )
    date = click.option(
        "--date",
        "day",
        type=click.DateTime(["%Y-%m-%d"]),
        help="Day (UTC) as of whose end it is. That of the newest release or event if not given.",
    )
    return _common(form(out(date(command))))


@click.group()
def governance() -> None:
    """Documents that data protection law asks for.

    Made from contracts, evidence and the audit log. An indication, not legal advice.
    """


@governance.command()
@_common
@output_option
def check(datasets: tuple[str, ...], profiles: tuple[str, ...], organisation_file: Path | None, output: str) -> None:
    """Check contracts against laws.

    Each finding names the clause that asks for it, and what to write. Exits with 3 when something is missing.
    """
    from cloakhouse.governance.activity import chosen
    from cloakhouse.governance.findings import check as checked
    from cloakhouse.governance.profiles import ADVICE, Severity

    settings = Settings.from_environment()
    organisation = _organisation(settings, organisation_file)
    contracts = chosen(settings.contracts, datasets)
    found = checked(contracts, organisation, profiles or organisation.profiles)
    if output == "json":
        show.write_json([finding.as_dict() for finding in found])
    else:
        show.write_table(FINDINGS, [finding.as_dict() for finding in found])
    counts = Counter(finding.severity for finding in found)
    show.note("; ".join(f"{counts[severity]} {severity}" for severity in Severity) + f". {ADVICE}")
    if counts[Severity.MISSING]:
        raise _missing(counts[Severity.MISSING])


@governance.command()
@_document_options
def record(**options: Any) -> None:
    """Write the record of processing activities (GDPR Art. 30)."""
    _write("record", **options)


@governance.command()
@_document_options
def dpia(**options: Any) -> None:
    """Write the skeleton of an impact assessment (GDPR Art. 35).

    Measured risks are filled in; what a person has to write is marked.
    """
    _write("dpia", **options)


@governance.command()
@_document_options
def transparency(**options: Any) -> None:
    """Write the page for the persons that the data are about (GDPR Art. 13 and 14)."""
    _write("transparency", **options)


def _write(
    kind: str,
    datasets: tuple[str, ...],
    profiles: tuple[str, ...],
    organisation_file: Path | None,
    form: str,
    out: Path | None,
    day: dt.datetime | None,
) -> None:
    settings = Settings.from_environment()
    organisation = _organisation(settings, organisation_file)
    text = _text(settings, kind, organisation, datasets, profiles or organisation.profiles, form, day and day.date())
    if out is None:
        click.echo(text, nl=False)
        return
    from cloakhouse.keys.files import replacing

    with replacing(out, mode=0o644) as stream:
        stream.write(text.encode())
    show.note(f"{kind}: {out}")


def _text(
    settings: Settings,
    kind: str,
    organisation: Organisation,
    datasets: Sequence[str],
    profiles: Sequence[str],
    form: str,
    day: dt.date | None,
) -> str:
    from cloakhouse.governance.activity import as_of, chosen, gather
    from cloakhouse.governance.documents import written
    from cloakhouse.governance.findings import check as checked

    contracts = chosen(settings.contracts, datasets)
    activities = gather(settings, contracts, day)
    findings = checked(contracts, organisation, profiles)
    return written(kind, form, organisation, activities, findings, profiles, as_of(activities, day))


def _organisation(settings: Settings, path: Path | None) -> Organisation:
    from cloakhouse.governance.organisation import load_organisation, organisation_file

    return load_organisation(organisation_file(settings, path))


def _missing(count: int) -> ValidationRefused:
    return ValidationRefused(
        where="contracts",
        expected="what the laws ask a contract to state",
        found=f"{count} missing",
        not_done="nothing was changed",
        remedy="write what the findings say, and raise the versions of the contracts",
        code="governance",
    )
