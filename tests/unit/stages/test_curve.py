"""Utility against epsilon, of the published rows alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from tests.support import house
from tests.support.house import PRIVATE

from cloakhouse.contracts.model import Level
from cloakhouse.errors import StageError
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.budget import PrivacyLedger
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.stages import curve
from cloakhouse.stages.curve import EPSILONS, MemoryShards, utility_curve
from cloakhouse.stages.fitting import SealedModel, open_sealed
from cloakhouse.stages.signing import trusted_key
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.synthesize import plan_of
from cloakhouse.synthesis.protocol import UNIT, Plan

Release = tuple[Plan, Any, pa.Table]


@pytest.fixture(scope="module")
def release() -> Release:
    """The plan, the model and the rows of a private release."""
    place, manifest = house.private()
    content = read_manifest(FolderStore(place.settings.lake), manifest)
    plan, file = plan_of(place.contracts[PRIVATE]), ManifestRef.of(content["model"])
    sealed = SealedModel("dp-marginals", plan, file, content["fingerprint"], trusted_key(place.settings))
    rows = pa.concat_tables([place.store.read(entry) for entry in file_entries(content["files"])])
    return plan, open_sealed(place.settings, sealed), rows


def silent(*_: Any) -> None:
    """Report nothing."""


def test_rows_get_nearer_with_epsilon_and_no_budget_is_spent(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, model, rows = release
    monkeypatch.setattr(curve, "FITS", 1)
    ledger = PrivacyLedger(house.private()[0].settings.database)
    before, told = ledger.spends(), []
    points = utility_curve(plan, model, rows, lambda *step: told.append(step))
    assert plan.privacy is not None
    wanted = sorted({*EPSILONS, plan.privacy.epsilon})
    assert {point["epsilon"] for point in points} <= set(wanted)
    assert [p["epsilon"] for p in points] == sorted(p["epsilon"] for p in points)
    assert plan.privacy.epsilon in {point["epsilon"] for point in points}
    assert 0.0 < points[-1]["tvd"] < points[0]["tvd"] < 1.0
    assert told[-1][1] == len(wanted)
    assert ledger.spends() == before


def test_the_rows_are_dealt_to_as_many_households_as_the_noisy_count_has(release: Release) -> None:
    _, model, rows = release
    dealt = curve._dealt(rows, 100)
    owners = dealt.column(UNIT).to_pylist()
    assert len(set(owners)) == 100
    assert owners == sorted(owners)  # whole households together
    assert curve._dealt(rows.slice(0, 1), 0).num_rows == 1
    assert 300 < curve._units(model) < 2000


def test_where_rows_have_no_stand_in_there_is_no_curve(release: Release) -> None:
    plan, model, rows = release
    above = replace(plan, columns=(replace(plan.columns[0], level=Level.UNIT), *plan.columns[1:]))
    assert utility_curve(above, model, rows, silent) == []
    assert utility_curve(replace(plan, privacy=None), model, rows, silent) == []


def test_an_epsilon_too_small_for_any_fit_is_left_out(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, model, rows = release

    def refusing(asked: Plan, shards: MemoryShards, report: Any) -> Any:
        assert asked.privacy is not None
        if asked.privacy.epsilon < 4:
            raise StageError(where="x", expected="x", found="x", not_done="x", remedy="x")
        return model

    monkeypatch.setattr(curve.engine, "fit", refusing)
    points = utility_curve(plan, model, rows, silent)
    assert [point["epsilon"] for point in points] == [4.0, 8.0, 16.0]
    assert {point["tvd"] for point in points} == {points[0]["tvd"]}
