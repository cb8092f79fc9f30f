"""What was made from persons' rows is found: by the partitions they were in, and by the views that tell."""

from __future__ import annotations

import functools
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.erasures import NAME, SOURCE, Attic

from cloakhouse.lake.store.opening import open_store
from cloakhouse.stages.derived import Trace, standing, trace, traces
from cloakhouse.stages.version_changes import operator

WEEK, OTHER = "2017-01-02", "2017-01-09"
TOUCHED = {SOURCE: {WEEK}}
STRONG = {"epsilon": 0.01, "delta": 1e-9, "unit": "household", "rho": 1e-5, "neighbours": "one"}


@functools.cache
def _keys(folder: Path) -> Attic:
    attic = Attic.at(folder)
    attic.partition(WEEK)
    attic.partition(OTHER)
    attic.persons(1)
    attic.synthesize([1])  # every key that the tests need is made once
    open_store(attic.settings).delete(next(iter(attic.files("synthetic"))))
    return attic


@pytest.fixture
def attic(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Attic:
    made = _keys(tmp_path_factory.getbasetemp() / "derived-keys")
    home = tmp_path / "home"
    shutil.copytree(made.settings.home, home)
    for zone in ("synthetic", "views", "models"):
        shutil.rmtree(home / "lake" / zone, ignore_errors=True)
    settings = replace(made.settings.with_home(home), contracts=home / "contracts")
    return Attic(settings, parents=dict(made.parents))


def of(attic: Attic, *households: int) -> Trace:
    return trace(attic.settings, NAME, TOUCHED, attic.persons(*households))


def numbers(found: Trace) -> list[int]:
    return [version.version for version, _ in found.versions]


def test_a_version_is_found_by_its_training_rows_and_by_its_hold_out(attic: Attic) -> None:
    attic.publish([1, 2], [3])
    attic.publish([2, 4], [5])
    assert numbers(of(attic, 1)) == numbers(of(attic, 3)) == [1]
    assert numbers(of(attic, 2)) == [1, 2]
    assert len(of(attic, 2).runs) == 2
    assert not of(attic, 9)


def test_another_partition_or_one_that_is_clean_by_now_raises_no_suspicion(attic: Attic) -> None:
    attic.publish([1], partitions=[OTHER])
    assert not of(attic, 1)
    attic.publish([1], partitions=[WEEK, OTHER])
    assert numbers(of(attic, 1)) == [2]
    clean = {attic.parents[WEEK]["sha256"]}
    assert not trace(attic.settings, NAME, TOUCHED, attic.persons(1), clean)


def test_views_acquit_only_under_the_contracts_in_force_and_while_they_can_be_read(attic: Attic) -> None:
    ref = attic.synthesize([2], digest="f" * 64)
    assert [run.manifest for run in of(attic, 1).runs] == [ref]  # and nothing acquits what wasn't published
    attic.publish([2])
    assert numbers(of(attic, 1)) == []
    [view] = [path for path in attic.files("views") if "00000002" in path and "holdout" in path]
    open_store(attic.settings).delete(view)
    assert numbers(of(attic, 1)) == [1]


def test_every_state_counts_and_the_newest_is_told(attic: Attic) -> None:
    for _ in range(3):
        attic.publish([1])
    acting = operator(attic.settings)
    acting.withdraw(NAME, 1, "rows of a test store were in it")
    acting.tag(NAME, 2, "paper")
    found = of(attic, 1)
    assert (numbers(found), [v.version for v in found.published], found.newest) == ([1, 2, 3], [2, 3], True)
    attic.publish([7])
    assert of(attic, 1).newest is False


def test_a_strong_guarantee_lets_releases_stand_together_or_not_at_all(attic: Attic) -> None:
    attic.publish([1, 2], guarantee=STRONG)
    attic.publish([1, 2], guarantee=STRONG)
    stands = standing(attic.settings, TOUCHED, attic.persons(1))
    assert stands.argument.holds
    found = trace(attic.settings, NAME, TOUCHED, attic.persons(1), stands=stands)
    assert ([v.version for v in found.kept], numbers(found), found.runs, len(found.bare)) == ([1, 2], [], (), 2)
    [same] = traces(attic.settings, TOUCHED, attic.persons(1))
    assert same == found
    many = attic.persons(*range(1, 12))
    [gone] = traces(attic.settings, TOUCHED, many)
    assert (numbers(gone), gone.kept) == ([1, 2], ())


def test_nobody_is_sought_where_nobody_is_left(attic: Attic) -> None:
    attic.publish([1])
    assert traces(attic.settings, TOUCHED, attic.persons()) == []
