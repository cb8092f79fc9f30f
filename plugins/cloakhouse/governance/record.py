"""The record of processing activities: GDPR Art. 30(1), points (a) to (g), each contract an activity.

Beside what the contract states stands what the platform did, out of the audit log: counts and days.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cloakhouse.contracts.processing import LAWS
from cloakhouse.governance import words
from cloakhouse.governance.activity import Activity
from cloakhouse.governance.document import Document, Facts, Part, Section, Table, Text, bullets, facts
from cloakhouse.governance.findings import Finding
from cloakhouse.governance.log_facts import of
from cloakhouse.governance.organisation import Contact, Organisation
from cloakhouse.governance.profiles import ADVICE, law
from cloakhouse.governance.risks import guarantee_of
from cloakhouse.ledger.audit_event import Action

TITLE = "Record of processing activities"
WAYS = {"address": "Address", "country": "Country", "email": "E-mail", "phone": "Telephone", "website": "Website"}


def record(
    organisation: Organisation, activities: Sequence[Activity], findings: Sequence[Finding], day: dt.date | None
) -> Document:
    """Return the record of `activities`, with the `findings` of the laws that were asked for, as of `day`."""
    sections = [_controller(organisation)]
    for activity in activities:
        sections.append(_activity(activity))
        sections.append(_observed(activity))
    return Document(
        title=TITLE,
        kicker=organisation.controller.name,
        lead=f"{len(activities)} processing activities of personal data, each described by a data contract.",
        sections=(*sections, findings_section(findings)),
        day=day,
        foot=ADVICE,
    )


def _controller(organisation: Organisation) -> Section:
    parts: list[Facts] = [contact("Controller", organisation.controller)]
    if organisation.officer:
        parts.append(contact("Data protection officer", organisation.officer))
    else:
        parts.append(facts(("Data protection officer", "")))
    parts += [
        contact(f"Representative ({law(name).short})", found)
        for name in LAWS
        if (found := organisation.representatives.get(name))
    ]
    return Section("Controller", tuple(parts), "GDPR Art. 30(1)(a)")


def contact(role: str, found: Contact) -> Facts:
    """Return who somebody is and how to reach them."""
    return Facts(((role, found.name), *((WAYS[name], value) for name, value in found.facts() if name in WAYS)))


def _activity(activity: Activity) -> Section:
    contract, stated = activity.contract, activity.stated
    categories = [f"{words.CLASSES[one]}: {', '.join(names)}" for one, names in words.columns_by_class(contract)]
    parts = (
        facts(
            ("Contract", f"{contract.name} {contract.version}, digest {contract.digest[:16]}"),
            ("What it is", words.KINDS[contract.kind]),
            ("Owner", contract.owner),
            ("(b) Purpose", f"{contract.purpose}: {contract.description}"),
            ("(b) Legal basis", contract.legal_basis),
            ("(c) Data subjects", words.joined(stated.data_subjects, "; ")),
            ("(c) Special categories", words.listed(stated.special_categories)),
            ("(d) Recipients", words.listed(stated.recipients)),
            ("(e) Transfers to other countries", words.transfers(activity)),
            ("(f) Time limits for erasure", words.retention(contract)),
            ("Where the data come from", stated.origin or words.joined(contract.sources)),
        ),
        Text("(c) Categories of personal data"),
        bullets(categories),
        Text("(g) Technical and organisational measures (Art. 32(1))"),
        bullets(words.measures(activity)),
    )
    return Section(contract.name, parts, "GDPR Art. 30(1)(b)-(g)")


def _observed(activity: Activity) -> Section:
    parts: list[Part] = [
        facts(("Newest published version", _released(activity)), ("Roles that may read it", _readers(activity)))
    ]
    if activity.done:
        parts.append(
            facts(
                ("Approvals", of(activity.done, Action.APPROVE)),
                ("Expired versions", of(activity.done, Action.EXPIRE)),
                ("Deletions of files", of(activity.done, Action.DELETE)),
                ("Published past their time limit", words.listed(activity.overdue)),
            )
        )
        parts.append(_table(activity))
    else:
        parts.append(Text("The audit log holds nothing on it yet."))
    return Section(f"{activity.contract.name}: what was done", tuple(parts), "GDPR Art. 5(2)", level=2)


def _released(activity: Activity) -> str:
    release = activity.release
    if release is None:
        return "none"
    promise = guarantee_of(release)
    said = "without a guarantee" if promise is None else f"epsilon {promise.epsilon:g}, delta {promise.delta:g}"
    return f"{release.dataset}@{release.version} of {release.published_at:%Y-%m-%d}, {release.rows:,} rows, {said}"


def _readers(activity: Activity) -> str:
    return words.listed([f"{name} (for {', '.join(purposes)})" for name, purposes in activity.roles.items()])


def _table(activity: Activity) -> Table:
    return Table(
        "Events of the audit log",
        ("action", "allowed", "refused", "failed", "principals", "last (UTC)"),
        tuple(
            (d.action, f"{d.allowed:,}", f"{d.refused:,}", f"{d.failed:,}", f"{d.actors:,}", f"{d.last:%Y-%m-%d}")
            for d in activity.done
        ),
        numbers=5,
    )


def findings_section(findings: Sequence[Finding]) -> Section:
    """Return what was found against the laws that were asked for."""
    if not findings:
        return Section("Findings", (Text("No finding: every rule that applies is met."),))
    rows = tuple((f.dataset, f.severity.value, f.clause, f.finding, f.write) for f in findings)
    return Section("Findings", (Table(ADVICE, ("dataset", "weight", "clause", "finding", "to write"), rows),))
