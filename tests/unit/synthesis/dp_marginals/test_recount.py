"""The account added up again, and noise measured: an engine that ignores its epsilon is found out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.marginals import LEVELS, baskets, lines_of_baskets, plan, shards, silent
from tests.support.shards import LocalShards

from cloakhouse.errors import IntegrityError, StageError
from cloakhouse.privacy import noise
from cloakhouse.privacy.accounting import rho_of
from cloakhouse.synthesis.dp_marginals import engine, recount
from cloakhouse.synthesis.dp_marginals.bounding import ONE
from cloakhouse.synthesis.dp_marginals.model import MarginalsModel
from cloakhouse.synthesis.dp_marginals.release import GAUSSIAN
from cloakhouse.synthesis.dp_marginals.spending import Purse

HONEST = noise.gaussian


@pytest.fixture(scope="module")
def rows() -> LocalShards:
    return shards(baskets(150, 6))


@pytest.fixture(scope="module")
def model(rows: LocalShards) -> MarginalsModel:
    return engine.fit(plan(epsilon=3.0), rows, silent)


def with_log(model: MarginalsModel, **change: float) -> MarginalsModel:
    first, *others = model.fitted.entries
    return replace(model, fitted=replace(model.fitted, entries=(replace(first, **change), *others)))


def test_an_honest_model_passes(model: MarginalsModel, rows: LocalShards) -> None:
    assert 0.8 * rho_of(3.0, 1e-6) < recount.accounted(model) <= rho_of(3.0, 1e-6)
    found = recount.residuals(model, rows)
    assert found.passed
    assert 0.5 < found.ratio < 1.6


def test_the_same_after_reading_it_again_and_with_levels() -> None:
    rows = shards(lines_of_baskets(60))
    fitted = engine.fit(plan(LEVELS, epsilon=3.0), rows, silent)
    again = engine.open_model(plan(LEVELS, epsilon=3.0), fitted.to_bytes())
    assert recount.accounted(again) == recount.accounted(fitted)
    assert recount.residuals(again, rows).passed


@pytest.mark.parametrize("share", [0, 1 / 8, 1 / 2])
def test_too_little_noise_fails(share: float, rows: LocalShards, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = (lambda values, scale: values) if not share else (lambda v, scale: HONEST(v, scale * share))
    monkeypatch.setattr("cloakhouse.synthesis.dp_marginals.release.noise.gaussian", drawn)
    found = recount.residuals(engine.fit(plan(epsilon=3.0), rows, silent), rows)
    assert not found.passed
    assert found.ratio < 0.6


def test_other_training_rows_fail(model: MarginalsModel) -> None:
    assert not recount.residuals(model, shards(baskets(4000, 1, seed=9))).passed


def test_an_account_that_does_not_add_up_is_refused(model: MarginalsModel) -> None:
    for change in ({"rho": 1.0}, {"rho": -1.0}, {"rho": float("nan")}):
        with pytest.raises(IntegrityError, match="account"):
            recount.accounted(with_log(model, **change))
    scales = tuple(replace(m, scale=m.scale / 2) for m in model.fitted.measurements)
    with pytest.raises(IntegrityError, match="account"):
        recount.accounted(replace(model, fitted=replace(model.fitted, measurements=scales)))
    with pytest.raises(IntegrityError, match="account"):
        recount.accounted(replace(model, fitted=replace(model.fitted, measurements=scales[1:])))


def test_a_purse_does_not_go_below_zero() -> None:
    purse = Purse(1.0)
    assert purse.spend("a", "m", 0.75) == 0.75
    with pytest.raises(StageError, match=r"0\.25 left"):
        purse.spend("b", "m", 0.26)
    for rho, delta in ((-0.1, 0.0), (float("nan"), 0.0), (0.1, -1e-9), (0.1, float("nan"))):
        with pytest.raises(StageError, match="budget"):
            purse.spend("c", "m", rho, delta)
    assert purse.left == 0.25


def test_an_account_without_a_choice_or_with_another_bound_is_refused(model: MarginalsModel) -> None:
    kept = model.fitted.entries
    for what in ("cap of", "clip norm of", "choice of a pair"):
        at = next(i for i, entry in enumerate(kept) if what in entry.what)
        for entries in ((*kept[:at], *kept[at + 1 :]), (*kept[:at], replace(kept[at], rho=0.0), *kept[at + 1 :])):
            with pytest.raises(IntegrityError, match="choice"):
                recount.accounted(replace(model, fitted=replace(model.fitted, entries=entries)))
    gaussian = next(i for i, entry in enumerate(kept) if entry.mechanism == GAUSSIAN)
    silent_ = (*kept[:gaussian], replace(kept[gaussian], rho=1e-9), *kept[gaussian + 1 :])
    with pytest.raises(IntegrityError, match="logged with its rho"):
        recount.accounted(replace(model, fitted=replace(model.fitted, entries=silent_)))


def test_a_total_that_claims_a_smaller_bound_is_refused(model: MarginalsModel) -> None:
    at = next(i for i, m in enumerate(model.fitted.measurements) if m.kind == "records")
    m = model.fitted.measurements[at]
    modest = replace(m, clip=1)
    rho = noise.rho_of_gaussian(float(ONE), m.scale)
    measurements = tuple(modest if i == at else other for i, other in enumerate(model.fitted.measurements))
    entries = tuple(replace(e, rho=rho) if e.what == m.name and e.rho == m.rho else e for e in model.fitted.entries)
    with pytest.raises(IntegrityError, match="what a unit adds at most"):
        recount.accounted(replace(model, fitted=replace(model.fitted, measurements=measurements, entries=entries)))
