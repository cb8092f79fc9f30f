"""Which columns of a file are read, and which keys that takes.

Every file records its columns' classes in its encrypted footer, with the zone and the dataset that it was written
for (key `cloakhouse.keys`, JSON):

    {"format": 1, "zone": "protected", "dataset": "transactions", "columns": {"household_id": "direct"}}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import AccessRefused, IntegrityError, NotFound
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.lake.encryption import dataset_key
from cloakhouse.lake.filters import RowFilter
from cloakhouse.lake.sums import FileEntry, tampered

RECORD = b"cloakhouse.keys"
FORMAT = 1
UNNAMEABLE = frozenset(",;:")  # they separate names in the encryption configuration


def check_columns(path: str, schema: pa.Schema, classes: Mapping[str, ColumnClass]) -> None:
    """Refuse, with an IntegrityError, a schema of which Parquet might write a column in plaintext."""
    for name in schema.names:
        nameable = name == name.strip(" ") != "" and not set(name) & UNNAMEABLE and schema.names.count(name) == 1
        if name not in classes or not nameable or pa.types.is_nested(schema.field(name).type):
            raise IntegrityError(
                where=f"{path}, column {name}",
                expected="a flat column with a class, and so a key, and a name of its own without any of , ; :",
                found="another: Parquet might write it in plaintext",
                not_done="the file was not written",
                remedy="declare the column with its class in the contract",
            )


@dataclass(frozen=True)
class ColumnKeys:
    """The class (by its key name) of each column of one file, and where the file lies in the lake."""

    path: str
    classes: Mapping[str, str]

    @classmethod
    def of(cls, path: str, classes: Mapping[str, str]) -> ColumnKeys:
        """Return the keys of a file that is about to be written to `path`."""
        return cls(path, dict(classes))

    @classmethod
    def recorded(cls, entry: FileEntry, metadata: Mapping[bytes, bytes] | None, names: Sequence[str]) -> ColumnKeys:
        """Return what the footer of `entry`, which has the columns `names`, recorded.

        Raises IntegrityError for no record, one of other columns, or another dataset's.
        """
        try:
            content = json.loads((metadata or {})[RECORD])
            found = cls(entry.path, dict(content["columns"]))
        except (KeyError, ValueError, TypeError):
            raise tampered(entry, "a footer that records the columns' classes", "none") from None
        if found.classes.keys() != set(names) or content != found._record():
            raise tampered(entry, "a file of these columns, written for this zone and dataset", "another")
        return found

    def as_metadata(self) -> dict[str, str]:
        """Return the record for the footer."""
        return {RECORD.decode(): json.dumps(self._record(), sort_keys=True, separators=(",", ":"))}

    def by_class(self) -> dict[str, list[str]]:
        """Return the columns of each class."""
        grouped: dict[str, list[str]] = {}
        for column, use in self.classes.items():
            grouped.setdefault(use, []).append(column)
        return grouped

    def names(self) -> dict[str, str]:
        """Return the name of each column's dataset key."""
        return {column: dataset_key(self.path, use).name for column, use in self.classes.items()}

    def authorise(self, columns: Iterable[str], require: Callable[[Iterable[DatasetKey]], None]) -> None:
        """Open the keys of `columns` with `require`.

        Raises AccessRefused that names every class that was refused and its columns; KeyServiceError as it comes.
        """
        refused: list[tuple[str, list[str], AccessRefused]] = []
        wanted = {column: self.classes[column] for column in columns}
        for use, names in ColumnKeys(self.path, wanted).by_class().items():
            try:
                require([dataset_key(self.path, use)])
            except AccessRefused as fault:
                refused.append((use, names, fault))
        if refused:
            listed = "; ".join(f"class {use}: {', '.join(names)}" for use, names, _ in refused)
            _, _, first = refused[0]
            raise AccessRefused(
                where=f"{self.path}, columns of {listed}",
                expected=first.expected,
                found=first.found,
                not_done="nothing of the file was read, other columns included",
                remedy=f"leave these columns out of the projection and the conditions, or: {first.remedy}",
                code=first.code.partition(".")[2],
            )

    def _record(self) -> dict[str, Any]:
        key = dataset_key(self.path, "any")
        return {"format": FORMAT, "zone": key.zone, "dataset": key.dataset, "columns": dict(self.classes)}


@dataclass(frozen=True)
class Projection:
    """What is read of one file.

    Attributes:
        wanted: the columns that the caller gets, in order.
        needed: the columns that pyarrow is asked for: these and the filter's.
        touched: the columns that pyarrow opens for them; it takes `a` for a prefix of a column called `a.b`.
        filter: conditions on rows.
        schema: what the caller gets.
    """

    wanted: tuple[str, ...]
    needed: list[str]
    touched: tuple[str, ...]
    filter: RowFilter
    schema: pa.Schema

    @classmethod
    def of(cls, entry: FileEntry, schema: pa.Schema, columns: Sequence[str] | None, where: RowFilter) -> Projection:
        """Return the projection of `columns` (None: all) and `where`. Raises NotFound, ConfigurationError."""
        names = schema.names
        wanted = tuple(names if columns is None else columns)
        needed = list(dict.fromkeys((*wanted, *where.columns)))
        for column in needed:
            if column not in names:
                raise NotFound(
                    where=entry.path,
                    expected=f"a column `{column}`",
                    found=f"{len(names)} columns of other names",
                    not_done="nothing of it was read",
                    remedy="compare the contract's version with the one that the file was written under",
                )
        where.check(schema)
        touched = tuple(name for name in names if any(name == n or name.startswith(f"{n}.") for n in needed))
        kept = {key: value for key, value in (schema.metadata or {}).items() if key != RECORD}
        result = pa.schema([schema.field(name) for name in wanted], kept or None)
        return cls(wanted, needed, touched, where, result)

    def dress(self, rows: Any) -> Any:
        """Return `rows` (a Table or a RecordBatch) with just the wanted columns, and without our own record."""
        return rows.select(list(self.wanted)).replace_schema_metadata(self.schema.metadata)

    def batches(self, file: pq.ParquetFile, rows: int, groups: Sequence[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the wanted columns of the rows that pass the filter, at most `rows` at once.

        `groups` names the row groups that are read (None: all).
        """
        for batch in file.iter_batches(batch_size=rows, row_groups=groups, columns=self.needed):
            passed = self.filter.apply(batch)
            if passed.num_rows:
                yield self.dress(passed)
