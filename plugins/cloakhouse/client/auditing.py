"""`cloakhouse audit list | show | verify | checkpoint`: the audit log for who reads it, and for who proves it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import say, told
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.errors import IntegrityError

if TYPE_CHECKING:
    from cloakhouse.ledger.audit import AuditLog, Entry
    from cloakhouse.ledger.audit_findings import Verification

EVENTS = (
    Heading("number", right=True),
    Heading("at"),
    Heading("actor", whole=True),
    Heading("action"),
    Heading("object"),
    Heading("count", right=True),
    Heading("decision"),
    Heading("reason"),
)
FINDINGS = (Heading("kind"), Heading("first", right=True), Heading("last", right=True), Heading("where"))


class Moment(click.ParamType[dt.datetime]):
    """A day, or a time with its zone, as ISO 8601 writes them. A day is its midnight in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        """Return the time in `value`."""
        try:
            found = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value)
        except ValueError:
            self.fail("a day as YYYY-MM-DD, or a time with its zone as 2026-11-22T15:00Z", param, ctx)
        if found.tzinfo is None and isinstance(value, str) and len(value) > len("2026-11-22"):
            self.fail("a time needs its zone: Z, or +01:00", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


@click.group()
def audit() -> None:
    """Read the audit log, and prove that it is complete.

    Every use of personal data and of keys is one entry, in a Merkle tree that only grows. A checkpoint is its size and
    root, signed; one that is kept elsewhere shows any later change of what it covers.
    """


@audit.command("list")
@click.option("--action", default="", metavar="WORD", help="What was done: read, publish, detokenize, ...")
@click.option("--actor", default="", metavar="NAME", help="Who did it, or tried to.")
@click.option("--dataset", default="", metavar="NAME", help="The dataset concerned.")
@click.option("--decision", type=click.Choice(["allowed", "refused", "failed"]), help="How it ended.")
@click.option("--run", default="", metavar="ID", help="The run of a DAG in which it happened.")
@click.option("--since", type=Moment(), help="From this time on: 2026-11-22, or 2026-11-22T15:00Z.")
@click.option("--until", type=Moment(), help="Before this time.")
@click.option("--text", default="", help="Words that stand in object, reason, purpose or code.")
@click.option("--before", type=click.IntRange(min=0), help="Entries with lower numbers than this one.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@output_option
def list_entries(output: str, before: int | None, limit: int, decision: str | None, **filters: Any) -> None:
    """List entries, newest first.

    As JSON: an array of events, each with its number.
    """
    from cloakhouse.client.disclosing import installed
    from cloakhouse.ledger.audit import AuditLog
    from cloakhouse.ledger.audit_query import Query

    query = Query(decision=decision or "", **filters)
    found = _found(AuditLog(installed().database), query, before, limit)
    records = [{"number": entry.number, **entry.event.as_dict()} for entry in found]
    if output == "json":
        show.write_json(records)
    elif records:
        show.write_table(EVENTS, [_row(record) for record in records])
        if len(records) == limit and records[-1]["number"]:
            show.note(f"there may be more: --before {records[-1]['number']}")
    else:
        show.note("no entry of the audit log is like that")


@audit.command("show")
@click.argument("number", type=click.IntRange(min=0))
@output_option
def show_entry(number: int, output: str) -> None:
    """Show entry NUMBER, and the proof that the newest checkpoint covers it.

    As JSON: the event, the bytes that were hashed (base64), the leaf's hash, the proof (RFC 9162, section 2.1.3), and
    the signed checkpoint. The proof is empty for an entry that no checkpoint covers yet.
    """
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages.audit_proof import proof_of

    found = proof_of(installed(), number)
    if output == "json":
        show.write_json(found.as_dict())
        return
    event = {name: value for name, value in found.entry.event.as_dict().items() if value not in ("", 0, {})}
    facts = event.pop("facts", {})
    show.write_pairs({"number": number, **event, **facts})
    if found.checkpoint is None:
        say("no checkpoint covers this entry yet: `cloakhouse audit checkpoint` signs one")
    else:
        size = found.checkpoint.size
        say(f"proved: entry {number} is one of the {size:,} that {found.checkpoint.origin} has signed")


@audit.command()
@click.option(
    "--checkpoint",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that was kept elsewhere. May be repeated.",
)
@output_option
def verify(files: tuple[Path, ...], output: str) -> None:
    """Verify the whole log: every entry, every hash, every checkpoint.

    Finds entries that were edited, removed, put in or moved, and a log that is not the one that was signed. Findings
    name entries by number. Ends with code 4 if there are any. The verification is an entry of the log itself.
    """
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages.audit_verification import verify as verify_log

    found = verify_log(installed(), {str(path) if _twice(path, files) else path.name: _text(path) for path in files})
    if output == "json":
        show.write_json(found.as_dict())
    else:
        _tell(found)
    if not found.sound:
        raise click.exceptions.Exit(IntegrityError.exit_code)


@audit.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the signed note to this file, too.")
@output_option
def checkpoint(out: Path | None, output: str) -> None:
    """Sign the log as it is now.

    Keep the file where whoever keeps the log can't write: with it, `audit verify --checkpoint` finds a history that
    was written anew. Nothing is signed that doesn't go on from the checkpoint before.
    """
    from cloakhouse.client.disclosing import installed
    from cloakhouse.keys.files import replacing
    from cloakhouse.stages.checkpointing import checkpoint as sign
    from cloakhouse.stages.checkpointing import note_of

    settings = installed()
    signed = sign(settings)
    if signed is None:
        told(output, {"size": 0}, "the audit log is empty: there is nothing to sign")
        return
    if out is not None:
        with replacing(out.resolve()) as stream:
            stream.write(note_of(settings, signed.size).encode())
    facts = {"origin": signed.origin, "size": signed.size, "root": signed.root.hex()}
    if out is not None:
        facts["file"] = str(out)
    told(output, facts, f"{signed.size:,} entries are signed as {signed.origin}" + (f": {out}" if out else ""))


def _found(log: AuditLog, query: Any, before: int | None, limit: int) -> list[Entry]:
    from cloakhouse.ledger.audit_query import MOST, find

    found: list[Entry] = []
    while len(found) < limit:
        wanted = min(MOST, limit - len(found))
        more = find(log, query, before, wanted)
        found += more
        if len(more) < wanted or not more[-1].number:
            break
        before = more[-1].number
    return found


def _row(record: dict[str, Any]) -> dict[str, Any]:
    decision = " ".join(filter(None, (record["decision"], record["code"])))
    return {**record, "at": record["at"][:19].replace("T", " "), "decision": decision}


def _twice(path: Path, files: Sequence[Path]) -> bool:
    return sum(one.name == path.name for one in files) > 1


def _text(path: Path) -> str:
    from cloakhouse.keys.files import storage_error
    from cloakhouse.ledger.checkpoints import LONGEST_NOTE

    try:
        with path.open("rb") as stream:
            return stream.read(LONGEST_NOTE + 1).decode("utf-8", errors="replace")
    except OSError as fault:
        raise storage_error(fault, path, "the log was not verified") from None


def _tell(found: Verification) -> None:
    if found.findings:
        show.write_table(FINDINGS, [one.as_dict() for one in found.findings])
    for remark in found.remarks:
        say(f"note: {remark.remark.value} (entry {remark.first}, {remark.count:,} in all)")
    if not found.sound:
        say(f"the audit log is NOT what was written: {len(found.findings) + found.more:,} findings")
        return
    signed = f"; {len(found.checkpoints):,} checkpoints agree" if found.checkpoints else ""
    say(f"{found.size:,} entries, each in its place and as it was written{signed}; root {found.root.hex()}")
