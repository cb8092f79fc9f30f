"""What differs between two versions: their columns, and the distribution of each column that both have.

Rows are read twice from the first version (a sample, then counts) and once from the second, batch by batch: memory is
that of one batch, one sample per column, and a few counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cloakhouse.client.dataset import Dataset
from cloakhouse.client.drift import Bins, Distances, Sample, bins_of, distances, is_ordered

CHANGES = ("same", "type changed", "class changed", "added", "removed", "masked")


@dataclass(frozen=True)
class ColumnDifference:
    """One column of two versions.

    Attributes:
        column: its name.
        types: logical type in the first and in the second version; None where there is no such column.
        change: one of CHANGES; `masked` where this reader doesn't see its values.
        distances: how its values differ; None unless both have it with comparable types, clear, and with rows.
    """

    column: str
    types: tuple[str | None, str | None]
    change: str
    distances: Distances | None

    def as_dict(self) -> dict[str, Any]:
        """Return the difference as JSON-ready values; distances rounded to 6 digits."""
        found = self.distances
        figures: dict[str, Any] = dict.fromkeys(
            ("drift", "psi", "jensen_shannon", "total_variation", "bins", "missing_a", "missing_b")
        )
        if found is not None:
            figures = {
                "drift": found.verdict,
                "psi": round(found.psi, 6),
                "jensen_shannon": round(found.jensen_shannon, 6),
                "total_variation": round(found.total_variation, 6),
                "bins": found.bins,
                "missing_a": round(found.missing[0], 6),
                "missing_b": round(found.missing[1], 6),
            }
        return {
            "column": self.column,
            "type_a": self.types[0],
            "type_b": self.types[1],
            "change": self.change,
            **figures,
        }


def compare(first: Dataset, second: Dataset, progress: bool | None = None) -> list[ColumnDifference]:
    """Return the differences, column by column: those of `first` in its order, then those that `second` has alone.

    Raises what reading raises (see `Dataset`).
    """
    one, two = _columns(first), _columns(second)
    changes = {name: _change(one.get(name), two.get(name)) for name in (*one, *(n for n in two if n not in one))}
    wanted = [name for name, change in changes.items() if change in ("same", "class changed")]
    found = _drift(first, second, wanted, progress) if wanted else {}
    return [
        ColumnDifference(name, (_type(one, name), _type(two, name)), change, found.get(name))
        for name, change in changes.items()
    ]


def _columns(dataset: Dataset) -> dict[str, dict[str, Any]]:
    return {column["name"]: column for column in dataset.describe()["columns"]}


def _type(columns: Mapping[str, dict[str, Any]], name: str) -> str | None:
    return columns[name]["type"] if name in columns else None


def _change(one: dict[str, Any] | None, two: dict[str, Any] | None) -> str:
    if one is None or two is None:
        return "added" if one is None else "removed"
    if one["type"] != two["type"]:
        return "type changed"
    if "clear" not in (one["shown"], two["shown"]) or one["shown"] != two["shown"]:
        return "masked"
    return "same" if one["class"] == two["class"] else "class changed"


def _drift(first: Dataset, second: Dataset, columns: list[str], progress: bool | None) -> dict[str, Distances | None]:
    from cloakhouse.client.meter import Meter

    samples = {name: Sample() for name in columns}
    with Meter(f"{first.name}, {second.name}", 2 * first.rows + second.rows, progress) as meter:
        for batch in first.batches(columns):
            for name in columns:
                samples[name].add(_plain(batch.column(name)))
            meter.advance(batch.num_rows)
        bins = {name: bins_of(sample.values()) for name, sample in samples.items()}
        del samples
        counts = [_counts(dataset, bins, meter) for dataset in (first, second)]
    return {name: distances(counts[0][name], counts[1][name]) for name in columns}


def _counts(dataset: Dataset, bins: Mapping[str, Bins], meter: Any) -> dict[str, np.ndarray]:
    counts = {name: np.zeros(one.names, np.int64) for name, one in bins.items()}
    for batch in dataset.batches(list(bins)):
        for name, one in bins.items():
            counts[name] += one.count(_plain(batch.column(name)))
        meter.advance(batch.num_rows)
    return counts


def _plain(values: pa.Array) -> pa.Array:
    """Return values in a form in which both versions have them: of one text type, numbers as they are."""
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    if is_ordered(values.type):
        return values
    if pa.types.is_boolean(values.type):
        return values.cast(pa.string())
    return values.cast(pa.binary() if pa.types.is_fixed_size_binary(values.type) else values.type)
