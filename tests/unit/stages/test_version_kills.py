"""Publish, rollback, withdraw, expire and collect, killed at every call to the file system and to the database: each
state recovers by running the same again, and nothing that is published is ever lost."""

from __future__ import annotations

import datetime as dt
import gc
import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from tests.support.acting import by, sound
from tests.support.crash import die_at
from tests.support.forks import at_once
from tests.support.processes import in_fork
from tests.support.versions import NAME, REF, Shelf, fingerprint, release

from cloakhouse.contracts.model import ColumnClass, Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.parquet import TableStore
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.version_changes import ACTIONS
from cloakhouse.ledger.versions import DatasetVersion, Selector, VersionState
from cloakhouse.progress import Progress
from cloakhouse.stages.collect import collect
from cloakhouse.stages.publish_release import make_visible
from cloakhouse.stages.version_changes import operator
from cloakhouse.stages.version_checks import check_register, open_release

WHY = "rows of a test store were in it"
NONE = dt.timedelta()


@dataclass(frozen=True)
class Scene:
    """A shelf that is put back before each kill, and a dataset that waits for its publication."""

    shelf: Shelf
    contract: Contract
    content: dict[str, Any]
    saved: Path

    def restore(self) -> None:
        gc.collect()  # of databases that were opened before
        shutil.rmtree(self.shelf.settings.home)
        shutil.copytree(self.saved, self.shelf.settings.home)

    def publish(self, number: int = 9) -> DatasetVersion:
        content = {**self.content, "fingerprint": fingerprint(number)}
        return make_visible(self.shelf.settings, self.contract, "synthetic", content, Progress.of("publish", NAME))

    def states(self) -> dict[int, str]:
        return {version.version: version.state.value for version in self.shelf.register.versions(NAME)}

    def head(self) -> int:
        return self.shelf.register.resolve(Selector(NAME)).version

    def sound(self) -> None:
        """Every published version has its release and its files, and the name stands for one of them."""
        check_register(self.shelf.store, self.shelf.register, NAME)
        for version in self.shelf.register.versions(NAME):
            found = open_release(self.shelf.settings, version)
            there = [self.shelf.store.stat(entry.path) is not None for entry in found.files]
            if version.state is not VersionState.COLLECTED:
                assert all(there) or version.state is not VersionState.PUBLISHED
            else:
                assert not any(there)
        assert self.states()[self.head()] == "published"
        log, done = AuditLog(self.shelf.settings.database), self.shelf.register.events(NAME)
        changes = [
            e for e in log.events() if e.decision == "allowed" and e.action in ACTIONS.values() and "release" in e.facts
        ]
        assert [(e.object, e.action, e.at) for e in changes] == [
            (f"{NAME}@{e.version}", ACTIONS[e.action], e.at) for e in done
        ]
        sound(self.shelf.settings.database)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("shelf")
    shelf = Shelf.at(folder)
    for _ in range(3):
        shelf.publish()
    contract = replace(next(iter(load_contracts(shelf.settings.contracts).values())), name=NAME)
    store, table = TableStore(shelf.store, open_ring(shelf.settings)), pa.table({"n": [1, 2, 3]})
    entry = store.write(f"synthetic/{NAME}/{'9' * 12}-00/part-00000.parquet", table, {"n": ColumnClass.PLAIN})
    made = release(9, columns=({"name": "n", "type": "integer", "class": "plain"},), files=(entry,), rows=3)
    content = made.as_dict() | {"parents": {}, "source": REF.as_dict()}
    shelf.put(f"synthetic/{NAME}/{'e' * 12}-00/part-00000.parquet")  # a leftover
    gc.collect()
    shutil.copytree(shelf.settings.home, folder / "saved")
    return Scene(shelf, contract, content, folder / "saved")


