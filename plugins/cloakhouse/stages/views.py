"""Training view and hold-out: derived from protected partitions, split by whole units, written encrypted in shards.

They stay in the zone `views` for the fit, the validation and nobody else. Views of lines are written a partition at a
time, so that memory doesn't follow their number; views of groups follow the number of groups.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import ColumnClass, Contract, Gate, Synthesis
from cloakhouse.errors import StageError, ValidationRefused
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import ProtectedPartition
from cloakhouse.privacy.attacks.population import MIN_HOUSEHOLDS
from cloakhouse.settings import Settings
from cloakhouse.stages.carried import worker_settings
from cloakhouse.stages.sieve import Sieve
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.view_rights import read_allowed
from cloakhouse.stages.workers import Report, Workers
from cloakhouse.synthesis.derive import ORDER, build_view, lines_of, needed_columns, view_columns
from cloakhouse.synthesis.protocol import GROUP, UNIT
from cloakhouse.synthesis.split import Split, in_order, shard_of, split_units, token_words

SHARD_ROWS = 250_000
MAX_SHARDS = 64
Pins = Mapping[str, Sequence[ProtectedPartition]]


@dataclass(frozen=True)
class Side:
    """Training rows or hold-out: encrypted files, and how many rows of how many units they hold."""

    files: tuple[FileEntry, ...]
    rows: int
    units: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields for a manifest."""
        return {"rows": self.rows, "units": self.units, "files": [entry.as_dict() for entry in self.files]}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Side:
        """Return the side that a manifest describes."""
        return cls(file_entries(fields["files"]), fields["rows"], fields["units"])


@dataclass(frozen=True)
class Views:
    """Both sides, and how many rows were left out because a category in them is rare."""

    training: Side
    holdout: Side
    suppressed_rows: int


def view_classes(contract: Contract, source: Contract) -> dict[str, ColumnClass]:
    """Return the class of each column of the files of a view."""
    assert contract.synthesis is not None
    view = contract.synthesis.view
    own = {column.name: column.column_class for column in contract.columns}
    inner = {UNIT: view.unit, GROUP: view.group_by} | ({ORDER: view.order} if view.order else {})
    return own | {name: source.column(column).column_class for name, column in inner.items()}


