"""The making of a worklist, killed on its way: it stands whole or the next call makes the same; no value lies about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.crash import Crash, crashes
from tests.support.erasures import requested
from tests.support.small_feeds import email, loyalty, persons, small
from tests.support.sweep import Sweep

from cloakhouse.errors import StageError
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.erasure_batch import Batch, drop_list
from cloakhouse.stages.erasure_worklist import collect, drop, wanted
from cloakhouse.stages.sources import file_entries

ERASED = (101, 104)


@crashes
def test_killed_anywhere_the_next_call_collects_the_same_and_nothing_plain_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: Crash
) -> None:
    house, scratch = small().copy(tmp_path / "home"), tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    settings = house.settings
    batch = requested(settings, persons(house, *ERASED))
    counts = collect(settings, batch)
    sought = values(settings, batch)
    assert counts["persons"] == 2
    assert email(101).encode() in sought
    partial: list[StageError] = []

    def check(finished: bool) -> None:
        if is_there(settings, batch):
            assert values(settings, batch) == sought  # whole, also when it was killed after its end
        else:  # then nothing can be searched or closed
            with pytest.raises(StageError) as refusal:
                wanted(settings, batch, batch.rights)
            assert refusal.value.code == "stage.worklist"
            assert not finished
            partial.append(refusal.value)
        named = {f"email {n}": email(n) for n in ERASED} | {f"card {n}": loyalty(n) for n in ERASED}
        plain = Sweep(named)
        plain.folder(scratch)
        plain.folder(settings.home, skip=[settings.inbox])
        assert plain.hits == set()
        assert collect(settings, batch) == counts
        assert values(settings, batch) == sought

    def prepare() -> None:
        drop(settings, batch.name)

    calls = crash(prepare, lambda: collect(settings, batch) and None, check, every=13)
    print(calls, "disk calls;", len(partial), "kills before its end")
    assert partial
    assert Erasures(settings.database).step(batch.name, "worklist") is None
    drop_list(settings, batch.name)
    assert not list(open_store(settings).list(f"rights/{batch.name}"))


def is_there(settings: Settings, batch: Batch) -> bool:
    return any("erasure-worklist" in one.path for one in open_store(settings).list(f"rights/{batch.name}"))


def values(settings: Settings, batch: Batch) -> set[bytes]:
    """Return the values and tokens on the list, as its manifest names it."""
    store = open_store(settings)
    [manifest] = [one.path for one in store.list(f"rights/{batch.name}") if "erasure-worklist" in one.path]
    entry = file_entries(json.loads(store.read(manifest))["files"])[0]
    return set(TableStore(store, open_ring(settings)).read(entry)["value"].to_pylist())
