"""SDV's GaussianCopula behind our protocol.

No formal privacy guarantee: the fitted marginals and correlations are not noised. What bounds the risk here is that
ranges come from the contract and never from the data, that rare categories are suppressed before the fit
(`cloakhouse.synthesis.split`), that nothing fitted is stored, and that the release is tested against a hold-out.
Source: Patki, Wedge, Veeramachaneni 2016, doi:10.1109/DSAA.2016.49.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.errors import StageError
from cloakhouse.synthesis.protocol import Report, ViewColumn

TABLE = "view"
BATCH = 20_000  # rows a call
ENGINE = "gaussian copula"


class GaussianCopula:
    """See the module. One fit a object; memory is that of the training table and one batch."""

    def __init__(self, columns: tuple[ViewColumn, ...], seed: int) -> None:
        self._columns = columns
        self._seed = seed
        self._model: Any = None

    def fit(self, table: pa.Table) -> None:
        """See Synthesizer.fit."""
        if table.num_rows < 2:
            raise StageError(
                where="synthesis",
                expected="at least 2 training rows",
                found=f"{table.num_rows}",
                not_done="nothing was fitted or sampled",
                remedy="land more partitions, or widen the view in the contract",
                code="too-small",
            )
        with _quiet():
            from sdv.metadata import Metadata

            from cloakhouse.synthesis.marginals import synthesizer

            kinds = {c.name: {"sdtype": "categorical" if c.categorical else "numerical"} for c in self._columns}
            metadata = Metadata.load_from_dict({"tables": {TABLE: {"columns": kinds}}})
            self._model = synthesizer(metadata, self._columns)
            self._model.fit({TABLE: _to_pandas(table, self._columns)})
            self._model._set_random_state(self._seed)  # else the library samples from a seed of its own

    def sample(self, rows: int, report: Report) -> pa.Table:
        """See Synthesizer.sample."""
        parts: list[pa.Table] = []
        done = 0
        with _quiet():
            while done < rows:
                size = min(BATCH, rows - done)
                frame = self._model.sample(size)[TABLE]
                parts.append(self._to_arrow(frame))
                done += size
                report(done, rows, "rows")
        return pa.concat_tables(parts)

    def describe(self) -> dict[str, Any]:
        """See Synthesizer.describe."""
        return {
            "engine": ENGINE,
            "library": f"sdv {version('sdv')}",
            "seed": self._seed,
            "marginals": "counts in public cells of the contract's range, normal without one",
            "privacy_guarantee": "none: not differentially private",
        }

    def _to_arrow(self, frame: Any) -> pa.Table:
        columns = {}
        for column in self._columns:
            values = pa.array(frame[column.name], from_pandas=True)
            if column.maximum is not None:
                values = _within(values.cast(pa.float64()), column.maximum)
            if pa.types.is_integer(column.type) and pa.types.is_floating(values.type):
                values = pc.round(values)
            columns[column.name] = values.cast(column.type, safe=False)
        return pa.table(columns)


def _within(values: pa.Array, maximum: float) -> pa.Array:
    """Return `values` clipped to 0 and `maximum`; null stays null."""
    return pc.min_element_wise(pc.max_element_wise(values, 0.0, skip_nulls=False), maximum, skip_nulls=False)


def _to_pandas(table: pa.Table, columns: tuple[ViewColumn, ...]) -> Any:
    """Return a DataFrame; categories as objects, so that the library takes them for what they are."""
    frame = table.to_pandas()
    for column in columns:
        if column.categorical:  # whole numbers stay whole beside nulls
            frame[column.name] = table.column(column.name).to_pandas(integer_object_nulls=True).astype(object)
    return frame


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep SDV from writing: it opens a log in the user's data folder when it is first used."""
    data_home = os.environ.get("XDG_DATA_HOME")
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        os.environ["XDG_DATA_HOME"] = str(Path(scratch))
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for name in ("SingleTableSynthesizer", "MultiTableSynthesizer", "Metadata", "SingleTableMetadata"):
                logger = logging.getLogger(name)
                for handler in list(logger.handlers):
                    logger.removeHandler(handler)
                    handler.close()
            if data_home is None:
                os.environ.pop("XDG_DATA_HOME")
            else:
                os.environ["XDG_DATA_HOME"] = data_home
