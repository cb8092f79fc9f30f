"""`cloakhouse subject export | about | open`: what is held about one person, sealed for that person, and read there."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloakhouse.client import show
from cloakhouse.client.disclosure import reason_option
from cloakhouse.client.key_common import current_settings, say, told
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from cloakhouse.governance.subject_about import Counts
    from cloakhouse.stages.subject_export import Copy

FILE = click.Path(dir_okay=False, path_type=Path)
ROWS = (Heading("dataset", whole=True), Heading("landed", right=True), Heading("protected", right=True))
MOST = 4_096  # bytes of a public key's file


@click.group()
def subject() -> None:
    """Give one person a copy of their data.

    For a privacy officer with a role for it (docs/subject-access.md). The copy is sealed to the person's public key.
    """


@subject.command()
@click.option("--subject-file", required=True, type=FILE, help="File that names the person: a header, and a line.")
@click.option("--column", help="What the lines are, where the file has no header, e.g. loyalty_card.")
@click.option("--recipient", required=True, metavar="AGE1...|FILE", help="The person's public key: age, or X25519 PEM.")
@reason_option
@click.option("--out", required=True, type=FILE, help="File to write, mode 0600; it must not be there.")
@output_option
def export(subject_file: Path, column: str | None, recipient: str, reason: str, out: Path, output: str) -> None:
    """Write the copy of one person's data, sealed.

    Holds the person's lines as delivered and as protected, consents, and what the law has told about them, as JSON and
    CSV. For a principal whose role may read `landing` and `protected` for the purpose it states. The export is recorded
    before anything is decrypted, and their number a day is limited.
    """
    from cloakhouse.client.disclosing import installed
    from cloakhouse.client.plain_files import appearing
    from cloakhouse.stages.subject_export import Request, export_subject

    settings = installed()
    request = Request(subject_file, _recipient(recipient), reason, column)
    with appearing(out, force=False) as stream:
        copy = export_subject(settings, request, stream, lambda counts: _about(settings, counts))
    _tell(copy, out, output)


@subject.command()
@click.option("--out", type=FILE, help="Folder's file to write, .html or .json; standard output (JSON) if not given.")
def about(out: Path | None) -> None:
    """Show what every copy says of purposes, recipients, retention and rights, without a person."""
    from cloakhouse.keys.files import replacing

    pages = _about(current_settings(), {})
    if out is None:
        click.echo(pages["about.json"], nl=False)
        return
    with replacing(out) as stream:
        stream.write(pages["about.html" if out.suffix.lower() in (".html", ".htm") else "about.json"])


@subject.command("open")
@click.argument("sealed", type=FILE)
@click.option("--key", "key_file", required=True, type=FILE, help="The private key: age identity or PEM, mode 0600.")
@click.option("--out", required=True, type=FILE, help="ZIP file to write, mode 0600; it must not be there.")
def open_copy(sealed: Path, key_file: Path, out: Path) -> None:
    """Open a sealed copy, where the private key is.

    For whoever asked for it; `age --decrypt` does the same. The ZIP file holds plain personal data.
    """
    from cloakhouse.client.plain_files import appearing
    from cloakhouse.keys.files import storage_error
    from cloakhouse.keys.recipients import open_stream

    try:
        source = sealed.open("rb")
    except OSError as fault:
        raise storage_error(fault, sealed, "nothing was opened") from None
    with source, appearing(out, force=False) as stream:
        open_stream(source, stream, key_file)
    say(f"opened: {out}")


def _recipient(given: str) -> str:
    """Return the recipient that was given, or what stands in the file of that name."""
    path = Path(given)
    if given.startswith("age1") or not path.is_file():
        return given
    with path.open("rb") as stream:
        return stream.read(MOST).decode("utf-8", "replace")


def _about(settings: Settings, counts: Counts) -> dict[str, bytes]:
    from cloakhouse.contracts.parser import load_contracts
    from cloakhouse.governance.organisation import load_organisation, organisation_file
    from cloakhouse.governance.subject_about import about as pages

    contracts = load_contracts(settings.contracts)
    organisation = load_organisation(organisation_file(settings))
    return pages(organisation, contracts, counts, dt.datetime.now(dt.UTC).date())


def _tell(copy: Copy, out: Path, output: str) -> None:
    feeds = {name: parts for name, parts in copy.counts.items() if name}
    consents = copy.counts[""]["consents"]
    if output == "json":
        facts = {"file": str(out), "sha256": copy.sha256, "bytes": copy.bytes, "rows": feeds, "consents": consents}
        show.write_json({**facts, "unclear": copy.unclear, "held": copy.held})
        return
    show.write_table(
        ROWS, [{"dataset": name, **{k: f"{v:,}" for k, v in rows.items()}} for name, rows in feeds.items()]
    )
    told(output, {}, f"{consents} consents. Sealed for the recipient: {out} (SHA-256 {copy.sha256})")
    if copy.unclear:
        say(f"{copy.unclear:,} lines that name the person may be others' as well: they are not in it, look at them")
    if copy.held:
        say("the person is under a legal hold: nothing of it is in the copy, and no erasure reaches the data")
