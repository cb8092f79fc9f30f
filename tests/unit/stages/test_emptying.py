"""What was made of erased persons' rows goes, whole and once; what is held, or of others alone, stays."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.acting import by, said
from tests.support.crash import die_at
from tests.support.erasures import NAME, SOURCE, Attic, requested
from tests.support.processes import in_fork

from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.acting import UNKNOWN
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.stages.erase_derived import LATE, clean_manifests, erase_derived, touched_by
from cloakhouse.stages.erasure_batch import Batch

WEEK, OTHER = "2017-01-02", "2017-01-09"
OLD = "2016-12-26"
BATCH = "er-20261122-0a1b2c3d"


@pytest.fixture
def attic(tmp_path: Path) -> Attic:
    made = Attic.at(tmp_path / "home")
    made.partition(WEEK)
    made.partition(OTHER)
    return made


def cut(attic: Attic, *households: int) -> Batch:
    """Request an erasure, and have its sources cut: the step tells which partition held rows, and it stands anew."""
    batch = requested(attic.settings, attic.persons(*households))
    step = f"protected {SOURCE}/{WEEK}/{attic.parents[WEEK]['sha256'][:12]}"
    Erasures(attic.settings.database).done(batch.name, step, {"rows": 3}, Event(UNKNOWN, Action.ERASE, SOURCE))
    attic.partition(WEEK, "cut")
    return batch


def erase(attic: Attic, batch: Batch, name: str = "derived") -> list[str]:
    return erase_derived(attic.settings, batch, touched_by(attic.settings, batch), name)


def content(attic: Attic, step: str) -> dict[str, object]:
    found = Erasures(attic.settings.database).step(BATCH, step)
    assert found is not None
    return dict(found.content)


def states(attic: Attic) -> list[tuple[str, bool]]:
    return [(version.state.value, version.head) for version in attic.register.versions(NAME)]


def test_versions_runs_models_views_and_evidence_go_and_their_releases_stay(attic: Attic) -> None:
    attic.publish([7], partitions=[OTHER])
    stays = attic.files()
    attic.publish([1, 2], [3])
    attic.synthesize([1])  # a run that nothing was published from
    store = open_store(attic.settings)
    store.create(f"evidence/{NAME}/reports/00000002-{'0' * 16}.json", b"{}")
    store.create(f"views/{NAME}/{'f' * 12}-0000000f/training-00000.parquet", b"of a killed run")
    store.create(f"models/{NAME}/{'f' * 16}-0.model", b"of a killed run")
    batch = cut(attic, 1, 3)
    assert erase(attic, batch) == [NAME]
    assert states(attic) == [("published", True), ("collected", False)]
    left = attic.files("views", "models", "synthetic", "evidence") - stays
    [release] = left
    assert release.startswith(f"synthetic/{NAME}/releases/00000002-")
    assert stays <= attic.files()
    found = content(attic, f"derived/{NAME}")
    assert (found["versions"], found["withdrawn"], found["runs"], found["renew"]) == ([2], [2], 2, True)
    assert found["objects"] == {"views": 4, "models": 3, "rows": 2, "evidence": 2, "manifests": 2}
    assert ("withdraw", f"{NAME}@2", "allowed", 2) in said(attic.settings.database, Action.WITHDRAW)
    before = attic.files(), len(said(attic.settings.database))
    assert erase(attic, batch) == [NAME]
    assert (attic.files(), len(said(attic.settings.database))) == before


def test_a_second_pass_takes_what_came_in_and_nothing_twice(attic: Attic) -> None:
    attic.publish([1])
    old = dict(attic.parents)
    batch = cut(attic, 1)
    erase(attic, batch)
    new, attic.parents = attic.parents, old
    attic.publish([1, 2])  # by a run that began before the erasure
    attic.parents = new
    attic.publish([2])
    assert erase(attic, batch, LATE) == []  # the newest stands
    assert states(attic) == [("collected", False), ("collected", False), ("published", True)]


def test_a_version_that_somebody_holds_loses_its_views_and_is_told(attic: Attic) -> None:
    attic.publish([1])
    attic.register.hold(NAME, 1, by("ann", "court order 12 C 34/26"))
    erase(attic, cut(attic, 1))
    assert states(attic) == [("withdrawn", False)]
    assert attic.files("views", "models") == set()
    assert len([path for path in attic.files("synthetic") if path.endswith(".parquet")]) == 1
    assert len(attic.files("evidence")) == 1
    assert content(attic, f"derived/{NAME}")["held"] == [f"{NAME}@1"]


def test_persons_under_a_hold_keep_what_was_made_of_them(attic: Attic) -> None:
    attic.publish([1])
    batch = cut(attic, 1)
    SubjectHolds(attic.settings.database).place(attic.persons(1), by("ann", "court order 12 C 34/26"))
    before = attic.files()
    assert erase(attic, batch) == []
    assert (attic.files(), states(attic)) == (before, [("published", True)])


def test_partitions_that_another_open_erasure_cut_count_too(attic: Attic) -> None:
    cut(attic, 1)
    later = requested(attic.settings, attic.persons(1, 2), "er-20261122-ffffffff")
    assert touched_by(attic.settings, later) == {SOURCE: frozenset({WEEK})}
    assert clean_manifests(attic.settings, {SOURCE: {WEEK}}) == {attic.parents[WEEK]["sha256"]}


def die_at_commit(number: int) -> None:
    """Have this process kill itself before the `number`-th transaction is committed."""
    left = iter(range(number - 1, -1, -1))

    @sa.event.listens_for(sa.Engine, "commit")
    def _(_connection: sa.Connection) -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("die", "numbers"),
    [
        pytest.param(partial(die_at, before=True), range(1, 10_000, 7), id="disk", marks=pytest.mark.kills),
        pytest.param(die_at_commit, range(1, 1_000), id="commit", marks=pytest.mark.kills),
        pytest.param(die_at_commit, (4, 7, 1_000), id="once", marks=pytest.mark.path),
    ],
)
def test_killed_anywhere_the_next_call_goes_on_to_the_same_end(
    attic: Attic, tmp_path: Path, die: Callable[[int], object], numbers: Iterable[int]
) -> None:
    attic.publish([1, 2], [3])
    attic.synthesize([1])
    batch = cut(attic, 1)
    home, kept = attic.settings.home, tmp_path / "kept"
    shutil.copytree(home, kept)
    for number in numbers:
        shutil.rmtree(home)
        shutil.copytree(kept, home)

        def child(number: int = number) -> None:
            die(number)
            erase(attic, batch)

        code = in_fork(child)
        assert code in (0, -signal.SIGKILL), code
        assert in_fork(lambda: _ends(attic, batch)) == 0, number
        if code == 0:
            break
    assert number > 6


def _ends(attic: Attic, batch: Batch) -> None:
    assert erase(attic, batch) == [NAME]
    assert states(attic) == [("collected", False)]
    left = attic.files("views", "models", "synthetic", "evidence")
    assert [path for path in left if "/releases/" not in path] == []
    found = content(attic, f"derived/{NAME}")
    assert (found["versions"], found["withdrawn"]) == ([1], [1])
