"""Aggregate: a query of protected data is answered once, with noise, out of the privacy budget.

1. the plan is public: pinned inputs, cells, guarantee, budget. The same query on the same inputs finds its answer, or
   its refusal, as it was: nothing is read or spent, and no fresh noise is ever drawn for it;
2. a breakdown whose expected error is known and too large is refused for nothing;
3. the spend is reserved, and the read recorded, before a row of a person is read; a budget that is gone refuses here;
4. the source is read partition by partition, without rows of persons who don't allow the use or were erased, and what
   each unit adds to each cell is summed up. Whatever fails up to here gives the reservation back: no noise was drawn;
5. a clip norm or total that isn't known is bought with the first part of the spend (`cloakhouse.privacy.aggregates`);
   when the error turns out too large, that part is committed, the rest is given back, and the refusal is kept;
6. one Gaussian over all cells; the audit event is recorded; the answer is written encrypted, then its evidence;
7. the spend is committed. Killed between 5 and 7, it stays reserved, which counts as spent; an answer that was
   complete is found by step 1 and its spend committed then, any other is asked for anew, at its own price.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from cloakhouse.contracts.model import ColumnClass, Contract
from cloakhouse.contracts.parser import QUERIES
from cloakhouse.contracts.query import FIGURES
from cloakhouse.errors import CloakhouseError, ValidationRefused
from cloakhouse.keys.files import locked
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import LONGEST_TEXT, Action, Event
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef, ProtectedPartition
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister
from cloakhouse.privacy import aggregates
from cloakhouse.privacy.aggregates import Contributions, Release
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.answers import ZONE, answer_content, find_answer, folder_of, refusal_content
from cloakhouse.stages.asked_query import in_words
from cloakhouse.stages.auditing import record
from cloakhouse.stages.authority import asked, refusals_recorded
from cloakhouse.stages.cells import combined, grid, partial, source_columns
from cloakhouse.stages.query_plan import Plan, lookup_columns, plan, too_fine
from cloakhouse.stages.reads import reads
from cloakhouse.stages.sieve_lists import sieves
from cloakhouse.stages.view_rights import read_allowed

KIND = "validation"
LOCK_WAIT_S = 600.0
GIVEN_BACK = "no noise was drawn for it"


@dataclass(frozen=True)
class Spending:
    """The ids of what one attempt reserved: for what is bought first (None where nothing is), and for the answer."""

    first: str | None
    answer: str

    @property
    def ids(self) -> tuple[str, ...]:
        """Both, in order."""
        return (self.answer,) if self.first is None else (self.first, self.answer)


def aggregate(settings: Settings, contract: Contract, reason: str = "") -> ManifestRef | DatasetVersion:
    """Answer the query of `contract` and return the evidence; the version when the answer is published already.

    Raises ValidationRefused (`validation.too-fine`) for a breakdown that would drown in noise, BudgetExhausted, and as
    `cloakhouse.stages.query_plan.plan`; StageError while another process answers the same query for too long.
    """
    progress = Progress.of("aggregate", contract.name)
    store = TableStore(open_store(settings), open_ring(settings))
    planned = plan(settings, contract, store)
    catalogue = Catalogue(settings.database)
    if contract.name != QUERIES:
        catalogue.register_contract(contract)
    published = VersionRegister(settings.database).published(contract.name, planned.fingerprint)
    if published is not None:
        progress.finish("up to date: this was answered from these inputs already", rows=0)
        return published
    with locked(
        settings.home / "locks" / f"aggregate-{planned.fingerprint[:32]}.lock", LOCK_WAIT_S, in_words(planned.query)
    ):
        kept = find_answer(settings, planned)
        if kept is None:
            kept = _answered(settings, store, planned, reason, progress)
    progress.finish(
        f"{planned.cells:,} cells at epsilon {planned.guarantee.epsilon:g} per {contract.unit_of_privacy}",
        rows=planned.cells,
    )
    return kept


def refuse_known(planned: Plan) -> None:
    """Raise ValidationRefused where it is known without data that the breakdown would drown in noise."""
    for total in (planned.total, planned.most):
        error = planned.error(planned.query.clip, total)
        if error is not None and error > planned.query.max_relative_error:
            assert planned.query.clip is not None
            assert total is not None
            raise too_fine(planned, error, planned.query.clip, total)


def _answered(settings: Settings, store: TableStore, planned: Plan, reason: str, progress: Progress) -> ManifestRef:
    privacy = planned.query.privacy
    why = reason or f"differentially private query for {privacy.consumer}"
    what, source = in_words(planned.query)[:LONGEST_TEXT], planned.query.source
    log, event = asked(settings, Action.QUERY, what, why, planned.cells, dataset=source, platform=True)
    event = replace(event, facts={**_price(planned), "fingerprint": planned.fingerprint})
    ledger, by = PrivacyLedger(settings.database), replace(event, facts=_price(planned))
    with refusals_recorded(log, event):
        refuse_known(planned)
        spending = _reserved(ledger, planned, by)
        try:
            record(settings, *reads(event, _read_for(planned), "query"))
            given = _contributions(settings, store, planned, progress)
        except BaseException:
            _give_back(ledger, spending.ids, by)
            raise
        clip = planned.query.clip
        if clip is None:
            clip = aggregates.bought_clip(given, planned.rho_clip, planned.rho_answer)
        total = planned.total
        if total is None:
            total = aggregates.bought_total(given, clip, planned.rho_total)
        error = planned.error(clip, total)
        assert error is not None
        if error > planned.query.max_relative_error:
            raise _kept_refusal(settings, ledger, planned, spending, too_fine(planned, error, clip, total), by)
        released = aggregates.release(given, clip, planned.rho_answer)
    log.record(event)
    return _write(settings, store, ledger, planned, spending, released, clip, error, by)


def _price(planned: Plan) -> dict[str, str | int]:
    """Return what the query asks for of the privacy budget, as events tell it."""
    privacy = planned.query.privacy
    return {"epsilon": format(privacy.epsilon, ".6g"), "delta": format(privacy.delta, ".6g")}


def _read_for(planned: Plan) -> dict[str, Sequence[ProtectedPartition]]:
    """Return the partitions that are read for the answer: those of the source, and of datasets that weren't yet."""
    lookups = [lookup.dataset for lookup in planned.query.lookups if lookup.dataset not in planned.tables]
    return {name: planned.pins[name] for name in (planned.query.source, *lookups)}


