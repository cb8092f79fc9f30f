"""The sections of a card's page on its columns, where it comes from and how it is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloakhouse.report.parts import NONE, paragraph, section, table, text

Facts = Mapping[str, Any]
DIGITS = 16  # of a digest, as in the names of manifests


def columns_section(card: Facts) -> str:
    """Return the section that lists the columns with type and class, as HTML."""
    rows = [[str(column[key]) for key in ("name", "type", "class")] for column in card["columns"]]
    return section("columns", "What is in it?", _listing("Columns, in their order", ("column", "type", "class"), rows))


def lineage_section(card: Facts) -> str:
    """Return the section on sources, engine, checks, contract, run and code, as HTML."""
    provenance = card["provenance"]
    quality = card.get("quality") or {}
    sources = [
        [name, f"{span['count']:,}", str(span["first"] or NONE), str(span["last"] or NONE)]
        for name, span in sorted(provenance["partitions"].items())
    ]
    made = f"{provenance.get('engine') or NONE} ({provenance.get('library') or 'library not stated'})"
    steps = [
        ["asked", str(provenance["query"])] if provenance.get("query") else [],
        ["made by", made],
        ["validated by", f"{quality.get('checks', NONE)} checks of {quality.get('suite', NONE)}"],
        ["contract", _contract(provenance["contract"])],
        ["consents", consents(provenance)],
        ["run", _pairs(provenance["run"]) or "outside of Airflow"],
        ["code", _pairs(provenance["code"])],
    ]
    return section(
        "lineage",
        "Where does it come from?",
        paragraph("Deliveries were landed and pseudonymized under their contracts; these partitions of them went in."),
        table("Protected partitions", ("source", "partitions", "first", "last"), sources) if sources else "",
        _listing("From there to this version", ("step", "what"), [step for step in steps if step and step[1]]),
    )


def open_section(card: Facts) -> str:
    """Return the section with the line of Python and the command that open the dataset, as HTML."""
    return section(
        "open",
        "How do I open it?",
        paragraph("From Python:"),
        f"<pre><code>import cloakhouse\n\ntable = {text(card['open']['python'])}</code></pre>",
        paragraph("From the command line:"),
        f"<pre><code>{text(card['open']['command'])}</code></pre>",
        paragraph(
            "The files are encrypted column by column. The client opens what your role may read, for your purpose, and "
            "compares every file with the signed release first."
        ),
    )


def consents(provenance: Facts) -> str:
    """Return which consents the dataset stands on, in words; empty where its contract asks for none."""
    found = provenance.get("consents")
    return f"for {found['purpose']}, as of {found['as_of']}, snapshot {found['snapshot'][:DIGITS]}" if found else ""


def _contract(found: Facts) -> str:
    return f"version {found.get('version', NONE)}, digest {str(found.get('digest', NONE))[:DIGITS]}"


def _pairs(found: Facts) -> str:
    return "; ".join(f"{name}: {value}" for name, value in found.items() if value not in ("", None))


def _listing(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts, all of them to the left."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>'
        + "".join(f'<td class="word">{text(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><caption>{text(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
