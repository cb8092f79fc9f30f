"""Files that were compared with their entries once, and are not hashed again while nobody writes to them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import IntegrityError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake import sums
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.folder import FolderStore

TABLE = pa.table({"amount": [1.5, 2.5, 4.5]})


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(FolderStore(tmp_path / "lake"), KeyRing(AgeKeyService(tmp_path / "k"), tmp_path / "dataset-keys"))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of files that were hashed."""
    seen: list[str] = []
    real = sums.sum_of

    def noting(source: pa.NativeFile, entry: FileEntry) -> tuple[int, str]:
        seen.append(entry.path)
        return real(source, entry)

    monkeypatch.setattr(sums, "sum_of", noting)
    return seen


def put(store: TableStore, name: str = "a") -> FileEntry:
    return store.write(f"synthetic/d/{name}.parquet", TABLE, {"amount": ColumnClass.PLAIN})


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the clock be an hour on, so that the files are no longer fresh."""
    now = time.time_ns()
    monkeypatch.setattr(sums.time, "time_ns", lambda: now + 3_600 * 10**9)


def test_a_settled_file_is_hashed_once(store: TableStore, hashed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store)
    settled(monkeypatch)
    assert [store.read(entry).num_rows for _ in range(3)] == [3, 3, 3]
    assert len(hashed) == 1


def test_a_fresh_file_is_hashed_every_time(store: TableStore, hashed: list[str]) -> None:
    entry = put(store)
    for _ in range(3):
        store.read(entry)
    assert len(hashed) == 3


def test_each_process_and_each_store_hashes_for_itself(
    store: TableStore, hashed: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = put(store)
    settled(monkeypatch)
    store.read(entry)
    other = TableStore(
        FolderStore(tmp_path / "lake"), KeyRing(AgeKeyService(tmp_path / "k"), tmp_path / "dataset-keys")
    )
    other.read(entry)
    assert len(hashed) == 2


def flip(path: Path) -> None:
    found = bytearray(path.read_bytes())
    found[40] ^= 1
    path.write_bytes(found)


def flip_and_set_back(path: Path) -> None:
    before = path.stat()
    flip(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the time of change can't be set


def replace_by_another(path: Path) -> None:
    other = path.with_name("b.parquet")
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [flip, flip_and_set_back, replace_by_another])
def test_a_change_after_the_first_read_is_found(
    store: TableStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: object
) -> None:
    entry, _other = put(store), put(store, "b")
    settled(monkeypatch)
    store.read(entry)
    assert callable(change)
    change(tmp_path / "lake" / entry.path)
    with pytest.raises(IntegrityError):
        store.read(entry)


def test_another_entry_of_the_same_file_is_compared(store: TableStore, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = put(store)
    settled(monkeypatch)
    store.read(entry)
    for wrong in (FileEntry(entry.path, entry.bytes, 3, "0" * 64), FileEntry(entry.path, 7, 3, entry.sha256)):
        with pytest.raises(IntegrityError):
            store.read(wrong)


def test_memory_is_bounded(store: TableStore, hashed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MOST_KNOWN", 1)
    first, second = put(store), put(store, "b")
    settled(monkeypatch)
    for entry in (first, second, second, first):
        store.read(entry)
    assert hashed == [first.path, second.path, first.path]
