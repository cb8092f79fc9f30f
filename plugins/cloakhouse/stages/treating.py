"""One split of a delivery through pseudonymization: decrypt, parse, set bad rows aside, treat columns, write encrypted.

Rows of persons who don't allow the use, or were erased, are taken out before anything else is looked at in them: they
are counted (`withheld`) and come neither into the protected zone nor into quarantine. A line from which no person can
be told is set aside as ever.

Runs inside a Spark worker. Plaintext exists only in this process's memory.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import ColumnClass, Contract
from cloakhouse.errors import StageError
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.batches import gathered
from cloakhouse.stages.lines import BLOCK
from cloakhouse.stages.parsing import BadRows, Parsed, parse, records
from cloakhouse.stages.sieve_lists import Listed
from cloakhouse.stages.sifting import Sifting
from cloakhouse.stages.splits import MOST, MOST_COMPRESSED, Split, fewer, section, splits_of
from cloakhouse.tokens.apply import Around, output_type, treat, untreatable
from cloakhouse.tokens.place import Place
from cloakhouse.tokens.rare import Counts

QUARANTINE = pa.schema([("reason", pa.string()), ("column", pa.string()), ("record", pa.binary())])
SUPPRESS_RARE = "suppress rare"
QUARANTINE_CLASSES = dict.fromkeys(QUARANTINE.names, ColumnClass.DIRECT)


@dataclass(frozen=True)
class DeliveryTask:
    """One unit of work: the landed object, how many rows it must give, where its files go, and which split of it.

    `rows` are those of the split. Without one the whole delivery is meant.
    """

    partition: str
    object: str
    rows: int
    folder: str
    split: Split | None = None

    @property
    def part(self) -> Split:
        """The split that is to be treated."""
        return self.split or Split.whole(self.rows)


def splits_for(contract: Contract, delivery: Mapping[str, Any]) -> list[Split]:
    """Return the splits that a delivery is treated in: one, where a treatment has to see all rows of the partition."""
    if any(column.treatment.name == SUPPRESS_RARE for column in contract.columns):
        return [Split.whole(delivery["rows"])]
    compressed = contract.feed is not None and contract.feed.compressed
    return fewer(splits_of(delivery), MOST_COMPRESSED if compressed else MOST)


class Treater:
    """Treats deliveries of one dataset. One per worker process; keeps key caches and reference sets."""

    def __init__(
        self,
        settings: Settings,
        contract: Contract,
        references: Mapping[str, tuple[FileEntry, ...]],
        persons: Listed | None = None,
    ) -> None:
        ring = open_ring(settings)
        self._settings = settings
        self._contract = contract
        self._ring = ring
        self._store = TableStore(open_store(settings), ring)
        self._tokens = TokenKeys(ring.service, settings.token_roots)
        self._sieve = (persons or Listed()).sieve(self._store, contract, self._tokens)
        self._known = {name: self._reference_set(name, files) for name, files in references.items()}
        self._schema = pa.schema([(c.name, output_type(c)) for c in contract.kept_columns])

    def _reference_set(self, name: str, files: tuple[FileEntry, ...]) -> pa.Array:
        reference = self._contract.column(name).reference
        assert reference is not None
        tables = [self._store.read(entry, [reference.column]) for entry in files]
        return pc.unique(pa.concat_tables(tables).column(0).combine_chunks())

    def run(self, task: DeliveryTask) -> dict[str, Any]:
        """Return what one split became: its number, file entries, rows, withheld rows, and quarantined ones by reason.

        Raises IntegrityError when the landed file was changed, StageError when rows don't add up.
        """
        mark = secrets.token_hex(4)
        name = f"{task.folder}/part-{task.part.number:05d}-{mark}.parquet"
        path, quarantine = f"protected/{name}", f"quarantine/{name}"
        reasons: Counter[str] = Counter()
        classes = {c.name: c.column_class for c in self._contract.kept_columns}
        with contextlib.ExitStack() as stack:
            write, files = stack.enter_context(self._store.writing(path, self._schema, classes))
            aside, aside_files = stack.enter_context(self._store.writing(quarantine, QUARANTINE, QUARANTINE_CLASSES))

            def set_aside(bad: BadRows) -> None:
                reasons.update(bad.reasons)
                aside(pa.table([bad.reasons, bad.columns, bad.records], schema=QUARANTINE))

            rows, sifting = 0, Sifting(self._sieve, self._contract)
            frequent = self._frequent(task)
            for block, batch in enumerate(gathered(self._sound(task, sifting), set_aside)):
                rows += batch.table.num_rows
                place = Place(self._contract.name, task.partition, task.part.number, block)
                write(self._treated(batch.table, place, frequent))
            self._add_up(task, rows + sifting.withheld, reasons)
        return {
            "partition": task.partition,
            "split": task.part.number,
            "rows": rows,
            "withheld": sifting.withheld,
            "quarantined": dict(sorted(reasons.items())),
            "files": [entry.as_dict() for entry in files],
            "quarantine": [entry.as_dict() for entry in aside_files],
        }

    def _parsed(self, task: DeliveryTask, sifting: Sifting) -> Iterator[Parsed]:
        feed = self._contract.feed
        assert feed is not None
        target = LandedObject(self._contract.name, task.partition, task.object)
        with opened(open_store(self._settings), target, self._ring) as stream:
            plain = cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if feed.compressed else stream
            lines = io.BufferedReader(section(plain, task.part, feed), BLOCK)
            for parsed in parse(lines, self._contract, feed, sifting.rows if self._sieve else None):
                sifting.lines(parsed.bad)
                yield parsed

    def _frequent(self, task: DeliveryTask) -> dict[str, pa.Array]:
        """Return the categories that are kept, of columns whose rare ones are suppressed: one pass more over the rows.

        Such a delivery is one split (`splits_for`), so that all rows of the partition are counted.
        """
        rare = [column for column in self._contract.columns if column.treatment.name == SUPPRESS_RARE]
        if not rare:
            return {}
        counts = {column.name: Counts(column=column.name) for column in rare}
        for batch in self._sound(task, Sifting(self._sieve, self._contract)):
            for column in rare:
                subject = column.treatment.parameters.get("perSubject")
                subjects = batch.table.column(subject) if subject else None
                counts[column.name].add(batch.table.column(column.name), subjects)
        return {c.name: counts[c.name].kept(c.treatment.parameters["atLeast"]) for c in rare}

    def _sound(self, task: DeliveryTask, sifting: Sifting) -> Iterator[Parsed]:
        """Yield the rows that can be treated; those of unknown reference or wrong form are among the bad ones.

        They are told apart before batches are gathered: rows that go leave no batch small.
        """
        place = Place(self._contract.name, task.partition, task.part.number)
        for parsed in self._parsed(task, sifting):
            keep = self._treatable(parsed, place, sifting)
            if keep.all():
                yield parsed
            else:
                kept = pa.array(keep)
                yield Parsed(parsed.table.filter(kept), parsed.raw.filter(kept), parsed.bad)

    def _treatable(self, parsed: Parsed, place: Place, sifting: Sifting) -> Any:
        """Return which rows can be treated (bool[n]); the others go to `parsed.bad`.

        A person who agreed and yet isn't in the dataset that is referred to was withheld there, and is so here.
        """
        table, keep = parsed.table, np.ones(parsed.table.num_rows, np.bool_)
        for column in self._contract.kept_columns:
            values = table.column(column.name).combine_chunks()
            unfit = untreatable(values, column)
            if unfit.any():
                keep &= ~self._aside(parsed, unfit & keep, "wrong_form", column.name)
            if column.name in self._known:
                fit = pc.if_else(pa.array(~unfit), values, None)
                treated = treat(fit, column, self._tokens, Around(place))
                present = pc.or_(pc.is_in(treated, value_set=self._known[column.name]), pc.is_null(treated))
                unknown = ~np.array(present.to_numpy(zero_copy_only=False), np.bool_)
                if sifting.names_agreed(column.name):
                    sifting.withheld += int(np.count_nonzero(unknown & keep))
                    keep &= ~unknown
                    continue
                keep &= ~self._aside(parsed, unknown & keep, "unknown_reference", column.name)
        return keep

    def _treated(self, sound: pa.Table, place: Place, frequent: Mapping[str, pa.Array]) -> pa.Table:
        """Return the treated rows; `place` tells the batch from every other, for treatments that draw by row."""
        columns = {name: sound.column(name).combine_chunks() for name in sound.column_names}
        around = Around(place, columns, frequent)
        treated = {c.name: treat(columns[c.name], c, self._tokens, around) for c in self._contract.kept_columns}
        return pa.table(treated, schema=self._schema)

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
                where=f"{self._contract.name} {task.partition}, split {task.part.number}",
                expected=f"{task.rows} rows, protected, withheld or quarantined, as landing counted",
                found=f"{found} rows",
                not_done="the partition was not pseudonymized; the landed file is untouched",
                remedy="look for an unbalanced quote or a line feed inside a field in the delivery",
                code="rows-lost",
            )
