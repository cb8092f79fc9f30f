"""The transparency page for the persons that the data are about: GDPR Art. 13 and 14 in plain words.

One page over all activities: who we are, what we use and why, who gets it, how long, which rights there are under each
law that is asked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cloakhouse.contracts.model import ColumnClass, Kind
from cloakhouse.contracts.processing import NONE
from cloakhouse.governance import words
from cloakhouse.governance.activity import Activity
from cloakhouse.governance.document import Bullets, Document, Facts, Part, Section, Text, bullets
from cloakhouse.governance.organisation import Organisation
from cloakhouse.governance.profiles import law
from cloakhouse.governance.record import contact

TITLE = "What we do with your data"
USES = "First what is collected, then what is made from it."
SYNTHETIC = (
    "Synthetic rows are invented by a program that learned from real ones. Nobody's row is in them on purpose, and "
    "before we use them we try to find real people in them, and drop what fails."
)
NOISE = "Where we publish sums, we add noise, so that nobody can tell from them whether any one household was counted."


def transparency(
    organisation: Organisation, activities: Sequence[Activity], profiles: Sequence[str], day: dt.date | None
) -> Document:
    """Return the page over `activities`, with the rights of each law of `profiles`, as of `day`."""
    ordered = sorted(activities, key=lambda activity: (activity.contract.kind is not Kind.FEED, activity.contract.name))
    sections = (
        who(organisation),
        Section("What we use, and why", (Text(USES),), "GDPR Art. 13(1)(c)-(d), Art. 14(1)(d)"),
        *(_use(activity) for activity in ordered),
        Section("Where the data come from", (_origins(ordered),), "GDPR Art. 14(2)(f)"),
        Section("Who gets them", (_recipients(ordered),), "GDPR Art. 13(1)(e)"),
        Section("Other countries", (_countries(ordered),), "GDPR Art. 13(1)(f)"),
        Section("How long we keep them", (_kept(ordered),), "GDPR Art. 13(2)(a)"),
        Section("How we protect them", _protection(activities), "GDPR Art. 25, Art. 32"),
        Section("Decisions by machines", (_decisions(ordered),), "GDPR Art. 13(2)(f), Art. 22"),
        Section("Children", (_minors(ordered),)),
        *(rights(name) for name in sorted(set(profiles))),
        ways(organisation, activities),
    )
    return Document(
        title=TITLE,
        kicker=organisation.controller.name,
        lead="How we use data about our customers, for what, for how long, and what you can do about it.",
        sections=tuple(section for section in sections if section.parts),
        day=day,
        foot="Made from the contracts that our data processing runs by.",
    )


def who(organisation: Organisation) -> Section:
    """Return who the controller is, and who speaks for it."""
    parts = [contact("We are", organisation.controller)]
    if organisation.officer:
        parts.append(contact("Questions about your data go to", organisation.officer))
    parts += [
        contact(f"Our representative ({law(name).short})", found)
        for name, found in sorted(organisation.representatives.items())
    ]
    return Section("Who we are", tuple(parts), "GDPR Art. 13(1)(a)-(b)")


def _use(activity: Activity) -> Section:
    contract, stated = activity.contract, activity.stated
    items = [
        ("Why", f"For {contract.purpose}, on the ground of {contract.legal_basis}."),
        ("Our interest", _sentence(stated.legitimate_interest) if stated.legitimate_interest else ""),
        ("About whom", words.joined(stated.data_subjects) or words.NOT_STATED),
        ("Kinds of data", words.joined((words.CLASSES[one] for one, _ in words.columns_by_class(contract)), "; ")),
    ]
    title = contract.description[:1].upper() + contract.description[1:]
    return Section(title, (Facts(tuple((name, said) for name, said in items if said)),), level=2)


def _origins(activities: Sequence[Activity]) -> Bullets:
    return Bullets(tuple((a.contract.description, _sentence(a.stated.origin or words.NOT_STATED)) for a in activities))


def _recipients(activities: Sequence[Activity]) -> Bullets:
    items = [(a.contract.description, words.listed(a.stated.recipients, "nobody")) for a in activities]
    sold = [a for a in activities if a.stated.sale_or_sharing not in ("", NONE)]
    items += [(a.contract.description, f"Sold or shared: {a.stated.sale_or_sharing}") for a in sold]
    if activities and all(a.stated.sale_or_sharing == NONE for a in activities):
        items.append(("", "We sell none of these data, and give none away for advertising."))
    return Bullets(tuple((about, _sentence(said)) for about, said in items))


def _countries(activities: Sequence[Activity]) -> Bullets:
    if activities and all(activity.stated.transfers == () for activity in activities):
        return bullets(["They stay in the country or area where we are."])
    return Bullets(tuple((a.contract.description, _sentence(words.transfers(a))) for a in activities))


def _kept(activities: Sequence[Activity]) -> Bullets:
    return Bullets(tuple((a.contract.description, _sentence(words.retention(a.contract))) for a in activities))


def _protection(activities: Sequence[Activity]) -> tuple[Part, ...]:
    kinds = {activity.contract.kind for activity in activities}
    feeds = [activity.contract for activity in activities if activity.contract.kind is Kind.FEED]
    named = {c.name for contract in feeds for c in contract.columns if c.column_class is ColumnClass.DIRECT}
    said = ["Everything is stored encrypted, and each part opens only for whom it is meant for."]
    if named:
        said.append(
            f"What names you or reaches you ({len(named)} columns) is replaced by pseudonyms, or dropped, "
            "before anybody works with the data."
        )
    if Kind.SYNTHETIC in kinds:
        said.append(SYNTHETIC)
    if Kind.AGGREGATE in kinds:
        said.append(NOISE)
    said.append("Whatever is done with the data is written to a log that nobody can change unnoticed.")
    return (bullets(said),)


def _decisions(activities: Sequence[Activity]) -> Bullets:
    if activities and all(activity.stated.automated_decisions == NONE for activity in activities):
        return bullets(["No machine decides about you with these data."])
    return Bullets(
        tuple((a.contract.description, _sentence(a.stated.automated_decisions or words.NOT_STATED)) for a in activities)
    )


def _minors(activities: Sequence[Activity]) -> Bullets:
    if activities and all(activity.stated.minors == NONE for activity in activities):
        return bullets(["We hold no data about children."])
    return Bullets(tuple((a.contract.description, _sentence(a.stated.minors or words.NOT_STATED)) for a in activities))


def rights(name: str) -> Section:
    """Return the rights of persons under the law `name`."""
    found = law(name)
    return Section(
        "Your rights",
        (Text(found.title), Bullets(tuple((right.clause, right.words) for right in found.rights))),
        found.short,
    )


def ways(organisation: Organisation, activities: Sequence[Activity]) -> Section:
    """Return how a person asks for a right, and to whom to complain."""
    stated = list(organisation.requests)
    opt_outs = list(dict.fromkeys(a.stated.opt_out for a in activities if a.stated.opt_out))
    parts: list[Part] = [Text("You can ask for each of these:"), bullets(stated)] if stated else []
    if opt_outs:
        parts += [Text("You can object, or withdraw a consent:"), bullets(opt_outs)]
    if organisation.authority:
        parts.append(contact("You may complain to", organisation.authority))
    return Section("How to use your rights", tuple(parts), "GDPR Art. 12, Art. 13(2)(b)-(d)")


def _sentence(said: str) -> str:
    return said if said.endswith((".", "!", "?")) else f"{said}."
