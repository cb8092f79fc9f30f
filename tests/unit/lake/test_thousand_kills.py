"""A thousand kills at calls that touch the disk: what is visible afterwards is whole, or as it was."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.crash import die_at
from tests.support.processes import in_fork

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.coverage import coverage
from cloakhouse.lake.landed import LandedObject, landing, opened, rewrap
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.folder import FolderStore

KILLS = 1_000
TARGET = LandedObject("people", "2017-01-02", "a.chl")
TABLE = pa.table({"name": ["a", "b", None], "amount": [1.0, 2.0, 3.0]})
CLASSES = {"name": ColumnClass.DIRECT, "amount": ColumnClass.PLAIN}
PLACE = "protected/people/2017-01-02/part-00000.parquet"


class Site:
    """A lake with its keys, and the three ways in which files come to be or change."""

    def __init__(self, folder: Path) -> None:
        self.lake = folder / "lake"
        self.ring = KeyRing(AgeKeyService(folder / "keystore"), folder / "dataset-keys")
        self.plain = os.urandom(200_000)

    def put(self, content: bytes | None = None) -> None:
        with landing(FolderStore(self.lake), TARGET, self.ring) as sink:
            sink.write(self.plain if content is None else content)

    def get(self) -> bytes:
        with opened(FolderStore(self.lake), TARGET, self.ring) as stream:
            return stream.read()

    def visible(self) -> list[str]:
        files = (p for p in self.lake.rglob("*") if p.is_file() and not p.name.endswith(".tmp"))
        return sorted(str(p.relative_to(self.lake)) for p in files)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.put()
    TableStore(FolderStore(made.lake), made.ring).write(PLACE, TABLE, CLASSES)
    return made


@pytest.mark.kills
def test_landing_writing_tables_and_rewrapping_survive_a_thousand_kills(site: Site) -> None:
    fresh = b"y" * 150_000

    def overwrite() -> None:
        site.put(fresh)

    def write_table() -> None:
        TableStore(FolderStore(site.lake), site.ring).write(PLACE, TABLE, CLASSES)

    def wrap_again() -> None:
        rewrap(FolderStore(site.lake), TARGET, site.ring)

    works: list[tuple[Callable[[], None], Callable[[], None]]] = [
        (lambda: site.put(), overwrite),
        (lambda: None, write_table),
        (lambda: site.ring.rotate(TARGET.key) and None, wrap_again),
    ]
    kills = 0
    while kills < KILLS:
        for prepare, work in works:
            kills += _at_every_call(site, prepare, work, {site.plain, fresh})
    assert kills >= KILLS


def _at_every_call(site: Site, prepare: Callable[[], None], work: Callable[[], None], contents: set[bytes]) -> int:
    """Kill `work` before each of its calls in turn and check what can be seen; return the number of kills."""
    number, finished = 0, False
    while not finished:
        number += 1
        prepare()

        def child(number: int = number) -> None:
            die_at(number, before=True)
            work()

        code = in_fork(child)
        assert code in (0, -signal.SIGKILL)
        finished = code == 0
        assert site.visible() == [TARGET.path, PLACE]
        assert site.get() in contents
        for leftover in site.lake.rglob(".*.tmp"):
            leftover.unlink()
        assert coverage(site.lake, site.ring, deep=True).complete
    store = TableStore(FolderStore(site.lake), site.ring)
    assert store.read(store.write(PLACE, TABLE, CLASSES)).equals(TABLE)
    return number - 1
