"""The page of an erasure's certificate: what was asked for, what was found and done, and what the search came to.

One HTML page without script or anything from outside; it prints, and becomes a PDF. It shows what a verified
certificate says (`cloakhouse.stages.certificate_verify`), so that who shows it has verified it first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from cloakhouse.report.parts import NONE, decimals, document, facts, number, paragraph, section, table, text
from cloakhouse.report.pdf import refused
from cloakhouse.report.report_style import REPORT_STYLE
from cloakhouse.stages.certificate_verify import VerifiedCertificate, canonical

Facts = Mapping[str, Any]

LISTED = 6  # entries of a list that are named one by one
# On paper the facts are no grid: WeasyPrint 70 fails on one with an item over all columns after a full row.
STYLE = """
.facts { grid-template-columns: repeat(3, 1fr); } td { vertical-align: baseline; }
@media (max-width: 30rem) { .facts { grid-template-columns: 1fr 1fr; } }
@media print { .facts { display: block; } .facts div { display: inline-block; width: 32%; vertical-align: top;
  margin-bottom: .8rem; } .facts .wide { display: block; width: auto; }
  table { break-inside: auto; } caption { break-after: avoid; } h2 { margin-top: 1.4rem; } }
"""


def certificate_page(certificate: VerifiedCertificate) -> str:
    """Return the page as HTML."""
    content = certificate.content
    return document(
        f"{content['batch']}: certificate of erasure",
        f'<header><p class="kicker">Certificate of erasure</p><h1>{text(content["batch"])}</h1></header>',
        _verdict(certificate),
        _summary(content),
        _steps(content),
        _attacks(content),
        _search(content["sweep"]),
        _record(content),
        style=REPORT_STYLE + STYLE,
    )


def certificate_pdf(certificate: VerifiedCertificate) -> bytes:
    """Return the page as PDF/UA-1; the same certificate gives the same bytes.

    Raises MissingDependency (ModuleNotFoundError, which the command line tells) without WeasyPrint.
    """
    from weasyprint import HTML

    identifier = hashlib.sha256(canonical(certificate.content)).digest()[:16]
    page = HTML(string=certificate_page(certificate), base_url=None, url_fetcher=refused)
    found: bytes = page.write_pdf(pdf_variant="pdf/ua-1", pdf_identifier=identifier)
    return found


def _verdict(certificate: VerifiedCertificate) -> str:
    clean = bool(certificate.content["sweep"]["clean"])
    kind, first = ("yes", "Erased") if clean else ("no", "Not proved")
    said = "A search of every byte that the platform holds, but for what is named below, found nobody of them."
    if not clean:
        said = "The closing search found something, or could not look everywhere."
    proved = " The audit log has it." if certificate.logged else " The audit log was not asked."
    return f'<div class="verdict {kind}" role="status"><strong>{text(first)}</strong>{text(said + proved)}</div>'


def _summary(content: Facts) -> str:
    persons = content["persons"]
    return facts(
        [
            ("persons erased", f"{persons['erased']:,}", "big"),
            ("of those asked for", f"{persons['requested']:,}", ""),
            ("kept under a legal hold", f"{persons['held']:,}", ""),
            ("requested (UTC)", _time(content["requested_at"]), ""),
            ("certified (UTC)", _time(content["certified_at"]), ""),
            ("reason", str(content["reason"]), "wide"),
        ]
    )


def _steps(content: Facts) -> str:
    rows = [(str(one["step"]), _time(one["at"]), _said(one["done"], "; ") or NONE) for one in content["steps"]]
    return section(
        "steps",
        "What was found and done",
        table("Steps, in their order", ("step", "at (UTC)", "found and done"), rows, words=True),
    )


def _attacks(content: Facts) -> str:
    rows = [
        (
            f"{one['dataset']}@{one['version']}",
            f"{one['persons']:,}",
            f"{one['others']:,}",
            decimals(one["area"]),
            NONE if one["low"] is None else f"{decimals(one['low'])} to {decimals(one['high'])}",
            str(one["verdict"]),
        )
        for one in content["attacks"]
    ]
    if not rows:
        return section("attacks", "Can the persons be told from strangers?", paragraph("No version was made anew."))
    heads = ("version", "persons", "strangers", "area under the curve", "bounds at 99.9 %", "verdict")
    said = paragraph("An area of 0.5 is chance. With fewer than 50 on a side an attack can't tell anything.")
    title = "Can the persons be told from strangers?"
    return section("attacks", title, said, table("Attacks on versions made anew", heads, rows))


def _search(sweep: Facts) -> str:
    heads = ("zone", "objects", "bytes as they lie", "bytes decoded")
    rows = [
        (zone, *(f"{counts.get(name, 0):,}" for name in ("objects", "raw_bytes", "plain_bytes")))
        for zone, counts in sweep["searched"].items()
    ]
    total, left_out = sum(sweep["tables"].values()), sweep["left_out"]
    looked_for = sum(sweep["patterns"].values())
    return section(
        "search",
        "What was searched?",
        paragraph(
            f"{looked_for:,} values and tokens were looked for; {sweep['found']:,} were found, and "
            f"{sweep['unopened_places']:,} places could not be opened. Not looked for, since other persons have them, "
            f"too: {sweep['shared']:,}. Of the control database {len(sweep['tables'])} tables of {total:,} rows were "
            f"searched. Left out: {text(_said(left_out) or 'nothing')}."
        ),
        table("Files and objects", heads, rows),
    )


def _record(content: Facts) -> str:
    digest = hashlib.sha256(canonical(content)).hexdigest()
    return section(
        "record",
        "How do I check this?",
        paragraph(text(content["method"])),
        paragraph("<code>cloakhouse erase verify</code> verifies the file that this page was made from."),
        f"<dl><dt>statement (SHA-256)</dt><dd class='digest'>{digest}</dd></dl>",
        '<p class="foot">No person is named here, by no token and no value: only counts, digests and names.</p>',
    )


def _said(found: Facts, between: str = ", ") -> str:
    """Return counts and names as a sentence, without what is empty or not known; true and false are yes and no."""
    parts = []
    for name, value in found.items():
        if value is None or value == "":
            continue
        name = str(name).replace("_", " ")
        if isinstance(value, Mapping):
            parts.append(f"{name} ({_said(value) or 'none'})")
        elif isinstance(value, list):
            parts.append(f"{name} {_listed(value)}")
        else:
            parts.append(f"{name} {_one(value)}")
    return between.join(parts)


def _listed(values: list[Any]) -> str:
    """Return the values of a list where they are few, else how many they are; whole numbers are those of versions."""
    if not values or len(values) > LISTED or any(isinstance(value, Mapping | list) for value in values):
        return f"{len(values):,}" if values else "none"
    return ", ".join(f"@{value}" if type(value) is int else str(value) for value in values)


def _one(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _time(at: object) -> str:
    """Return an instant (ISO 8601, UTC) for people; it may break between day and time alone."""
    return str(at).replace("T", " ").removesuffix("Z").replace("-", "\u2011")
