"""One delivery through pseudonymization: decrypt, parse, set bad rows aside, treat columns, write encrypted.

Runs inside a Spark worker. Plaintext exists only in this process's memory.
"""

from __future__ import annotations

import contextlib
import gzip
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import ColumnClass, Contract
from cloakhouse.errors import IntegrityError, StageError
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.settings import Settings
from cloakhouse.stages.parsing import Parsed, parse, records
from cloakhouse.tokens.apply import output_type, treat, untreatable

QUARANTINE = pa.schema([("reason", pa.string()), ("column", pa.string()), ("record", pa.binary())])
QUARANTINE_CLASSES = dict.fromkeys(QUARANTINE.names, ColumnClass.DIRECT)


@dataclass(frozen=True)
class DeliveryTask:
    """One unit of work: the landed object, how many rows it must give, and where its files go."""

    partition: str
    object: str
    rows: int
    folder: str


class Treater:
    """Treats deliveries of one dataset. One per worker process; keeps key caches and reference sets."""

    def __init__(self, settings: Settings, contract: Contract, references: Mapping[str, tuple[FileEntry, ...]]) -> None:
        ring = open_ring(settings)
        self._settings = settings
        self._contract = contract
        self._ring = ring
        self._store = TableStore(settings.lake, ring)
        self._tokens = TokenKeys(ring.service, settings.token_root)
        self._known = {name: self._reference_set(name, files) for name, files in references.items()}
        self._schema = pa.schema([(c.name, output_type(c)) for c in contract.kept_columns])

    def _reference_set(self, name: str, files: tuple[FileEntry, ...]) -> pa.Array:
        reference = self._contract.column(name).reference
        assert reference is not None
        tables = [self._store.read(entry, [reference.column]) for entry in files]
        return pc.unique(pa.concat_tables(tables).column(0).combine_chunks())

    def run(self, task: DeliveryTask) -> dict[str, Any]:
        """Return what one delivery became: file entries, rows, and quarantined rows by reason.

        Raises IntegrityError when the landed file was changed, StageError when rows don't add up.
        """
        mark = secrets.token_hex(4)
        path = f"protected/{task.folder}/part-00000-{mark}.parquet"
        quarantine = f"quarantine/{task.folder}/part-00000-{mark}.parquet"
        reasons: Counter[str] = Counter()
        classes = {c.name: c.column_class for c in self._contract.kept_columns}
        with contextlib.ExitStack() as stack:
            write, files = stack.enter_context(self._store.writing(path, self._schema, classes))
            aside, aside_files = stack.enter_context(self._store.writing(quarantine, QUARANTINE, QUARANTINE_CLASSES))
            rows = 0
            for parsed in self._parsed(task):
                sound = self._treated(parsed)
                rows += sound.num_rows
                write(sound)
                bad = parsed.bad
                reasons.update(bad.reasons)
                aside(pa.table([bad.reasons, bad.columns, bad.records], schema=QUARANTINE))
            self._add_up(task, rows, reasons)
        return {
            "partition": task.partition,
            "rows": rows,
            "quarantined": dict(sorted(reasons.items())),
            "files": [entry.as_dict() for entry in files],
            "quarantine": [entry.as_dict() for entry in aside_files],
        }

    def _parsed(self, task: DeliveryTask) -> Iterator[Parsed]:
        feed = self._contract.feed
        assert feed is not None
        target = LandedObject(self._contract.name, task.partition, task.object)
        with opened(self._settings.lake, target, self._ring) as stream:
            plain = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if feed.compressed else stream
            yield from parse(plain, self._contract, feed)
            if plain.read(1):
                raise IntegrityError(
                    where=target.path,
                    expected="a stream that was read to its end",
                    found="more bytes",
                    not_done="the partition was not pseudonymized",
                    remedy="check the delivery; land it again with supersede",
                )

    def _treated(self, parsed: Parsed) -> pa.Table:
        """Return the treated rows; rows of unknown reference or untreatable form move to `parsed.bad`."""
        keep = np.ones(parsed.table.num_rows, np.bool_)
        columns: dict[str, pa.Array] = {}
        for column in self._contract.kept_columns:
            values = parsed.table.column(column.name).combine_chunks()
            unfit = untreatable(values, column)
            if unfit.any():
                keep &= ~self._aside(parsed, unfit & keep, "wrong_form", column.name)
                values = pc.if_else(pa.array(~unfit), values, None)
            treated = treat(values, column, self._tokens)
            if column.name in self._known:
                present = pc.or_(pc.is_in(treated, value_set=self._known[column.name]), pc.is_null(treated))
                unknown = ~np.array(present.to_numpy(zero_copy_only=False), np.bool_)
                keep &= ~self._aside(parsed, unknown & keep, "unknown_reference", column.name)
            columns[column.name] = treated
        table = pa.table(columns, schema=self._schema)
        return table if keep.all() else table.filter(pa.array(keep))

    @staticmethod
    def _aside(parsed: Parsed, flags: Any, reason: str, column: str) -> Any:
        rows = np.flatnonzero(flags)
        if len(rows):
            for record in records(parsed.raw.take(pa.array(rows))):
                parsed.bad.add(reason, column, record)
        return flags

    def _add_up(self, task: DeliveryTask, rows: int, reasons: Counter[str]) -> None:
        found = rows + reasons.total()
        if found != task.rows:
            raise StageError(
                where=f"{self._contract.name} {task.partition}",
                expected=f"{task.rows} rows, protected or quarantined, as landing counted",
                found=f"{found} rows",
                not_done="the partition was not pseudonymized; the landed file is untouched",
                remedy="look for an unbalanced quote or a line feed inside a field in the delivery",
                code="rows-lost",
            )
