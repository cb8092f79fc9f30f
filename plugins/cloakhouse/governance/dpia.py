"""The skeleton of a data protection impact assessment: GDPR Art. 35(7), points (a) to (d).

What contracts, evidence and the audit log tell is filled in, the measured risks of each release above all. What only
a person can judge is left as a question, marked and counted: it is no assessment until all are answered.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cloakhouse.governance import words
from cloakhouse.governance.activity import Activity
from cloakhouse.governance.document import Document, Part, Section, Table, Text, ToWrite, bullets, facts
from cloakhouse.governance.findings import Finding
from cloakhouse.governance.organisation import Organisation
from cloakhouse.governance.profiles import ADVICE
from cloakhouse.governance.record import findings_section
from cloakhouse.governance.risks import Risk, guarantee_of, risks_of

TITLE = "Data protection impact assessment: skeleton"
WITHHELD = (
    "The release has a guarantee, and its figures were counted in real rows without noise: only whether they met their "
    "thresholds is told here. Auditors find them in the evidence."
)


def dpia(
    organisation: Organisation, activities: Sequence[Activity], findings: Sequence[Finding], day: dt.date | None
) -> Document:
    """Return the skeleton over `activities`, with the `findings` of the laws that were asked for, as of `day`."""
    sections = [
        _people(organisation),
        Section("Description of the processing", _purpose_questions(), "GDPR Art. 35(7)(a)"),
        *(_described(activity) for activity in activities),
        Section("Necessity and proportionality", _necessity(activities), "GDPR Art. 35(7)(b)"),
        Section("Risks to the rights and freedoms of persons", _judged(), "GDPR Art. 35(7)(c)"),
        *(_measured(activity) for activity in activities),
        Section("Measures envisaged", _envisaged(), "GDPR Art. 35(7)(d)"),
        *(_measures(activity) for activity in activities),
        _ending(),
        findings_section(findings),
    ]
    document = Document(
        title=TITLE, kicker=organisation.controller.name, lead="", sections=tuple(sections), day=day, foot=ADVICE
    )
    lead = (
        f"{len(activities)} processing activities. What the platform knows is filled in; {document.to_write} questions "
        "are left to a person, and it is no assessment before they are answered."
    )
    return Document(document.title, document.kicker, lead, document.sections, day, ADVICE)


def _people(organisation: Organisation) -> Section:
    officer = organisation.officer
    return Section(
        "Who assesses",
        (
            facts(("Controller", organisation.controller.name), ("Data protection officer", officer and officer.name)),
            ToWrite("GDPR Art. 35(1)", "Who carries the assessment out, when, and why it is required."),
            ToWrite("GDPR Art. 35(2)", "The advice of the data protection officer, and what was made of it."),
            ToWrite("GDPR Art. 35(9)", "The views of persons concerned, or why none are asked."),
        ),
    )


def _purpose_questions() -> tuple[Part, ...]:
    return (ToWrite("GDPR Art. 35(7)(a)", "The whole of it in its context: why, since when, how many persons."),)


def _described(activity: Activity) -> Section:
    contract, stated = activity.contract, activity.stated
    parts = facts(
        ("What it is", words.KINDS[contract.kind]),
        ("Purpose", f"{contract.purpose}: {contract.description}"),
        ("Legal basis", contract.legal_basis),
        ("Legitimate interest", stated.legitimate_interest),
        ("Data subjects", words.joined(stated.data_subjects, "; ")),
        ("Unit of privacy", contract.unit_of_privacy),
        ("Made from", words.joined(contract.sources) or stated.origin),
        ("Recipients", words.listed(stated.recipients)),
        ("Transfers", words.transfers(activity)),
        ("Automated decisions", stated.automated_decisions),
        ("Kept for", words.retention(contract)),
    )
    return Section(f"{contract.name} {contract.version}", (parts,), level=2)


def _necessity(activities: Sequence[Activity]) -> tuple[Part, ...]:
    rows = tuple(
        (
            activity.contract.name,
            f"{len(activity.contract.columns)}",
            f"{len(activity.contract.columns) - len(activity.contract.kept_columns)}",
            words.treatments(activity.contract) if activity.contract.feed else "",
        )
        for activity in activities
    )
    return (
        Table("Minimisation: columns, and what becomes of them", ("dataset", "columns", "dropped", "treated"), rows),
        ToWrite("GDPR Art. 35(7)(b)", "Why each purpose needs these data, and why fewer would not do."),
        ToWrite("GDPR Art. 5(1)(e)", "Why each time limit is as long as it is."),
        ToWrite("GDPR Art. 6(1)(f)", "Where an interest is the basis: how it was weighed against that of persons."),
    )


def _judged() -> tuple[Part, ...]:
    return (
        Text(
            "Below are measured bounds against thresholds, per release. They bound the leaks that were looked for; how "
            "likely and how grave a harm is for persons follows from them only with what a person knows of the setting."
        ),
        ToWrite("GDPR Art. 35(7)(c)", "For each risk: sources, likelihood and severity for persons, before measures."),
        ToWrite(
            "GDPR Art. 35(7)(c)", "Risks outside of releases: staff with access, lost keys, mistakes in contracts."
        ),
    )


def _measured(activity: Activity) -> Section:
    contract, release = activity.contract, activity.release
    title = f"{contract.name}: measured risks"
    if release is None:
        published = contract.feed is None
        said = "No version is published: nothing is measured yet." if published else "Not released: not attacked."
        return Section(title, (Text(said),), level=2)
    promise, risks = guarantee_of(release), risks_of(release)
    parts: list[Part] = [
        facts(
            ("Version", f"{release.dataset}@{release.version} of {release.published_at:%Y-%m-%d}"),
            ("Evidence", release.evidence.sha256[:16]),
            ("Guarantee", "none" if promise is None else f"epsilon {promise.epsilon:g}, delta {promise.delta:g}"),
            *((("Neighbouring data", promise.neighbours),) if promise else ()),
        )
    ]
    if any(risk.value is None for risk in risks):
        parts.append(Text(WITHHELD))
    parts.append(
        Table(
            "Each risk with the figure nearest to its threshold; bounds are upper 95 % bounds where the attack has one",
            ("risk", "figures", "met", "nearest figure", "value", "threshold"),
            tuple(
                (
                    risk.name,
                    f"{risk.figures}",
                    f"{risk.passed}",
                    risk.nearest or "withheld",
                    words.number(risk.value),
                    _threshold(risk),
                )
                for risk in risks
            ),
        )
    )
    parts.append(ToWrite("GDPR Art. 35(7)(c)", f"What these figures mean for persons in {contract.name}."))
    return Section(title, tuple(parts), level=2)


def _threshold(risk: Risk) -> str:
    if risk.threshold is None:
        return "withheld"
    return f"{'at most' if risk.at_most else 'at least'} {words.number(risk.threshold)}"


def _envisaged() -> tuple[Part, ...]:
    return (
        ToWrite("GDPR Art. 35(7)(d)", "Measures beyond the platform's: agreements, training, what recipients promise."),
        ToWrite("GDPR Art. 35(7)(d)", "The risk that remains after all measures, and who accepts it."),
    )


def _measures(activity: Activity) -> Section:
    return Section(f"{activity.contract.name}: measures in place", (bullets(words.measures(activity)),), level=2)


def _ending() -> Section:
    return Section(
        "Outcome",
        (
            ToWrite("GDPR Art. 36(1)", "Whether the authority is consulted beforehand, because a high risk remains."),
            ToWrite("GDPR Art. 35(11)", "When it is looked at again, and which changes bring that forward."),
            ToWrite("GDPR Art. 35(1)", "Decision, name and date."),
        ),
    )
