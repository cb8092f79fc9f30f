"""What a query comes to before any row of a person is read: pinned inputs, cells, budget and likely error."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import pyarrow as pa

from cloakhouse.contracts.model import (
    Contract,
    Lookup,
    Period,
    Query,
    content_digest,
)
from cloakhouse.contracts.parser import QUERIES, load_contracts
from cloakhouse.contracts.query import CALENDAR, PARTITION
from cloakhouse.contracts.query_faults import is_public, query_fault, refused
from cloakhouse.errors import ConfigurationError, NotFound, ValidationRefused
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.allowance import Account, Allowance, real_rho, whole_rho
from cloakhouse.ledger.catalogue import Catalogue, ProtectedPartition
from cloakhouse.ledger.versions import VersionRegister, VersionState
from cloakhouse.privacy import aggregates
from cloakhouse.privacy.accounting import MAX_EPSILON, MAX_RHO, Guarantee, epsilon_of, guarantee
from cloakhouse.settings import Settings
from cloakhouse.stages.asked_query import in_words, subject_of
from cloakhouse.stages.cells import Axis, cell_count
from cloakhouse.stages.domains import axes_of
from cloakhouse.stages.pinning import Pinned, pin
from cloakhouse.stages.residency import check_residency, check_residency_of
from cloakhouse.stages.sources import current_partitions, read_partitions
from cloakhouse.stages.spending import charges
from cloakhouse.stages.version_checks import open_release

Pins = dict[str, list[ProtectedPartition]]


@dataclass(frozen=True)
class Plan:
    """A query with all that is public about it.

    Attributes:
        pins: partitions by dataset; of the source only those that the calendar needs.
        fingerprint: of the query and the content of its inputs (hex): the same again gets the same answer.
        asked: the same with the thresholds, which decide whether there is an answer at all.
        until: last day of the calendar.
        rights: whom the answer may be made of.
        rows: digest of the content of the source's partitions, and of whom the answer may be made of.
        tables: the looked-up tables without persons; others are read later.
        charged: accounts and what they allow.
        rho_clip, rho_total, rho_answer: parts of what is spent; the first two are 0 where nothing has to be bought.
        total: what all cells together are expected to hold, declared or of the same query answered before; or None.
        most: total of an answer from the same rows with other cells: these hold no more, up to noise; or None.
    """

    contract: Contract
    query: Query
    contracts: Mapping[str, Contract]
    pins: Pins
    fingerprint: str
    asked: str
    until: dt.date
    rights: Pinned
    rows: str
    tables: Mapping[str, pa.Table]
    axes: tuple[Axis, ...]
    guarantee: Guarantee
    charged: Mapping[Account, Allowance]
    rho_clip: float
    rho_total: float
    rho_answer: float
    total: float | None
    most: float | None

    @property
    def cells(self) -> int:
        """Number of cells."""
        return cell_count(self.axes)

    @property
    def spent(self) -> float:
        """The rho that an answer spends, all parts together."""
        return self.rho_clip + self.rho_total + self.rho_answer

    def error(self, clip: float | None, total: float | None) -> float | None:
        """Return the expected relative error at a clip norm and a total; None while either is unknown."""
        if clip is None or total is None:
            return None
        return aggregates.relative_error(aggregates.standard_error(clip, self.rho_answer), self.cells, total)

    @property
    def likely_error(self) -> float | None:
        """The expected relative error as far as it is known without data; None where it isn't."""
        return self.error(self.query.clip, self.total)


def plan(settings: Settings, contract: Contract, store: TableStore) -> Plan:
    """Return what the query of `contract` comes to. Only manifests and datasets without persons are read.

    Raises NotFound for a source without validated data, ContractError for a guarantee, a budget or a number of cells
    that can't be, ConfigurationError for a contract without a query, KeyServiceError, AccessRefused, IntegrityError.
    """
    query = contract.query
    if query is None:
        raise ConfigurationError(
            where=f"contract {contract.name}",
            expected="an aggregate",
            found=f"a {contract.kind.value} dataset",
            not_done="nothing was read and nothing was spent",
            remedy="name a dataset whose contract has a `query`",
            code="query",
        )
    promise = guarantee(query.privacy.epsilon, query.privacy.delta, contract.unit_of_privacy)
    if query.clip is not None:
        aggregates.hundredths(query.clip)
    contracts = load_contracts(settings.contracts)
    if fault := query_fault(query, contracts, contract.unit_of_privacy):  # the contracts may be newer than the query
        raise refused(fault)
    charged = charges(contracts, contract.sources, contract.unit_of_privacy, query.privacy.consumer)
    check_residency(settings, contract, "aggregates")
    check_residency_of(settings, contract.sources, "protected")
    catalogue = Catalogue(settings.database)
    pins = {name: current_partitions(catalogue, contracts[name]) for name in contract.sources}
    until = query.until or _newest(contracts[query.source], pins[query.source])
    pins[query.source] = _needed(contracts[query.source], query, pins[query.source], until)
    tables = {
        lookup.dataset: pa.concat_tables(read_partitions(settings, store, pins[lookup.dataset], lookup_columns(lookup)))
        for lookup in query.lookups
        if is_public(contracts[lookup.dataset])
    }
    axes = axes_of(query, contracts, tables, until)
    aggregates.check_cells(cell_count(axes))
    inputs = {name: [_content(p) for p in partitions] for name, partitions in pins.items()}
    rights = pin(settings, contract, contracts)
    rows = content_digest([inputs[query.source], rights.made_from])
    mean, most = _earlier(settings, contract.name, query, rows)
    total = _expected(query, mean, cell_count(axes))
    clip = 0 if query.clip is not None else whole_rho(promise.rho * aggregates.CLIP_SHARE, up=False)
    slice_ = 0 if total is not None else whole_rho(promise.rho * aggregates.TOTAL_SHARE, up=False)
    semantic = {k: v for k, v in asdict(query).items() if k not in ("max_relative_error", "expected", "expected_mean")}
    return Plan(
        contract=contract,
        query=query,
        contracts=contracts,
        pins=pins,
        fingerprint=content_digest([contract.name, contract.unit_of_privacy, semantic, inputs, rights.made_from]),
        asked=content_digest([contract.name, contract.unit_of_privacy, asdict(query), inputs, rights.made_from]),
        until=until,
        rights=rights,
        rows=rows,
        tables=tables,
        axes=axes,
        guarantee=promise,
        charged=charged,
        rho_clip=real_rho(clip),
        rho_total=real_rho(slice_),
        rho_answer=real_rho(whole_rho(promise.rho, up=False) - clip - slice_),
        total=total,
        most=most,
    )


