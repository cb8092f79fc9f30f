"""`cloakhouse keys coverage`: how much is really encrypted."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import installation, say
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.errors import IntegrityError

if TYPE_CHECKING:
    from cloakhouse.lake.coverage import Coverage, PlaceCoverage

PARTS = (
    Heading("zone", whole=True),
    Heading("dataset", whole=True),
    Heading("place", "kind"),
    Heading("files", right=True),
    Heading("encrypted", "encrypted\nbytes", right=True),
    Heading("plaintext", "plaintext\nbytes", right=True),
    Heading("own_key", "columns with\nown key", right=True),
)
OWN = "with a key of its class"
FINDINGS = (Heading("path", "file", whole=True), Heading("kind"), Heading("detail"))


@click.command()
@click.option("--deep", is_flag=True, help="Read every file to its end and check all authentication tags.")
@output_option
@click.pass_context
def coverage(ctx: click.Context, deep: bool, output: str) -> None:
    """Measure from the bytes how much is really encrypted.

    Every file of the lake is opened. Those that are not encrypted as agreed are listed, and the exit code is 4.
    """
    from cloakhouse.lake.coverage import coverage as measure
    from cloakhouse.lake.store.opening import open_store
    from cloakhouse.ledger.audited_keys import open_ring

    settings = installation()
    found = measure(open_store(settings), open_ring(settings), deep=deep)
    if output == "json":
        show.write_json(_coverage_out(found))
    else:
        _show_coverage(found, deep)
    if not found.complete:
        ctx.exit(IntegrityError.exit_code)


def _show_coverage(found: Coverage, deep: bool) -> None:
    if not found.parts:
        show.note("the lake is empty")
        return
    show.write_table(PARTS, [_part_out(part) for part in found.parts])
    if found.findings:
        show.write_table(FINDINGS, [asdict(finding) for finding in found.findings], title="Not as agreed")
    columns = "unknown" if found.column_share is None else _percent(found.column_share)
    checked = "; every tag was checked" if deep and found.complete else ""
    say(f"encrypted: {_percent(found.byte_share)} of the bytes, {columns} of the columns by their own key{checked}")
    if not found.complete:
        say(f"{len(found.findings)} not as agreed; {found.plaintext_bytes:,} bytes are not encrypted")


def _percent(share: float) -> str:
    """Return a share of 0 to 1 for people, rounded down: 100 % is all of it."""
    return f"{math.floor(share * 10_000) / 100:.2f}%"


def _part_out(part: PlaceCoverage) -> dict[str, Any]:
    columns = {str(kind): count for kind, count in part.columns.items()}
    total = sum(columns.values())
    own = columns.get(OWN, 0)
    return {**asdict(part), "columns": columns, "own_key": f"{own} of {total}" if total else ""}


def _coverage_out(found: Coverage) -> dict[str, Any]:
    return {
        "complete": found.complete,
        "byte_share": found.byte_share,
        "column_share": found.column_share,
        "encrypted_bytes": found.encrypted_bytes,
        "plaintext_bytes": found.plaintext_bytes,
        "parts": [{k: v for k, v in _part_out(part).items() if k != "own_key"} for part in found.parts],
        "findings": [asdict(finding) for finding in found.findings],
    }
