"""The quality report of SDMetrics, for comparison with what others publish. Reported, never compared with a limit."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from cloakhouse.quality.utility.columns import Cells, UtilityColumn
from cloakhouse.quality.utility.marginals import generator, sampled

MOST_ROWS = 20_000  # of each side
MOST_CELLS = 500  # of a category
PROPERTIES = ("Column Shapes", "Column Pair Trends")


@dataclass(frozen=True)
class QualityReport:
    """Scores of SDMetrics, 0-1, higher is better.

    Attributes:
        score, column_shapes, column_pair_trends: None when they could not be had.
        rows: of each side looked at, at most.
        left_out: categorical columns of more than 500 cells, whose pairs the library takes minutes for.
        library: name and version.
        reason: class of the exception that kept it from being made; its text may quote values and is not kept.
    """

    score: float | None
    column_shapes: float | None
    column_pair_trends: float | None
    rows: int
    left_out: tuple[str, ...]
    library: str
    reason: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {**asdict(self), "left_out": list(self.left_out)}


def quality_report(synthetic: pa.Table, training: pa.Table, cells: Sequence[Cells], *, seed: int) -> QualityReport:
    """Return the quality report of at most 20,000 rows of each side, chosen by `seed`. Never raises for data that
    the library stumbles over; writes no file and prints nothing."""
    from importlib.metadata import version

    library = f"sdmetrics {version('sdmetrics')}"
    rng = generator(seed, 20)
    columns = [c.column for c in cells if not c.column.categorical or c.size <= MOST_CELLS]
    left_out = tuple(c.column.name for c in cells if c.column not in columns)
    try:
        real, made = (_frame(t, columns, sampled(t.num_rows, MOST_ROWS, rng)) for t in (training, synthetic))
        score, shapes, trends = _scores(real, made, columns)
    except Exception as fault:  # noqa: BLE001 - its text may quote values; its class is reported
        return QualityReport(None, None, None, MOST_ROWS, left_out, library, type(fault).__name__)
    return QualityReport(score, shapes, trends, MOST_ROWS, left_out, library)


def _scores(real: Any, made: Any, columns: Sequence[UtilityColumn]) -> tuple[float | None, float | None, float | None]:
    kinds = {c.name: {"sdtype": "categorical" if c.categorical else "numerical"} for c in columns}
    with _quiet():
        from sdmetrics.reports.single_table import QualityReport as Report

        report = Report()
        report.generate(real, made, {"columns": kinds}, verbose=False)
        found = report.get_properties()
        scores = dict(zip(found["Property"], found["Score"], strict=True))
        shapes, trends = (_number(scores.get(name)) for name in PROPERTIES)
        return _number(report.get_score()), shapes, trends


def _frame(table: pa.Table, columns: Sequence[UtilityColumn], rows: Any) -> Any:
    import pandas as pd

    part = table.select([c.name for c in columns]).take(pa.array(rows))
    frame = {}
    for column in columns:
        values = part[column.name]
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        series = values.to_pandas()
        frame[column.name] = series.astype(object) if column.categorical else series.astype("float64")
    return pd.DataFrame(frame)


def _number(value: Any) -> float | None:
    return float(value) if value is not None and value == value else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        sink = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
