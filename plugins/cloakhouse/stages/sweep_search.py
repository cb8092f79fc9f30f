"""One search under way: what was looked at so far, and what was found."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import CloakhouseError
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.erasure_worklist import Wanted
from cloakhouse.stages.signing import trusted_key
from cloakhouse.stages.sweep_findings import Findings, Hit
from cloakhouse.stages.sweep_readers import DESTROYED, blocks, decoded, layers, read_elsewhere, texts
from cloakhouse.stages.worklist_values import FORMATTED, RIGHTS

Place = tuple[str, str, str, str]  # zone, dataset, part, digest: see `Hit`
BYTES, ROOT = "bytes", "home"
UNREADABLE = "unreadable"
DELIVERED = ("landing", "quarantine")  # zones of plain values: a token in the form of one is somebody's value there
QUARANTINED = "record"
DATABASE_SUFFIX = ".db"  # of SQLite's files and, with an ending more, of their journals


class Search:
    """Looks for `wanted` in files, columns and tables, and counts."""

    def __init__(self, settings: Settings, wanted: Wanted) -> None:
        self.left_out: Counter[str] = Counter()
        self.tables: dict[str, int] = {}
        self._settings, self._wanted = settings, wanted
        self._store, self._ring = open_store(settings), open_ring(settings)
        self._hits: Counter[Place] = Counter()
        self._unopened: Counter[Place] = Counter()
        self._searched: dict[str, Counter[str]] = {}
        self._database = Path(settings.database.removeprefix("sqlite:///")).name

    def findings(self) -> Findings:
        """Return what was found so far."""
        hits, unopened = (
            tuple(Hit(*place, count) for place, count in sorted(found.items()))
            for found in (self._hits, self._unopened)
        )
        patterns, persons = self._wanted.patterns(), len(self._wanted.persons)
        shared, left_out = self._wanted.shared, dict(self.left_out)
        return Findings(persons, patterns, self._searched, self.tables, left_out, hits, unopened, shared)

    def hit(self, place: Place, count: int) -> None:
        """Count `count` values at `place`."""
        if count:
            self._hits[place] += count

    def not_opened(self, place: Place, fault: CloakhouseError) -> None:
        """Count a file that can't be searched; one whose keys were destroyed holds nothing any more."""
        if fault.code == DESTROYED:
            self._counted(place[0])["destroyed"] += 1
        else:
            self._unopened[place[0], place[1], fault.code, place[3]] += 1

    def object(self, path: str, local: Callable[[], Path]) -> None:
        """Search an object of the lake by its path: as it lies, and decoded."""
        zone, dataset, *_ = [*path.split("/")[:-1], "", ""]
        place = (zone, dataset, BYTES, "")
        with self._readable(place):
            file = local()
            self._raw(place, file, frozenset())
            self._decoded(place, path, file)

    def file(self, path: str, local: Path) -> None:
        """Search a file beside the lake; `path` is that within its root folder."""
        first, _, rest = path.partition("/")
        place = (first, rest.rpartition("/")[0], BYTES, "") if rest else (ROOT, "", BYTES, "")
        without = frozenset({RIGHTS}) if local.name.startswith(self._database) else frozenset[str]()
        with self._readable(place):
            self._raw(place, local, without)

    def unread(self, root: Path, fault: OSError) -> None:
        """Count a folder below `root` that the system doesn't let be listed; one that was removed meanwhile is none."""
        if not isinstance(fault, FileNotFoundError):
            within = Path(str(fault.filename)).relative_to(root).parts
            self._unopened["/".join(within[:1]) or ROOT, "/".join(within[1:]), UNREADABLE, ""] += 1

    def column(self, place: Place, values: pa.Array, without: frozenset[str] = frozenset()) -> None:
        """Search a column of text or bytes, value by value."""
        if place[0] in DELIVERED:
            without |= {FORMATTED}
        found = self._wanted.needles.find_in_cells(values)
        self.hit(place, self._counting(found.values, without))
        short = self._wanted.fields.get(place[2])
        if short is not None:
            self.hit(place, int(pc.is_in(values.cast(pa.binary()), value_set=short).true_count))

    def records(self, contract: Contract, place: Place, lines: pa.Array) -> None:
        """Search lines that no parser takes: for long values anywhere, and for the subject's in its field."""
        self.column((*place[:2], QUARANTINED, place[3]), lines)
        subject = contract.rights.subject
        short = self._wanted.fields.get(subject.column) if subject else None
        if subject is None or short is None:
            return
        at = [column.name for column in contract.columns].index(subject.column)
        known = set(short.to_pylist())
        for line in lines.to_pylist():
            fields = (line or b"").split(b"\x1f")
            if len(fields) == len(contract.columns) and fields[at].strip(b' "') in known:
                self.hit((*place[:2], subject.column, place[3]), 1)

    @contextlib.contextmanager
    def _readable(self, place: Place) -> Iterator[None]:
        """Count a file that the system doesn't let be read; one that was removed meanwhile is none."""
        try:
            yield
        except FileNotFoundError:
            return
        except OSError:
            self._unopened[place[0], place[1], UNREADABLE, place[3]] += 1

    def _raw(self, place: Place, file: Path, without: frozenset[str]) -> None:
        counted = self._counted(place[0])
        counted["objects"] += 1
        if DATABASE_SUFFIX in file.name:
            with read_elsewhere(file) as stream:
                self.hit(place, self._stream(stream, without, "raw_bytes", counted))
            return
        with file.open("rb") as stream:
            found = self._stream(stream, without, "raw_bytes", counted)
            stream.seek(0)
            for inner in layers(stream):
                found += self._stream(inner, without, "plain_bytes", counted)
        self.hit(self._named(place, file) if found else place, found)

    def _decoded(self, place: Place, path: str, file: Path) -> None:
        zone, counted = place[0], self._counted(place[0])
        try:
            for part in decoded(self._store, self._ring, lambda: trusted_key(self._settings), path, file):
                if isinstance(part, tuple):
                    name, values = part
                    counted["plain_bytes"] += values.nbytes
                    searched = texts(values)
                    if searched is not None:
                        before = self._hits.total()
                        where = (zone, place[1], name, "")
                        self.column(where, searched)
                        if self._hits.total() > before:
                            self._hits[self._named(where, file)] += self._hits.pop(where)
                else:
                    without = frozenset({FORMATTED} if zone in DELIVERED else ())
                    found = self._stream(part, without, "plain_bytes", counted)
                    self.hit(self._named(place, file) if found else place, found)
        except CloakhouseError as fault:
            self.not_opened(self._named(place, file), fault)

    def _stream(self, stream: BinaryIO, without: frozenset[str], kind: str, counted: Counter[str]) -> int:
        """Return how many values stand in a stream; memory doesn't grow with it."""
        needles, found = self._wanted.needles, 0
        for data, kept, last in blocks(stream, needles.longest + 1):
            counted[kind] += len(data) - kept
            places = needles.find(data)
            ends = places.places + needles.lengths[places.values]
            fresh = (ends >= kept) & ((ends < len(data)) | last)  # what follows a value at the end shows in the next
            found += self._counting(places.values[fresh], without)
        return found

    def _counting(self, values: np.ndarray, without: frozenset[str]) -> int:
        if not len(values) or not without:
            return len(values)
        return int(np.count_nonzero(~np.isin(self._wanted.kinds[values], list(without))))

    def _counted(self, zone: str) -> Counter[str]:
        return self._searched.setdefault(zone, Counter(objects=0, raw_bytes=0, plain_bytes=0))

    @staticmethod
    def _named(place: Place, file: Path) -> Place:
        with file.open("rb") as stream:
            return (*place[:3], hashlib.file_digest(stream, "sha256").hexdigest())
