"""Queries from Python: what the options of `cloakhouse query` mean, and who answers them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cloakhouse.client.api import connect
from cloakhouse.client.control import explained
from cloakhouse.client.dataset import Dataset
from cloakhouse.client.disclosing import installed
from cloakhouse.contracts.model import Breakdown, ColumnClass, Contract, Lookup, Privacy, Query
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.contracts.query import CALENDAR, KINDS, PARTITION, values_fault
from cloakhouse.contracts.query_faults import is_public
from cloakhouse.contracts.references import protected_form
from cloakhouse.errors import CloakhouseError, ConfigurationError
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.privacy import aggregates
from cloakhouse.stages.aggregate import aggregate, refuse_known
from cloakhouse.stages.asked_query import asked_of, in_words
from cloakhouse.stages.publish_answer import publish_answer
from cloakhouse.stages.query_plan import plan

PARSERS: Mapping[str, Callable[[str], Any]] = {  # by what a protected column holds; texts stand for themselves
    "integer": int,
    "date": dt.date.fromisoformat,
    "boolean": {"true": True, "false": False}.get,
}


def ask(query: Query, reason: str = "") -> tuple[Dataset, bool]:
    """Return the published answer to `query`, and whether it had been answered before and so was free.

    Raises ContractError and ConfigurationError for what can't be asked, ValidationRefused for a breakdown that is too
    fine, BudgetExhausted, NotFound, AccessRefused, KeyServiceError, IntegrityError, StorageError.
    """
    settings = installed()
    with explained(settings):
        contract = asked_of(load_contracts(settings.contracts), query)
        found = aggregate(settings, contract, reason)
        version = publish_answer(settings, contract, found) if isinstance(found, ManifestRef) else found
    return connect().dataset(f"{version.dataset}@{version.version}"), found is version


def estimate(query: Query) -> dict[str, Any]:
    """Return what `query` would come to, JSON-ready; no row of a person is read, nothing is spent or recorded.

    Keys: query, cells, epsilon, delta, rho, unit_of_privacy, clip_norm, standard_error, expected_relative_error (the
    last three None where they would have to be bought), refused (why, or None), answered (whether it is free) and
    accounts.
    """
    settings = installed()
    with explained(settings):
        contract = asked_of(load_contracts(settings.contracts), query)
        planned = plan(settings, contract, TableStore(open_store(settings), open_ring(settings)))
        ledger = PrivacyLedger(settings.database)
        left = {a: ledger.balance(a, allowed).left_rho for a, allowed in planned.charged.items()}
        known = VersionRegister(settings.database).published(contract.name, planned.fingerprint)
    refused = None
    try:
        refuse_known(planned)
    except CloakhouseError as problem:
        refused = problem.explain()
    clip = query.clip
    return {
        "query": in_words(query),
        "cells": planned.cells,
        "epsilon": planned.guarantee.epsilon,
        "delta": planned.guarantee.delta,
        "rho": planned.spent,
        "unit_of_privacy": planned.guarantee.unit,
        "clip_norm": clip,
        "standard_error": None if clip is None else aggregates.standard_error(clip, planned.rho_answer),
        "expected_relative_error": planned.likely_error,
        "refused": refused,
        "answered": known is not None,
        "accounts": [{"name": str(a), "left": rho, "asked": planned.spent} for a, rho in left.items()],
    }


def facts(dataset: Dataset, *, again: bool) -> dict[str, Any]:
    """Return what stands beside an answer, JSON-ready."""
    card, evidence = dataset.card(), dataset.evidence()
    return {
        "published": f"{dataset.name}@{dataset.version}",
        "query": card["provenance"]["query"],
        "epsilon": card["privacy"]["guarantee"]["epsilon"],
        "delta": card["privacy"]["guarantee"]["delta"],
        "unit_of_privacy": card["privacy"]["unit_of_privacy"],
        "neighbours": card["privacy"]["guarantee"]["neighbours"],
        "clip_norm": card["privacy"]["clip_norm"],
        "standard_error": card["privacy"]["standard_error"],
        "confidence": evidence["mechanism"]["confidence"],
        "expected_relative_error": evidence["gate"][0]["value"],
        "bias": evidence["mechanism"]["bias"],
        "spent": "nothing: answered before" if again else f"rho {sum(evidence['mechanism']['rho'].values()):.6g}",
    }


def query_of(
    source: str,
    measure: str,
    column: str | None,
    by: Sequence[str],
    declared: Mapping[str, Sequence[str]],
    bins: tuple[int, ...] | None,
    *,
    unit: str | None,
    since: dt.date | None,
    until: dt.date | None,
    epsilon: float,
    delta: float,
    consumer: str,
    clip: float | None,
    expected: float | None,
    max_relative_error: float,
) -> Query:
    """Return the query that the options ask for; columns of other datasets are looked up where that is unambiguous.

    Raises ConfigurationError for options that don't fit together. What the contracts say of it is checked later.
    """
    contracts = load_contracts(installed().contracts)
    feed = contracts.get(source)
    if feed is None or feed.feed is None:
        raise unusable("--from", "a feed", "no feed of that name", "`cloakhouse contracts` lists them")
    for name, number in (("--max-relative-error", max_relative_error), ("--expected", expected), ("--clip", clip)):
        if number is not None and not 0 < number < float("inf"):
            raise unusable(name, "a finite number above 0", f"{number:g}", "correct it")
    unit = unit or _unit_of(feed)
    needed = [name for name in (column, *(spec.partition(":")[2] or spec for spec in by)) if name]
    lookups = _lookups(contracts, feed, unit, needed)
    owners = {source: feed} | {lookup.dataset: contracts[lookup.dataset] for lookup in lookups}
    breakdowns = tuple(_breakdown(spec, owners, declared, bins) for spec in by)
    unused = set(declared) - {b.column for b in breakdowns if b.values is not None}
    if unused or (bins is not None and not any(b.kind == "size" for b in breakdowns)):
        raise unusable("--values and --bins", "what some --by needs", "more", "leave out what isn't broken down by")
    dated = any(b.kind in CALENDAR for b in breakdowns)
    return Query(
        source=source,
        unit=unit,
        measure=measure,
        column=column,
        by=breakdowns,
        privacy=Privacy(epsilon, delta, consumer),
        lookups=lookups,
        since=since or (feed.feed.first_partition if dated or until else None),
        until=until,
        clip=clip,
        max_relative_error=max_relative_error,
        expected=expected,
    )


def unusable(option: str, expected: str, found: str, remedy: str) -> ConfigurationError:
    """Return the refusal of an option."""
    return ConfigurationError(
        where=option,
        expected=expected,
        found=found,
        not_done="nothing was read and nothing was spent",
        remedy=remedy,
        code="query",
    )


def _unit_of(contract: Contract) -> str:
    tokens = [c.name for c in contract.columns if c.column_class is ColumnClass.DIRECT and c.treatment.name == "token"]
    if len(tokens) != 1:
        found = ", ".join(tokens) or "no such column"
        raise unusable("--unit", "one column with a token of the unit of privacy", found, "name it with --unit")
    return tokens[0]


def _lookups(contracts: Mapping[str, Contract], feed: Contract, unit: str, needed: Sequence[str]) -> tuple[Lookup, ...]:
    """Return the lookups for columns that the source hasn't: in datasets without persons, or of the same unit."""
    own = {c.name for c in feed.kept_columns}
    found: dict[str, tuple[str, list[str]]] = {}
    for column in dict.fromkeys(needed):
        if column in own or column in (*CALENDAR, PARTITION):
            continue
        owners = [
            (name, on)
            for name, other in contracts.items()
            if other.feed is not None and name != feed.name and column in {c.name for c in other.kept_columns}
            for on in _shared(feed, other, unit)
        ]
        if len(owners) != 1:
            expected = f"`{column}` in {feed.name}, or in one dataset that shares a key with it"
            raise unusable("--by", expected, f"{len(owners)} such datasets", "correct the name of the column")
        [(name, on)] = owners
        found.setdefault(name, (on, []))[1].append(column)
    return tuple(Lookup(name, on, tuple(columns)) for name, (on, columns) in found.items())


