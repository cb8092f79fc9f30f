"""Answers of queries as they are kept and published: evidence, card, and how an earlier answer is found again.

The evidence of an answer, or of a refusal that had a price, lies in a folder named after the query and its inputs,
`evidence/<dataset>/<first 32 hex of the fingerprint>/`: who asks the same again finds it there.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from cloakhouse.contracts.model import Contract, Query
from cloakhouse.errors import ValidationRefused
from cloakhouse.lake.manifests import read_named
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.privacy.aggregates import Release
from cloakhouse.settings import Settings
from cloakhouse.stages.asked_query import in_words, subject_of
from cloakhouse.stages.auditing import event
from cloakhouse.stages.pinning import Pinned
from cloakhouse.stages.query_plan import Plan
from cloakhouse.stages.sources import as_refs

ZONE = "aggregates"
MECHANISM = "discrete Gaussian on vectors clipped in L2"
RESERVED = "reserved"


def folder_of(dataset: str, fingerprint: str) -> str:
    """Return the folder within the lake that holds the evidence of a query."""
    return f"evidence/{dataset}/{fingerprint[:32]}"


def find_answer(settings: Settings, planned: Plan) -> ManifestRef | None:
    """Return the evidence of an answer to the same query on the same inputs, or None; its spend is committed.

    An answer whose files are gone doesn't count. Raises ValidationRefused when it was refused, IntegrityError for
    evidence that was changed.
    """
    found = _read(settings, planned.contract.name, planned.fingerprint)
    store = open_store(settings)
    if found is not None and all(store.stat(item["path"]) is not None for item in found[1]["files"]):
        _settle(settings, found[1]["spends"])
        return found[0]
    refused = _read(settings, planned.contract.name, planned.asked)
    if refused is not None:
        _settle(settings, refused[1]["spends"])
        text = {name: value for name, value in refused[1]["refusal"].items() if name != "code"}
        raise ValidationRefused(**text, code="too-fine")
    return None


def _read(settings: Settings, dataset: str, fingerprint: str) -> tuple[ManifestRef, dict[str, Any]] | None:
    folder = folder_of(dataset, fingerprint)
    found = None
    store = open_store(settings)
    for path in sorted(info.path for info in store.list(folder) if "/validation-" in info.path):
        ref, content = read_named(store, path, "validation")
        if found is None or content["answered_at"] > found[1]["answered_at"]:
            found = ref, content
    return found


def _settle(settings: Settings, spends: list[str]) -> None:
    """Commit what a run that was killed left reserved although its answer was complete."""
    ledger = PrivacyLedger(settings.database)
    states = {spend.id: spend.state for spend in ledger.spends()}
    for spend_id in spends:
        if states.get(spend_id) == RESERVED:
            ledger.commit(spend_id, event(settings, Action.SPEND, spend_id))


def answer_content(
    planned: Plan, released: Release, clip: float, error: float, spends: tuple[str, ...], file: FileEntry
) -> dict[str, Any]:
    """Return the evidence of an answer: what a reader needs to judge it, and of its figures only their sum."""
    contract, cells = planned.contract, planned.cells
    return {
        **_common(planned, list(spends)),
        "suite": {"name": "the answer's form", "digest": ""},
        "quality": {
            "expectations": [
                {
                    "type": "one row a cell",
                    "columns": [breakdown.name for breakdown in planned.query.by],
                    "success": file.rows == cells,
                    "observed_value": file.rows,
                    "element_count": cells,
                    "unexpected_count": 0,
                }
            ]
        },
        "gate": [
            {
                "name": "expected relative error",
                "value": error,
                "threshold": planned.query.max_relative_error,
                "at_most": True,
                "passed": True,
            }
        ],
        "privacy_guarantee": {**planned.guarantee.as_dict(), "rho": planned.spent, "mechanism": MECHANISM},
        "mechanism": {
            "name": MECHANISM,
            "library": f"opendp {version('opendp')}",
            "clip_norm": clip,
            "clip_norm_is": "declared" if planned.query.clip is not None else "bought",
            "standard_error": released.standard_error,
            "confidence": 0.95,
            "rho": {"clip": planned.rho_clip, "total": planned.rho_total, "answer": planned.rho_answer},
            "bias": bias_text(planned.query, clip, cells),
        },
        "answer": {
            "subject": subject_of(planned.query, cells=True),
            "measure": subject_of(planned.query, cells=False),
            "inputs": planned.rows,
            "total": math.fsum(released.values.tolist()),
            "cells": cells,
        },
        "sources": {name: as_refs(partitions) for name, partitions in planned.pins.items()},
        "columns": [{"name": c.name, "type": c.logical_type, "class": c.column_class.value} for c in contract.columns],
        "files": [file.as_dict()],
        "rows": file.rows,
        "passed": True,
    }


def refusal_content(planned: Plan, refusal: ValidationRefused, spend: str | None) -> dict[str, Any]:
    """Return the evidence of a refusal: its text, which follows from noisy figures that were paid for."""
    return {**_common(planned, [spend] if spend else []), "refusal": refusal.as_dict(), "passed": False}


def _common(planned: Plan, spends: list[str]) -> dict[str, Any]:
    contract = planned.contract
    return {
        "dataset": contract.name,
        "contract": {"version": contract.version, "digest": contract.digest},
        "fingerprint": planned.fingerprint,
        "code": version("cloakhouse"),
        "query": json.loads(json.dumps({**asdict(planned.query), "until": planned.until}, default=str)),
        "spends": spends,
        "rights": planned.rights.as_dict(),
        "answered_at": dt.datetime.now(dt.UTC).isoformat(),
    }


def bias_text(query: Query, clip: float, cells: int) -> str:
    """Return what clipping takes away, as far as public facts tell."""
    if query.measure == "count distinct" and query.column == query.unit and clip >= math.sqrt(cells):
        return "none: a unit counts once in a cell, and in no more cells than the clip norm allows"
    known = "" if query.clip is not None else "; the norm was chosen so that few are"
    return (
        f"downwards: a unit whose figures over all cells have a norm above {clip:,.6g} counts only as much as one with "
        f"that norm{known}. How much that takes away is not known without further budget, and no interval covers it"
    )


def release_content(contract: Contract, evidence: ManifestRef, content: dict[str, Any]) -> dict[str, Any]:
    """Return what the release of an answer holds, with its card; its evidence is its source, too."""
    return {
        **{key: content[key] for key in ("fingerprint", "contract", "columns", "files", "rows")},
        "parents": content["sources"],
        "evidence": evidence.as_dict(),
        "source": evidence.as_dict(),
        "rights": content.get("rights", {}),
        "card": _card(contract, content),
    }


def _card(contract: Contract, content: dict[str, Any]) -> dict[str, Any]:
    mechanism = content["mechanism"]
    return {
        "title": contract.description,
        "owner": contract.owner,
        "purpose": contract.purpose,
        "legal_basis": contract.legal_basis,
        "retention_days": dict(contract.retention_days),
        "provenance": {
            "engine": MECHANISM,
            "library": mechanism["library"],
            "query": in_words(contract.query) if contract.query else "",
            "sources": {name: len(partitions) for name, partitions in content["sources"].items()},
            **Pinned.of(content).in_card(),
        },
        "privacy": {
            "unit_of_privacy": contract.unit_of_privacy,
            "guarantee": content["privacy_guarantee"],
            "clip_norm": mechanism["clip_norm"],
            "standard_error": mechanism["standard_error"],
            "gate": content["gate"],
        },
        "quality": {"suite": content["suite"]["name"], "checks": 1, "passed": content["passed"]},
        "limits": (
            f"Each figure is noisy: its standard error is {mechanism['standard_error']:,.6g}, and low to high holds it "
            f"without noise in 95 of 100 cells. Bias of clipping: {mechanism['bias']}. Cells are not adjusted: "
            "small ones may be negative, and sums over cells add up noise as well. Rows whose value is not declared "
            "count in no cell."
        ),
    }
