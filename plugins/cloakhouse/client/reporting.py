"""`cloakhouse report`: the validation report of a version, as a page, as PDF, or as the signed record."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.options import output_option
from cloakhouse.errors import ConfigurationError, NotFound, ValidationRefused

if TYPE_CHECKING:
    from cloakhouse.stages.reporting import Report

FILE = click.Path(dir_okay=False, path_type=Path)
STDOUT = Path("-")


@click.command()
@click.argument("name", required=False)
@click.option("--format", "form", type=click.Choice(["html", "pdf", "json"]), help="Form; else FILE's ending.")
@click.option("--out", type=FILE, help="Write the report to FILE; - for standard output.")
@click.option("--verify", "signed", type=FILE, help="Verify a signed report (json) instead.")
@click.option("--key", metavar="KEY", help="With --verify: the platform's key of releases, as PEM file or SHA-256.")
@output_option
@click.pass_context
def report(
    ctx: click.Context,
    name: str | None,
    form: str | None,
    out: Path | None,
    signed: Path | None,
    key: str | None,
    output: str,
) -> None:
    """Show or write the validation report of a version.

    For auditors: contract, lineage, checks, privacy figures with their thresholds, verdict, approvals, protection; no
    value of the data. NAME is a dataset, for its newest version, or NAME@3 for the third. The report is signed when it
    is first asked for; json is the signed record, which --verify checks. Exit code 3 if the gate was not passed.
    """
    if (name is None) == (signed is None):
        raise click.UsageError("name a dataset, or a file to --verify")
    found, text = _asked(name) if name is not None else _opened(signed, key)
    if out is not None and name is not None:
        _write(out, _formed(found, text, form or ending(out)))
    elif output == "json":
        show.write_json(dict(found.content))
    else:
        show.write_pairs(_facts(found))
    if signed is not None:
        show.note(f"{signed}: signed by {_signer(signed, key)}, not changed since")
    if not found.passed:
        ctx.exit(ValidationRefused.exit_code)


def read_file(path: Path, limit: int) -> bytes:
    """Return the bytes of a file that the caller named. Raises NotFound, StorageError, ConfigurationError when it has
    more than `limit` bytes."""
    from cloakhouse.keys.files import storage_error

    try:
        with path.open("rb") as stream:
            text = stream.read(limit + 1)
    except FileNotFoundError:
        raise NotFound(
            where=path.name,
            expected="a file",
            found="none of that name",
            not_done="nothing was verified",
            remedy="check the path",
        ) from None
    except OSError as fault:
        raise storage_error(fault, path, "nothing was verified") from None
    if len(text) > limit:
        raise ConfigurationError(
            where=path.name,
            expected=f"at most {limit:,} bytes",
            found="more",
            not_done="nothing was verified",
            remedy="name the file that the platform wrote",
            code="file",
        )
    return text


def key_text(key: str | None) -> str | None:
    """Return the key that an option names: the text of a PEM file, or the digest as it was typed."""
    if key is None or not Path(key).is_file():
        return key
    return read_file(Path(key), 1 << 16).decode(errors="replace")


def _asked(name: str) -> tuple[Report, bytes]:
    from cloakhouse.client.names import parse_name
    from cloakhouse.lake.store.opening import open_store
    from cloakhouse.settings import Settings
    from cloakhouse.stages.reporting import LIMIT, write_report
    from cloakhouse.stages.version_asked import version_asked

    settings = Settings.from_environment()
    ref, found = write_report(settings, version_asked(settings, parse_name(name)))
    return found, open_store(settings).read(ref.path, LIMIT)


def _opened(path: Path | None, key: str | None) -> tuple[Report, bytes]:
    from cloakhouse.lake.releases import SIGNER
    from cloakhouse.settings import Settings
    from cloakhouse.stages.bundle_verify import fingerprint_of
    from cloakhouse.stages.reporting import LIMIT, opened_report
    from cloakhouse.stages.signing import trusted_key

    assert path is not None
    text = read_file(path, LIMIT)
    given = key_text(key)
    if given is not None and "BEGIN" in given:
        from cloakhouse.stages.bundle_verify import public_of

        return opened_report(public_of(given), text, path.name), text
    trusted = trusted_key(Settings.from_environment(), SIGNER)
    if given is not None and fingerprint_of(given) != trusted.sha256:
        raise ConfigurationError(
            where="--key",
            expected="the PEM of that key: a signature can't be verified with its digest alone",
            found="the digest of a key that is not this installation's",
            not_done="nothing was verified",
            remedy="name the PEM file of the platform's key of releases",
            code="key",
        )
    return opened_report(trusted, text, path.name), text


def _signer(path: Path, key: str | None) -> str:
    import json

    keyid = json.loads(path.read_bytes())["signatures"][0]["keyid"]
    return f"the key {keyid}" + ("" if key else " of this installation")


def ending(out: Path) -> str:
    """Return the form that the ending of a file's name asks for."""
    return {".html": "html", ".pdf": "pdf"}.get(out.suffix.lower(), "json")


def _formed(found: Report, text: bytes, form: str) -> bytes:
    if form == "json":
        return text
    if form == "pdf":
        from cloakhouse.report.pdf import report_pdf

        return report_pdf(found)
    from cloakhouse.report.page import report_page

    return report_page(found).encode()


def _write(out: Path, content: bytes) -> None:
    if out == STDOUT:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    from cloakhouse.keys.files import replacing

    with replacing(out, mode=0o644) as stream:
        stream.write(content)
    show.note(f"the report: {out}")


def _facts(found: Report) -> dict[str, Any]:
    content = found.content
    verdict, contract = content["verdict"], content["contract"]
    guarantee = content["privacy"]["guarantee"]
    epsilon = f"{guarantee['epsilon']:g} per {guarantee['unit']}" if guarantee else "none: not differentially private"
    return {
        "dataset": found.name,
        "verdict": "passed" if found.passed else "NOT PASSED",
        "figures": f"{verdict['figures_passed']} of {verdict['figures']} within their thresholds",
        "checks": f"{verdict['checks_passed']} of {verdict['checks']} held",
        "evidence": "states the same" if verdict["agrees"] else "STATES OTHERWISE than it comes to",
        "epsilon": epsilon,
        "contract": f"{contract['version']}, digest {contract['digest'][:16]}",
        "approvals": len(content["approvals"]),
        "audit entries": content["audit"]["entries"],
    }