def _shared(feed: Contract, other: Contract, unit: str) -> list[str]:
    """Return the column on which `other` can be looked up: its first, where both have it."""
    key = other.kept_columns[0].name
    fits = key == unit or is_public(other)
    return [key] if fits and key in {c.name for c in feed.kept_columns} else []


def _breakdown(
    spec: str, owners: Mapping[str, Contract], declared: Mapping[str, Sequence[str]], bins: tuple[int, ...] | None
) -> Breakdown:
    head, sign, column = spec.partition(":")
    kind = head if (sign or head in CALENDAR) and head in KINDS else "value"
    column = column or (PARTITION if kind in CALENDAR else head)
    if sign and head not in KINDS:
        expected = "COLUMN, or KIND:COLUMN with a kind of " + ", ".join(KINDS)
        raise unusable("--by", expected, "another kind", "correct it")
    name = {"value": column, "pairs": column}.get(kind, kind)
    values = _declared(column, owners, declared[column]) if column in declared and kind in ("value", "pairs") else None
    return Breakdown(name, kind, column, values, (bins or ()) if kind == "size" else ())


def _declared(column: str, owners: Mapping[str, Contract], texts: Sequence[str]) -> tuple[Any, ...]:
    """Return declared values in the type that the protected column has."""
    kept = [c for owner in owners.values() for c in owner.kept_columns if c.name == column]
    form = protected_form(kept[0]) if kept else "string"
    try:
        values = [PARSERS.get(form, str)(text) for text in texts]
    except ValueError:
        values = [None]
    if None in values or (fault := values_fault(values)):
        found = "others" if None in values else fault
        raise unusable(f"--values {column}", f"distinct values of type {form}", found, "correct the list")
    return tuple(values)
