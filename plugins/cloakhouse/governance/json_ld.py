"""A document as JSON-LD in terms of the Data Privacy Vocabulary, for programs. The context is inline: no network.

Source: DPV 2, https://w3id.org/dpv (W3C Data Privacy Vocabularies and Controls Community Group), with its extension for
the GDPR, https://w3id.org/dpv/legal/eu/gdpr.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from typing import Any

from cloakhouse.contracts.model import ColumnClass, Kind
from cloakhouse.contracts.processing import NONE
from cloakhouse.governance import words
from cloakhouse.governance.activity import Activity
from cloakhouse.governance.findings import Finding
from cloakhouse.governance.organisation import Contact, Organisation
from cloakhouse.governance.profiles import law
from cloakhouse.governance.risks import guarantee_of, risks_of

Node = dict[str, Any]
CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
    "dct": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "cloakhouse": "urn:cloakhouse:term:",
}
CONTROLLER = "urn:cloakhouse:organisation:controller"
TYPES = {"record": "dpv:RecordsOfActivities", "dpia": "dpv:DPIA", "transparency": "dpv:PrivacyNotice"}
CATEGORIES = {
    ColumnClass.DIRECT: "dpv:IdentifyingPersonalData",
    ColumnClass.INDIRECT: "dpv:PersonalData",
    ColumnClass.SENSITIVE: "dpv:SensitivePersonalData",
    ColumnClass.PAYMENT: "dpv:SensitivePersonalData",
    ColumnClass.PLAIN: "dpv:PersonalData",
}
DATA = {Kind.FEED: "dpv:PseudonymisedData", Kind.SYNTHETIC: "dpv:SyntheticData", Kind.AGGREGATE: "dpv:DerivedData"}
ALWAYS = ("dpv:EncryptionAtRest", "dpv:AccessControlMethod", "dpv:CryptographicKeyManagement", "dpv:DigitalSignatures")
MEASURES: dict[Kind, tuple[str, ...]] = {
    Kind.FEED: ("dpv:Pseudonymisation",),
    Kind.SYNTHETIC: ("dpv:Deidentification",),
    Kind.AGGREGATE: (),
}
_POINT = re.compile(r"6\(1\)\(([a-f])\)")


def json_ld(
    kind: str,
    organisation: Organisation,
    activities: Sequence[Activity],
    findings: Sequence[Finding],
    profiles: Sequence[str],
    day: dt.date | None,
) -> str:
    """Return the document `kind` (of TYPES) as one JSON text, indented."""
    document: Node = {
        "@id": f"urn:cloakhouse:governance:{kind}",
        "@type": TYPES[kind],
        "dpv:hasDataController": {"@id": CONTROLLER},
        "dpv:hasApplicableLaw": [law(name).title for name in sorted(set(profiles))],
        "dpv:hasProcess": [{"@id": _identifier(activity)} for activity in activities],
    }
    if kind != "transparency":  # which is for everybody
        document["cloakhouse:finding"] = [_finding(finding) for finding in findings]
    if day is not None:
        document["dct:date"] = {"@type": "xsd:date", "@value": day.isoformat()}
    graph = [document, _controller(organisation), *(_process(activity, kind) for activity in activities)]
    return json.dumps({"@context": CONTEXT, "@graph": graph}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _controller(organisation: Organisation) -> Node:
    node: Node = {"@id": CONTROLLER, "@type": "dpv:DataController", **_contact(organisation.controller)}
    if organisation.officer:
        node["dpv:hasDataProtectionOfficer"] = {"@type": "dpv:DataProtectionOfficer", **_contact(organisation.officer)}
    if organisation.authority:
        authority = {"@type": "dpv:DataProtectionAuthority", **_contact(organisation.authority)}
        node["dpv:hasAuthority"] = authority
    representatives = [_contact(found) for _, found in sorted(organisation.representatives.items())]
    if representatives:
        node["dpv:hasRepresentative"] = [{"@type": "dpv:Representative", **found} for found in representatives]
    return node


def _contact(found: Contact) -> Node:
    node: Node = {"dpv:hasName": found.name}
    if found.address:
        node["dpv:hasAddress"] = found.address
    ways = [way for way in (found.email, found.phone, found.website) if way]
    return {**node, "dpv:hasContact": ways} if ways else node


def _identifier(activity: Activity) -> str:
    return f"urn:cloakhouse:contract:{activity.contract.name}:{activity.contract.version}"


def _process(activity: Activity, kind: str) -> Node:
    contract, stated = activity.contract, activity.stated
    node: Node = {
        "@id": _identifier(activity),
        "@type": "dpv:Process",
        "dct:title": contract.name,
        "dct:description": contract.description,
        "dct:identifier": contract.digest,
        "dpv:hasDataController": {"@id": CONTROLLER},
        "dpv:hasPurpose": {"@type": "dpv:Purpose", "dct:title": contract.purpose},
        "dpv:hasLegalBasis": _legal_basis(contract.legal_basis),
        "dpv:hasData": {"@id": DATA[contract.kind]},
        "dpv:hasPersonalData": [
            {"@type": CATEGORIES[one], "dct:title": one.value, "dct:description": words.joined(names)}
            for one, names in words.columns_by_class(contract)
        ],
        "dpv:hasStorageCondition": [
            {
                "@type": "dpv:StorageDuration",
                "dct:title": zone,
                "dpv:hasDuration": {"@type": "xsd:duration", "@value": f"P{number}D"},
            }
            for zone, number in contract.retention_days.items()
        ],
        "dpv:hasTechnicalOrganisationalMeasure": [{"@id": measure} for measure in _measures(activity)],
    }
    if stated.data_subjects:
        node["dpv:hasDataSubject"] = [{"@type": "dpv:DataSubject", "dct:title": one} for one in stated.data_subjects]
    if stated.recipients is not None:
        node["dpv:hasRecipient"] = [{"@type": "dpv:Recipient", "dct:title": one} for one in stated.recipients]
    if stated.origin:
        node["dpv:hasDataSource"] = {"@type": "dpv:DataSource", "dct:title": stated.origin}
    processing = [_transfer(t.country, t.safeguard) for t in stated.transfers or ()]
    if stated.automated_decisions not in ("", NONE):
        processing.append({"@type": "dpv:AutomatedDecisionMaking", "dct:description": stated.automated_decisions})
    if processing:
        node["dpv:hasProcessing"] = processing
    if kind == "dpia" and activity.release is not None:
        node["dpv:hasRisk"] = _risks(activity)
    return node


def _legal_basis(text: str) -> Node:
    """Return a legal basis: the term of its point of Art. 6(1), where it names just one, beside its text."""
    points = {f"eu-gdpr:A6-1-{point}" for point in _POINT.findall(text)}
    return {"@type": sorted(points) if len(points) == 1 else ["dpv:LegalBasis"], "dct:title": text}


def _measures(activity: Activity) -> list[str]:
    contract = activity.contract
    private = contract.query is not None or (contract.synthesis is not None and contract.synthesis.privacy is not None)
    return sorted({*ALWAYS, *MEASURES[contract.kind], *(("dpv:DifferentialPrivacy",) if private else ())})


def _transfer(country: str, safeguard: str) -> Node:
    node: Node = {"@type": "dpv:CrossBorderTransfer", "dpv:hasLocation": country}
    return {**node, "dpv:hasLegalBasis": {"@type": "dpv:LegalBasis", "dct:title": safeguard}} if safeguard else node


def _risks(activity: Activity) -> list[Node]:
    release = activity.release
    assert release is not None
    promise = guarantee_of(release)
    nodes: list[Node] = []
    for risk in risks_of(release):
        node: Node = {
            "@type": "dpv:Risk",
            "dct:title": risk.name,
            "cloakhouse:release": f"{release.dataset}@{release.version}",
            "cloakhouse:evidence": release.evidence.sha256,
            "cloakhouse:figures": risk.figures,
            "cloakhouse:met": risk.passed,
        }
        told = {"nearest": risk.nearest or None, "value": risk.value, "threshold": risk.threshold}
        node |= {f"cloakhouse:{name}": value for name, value in told.items() if value is not None}
        if promise is not None:
            node |= {"cloakhouse:epsilon": promise.epsilon, "cloakhouse:delta": promise.delta}
        nodes.append(node)
    return nodes


def _finding(finding: Finding) -> Node:
    return {f"cloakhouse:{name}": value for name, value in finding.as_dict().items()}
