"""The whole path on a Spark cluster, PostgreSQL, OpenBao and S3 publishes the figures of an embedded run.

Compared is all that follows from the feed and the contracts; `tests.support.engine_figures` says what follows from keys
and is therefore different in every installation.
"""

from __future__ import annotations

import math

import pytest
from tests.cluster.conftest import FIGURES, PRODUCTS, Both

from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.versions import VersionRegister
from cloakhouse.stages.audit_verification import examine

pytestmark = [pytest.mark.spark, pytest.mark.airflow, pytest.mark.cluster]
DEVIATIONS = 6.0  # of the difference of two noisy values: beyond in one of 500 million


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_those_of_the_embedded_run(both: Both, name: str) -> None:
    assert both.figures_there[name]
    assert both.figures_there[name] == both.figures_here[name]


def test_every_product_is_published_once_on_both(both: Both) -> None:
    for settings in (both.there.settings, both.here.settings):
        versions = VersionRegister(settings.database).versions()
        assert [(v.dataset, v.version) for v in versions] == [(name, 1) for name in (*PRODUCTS, "weekly_sales")]


def test_aggregates_agree_within_their_noise(both: Both) -> None:
    """Each run draws noise of its own, of the same scale; the sums behind are the same."""
    there, here = both.figures_there["cells"], both.figures_here["cells"]
    assert there.keys() == here.keys()
    assert len(there) >= 10
    for key, (value, error) in there.items():
        other, same = here[key]
        assert error == same > 0
        assert abs(value - other) <= DEVIATIONS * math.hypot(error, same), key
    assert [value for value, _ in there.values()] != [value for value, _ in here.values()]


def test_the_lake_is_in_the_bucket_and_nothing_of_it_in_the_home(both: Both) -> None:
    there = both.there
    kept = {path.relative_to(there.s3.bucket / "lake").as_posix() for path in there.s3.bucket.rglob("*.parquet")}
    assert kept
    assert kept == {info.path for info in open_store(there.settings).list() if info.path.endswith(".parquet")}
    assert not (there.settings.home / "lake").exists()
    assert not list(there.settings.home.rglob("*.db"))  # neither Airflow's metadata nor the control database


def test_both_audit_logs_are_sound_with_a_checkpoint(both: Both) -> None:
    for settings in (both.there.settings, both.here.settings):
        found = examine(settings)
        assert found.sound, found.findings
        assert found.checkpoints
