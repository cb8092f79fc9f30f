"""A query in words, as a digest, and as the contract that one without a contract of its own stands under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from cloakhouse.contracts.model import Column, ColumnClass, Contract, Kind, Query, Treatment, content_digest
from cloakhouse.contracts.parser import QUERIES
from cloakhouse.contracts.query import answer_columns
from cloakhouse.contracts.query_faults import form_of, query_fault, refused
from cloakhouse.contracts.subject import Rights
from cloakhouse.errors import ConfigurationError


def asked_of(contracts: Mapping[str, Contract], query: Query) -> Contract:
    """Return the contract that a query without one stands under: that of its source, as far as it can say.

    Raises ContractError for what can't be asked, ConfigurationError for a source that no contract describes.
    """
    source = contracts.get(query.source)
    if source is None:
        raise ConfigurationError(
            where="the query: from",
            expected="one of: " + ", ".join(n for n, c in contracts.items() if c.kind is Kind.FEED),
            found="no dataset of that name",
            not_done="nothing was read and nothing was spent",
            remedy="correct the name",
            code="query",
        )
    if fault := query_fault(query, contracts, source.unit_of_privacy):
        raise refused(fault)
    types = [form_of(query, contracts, b) for b in query.by for _ in range(2 if b.kind == "pairs" else 1)]
    names = answer_columns(query.by)
    kinds = [*types, *["number"] * (len(names) - len(types))]
    plain, keep = ColumnClass.PLAIN, Treatment("keep")
    return Contract(
        name=QUERIES,
        version=source.version,
        digest=content_digest(asdict(query)),
        kind=Kind.AGGREGATE,
        description="answer to a query: " + in_words(query),
        owner=source.owner,
        purpose=source.purpose,
        legal_basis=source.legal_basis,
        retention_days={},
        unit_of_privacy=source.unit_of_privacy,
        columns=tuple(Column(n, k, False, plain, keep) for n, k in zip(names, kinds, strict=True)),
        query=query,
        rights=Rights(consent=source.rights.consent),
    )


def in_words(query: Query) -> str:
    """Return what is asked, without values: `sum of transactions.sales_value by week, department`."""
    what = "rows" if query.column is None else query.column
    by = ", ".join(breakdown.name for breakdown in query.by)
    return f"{query.measure} of {query.source}.{what}" + (f" by {by}" if by else "")


def subject_of(query: Query, *, cells: bool) -> str:
    """Return a digest of what is measured, and with `cells` of what it is broken down by: not of budget and time."""
    fields = asdict(query)
    left_out = {"privacy", "clip", "max_relative_error", "expected", "expected_mean", "until"}
    if not cells:
        left_out |= {"by", "lookups"}
    return content_digest({name: value for name, value in fields.items() if name not in left_out})
