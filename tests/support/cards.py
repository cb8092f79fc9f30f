"""Releases, evidence and a strict reader of HTML pages, for the tests of dataset cards."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "link", "img", "br", "hr", "input"}
GUARANTEE = {
    "epsilon": 3.0,
    "delta": 1e-7,
    "rho": 0.157,
    "unit": "household",
    "neighbours": "add or remove one household with all of its rows",
    "mechanism": "discrete Gaussian noise",
}
GATE = [
    {"name": "exact copies: excess", "value": 0.004321, "threshold": 0.01, "at_most": True, "passed": True},
    {"name": "hold-out units", "value": 528.0, "threshold": 400.0, "at_most": False, "passed": True},
]
UTILITY = {
    "rows": {"synthetic": 1829, "training": 771771, "holdout": 991991},
    "marginals": [
        {"order": 1, "tested": 8, "mean": 0.1231, "worst": 0.9191, "holdout_mean": 0.0461, "worst_columns": ["x"]},
        {"order": 2, "tested": 28, "mean": 0.2342, "worst": 0.9292, "holdout_mean": 0.0872, "worst_columns": ["x"]},
        {"order": 3, "tested": 0, "mean": None, "worst": None, "holdout_mean": None, "worst_columns": []},
    ],
    "correlations": {"error": 0.3453, "holdout_error": 0.0273, "other_pairs": 4},
    "quality_report": {
        "score": 0.8464,
        "column_shapes": 0.9722,
        "column_pair_trends": 0.7206,
        "library": "sdmetrics 1",
    },
    "tasks": [
        {"name": "big", "target": "value", "synthetic_auc": 0.8711, "training_auc": 0.9677, "loss": 0.0966},
        {"name": "odd", "target": "value", "synthetic_auc": None, "training_auc": None, "loss": None, "reason": "one"},
    ],
    "segments": [{"column": "month", "groups": [{"label": "1", "holdout_rows": 553553, "tvd": 0.6161}]}],
}
EVIDENCE = {"utility": UTILITY, "risks": [{"name": "copies", "value": 0.7117}], "gate": GATE, "passed": True}
COUNTED = (  # what of the evidence was counted in real rows
    *(
        "771771",
        "991991",
        "0.1231",
        "0.123",
        "0.2342",
        "0.234",
        "0.3453",
        "0.345",
        "0.8464",
        "0.846",
        "0.8711",
        "0.871",
    ),
    *("0.871", "0.9677", "0.968", "0.0966", "553553", "0.6161", "0.7117", "0.004321", "0.00432", "528", "771,771"),
)


@dataclass(frozen=True)
class File:
    """One file of a release."""

    path: str
    bytes: int = 28_975
    rows: int = 1_829
    sha256: str = "7f" * 32


@dataclass(frozen=True)
class CardRelease:
    """What a card needs of a release."""

    card: Mapping[str, Any]
    dataset: str = "baskets_private"
    version: int = 3
    zone: str = "synthetic"
    published_at: dt.datetime = dt.datetime(2026, 11, 22, 10, 30, tzinfo=dt.UTC)
    fingerprint: str = "5d" * 32
    contract: Mapping[str, Any] = field(default_factory=lambda: {"version": "1.2.0", "digest": "c3" * 32})
    columns: tuple[Mapping[str, Any], ...] = (
        {"name": "month", "type": "integer", "class": "indirect identifier", "key": "age:k#synthetic"},
        {"name": "value", "type": "number", "class": "sensitive", "key": "age:k#synthetic"},
        {"name": "has_meat", "type": "boolean", "class": "sensitive"},
        {"name": "day", "type": "date", "class": "plain"},
        {"name": "hour", "type": "timestamp", "class": "plain"},
        {"name": "segment", "type": "string", "class": "plain"},
    )
    files: tuple[File, ...] = (
        File("synthetic/baskets_private/5d5d/part-00000-aa.parquet"),
        File("synthetic/baskets_private/5d5d/part-00001-bb.parquet", 12, 1, "ab" * 32),
    )
    rows: int = 1_830
    parents: Mapping[str, Any] = field(
        default_factory=lambda: {
            "transactions": [{"partition": "2017-01-02", "path": "p"}, {"partition": "2016-12-26", "path": "q"}],
            "products": [{"partition": "2016-12-26", "path": "r"}],
        }
    )
    run: Mapping[str, Any] = field(default_factory=lambda: {"dag": "publish_baskets_private", "run": "manual__1"})
    code: Mapping[str, Any] = field(default_factory=lambda: {"cloakhouse": "0.1.0"})


def inner_card(guarantee: Any = "none: not differentially private", **changes: Any) -> dict[str, Any]:
    """Return a card as releases hold it; under a guarantee the gate's figures have no values."""
    private = not isinstance(guarantee, str)
    return {
        "title": "synthetic baskets",
        "owner": "retail-data",
        "purpose": "analytics",
        "legal_basis": "legitimate interest",
        "retention_days": {"synthetic": 365},
        "provenance": {"engine": "an engine", "library": "a library 2.0", "seed": 1, "sources": {"transactions": 2}},
        "privacy": {
            "unit_of_privacy": "household",
            "guarantee": guarantee,
            "gate": [{**figure, "value": None} for figure in GATE] if private else GATE,
            "parameters": {},
        },
        "account": None,
        "curve": [{"epsilon": 0.5, "tvd": 0.6}, {"epsilon": 3.0, "tvd": 0.15}] if private else [],
        "quality": {"suite": "baskets-1.0.0", "checks": 14, "passed": True},
        "limits": "Rows are sampled.",
        **changes,
    }


def private_release(**changes: Any) -> CardRelease:
    """Return a release under a guarantee."""
    return CardRelease(inner_card(GUARANTEE), **changes)


def plain_release(**changes: Any) -> CardRelease:
    """Return a release without a guarantee."""
    return CardRelease(inner_card(), **{"dataset": "baskets_synthetic", **changes})


def aggregate_release(**changes: Any) -> CardRelease:
    """Return the answer to a query."""
    card = inner_card(
        GUARANTEE, title="weekly sales", retention_days={"aggregates": 30}, limits="Each figure is noisy."
    )
    error = {"name": "expected relative error", "value": 0.05, "threshold": 0.1, "at_most": True, "passed": True}
    card["privacy"] |= {"clip_norm": 120.0, "standard_error": 38.5, "gate": [error]}
    card["provenance"] = {"engine": "discrete Gaussian", "library": "opendp 0.16", "query": "sum of value by week"}
    del card["account"], card["curve"]
    return CardRelease(card, **{"dataset": "weekly_sales", "zone": "aggregates", **changes})


class Page(HTMLParser):
    """Reads a page strictly: every tag is closed in order. Keeps tags, attributes and the text that is shown."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.shown = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.shown += data