@pytest.fixture(autouse=True)
def _database_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have every statement and every commit count as a call of `os.rename`, which nothing here calls."""
    monkeypatch.setattr(os, "rename", lambda *_: None)

    def count(*_: object, **__: object) -> None:
        os.rename("", "")  # noqa: PTH104

    names = ("before_cursor_execute", "commit")
    for name in names:
        sa.event.listen(sa.engine.Engine, name, count)
    yield
    for name in names:
        sa.event.remove(sa.engine.Engine, name, count)


kills = pytest.mark.parametrize(
    "every",
    [pytest.param(False, id="once", marks=pytest.mark.path), pytest.param(True, id="every", marks=pytest.mark.kills)],
)


def killed(scene: Scene, work: Callable[[], object], then: Callable[[bool], None], least: int, *, every: bool) -> None:
    """Kill `work` before each call in turn, which is after the one before; `then` looks at what is there, after the
    kill (False) and after it was run again (True). Unless `every`, kill it only before the call `least`, which there
    is in any case."""
    for number in itertools.count(1) if every else [least]:
        scene.restore()

        def child(number: int = number) -> None:
            die_at(number, before=True)
            work()

        code = in_fork(child)
        assert code in (0, -signal.SIGKILL)
        scene.sound()
        then(code == 0)
        if code == 0:
            assert number > least
            return
        work()
        scene.sound()
        then(True)


@kills
def test_publish(scene: Scene, every: bool) -> None:
    def then(finished: bool) -> None:
        found = [v for v in scene.shelf.register.versions(NAME) if v.fingerprint == fingerprint(9)]
        assert len(found) == 1 if finished else len(found) <= 1
        assert scene.head() == (found[0].version if found else 3)
        assert [v.version for v in scene.shelf.register.versions(NAME)][:3] == [1, 2, 3]
        events = [e.action for e in scene.shelf.register.events(NAME)]
        assert events == ["publish"] * (3 + len(found))

    killed(scene, scene.publish, then, 30, every=every)


@kills
def test_rollback(scene: Scene, every: bool) -> None:
    def then(finished: bool) -> None:
        assert scene.head() in ((1,) if finished else (1, 3))
        moved = [event for event in scene.shelf.register.events(NAME) if event.action == "rollback"]
        assert len(moved) == (scene.head() == 1)
        assert set(scene.states().values()) == {"published"}

    killed(scene, lambda: operator(scene.shelf.settings).rollback(NAME, 1, WHY), then, 10, every=every)


@kills
def test_withdraw(scene: Scene, every: bool) -> None:
    def then(finished: bool) -> None:
        withdrawn = scene.states()[3] == "withdrawn"
        assert withdrawn or not finished
        assert scene.head() == (2 if withdrawn else 3)
        assert [event.action for event in scene.shelf.register.events(NAME)].count("withdraw") == withdrawn

    killed(scene, lambda: operator(scene.shelf.settings).withdraw(NAME, 3, WHY), then, 10, every=every)


@kills
def test_expire(scene: Scene, every: bool) -> None:
    def then(finished: bool) -> None:
        states = scene.states()
        assert states[1] == states[2]  # both or none
        assert states[1] == "expired" or not finished
        assert scene.head() == 3

    killed(scene, lambda: operator(scene.shelf.settings).expire(NAME, [1, 2], WHY), then, 10, every=every)


@kills
def test_collect(scene: Scene, tmp_path: Path, every: bool) -> None:
    scene.restore()
    scene.shelf.register.withdraw(NAME, 1, by("ann", WHY))
    scene.shelf.register.expire(NAME, [2], by("ann", WHY))
    gc.collect()
    shutil.copytree(scene.shelf.settings.home, tmp_path / "saved")
    here = replace(scene, saved=tmp_path / "saved")
    kept = {entry.path for entry in release(3).files}

    def work() -> None:
        assert not collect(here.shelf.settings, dry_run=False, grace=NONE, datasets=[NAME]).failed

    def then(finished: bool) -> None:
        assert kept <= here.shelf.files()
        if finished:
            assert here.states() == {1: "collected", 2: "collected", 3: "published"}
            left = {path for path in here.shelf.files() if path.startswith("synthetic")}
            assert left == kept | {here.content["files"][0]["path"]}  # young

    killed(here, work, then, 60, every=every)


def test_six_processes_publish_three_datasets_at_once(scene: Scene) -> None:
    scene.restore()

    def work(number: int) -> list[str]:
        return [scene.publish(10 + number % 3).name]

    said = at_once(work, 6)
    found = scene.shelf.register.versions(NAME)[3:]
    assert sorted(said) == sorted([version.name for version in found] * 2)
    assert len(found) == 3
    assert [v.version for v in found if v.head] == [found[-1].version]
    scene.sound()