def _reserved(ledger: PrivacyLedger, planned: Plan, by: Event) -> Spending:
    """Reserve both parts under ids of their own: what an attempt before this one reserved stays spent, as somebody may
    know its noise, and so does what one beside it reserves on another machine."""
    name = f"query-{planned.fingerprint[:16]}-{secrets.token_hex(3)}"
    first_rho = planned.rho_clip + planned.rho_total
    spending = Spending(f"{name}-first" if first_rho else None, name)
    purpose = f"query: {in_words(planned.query)}"
    if spending.first is not None:
        ledger.reserve(spending.first, planned.charged, first_rho, 0.0, purpose, by)
    try:
        ledger.reserve(spending.answer, planned.charged, planned.rho_answer, 0.0, purpose, by)
    except CloakhouseError:
        if spending.first is not None:
            ledger.release(spending.first, GIVEN_BACK, by)
        raise
    return spending


def _give_back(ledger: PrivacyLedger, ids: tuple[str, ...], by: Event) -> None:
    for spend_id in ids:
        ledger.release(spend_id, GIVEN_BACK, by)


def _contributions(settings: Settings, store: TableStore, planned: Plan, progress: Progress) -> Contributions:
    query = planned.query
    passing = sieves(settings, planned.contract, planned.contracts, planned.rights)
    tables = dict(planned.tables)
    for lookup in query.lookups:
        if lookup.dataset not in tables:
            pins = planned.pins[lookup.dataset]
            sieve = passing.get(lookup.dataset)
            columns = lookup_columns(lookup)
            tables[lookup.dataset] = pa.concat_tables(read_allowed(settings, store, pins, columns, sieve))
    partials, pins = [], planned.pins[query.source]
    for number, pin in enumerate(pins, start=1):
        [table] = read_allowed(settings, store, [pin], source_columns(query), passing.get(query.source))
        partials.append(partial(query, planned.axes, table, tables, pin.partition))
        progress.step(number, len(pins), "partitions")
    return combined(query, partials, planned.cells)


def _kept_refusal(
    settings: Settings,
    ledger: PrivacyLedger,
    planned: Plan,
    spending: Spending,
    refusal: ValidationRefused,
    by: Event,
) -> ValidationRefused:
    """Keep the refusal, so that asking again costs nothing, and return it; only what was bought first is spent."""
    content = refusal_content(planned, refusal, spending.first)
    write_manifest(open_store(settings), folder_of(planned.contract.name, planned.asked), KIND, content)
    if spending.first is not None:
        ledger.commit(spending.first, by)
    ledger.release(spending.answer, "refused: the expected error is too large", by)
    return refusal


def _write(
    settings: Settings,
    store: TableStore,
    ledger: PrivacyLedger,
    planned: Plan,
    spending: Spending,
    released: Release,
    clip: float,
    error: float,
    by: Event,
) -> ManifestRef:
    name = planned.contract.name
    table = _table(planned, released)
    path = f"{ZONE}/{name}/{planned.fingerprint[:12]}-{secrets.token_hex(4)}/part-00000.parquet"
    entry = store.write(path, table, dict.fromkeys(table.column_names, ColumnClass.PLAIN))
    content = answer_content(planned, released, clip, error, spending.ids, entry)
    evidence = write_manifest(open_store(settings), folder_of(name, planned.fingerprint), KIND, content)
    for spend_id in spending.ids:
        ledger.commit(spend_id, by)
    return evidence


def _table(planned: Plan, released: Release) -> pa.Table:
    table = grid(planned.axes)
    figures = [released.values, released.low, released.high, released.values * 0 + released.standard_error]
    columns = {} if table is None else {name: table.column(name) for name in table.column_names}
    return pa.table(columns | dict(zip(FIGURES, map(pa.array, figures), strict=True)))
