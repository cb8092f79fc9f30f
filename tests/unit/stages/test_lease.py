"""A job away from home ends with the task that submitted it, and not before."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.stages import lease
from cloakhouse.stages.lease import Lease, held

BAG = "jobs/pseudonymize/customers/0a"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.02)
    monkeypatch.setattr(lease, "LOOK_S", 0.02)
    monkeypatch.setattr(lease, "LASTS_S", 0.4)


def test_a_lease_that_is_renewed_lasts(tmp_path: Path) -> None:
    store, ended = FolderStore(tmp_path), threading.Event()
    mine = Lease(store, BAG)
    with held(store, BAG, ended.set):
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            mine.renew()
            time.sleep(0.02)
    assert not ended.is_set()


@pytest.mark.parametrize("written", [True, False])
def test_one_that_nobody_renews_ends_the_job(tmp_path: Path, written: bool) -> None:
    store, ended = FolderStore(tmp_path), threading.Event()
    if written:
        Lease(store, BAG).renew()
    began = time.monotonic()
    with held(store, BAG, ended.set):
        assert ended.wait(10)
    assert time.monotonic() - began >= 0.4


def test_a_lease_is_renewed_now_and_then_and_stands_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 60.0)
    store = FolderStore(tmp_path)
    mine = Lease(store, BAG)
    mine.renew()
    first = store.read(f"{BAG}/lease")
    mine.renew()
    assert store.read(f"{BAG}/lease") == first
    assert [info.path for info in store.list("jobs")] == [f"{BAG}/lease"]


def test_the_watch_ends_with_the_block(tmp_path: Path) -> None:
    ended = threading.Event()
    with held(FolderStore(tmp_path), BAG, ended.set):
        pass
    time.sleep(0.6)
    assert not ended.is_set()
    assert "lease" not in {thread.name for thread in threading.enumerate()}
