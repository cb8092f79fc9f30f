"""Run a suite of expectations over the batches of a dataset and keep a result without values.

Order: the suite is checked and built -> each batch answers the expectations about single rows (their counts
add up) -> the concatenation of all batches answers the rest (aggregates, uniqueness, k-anonymity), for which
only the columns they name are kept in memory. Great Expectations runs in an ephemeral context: nothing is
written to disk, nothing is sent, its log and progress bars are silent because they quote values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from cloakhouse.quality.engine import Engine, refused, silenced
from cloakhouse.quality.results import SuiteResult
from cloakhouse.quality.suites import check_suite, suite_digest
from cloakhouse.quality.tally import Tally


def run_suite(suite: Mapping[str, Any], batches: Iterable[pa.Table]) -> SuiteResult:
    """Return the outcome of `suite` (the JSON of a suite, parsed) over `batches` (tables of one schema).

    An expectation that raises counts as failed. Raises ContractError if the suite is malformed or names an
    expectation or parameter that does not exist; ValidationRefused if there is no expectation or no batch,
    if batches differ in schema, or if some expectation was left without an answer.
    """
    check_suite(suite, where="suite")
    tallies = [Tally(at, e["type"], e["kwargs"]) for at, e in enumerate(suite["expectations"])]
    if not tallies:
        raise refused("at least one expectation", "an empty suite")
    with silenced(), closing(Engine(str(suite["name"]))) as engine:
        engine.build(tallies)
        seen, rows = _run(engine, tallies, batches)
    results = tuple(tally.result() for tally in tallies)
    return SuiteResult(
        suite=str(suite["name"]),
        digest=suite_digest(suite),
        success=all(result.success for result in results),
        batches=seen,
        rows=rows,
        expectations=results,
    )


def _run(engine: Engine, tallies: Sequence[Tally], batches: Iterable[pa.Table]) -> tuple[int, int]:
    per_batch = [tally for tally in tallies if tally.per_batch]
    at_once = [tally for tally in tallies if not tally.per_batch]
    kept: list[pa.Table] = []
    schema: pa.Schema | None = None
    for batch in batches:
        schema = schema or batch.schema
        _same_columns(schema, batch.schema)
        kept.append(_needed(batch, at_once))
        engine.validate(per_batch, batch)
    if not kept:
        raise refused("at least one batch", "none")
    whole = pa.concat_tables(kept, promote_options="default")
    engine.validate(at_once, whole)
    return len(kept), whole.num_rows


def _needed(batch: pa.Table, tallies: Sequence[Tally]) -> pa.Table:
    """Return the columns of `batch` that `tallies` need, at least one so that rows are counted."""
    needs = [tally.needs for tally in tallies]
    wanted = {name for names in needs for name in names or ()}
    if None in needs or not batch.num_columns:
        return batch
    positions = [at for at, name in enumerate(batch.column_names) if name in wanted]
    return batch.select(positions or [0])


def _same_columns(first: pa.Schema, other: pa.Schema) -> None:
    if (first.names, first.types) != (other.names, other.types):
        raise refused("batches of one schema", "batches that differ in columns or types")
