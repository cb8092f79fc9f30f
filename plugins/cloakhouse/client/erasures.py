"""`cloakhouse erase resume | list | show | certificate | verify`: what became of requests for erasure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.cells import utc_text
from cloakhouse.client.options import output_option
from cloakhouse.client.reporting import ending, key_text, read_file
from cloakhouse.client.show import Heading
from cloakhouse.errors import CloakhouseError

if TYPE_CHECKING:
    from cloakhouse.keys.signing import PublicKey
    from cloakhouse.ledger.erasure_model import Erasure
    from cloakhouse.settings import Settings

FILE = click.Path(dir_okay=False, path_type=Path)
LONGEST_CERTIFICATE = 16 << 20  # bytes
ERASURES = (
    Heading("batch", whole=True),
    Heading("state"),
    Heading("persons", right=True),
    Heading("requested", "requested (UTC)"),
    Heading("ended", "ended (UTC)"),
    Heading("actor"),
    Heading("reason"),
)
STEPS = (Heading("step", whole=True), Heading("at", "at (UTC)"), Heading("content"))


@click.command()
@click.argument("batch", required=False)
@output_option
def resume(batch: str | None, output: str) -> None:
    """Go on with BATCH, or with every open erasure, the oldest first.

    One that fails keeps no other from its end; all are told.
    """
    from cloakhouse.client.disclosing import installed
    from cloakhouse.ledger.erasures import Erasures

    settings = installed()
    erasures = Erasures(settings.database)
    names = (
        [erasure.batch for erasure in erasures.all(open_only=True)] if batch is None else [erasures.get(batch).batch]
    )
    goes_on(settings, names, output)


@click.command("list")
@click.option("--open", "open_only", is_flag=True, help="Only those that are not done.")
@output_option
def list_erasures(open_only: bool, output: str) -> None:
    """List requests for erasure, the oldest first."""
    from cloakhouse.client.disclosing import installed
    from cloakhouse.ledger.erasures import Erasures

    records = [_record(one) for one in Erasures(installed().database).all(open_only=open_only)]
    if output == "json":
        show.write_json(records)
    else:
        show.write_table(ERASURES, [{name: value or "" for name, value in record.items()} for record in records])


@click.command("show")
@click.argument("batch")
@output_option
def show_erasure(batch: str, output: str) -> None:
    """Show BATCH, and what is done of it, step by step."""
    from cloakhouse.client.disclosing import installed
    from cloakhouse.ledger.erasures import Erasures

    erasures = Erasures(installed().database)
    found = erasures.get(batch)
    steps = erasures.steps(batch)
    if output == "json":
        listed = [{"step": step.step, "at": utc_text(step.at), "content": dict(step.content)} for step in steps]
        show.write_json({**_record(found), "steps": listed})
        return
    show.write_pairs(_record(found))
    rows = [{"step": step.step, "at": utc_text(step.at), "content": _counts(step.content)} for step in steps]
    show.write_table(STEPS, rows, "done")


@click.command()
@click.argument("batch")
@click.option("--format", "form", type=click.Choice(["html", "pdf", "json"]), help="Form; else FILE's ending.")
@click.option("--out", type=FILE, help="File to write; standard output if not given.")
def certificate(batch: str, form: str | None, out: Path | None) -> None:
    """Write the certificate of BATCH: json is the signed one, html and pdf are pages of it, once it is verified."""
    from cloakhouse.client.disclosing import installed
    from cloakhouse.keys.files import replacing
    from cloakhouse.stages.erasure_certificate import written

    content = written(installed(), batch)
    form = form or (ending(out) if out else "json")
    if form != "json":
        content = _page(content, form)
    if out is None:
        click.echo(content, nl=False)
        return
    with replacing(out, mode=0o644) as stream:
        stream.write(content)
    show.note(f"the certificate of {batch}: {out}")


@click.command()
@click.argument("file", type=FILE)
@click.option("--key", metavar="PEM", help="The platform's key of releases. The installation's own if not given.")
@click.option("--log-key", metavar="PEM", help="Its key of the audit log. The installation's own if no key is given.")
@output_option
def verify(file: Path, key: str | None, log_key: str | None, output: str) -> None:
    """Verify a certificate, offline where a key is given.

    With --key alone the proof that the audit log has it isn't checked, and `logged` says so. Exit code 4 for one that
    was changed, and for one of another platform.
    """
    from cloakhouse.stages.certificate_verify import verify as verified

    if log_key is not None and key is None:
        raise click.UsageError("give --key with --log-key: both are of the same platform")
    found = verified(read_file(file, LONGEST_CERTIFICATE), *_trusted(key_text(key), key_text(log_key)))
    if output == "json":
        show.write_json({"logged": found.logged, "certificate": found.content})
    else:
        plain = {name: value for name, value in found.content.items() if isinstance(value, str | int)}
        show.write_pairs({**plain, "logged": found.logged})
    proved = "in the audit log" if found.logged else "its proof of the audit log was not checked: give --log-key"
    show.note(f"{file.name}: signed by this key, not changed since; {proved}")


def goes_on(settings: Settings, names: Sequence[str], output: str, asked: dict[str, Any] | None = None) -> None:
    """Do what is left of the erasures `names`, tell how each ended, and raise the first failure."""
    from cloakhouse.flow.erasing import erase
    from cloakhouse.ledger.erasures import Erasures

    erasures, failures = Erasures(settings.database), []
    records = []
    for name in names:
        problem: CloakhouseError | None = None
        try:
            erase(settings, name, lambda step: show.note(f"  {step}"))
        except CloakhouseError as fault:
            problem = fault
            failures.append(fault)
        code = "" if problem is None else problem.code
        records.append({**_record(erasures.get(name)), "failure": code})
        show.note(f"{name}: {code or 'done'}")
    if output == "json":
        show.write_json({**asked, **records[0]} if asked is not None else records)
    else:
        told = [{key: value or "" for key, value in record.items()} for record in records]
        show.write_table((*ERASURES[:5], Heading("failure")), told)
    if failures:
        raise failures[0]


def _trusted(pem: str | None, log_pem: str | None) -> tuple[PublicKey, PublicKey | None]:
    """Return the keys of releases and of the log: those that were given, else the installation's own."""
    from cloakhouse.client.disclosing import installed
    from cloakhouse.lake.releases import SIGNER
    from cloakhouse.stages.bundle_verify import public_of
    from cloakhouse.stages.signing import AUDIT, trusted_key

    if pem is None:
        settings = installed()
        return trusted_key(settings, SIGNER), trusted_key(settings, AUDIT)
    return public_of(pem), None if log_pem is None else public_of(log_pem)


def _page(text: bytes, form: str) -> bytes:
    from cloakhouse.report.certificate_page import certificate_page, certificate_pdf
    from cloakhouse.stages.certificate_verify import verify as verified

    found = verified(text, *_trusted(None, None))
    return certificate_pdf(found) if form == "pdf" else certificate_page(found).encode()


def _record(erasure: Erasure) -> dict[str, Any]:
    return {
        "batch": erasure.batch,
        "state": erasure.state.value,
        "persons": erasure.subjects,
        "requested": utc_text(erasure.requested_at),
        "ended": utc_text(erasure.ended_at) if erasure.ended_at else None,
        "actor": erasure.actor,
        "reason": erasure.reason,
        "certificate_sha256": erasure.certificate.sha256 if erasure.certificate else None,
    }


def _counts(content: Mapping[str, Any]) -> str:
    """Return the counts of a step on one line; digests and lists are in the JSON."""
    return ", ".join(f"{name} {value:,}" for name, value in content.items() if type(value) is int)