def write_views(
    settings: Settings,
    store: TableStore,
    contracts: Mapping[str, Contract],
    contract: Contract,
    pins: Pins,
    folder: str,
    sieves: Mapping[str, Sieve] | None = None,
) -> Views:
    """Derive and write the view of `contract` below `folder` of the lake; return what was written.

    `sieves`, by source, take out rows of persons who may not be used (`cloakhouse.stages.sieve_lists`).

    Raises ValidationRefused when a side has too few units for the gate, ContractError when the unit is no token,
    IntegrityError, KeyServiceError, StorageError.
    """
    synthesis, gate = contract.synthesis, contract.gate
    assert synthesis is not None
    assert gate is not None
    view, sieves = synthesis.view, sieves or {}
    source = contracts[view.source]
    wanted = needed_columns(view, [column.name for column in source.kept_columns])
    tables = {
        lookup.dataset: pa.concat_tables(
            read_allowed(
                settings, store, pins[lookup.dataset], [lookup.on, *lookup.columns], sieves.get(lookup.dataset)
            )
        )
        for lookup in view.lookups
    }
    partitions = read_allowed(settings, store, pins[view.source], wanted, sieves.get(view.source))
    rows: Iterable[pa.Table]
    if view.lines:
        rows = (lines_of(view, contract.columns, partition, tables) for partition in partitions)
        size = sum(p.rows for p in pins[view.source])
    else:
        rows = [build_view(view, contract.columns, partitions, tables)]
        size = rows[0].num_rows
    if synthesis.privacy is not None:
        splits: Iterator[Split] = (split_units(table, synthesis.holdout_share) for table in rows)
    else:
        splits = iter([_bounded(contract, synthesis, gate, pa.concat_tables(rows))])
        size = min(size, synthesis.max_training_rows)
    shards = min(-(-size // SHARD_ROWS) or 1, MAX_SHARDS)
    return _written(store, contract, view_classes(contract, source), splits, folder, shards)


def _bounded(contract: Contract, synthesis: Synthesis, gate: Gate, rows: pa.Table) -> Split:
    """Return the split for an engine without guarantee: bounded, and without categories of few units."""
    declared = view_columns(synthesis, contract.columns)
    categorical = [c.name for c in declared if c.categorical and c.number is None]
    return split_units(rows, synthesis.holdout_share, synthesis.max_training_rows, categorical, gate.min_k)


def _written(
    store: TableStore,
    contract: Contract,
    classes: Mapping[str, ColumnClass],
    splits: Iterator[Split],
    folder: str,
    shards: int,
) -> Views:
    paths = [f"{folder}/training-{number:05}.parquet" for number in range(shards)]
    training, holdout, suppressed = _Units(), _Units(), 0
    entries: list[list[FileEntry]] = []
    with contextlib.ExitStack() as stack:
        writers: list[Callable[[pa.Table], None]] = []
        for split in splits:
            training.add(split.training)
            holdout.add(split.holdout)
            suppressed += split.suppressed_rows
            if not writers:
                if not contract.synthesis or not contract.synthesis.view.lines:
                    _require_units(contract, training.count, holdout.count)  # the only split: nothing is written
                for path in [*paths, f"{folder}/holdout.parquet"]:
                    write, found = stack.enter_context(store.writing(path, split.training.schema, classes))
                    writers.append(write)
                    entries.append(found)
            numbers = shard_of(split.training.column(UNIT).combine_chunks(), shards)
            for number in range(shards):
                writers[number](split.training.filter(pa.array(numbers == number)))
            writers[-1](split.holdout)
        _require_units(contract, training.count, holdout.count)  # inside: a refusal takes the files back
    files = [found[0] for found in entries]
    return Views(
        Side(tuple(files[:-1]), training.rows, training.count),
        Side((files[-1],), holdout.rows, holdout.count),
        suppressed,
    )


@dataclass
class _Units:
    """Counts rows and distinct units."""

    rows: int = 0
    _seen: Any = field(default_factory=lambda: np.zeros(0, ">u8"))

    @property
    def count(self) -> int:
        return len(self._seen)

    def add(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        self._seen = np.union1d(self._seen, token_words(table.column(UNIT).combine_chunks())[:, 0])


def _require_units(contract: Contract, training: int, holdout: int) -> None:
    """Raise ValidationRefused for a side on which the gate couldn't show a leak: before a fit spends anything on it."""
    assert contract.gate is not None
    sides = (
        ("hold-out", holdout, contract.gate.min_holdout_units, "land more partitions"),
        ("training side", training, MIN_HOUSEHOLDS, "land more partitions, or raise maxTrainingRows"),
    )
    for side, units, least, remedy in sides:
        if units < least:
            raise ValidationRefused(
                where=f"synthetic dataset {contract.name}",
                expected=f"a {side} of at least {least} {contract.unit_of_privacy}s",
                found=f"{units}",
                not_done="nothing was fitted, sampled or published",
                remedy=f"{remedy}; a smaller {side} could not show a leak",
                code=side.split()[0].replace("-", ""),
            )


@dataclass(frozen=True)
class ShardFiles:
    """The shards of a training view (`Shards`): encrypted files, read where the work is done."""

    settings: Settings
    workers: Workers
    side: Side
    spare_rows: int
    report: Report

    def map(self, task: Callable[[pa.Table], bytes]) -> Iterator[bytes]:
        """See Shards.map."""
        fields = self.settings.for_workers()
        files = self.side.files

        def work(number: int) -> bytes:
            return task(read_side(worker_settings(fields), files[number : number + 1]))

        yield from self.workers.run("synthesize", work, len(files), "shards", self.report)

    def table(self) -> pa.Table:
        """See Shards.table."""
        if self.side.rows > self.spare_rows:
            raise StageError(
                where="training rows",
                expected=f"at most {self.spare_rows:,} in memory at once",
                found=f"{self.side.rows:,}",
                not_done="nothing was fitted or sampled",
                remedy="lower maxTrainingRows in the contract, or use an engine that counts in workers (dp-marginals)",
                code="too-large",
            )
        return read_side(self.settings, self.side.files)


def read_side(settings: Settings, files: Sequence[FileEntry], columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of `files` of one side, units together and in order. Raises IntegrityError, KeyServiceError."""
    store = TableStore(open_store(settings), open_ring(settings))
    table = pa.concat_tables([store.read(entry, columns) for entry in files])
    return in_order(table)


def unit_numbers(table: pa.Table) -> np.ndarray:
    """Return a dense number (int64) for the unit of each row."""
    return np.asarray(pc.dictionary_encode(table.column(UNIT).combine_chunks()).indices).astype(np.int64)
