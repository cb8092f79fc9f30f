"""Contracts, an organisation and releases for documents, made by the real parsers."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.contracts import SHIPPED, feed_text

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts, parse_contract
from cloakhouse.governance.activity import Activity
from cloakhouse.governance.log_facts import Done
from cloakhouse.governance.organisation import Organisation, load_organisation, parse_organisation
from cloakhouse.lake.releases import Release
from cloakhouse.ledger.catalogue import ManifestRef

SHIPPED_ORGANISATION = SHIPPED.parent / "organisation.yaml"
SMALL_ORGANISATION = """\
apiVersion: cloakhouse.organisation/v1
controller: {name: Shop, address: Street 1, country: DE, email: a@shop.example}
profiles: [gdpr]
"""
AT = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
HOSTILE = '<script>alert(1)</script> [x](javascript:y) | `c` **b** "q" & \\ https://e.example'
GATE: tuple[Mapping[str, Any], ...] = (
    {"name": "singling out, univariate, rows: risk", "value": 0.05, "threshold": 0.12, "at_most": True},
    {"name": "singling out, multivariate, rows: risk", "value": 0.11, "threshold": 0.12, "at_most": True},
    {"name": "linkability, rows: risk", "value": -0.01, "threshold": 0.2, "at_most": True},
    {"name": "inference of age, rows: risk", "value": 0.2, "threshold": 0.25, "at_most": True},
    {"name": "k-anonymity of customers", "value": 10.0, "threshold": 5.0, "at_most": False},
    {"name": "hold-out units", "value": 591.0, "threshold": 400.0, "at_most": False},
)
GUARANTEE = {"epsilon": 3.0, "delta": 1e-7, "neighbours": "one household more or less"}


@functools.cache
def shipped() -> Mapping[str, Contract]:
    return load_contracts(SHIPPED)


def organisation() -> Organisation:
    return load_organisation(SHIPPED_ORGANISATION)


def small_organisation(more: str = "") -> Organisation:
    return parse_organisation(SMALL_ORGANISATION + more, "organisation.yaml")


def contract(processing: str = "", **changes: str) -> Contract:
    """Return a small feed contract that states `processing` (flow YAML); `changes` replaces texts of its YAML."""
    text = feed_text()
    for old, new in changes.items():
        text = text.replace(REPLACED[old], new)
    if processing:
        text = text.replace("schema:\n", f"  - property: processing\n    value: {processing}\nschema:\n")
    return parse_contract(text, "people.odcs.yaml")


REPLACED = {
    "basis": "legalBasis: consent",
    "retention": "retentionDays: {landing: 30, protected: 730}",
    "unit": "unitOfPrivacy: household",
    "purpose": "purpose: made for a test",
}


def release(dataset: str, *, private: bool = False, failed: bool = False) -> Release:
    """Return a release with figures of a gate, withheld under a guarantee."""
    gate = [
        {**figure, "value": None if private else figure["value"], "passed": not (failed and at == 0)}
        for at, figure in enumerate(GATE)
    ]
    guarantee: object = GUARANTEE if private else "none: not differentially private"
    return Release(
        dataset=dataset,
        version=3,
        zone="synthetic",
        published_at=AT,
        fingerprint="5d" * 32,
        contract={"version": "1.0.0", "digest": "c3" * 32},
        columns=(),
        files=(),
        rows=1_830,
        keys=(),
        treatments={},
        parents={},
        run={},
        evidence=ManifestRef("evidence/x.json", "e1" * 32),
        source=ManifestRef("synthetic/x.json", "e2" * 32),
        code={},
        card={"privacy": {"guarantee": guarantee, "gate": gate}},
    )


def activities(**releases: Release) -> list[Activity]:
    """Return activities of the shipped contracts on persons, with `releases` by dataset."""
    done = (Done("publish", 3, 1, 0, 2, AT), Done("expire", 2, 0, 0, 1, AT), Done("approve", 4, 0, 0, 1, AT))
    return [
        Activity(one, releases.get(name), ("old@1",) if name in releases else (), {"analyst": ("reporting",)}, done)
        for name, one in shipped().items()
        if name != "products"
    ]


def write_organisation(path: Path, more: str = "") -> Path:
    path.write_text(SMALL_ORGANISATION + more)
    return path
