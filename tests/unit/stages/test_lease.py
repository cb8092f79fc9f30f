"""A job away from home ends with the task that submitted it, and not before. The clock is the tests' own."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.waiting import until

from cloakhouse.errors import StorageError
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.stages import lease
from cloakhouse.stages.lease import Lease, held

BAG = "jobs/pseudonymize/customers/0a"


@dataclass
class Clock:
    """Stands for the module `time`."""

    now: float = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Store(FolderStore):
    """Counts reads, and refuses them while `broken`."""

    reads, broken = 0, False

    def read(self, path: str, limit: int = 1 << 30) -> bytes:
        self.reads += 1
        if self.broken:
            raise StorageError(where="w", expected="e", found="f", not_done="n", remedy="r")
        return super().read(path, limit)

    def looked(self) -> None:
        """Wait until what stands now was looked at."""
        before = self.reads
        until(lambda: self.reads >= before + 2, "two looks at the lease")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(lease, "time", made)
    monkeypatch.setattr(lease, "LOOK_S", 0.01)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_lease_that_is_renewed_lasts(store: Store, clock: Clock) -> None:
    ended, mine = threading.Event(), Lease(store, BAG)
    with held(store, BAG, ended.set):
        for _ in range(5):
            mine.renew()
            store.looked()
            clock.now += lease.LASTS_S - 1
        mine.renew()
        store.looked()
        assert not ended.is_set()


@pytest.mark.parametrize("written", [True, False])
def test_one_that_nobody_renews_ends_the_job(store: Store, clock: Clock, written: bool) -> None:
    ended = threading.Event()
    if written:
        Lease(store, BAG).renew()
    with held(store, BAG, ended.set):
        store.looked()
        clock.now += lease.LASTS_S - 1
        store.looked()
        assert not ended.is_set()
        clock.now += 2
        assert ended.wait(60)


def test_one_that_can_not_be_read_does_too(store: Store, clock: Clock) -> None:
    ended, mine = threading.Event(), Lease(store, BAG)
    with held(store, BAG, ended.set):
        mine.renew()
        store.looked()
        store.broken = True
        clock.now += lease.LASTS_S + 1
        assert ended.wait(60)


def test_a_lease_is_renewed_now_and_then_and_stands_once(store: Store, clock: Clock) -> None:
    mine = Lease(store, BAG)
    mine.renew()
    first = store.read(f"{BAG}/lease")
    mine.renew()
    assert store.read(f"{BAG}/lease") == first
    clock.now += lease.RENEW_S
    mine.renew()
    assert store.read(f"{BAG}/lease") != first
    assert [info.path for info in store.list("jobs")] == [f"{BAG}/lease"]


def test_the_watch_ends_with_the_block(store: Store, clock: Clock) -> None:
    ended = threading.Event()
    with held(store, BAG, ended.set):
        store.looked()
    clock.now += 10 * lease.LASTS_S
    assert not ended.is_set()
    assert "lease" not in {thread.name for thread in threading.enumerate()}


def test_a_renewal_takes_less_than_the_lease_lasts() -> None:
    assert lease.RENEW_S + lease.LOOK_S < lease.LASTS_S / 2
