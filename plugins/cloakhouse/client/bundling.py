"""`cloakhouse audit bundle` and `cloakhouse audit verify-bundle`: evidence to take away, and how it is verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.options import output_option
from cloakhouse.client.reporting import key_text, read_file

if TYPE_CHECKING:
    from cloakhouse.stages.bundle_verify import Verified

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("name")
@click.option("--out", type=FILE, required=True, help="Write the bundle to FILE (a ZIP archive).")
def bundle(name: str, out: Path) -> None:
    """Write the offline bundle of a version.

    One file with the signed release, its contract, evidence and report, the entries of the audit log about it with
    proofs, and the public keys: all that `verify-bundle` needs on a machine without access to the platform. No row of
    data is in it. NAME is a dataset, for its newest version, or NAME@3 for the third.
    """
    from cloakhouse.client.names import parse_name
    from cloakhouse.keys.files import replacing
    from cloakhouse.lake.releases import SIGNER
    from cloakhouse.settings import Settings
    from cloakhouse.stages.bundle import bundle as made
    from cloakhouse.stages.signing import trusted_key
    from cloakhouse.stages.version_asked import version_asked

    settings = Settings.from_environment()
    version = version_asked(settings, parse_name(name))
    content = made(settings, version)
    with replacing(out, mode=0o644) as stream:
        stream.write(content)
    show.note(f"the bundle of {version.name}: {out}, {len(content):,} bytes")
    show.note(f"signed by the key {trusted_key(settings, SIGNER).sha256}: tell the auditor by another way")


@click.command("verify-bundle")
@click.argument("file", type=FILE)
@click.option("--key", metavar="KEY", help="The platform's key of releases: its SHA-256, or a PEM file.")
@click.option("--checkpoint", "kept", type=FILE, help="A checkpoint of the audit log that was kept elsewhere.")
@output_option
def verify_bundle(file: Path, key: str | None, kept: Path | None, output: str) -> None:
    """Verify an offline bundle, without access to the platform.

    Signatures, digests, the gate computed again from the evidence, the report, and every proof of the audit log. Exit
    code 4 for a bundle of another platform than KEY's, and for anything that was changed.
    """
    from cloakhouse.ledger.checkpoints import LONGEST_NOTE
    from cloakhouse.stages.bundle_archive import LIMIT
    from cloakhouse.stages.bundle_verify import verify_bundle as verified

    text = read_file(file, LIMIT)
    note = None if kept is None else read_file(kept, LONGEST_NOTE).decode(errors="replace")
    found = verified(text, file.name, key_text(key), note)
    if output == "json":
        show.write_json(_record(found))
    else:
        show.write_pairs(_facts(found))
    if not found.compared:
        show.note(f"the key was taken from the bundle: compare {found.key} with what the platform told you")


def _facts(found: Verified) -> dict[str, Any]:
    gate = found.gate
    return {
        "bundle of": found.name,
        "state": found.state,
        "signed by": found.key + (" (as given)" if found.compared else " (NOT COMPARED: taken from the bundle)"),
        "gate": f"passed: {len(gate.figures)} figures and {gate.checks} checks, computed again",
        "report": "follows from contract, evidence and release",
        "audit entries": f"{found.entries:,}, each proved against {found.log_size:,} entries of {found.origin}"
        + (f"; {found.left_out:,} older ones left out" if found.left_out else ""),
        "log goes on from": ", ".join(map(str, found.earlier)) or "no earlier checkpoint",
        "kept checkpoint": {None: "none given", True: "of the same log"}[found.kept],
    }


def _record(found: Verified) -> dict[str, Any]:
    return {
        "dataset": found.name,
        "state": found.state,
        "key_sha256": found.key,
        "key_compared": found.compared,
        "gate": {"passed": found.gate.passed, "figures": len(found.gate.figures), "checks": found.gate.checks},
        "audit": {
            "entries": found.entries,
            "left_out": found.left_out,
            "size": found.log_size,
            "root": found.log_root,
            "origin": found.origin,
            "earlier": list(found.earlier),
            "kept_checkpoint": found.kept,
        },
    }
