"""The page of a validation report: a person sees at a glance whether a release passed, how near it came to its limits,
and what it was made from.

One HTML page without script or anything from outside; it prints, and becomes a PDF (`cloakhouse.report.pdf`). Every
text is escaped once (`cloakhouse.report.parts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cloakhouse.report.budget_part import budget_section, curve_figure
from cloakhouse.report.drawings import attack_chart, lineage_chart, nearness, nearness_chart, percent_of
from cloakhouse.report.parts import NONE, decimals, document, facts, number, paragraph, section, table, text
from cloakhouse.report.report_style import REPORT_STYLE
from cloakhouse.report.utility_part import utility_section
from cloakhouse.stages.gate import RHO_COMMITTED, RHO_OF_MODEL
from cloakhouse.stages.reporting import Report

Facts = Mapping[str, Any]
NEAREST = 12  # bars
EXACT = (RHO_OF_MODEL, RHO_COMMITTED)  # what was promised is spent, no more and no less
RATES = {"rows": ("1 %", 0.01), "households": ("2 %", 0.02)}
ATTACKS = ("membership", "density ratio")
OUTSIDE = (
    "Figures that were counted in real rows are outside of the guarantee. This report is for auditors: don't pass it "
    "on to those who may only see the release."
)


def report_page(report: Report) -> str:
    """Return the page as HTML."""
    content = report.content
    title = str(content["contract"]["title"])
    return document(
        f"{report.name}: validation report",
        f'<header><p class="kicker">Validation report of {text(report.name)}</p>',
        f"<h1>{text(title[:1].upper() + title[1:])}</h1></header>",
        _verdict(report),
        _summary(content),
        paragraph(text(OUTSIDE), kind="lead warn") if content["privacy"]["guarantee"] else "",
        _limits(content),
        _attacks(content),
        budget_section(content["privacy"], content["contract"]),
        utility_section(content["utility"], curve_figure(content["privacy"])),
        _lineage(report.name, content),
        _checks(content["quality"]),
        _approvals(content["approvals"]),
        _protection(content["protection"]),
        _contract(content["contract"]),
        _record(content),
        style=REPORT_STYLE,
    )


def _verdict(report: Report) -> str:
    verdict = report.content["verdict"]
    if report.passed:
        kind, first = "yes", "Passed"
        said = "Every figure meets its threshold and every check held; computed again from the evidence."
    elif verdict["agrees"]:
        kind, first, said = "no", "Not passed", "A figure is beyond its threshold or missing, or a check did not hold."
    else:
        kind, first = "no", "Evidence contradicts itself"
        said = "What the evidence states is not what its figures come to. Nothing of it should be relied on."
    return f'<div class="verdict {kind}" role="status"><strong>{text(first)}</strong>{text(said)}</div>'


def _summary(content: Facts) -> str:
    verdict, guarantee = content["verdict"], content["privacy"]["guarantee"]
    release, protection = content["release"], content["protection"]
    epsilon = number(guarantee["epsilon"]) if guarantee else "none"
    shown = [
        ("figures within limits", f"{verdict['figures_passed']} of {verdict['figures']}", "big"),
        ("checks that held", f"{verdict['checks_passed']} of {verdict['checks']}", "big"),
        ("epsilon", epsilon, "big"),
        ("encrypted", percent_of(protection["share"]) if protection else NONE, "big"),
        ("rows", f"{release['rows']:,}" if release else NONE, ""),
        ("published", _moment(release["published_at"]) if release else "not published", ""),
        ("purpose", str(content["contract"]["purpose"]), ""),
        ("approvals", _decided(content["approvals"]), ""),
    ]
    return facts(shown)


def _decided(approvals: Sequence[Facts]) -> str:
    return f"{approvals[-1]['decision']} by {approvals[-1]['approver']}" if approvals else "none asked or given"


def _limits(content: Facts) -> str:
    figures: Sequence[Facts] = content["gate"]
    ranked = sorted(figures, key=_near, reverse=True)
    drawn = [figure for figure in ranked if not (figure["passed"] and figure["name"] in EXACT)][:NEAREST]
    rows = [
        (
            str(figure["name"]),
            number(figure["value"], 4),
            f"{'≤' if figure['at_most'] else '≥'} {number(figure['threshold'], 4)}",
            "not computed" if (used := nearness(figure)) is None else f"{used:.0%}",
            "yes" if figure["passed"] else "NO",
        )
        for figure in ranked
    ]
    return section(
        "limits",
        "How near is it to the limits?",
        paragraph(
            "Of each figure its upper (or lower) bound is compared with the threshold of the contract, or where that "
            f"names none, of the platform. The {len(drawn)} nearest, without those that meet it exactly by design:"
        ),
        f"<figure>{nearness_chart('nearest', drawn)}</figure>" if drawn else "",
        table("All figures of the gate, nearest first", ("figure", "value", "limit", "used", "passed"), rows),
    )


def _near(figure: Facts) -> tuple[bool, float]:
    used = nearness(figure)
    return not figure["passed"], 9.0 if used is None else used


def _attacks(content: Facts) -> str:
    attacks: Sequence[Facts] = content["privacy"]["attacks"]
    if not attacks:
        return ""
    named = {attack["name"]: attack for attack in attacks}
    charts = [chart for by in RATES if (chart := _curves(named, by))]
    rows = [
        (
            str(attack["name"]),
            decimals(attack["value"]),
            decimals(attack["bound"]),
            number(attack["threshold"]),
            f"{attack['units']:,}" if attack["units"] is not None else NONE,
            str(attack["by"]),
        )
        for attack in attacks
    ]
    heads = ("attack", "measured", "95 % bound", "limit", "units", "limit of")
    return section(
        "attacks",
        "What do attacks reach?",
        paragraph(
            "The attacker holds the whole release and some real rows, and doesn't know which of them it was made from. "
            "Rows that were used and rows that weren't are put to the same attack; what it does better on the former "
            "is the leak. Dots are measured, with a line up to the 95 % bound; curves are those of normal scores with "
            "the measured area."
        ),
        f'<div class="two">{"".join(f"<figure>{chart}</figure>" for chart in charts)}</div>' if charts else "",
        table("All attacks, in their order", heads, rows),
        _anonymity(content["privacy"]["anonymity"]),
    )


def _curves(named: Mapping[str, Facts], by: str) -> str:
    said, rate = RATES[by]
    lines = []
    for attack in ATTACKS:
        area = named.get(f"{attack}, {by}: area under the curve")
        point = named.get(f"{attack}, {by}: true positives at {said} false positives, excess")
        if area and point and None not in (area["value"], point["value"], point["bound"]):
            lines.append((attack, float(area["value"]), float(point["value"]), float(point["bound"])))
    return attack_chart(f"attack-{by}", by, rate, lines) if lines else ""


def _anonymity(found: Facts | None) -> str:
    if found is None:
        return ""
    k = "not computed" if found["k"] is None else f"{found['k']:,}"
    rows = [(str(one["column"]), *(number(one[key]) for key in ("l", "entropy_l", "t"))) for one in found["diversity"]]
    return "\n".join(
        [
            "<h3>The protected rows it was made from</h3>",
            paragraph(
                f"k-anonymity of {text(found['dataset'])} is <strong>{k}</strong>, over "
                f"{text(', '.join(found['over']))}. Of its sensitive columns, within these classes:"
            ),
            table("Diversity of sensitive columns", ("column", "l", "entropy l", "t"), rows) if rows else "",
        ]
    )


def _lineage(name: str, content: Facts) -> str:
    lineage, release = content["lineage"], content["release"]
    engine = lineage["engine"] or "a query, with noise"
    made = f"{engine}\n{', '.join(lineage['libraries']) or 'library not told'}"
    rows = f"{lineage['rows']:,} rows" if lineage["rows"] is not None else "rows not told"
    sources = [
        (str(s["dataset"]), f"{s['partitions']:,}", str(s["first"] or NONE), str(s["last"] or NONE))
        for s in lineage["sources"]
    ]
    run = lineage["run"]
    steps = [
        ("trained on", _side(lineage["training"])),
        ("kept apart, never seen by the engine", _side(lineage["holdout"])),
        ("rows held back as too rare", number(lineage["suppressed_rows"])),
        ("DAG", str(run["dag"] or "outside of Airflow")),
        ("run", str(run["run"] or NONE)),
        ("software", f"cloakhouse {lineage['code'] or NONE}"),
        ("zone", str(release["zone"]) if release else NONE),
    ]
    chart = lineage_chart("from", lineage["sources"], made, f"{name}\n{rows}")
    return section(
        "lineage",
        "Where does it come from?",
        f'<figure class="whole">{chart}</figure>',
        table("Protected partitions that went in", ("source", "partitions", "first", "last"), sources),
        table("From there to this version", ("step", "what"), steps, words=True),
    )


def _side(side: Facts) -> str:
    rows, units = side["rows"], side["units"]
    return NONE if rows is None or units is None else f"{rows:,} rows of {units:,} units"


def _checks(quality: Facts) -> str:
    rows = [
        (
            str(one["type"] or "an expectation of our own").removeprefix("expect_").replace("_", " "),
            _columns(one["columns"]),
            number(one["unexpected"]) if one["unexpected"] is not None else NONE,
            "yes" if one["success"] else ("error" if one["error"] else "NO"),
        )
        for one in quality["expectations"]
    ]
    return section(
        "checks",
        "Which checks did its rows go through?",
        paragraph(f"Suite {text(quality['suite'] or 'of another name')}, over {number(quality['rows'], 9)} rows."),
        table("Expectations, in the suite's order", ("check", "columns", "rows that failed", "held"), rows, words=True),
    )


def _columns(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{len(names)} columns"
    return ", ".join(names) or "the table"


def _approvals(approvals: Sequence[Facts]) -> str:
    rows = [
        (_moment(one["at"]), str(one["decision"] or NONE), str(one["approver"] or NONE), str(one["entry"]))
        for one in approvals
    ]
    said = (
        "Who decided over this evidence; the reasons stand in the audit log."
        if rows
        else ("Nobody decided over this evidence: its contract asks for no approval, or it waits for one.")
    )
    heads = ("when", "decision", "who", "entry of the log")
    return section(
        "approvals", "Who approved it?", paragraph(said), table("Decisions", heads, rows, words=True) if rows else ""
    )


def _protection(found: Facts | None) -> str:
    if found is None:
        return ""
    trouble = found["plaintext_bytes"] + found["findings"] + found["missing_files"]
    kind = "lead" if not trouble else "lead warn"
    rows = [(str(key["name"]), f"{key['columns']:,}") for key in found["master_keys"]]
    return section(
        "keys",
        "Is it encrypted, and under which keys?",
        paragraph(
            f"<strong>{text(percent_of(found['share']))}</strong> of the bytes of data are encrypted, told from the "
            f"files themselves; {found['plaintext_bytes']:,} are not. Files: {found['files']:,}; missing: "
            f"{found['missing_files']:,}; not as agreed: {found['findings']:,}.",
            kind=kind,
        ),
        table("Master keys that its columns are under", ("master key", "columns"), rows),
    )


def _contract(contract: Facts) -> str:
    days = "; ".join(f"{zone}: {count:,} days" for zone, count in sorted(contract["retention_days"].items()))
    rows = [
        ("version", str(contract["version"])),
        ("owner", str(contract["owner"])),
        ("purpose", str(contract["purpose"])),
        ("legal basis", str(contract["legal_basis"])),
        ("kept", days or NONE),
        ("unit of privacy", str(contract["unit_of_privacy"])),
    ]
    columns = [(str(column["name"]), str(column["class"])) for column in contract["columns"]]
    return section(
        "contract",
        "What was agreed?",
        table(f"Contract of {contract['name']}", ("what", "agreed"), rows, words=True),
        table("Its columns", ("column", "class"), columns, words=True),
    )


def _record(content: Facts) -> str:
    audit, release = content["audit"], content["release"]
    last = content["audit"]["last"]
    numbers = f"numbers {audit['first']} to {last}" if last is not None else "none yet"
    digests = [
        ("contract", content["contract"]["digest"]),
        ("evidence", content["evidence"]["sha256"]),
        *([("release", release["sha256"]), ("fingerprint", release["fingerprint"])] if release else []),
    ]
    listed = "".join(f"<dt>{text(name)}</dt><dd class='digest'>{text(value)}</dd>" for name, value in digests)
    return section(
        "record",
        "How do I check this?",
        paragraph(
            f"The audit log has {audit['entries']:,} entries about it ({text(numbers)}). "
            "<code>cloakhouse audit bundle</code> takes evidence, entries and proofs away in one file, which "
            "<code>cloakhouse audit verify-bundle</code> verifies without access to the platform."
        ),
        f"<dl>{listed}</dl>",
        '<p class="foot">No value of the data is in this report: its fields are numbers, days, digests, and names of '
        "the contract and of the platform's own checks.</p>",
    )


def _moment(stamp: object) -> str:
    said = str(stamp)
    return f"{said[:10]} {said[11:16]} UTC" if len(said) > 16 else said