def _expected(query: Query, earlier: float | None, cells: int) -> float | None:
    """Return the total that is known without data: declared, or of the mean cell of an earlier answer."""
    if query.expected is not None:
        return query.expected
    mean = earlier if query.expected_mean is None else query.expected_mean
    return None if mean is None else mean * cells


def lookup_columns(lookup: Lookup) -> list[str]:
    """Return the columns of a looked-up dataset that have to be read, each once."""
    return list(dict.fromkeys([lookup.on, *lookup.columns]))


def too_fine(plan: Plan, error: float, clip: float, total: float) -> ValidationRefused:
    """Return the refusal of a breakdown that would drown in noise, with what would work instead."""
    most = plan.query.max_relative_error
    one = aggregates.relative_error(aggregates.standard_error(clip, plan.rho_answer), 1, total)
    fewer = math.floor(most / one) if 0 < one < math.inf else 0
    remedies = [f"ask for at most {fewer:,} cells"] if fewer else []
    needed = plan.spent * (error / most) ** 2 if math.isfinite(error) else math.inf
    epsilon = epsilon_of(needed, plan.guarantee.delta) if needed <= MAX_RHO else math.inf
    if epsilon <= MAX_EPSILON:
        remedies.append(f"an epsilon of {math.ceil(epsilon * 100) / 100:g} or more")
    remedies.append("or accept more noise (maxRelativeError)" if remedies else "ask for much coarser figures")
    return ValidationRefused(
        where=f"the query of {plan.contract.name}: {in_words(plan.query)}",
        expected=f"an expected error of at most {most:g} of the mean cell",
        found=f"{error:.3g} at epsilon {plan.guarantee.epsilon:g}: {plan.cells:,} cells with a standard error of "
        f"{aggregates.standard_error(clip, plan.rho_answer):,.4g} each",
        not_done="no cell was answered",
        remedy=", ".join(remedies),
        code="too-fine",
    )


def _content(partition: ProtectedPartition) -> list[str | int]:
    """Return what a partition's rows follow from; its files may be written again under other keys."""
    made_from = [partition.partition, partition.delivery_sha256, partition.contract_version]
    return [*made_from, partition.rows, partition.quarantined]


def _newest(source: Contract, partitions: Iterable[ProtectedPartition]) -> dt.date:
    """Return the last day that the delivered partitions are of: which files were delivered tells of no customer."""
    assert source.feed is not None
    newest = max(dt.date.fromisoformat(p.partition) for p in partitions)
    return newest + dt.timedelta(days=6 if source.feed.period is Period.WEEK else 0)


def _needed(
    source: Contract, query: Query, partitions: list[ProtectedPartition], until: dt.date
) -> list[ProtectedPartition]:
    """Return the partitions with rows of the calendar, where it goes by deliveries; else all of them."""
    dated = [breakdown.column for breakdown in query.by if breakdown.kind in CALENDAR]
    if query.since is None or any(column != PARTITION for column in dated):
        return partitions
    assert source.feed is not None
    back = query.since.weekday() if source.feed.period is Period.WEEK else 0
    first = (query.since - dt.timedelta(days=back)).isoformat()
    found = [p for p in partitions if first <= p.partition <= until.isoformat()]
    if not found:
        raise NotFound(
            where=f"protected zone, {query.source}",
            expected="at least one validated partition of the calendar",
            found="none",
            not_done="nothing was read and nothing was spent",
            remedy="choose other days, or land the partitions of these",
        )
    return found


def _earlier(settings: Settings, name: str, query: Query, inputs: str) -> tuple[float | None, float | None]:
    """Return the mean cell of the newest answer to the same query, and the total of one with other cells.

    The mean may be of other weeks. The total is of the same `inputs` and of a measure that adds up over cells. An
    answer that was withdrawn counts for nothing: somebody found it wrong. Of one that was collected nothing is left.
    """
    register = VersionRegister(settings.database)
    mean: float | None = None
    most: float | None = None
    additive = query.measure in ("sum", "count")
    for version in reversed([v for n in dict.fromkeys([name, QUERIES]) for v in register.versions(n)]):
        if version.state in (VersionState.WITHDRAWN, VersionState.COLLECTED):
            continue
        evidence = open_release(settings, version).evidence
        answered = read_manifest(open_store(settings), evidence, "validation").get("answer")
        if answered is None:
            continue
        if mean is None and answered["subject"] == subject_of(query, cells=True):
            mean = answered["total"] / answered["cells"]
        same_rows = answered["measure"] == subject_of(query, cells=False) and answered["inputs"] == inputs
        if most is None and additive and same_rows:
            most = answered["total"]
    return mean, most
