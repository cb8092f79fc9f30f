"""Names from Airflow: its own forms stay, whatever else somebody typed is told by its digest."""

from __future__ import annotations

import hashlib

import pytest

from cloakhouse.ledger.run_names import name_of, run_name, user_of

RUNS = [
    "manual__2026-11-22T15:36:16.464682+00:00",
    "scheduled__2017-01-02T00:00:00+00:00",
    "backfill__2017-01-02T00:00:00Z",
    "asset_triggered__2026-11-22T15:37:11.324087+00:00_VnHIJ1V1",
    "",
]
TYPED = [
    "ann_example",
    "manual__2026-11-22T15:36:16.464682+00:00_household_17",
    "ann__2026-11-22T15:36:16+00:00",
    "manual__2026-11-22T15:36:16+00:00\n",
    "4111111111111111",
    "\udc80",
]


@pytest.mark.parametrize("run", RUNS)
def test_a_run_id_of_airflow_s_own_form_stays(run: str) -> None:
    assert run_name(run) == run


@pytest.mark.parametrize("run", TYPED)
def test_a_typed_run_id_is_told_by_its_digest(run: str) -> None:
    digest = hashlib.sha256(run.encode("utf-8", "surrogatepass")).hexdigest()
    assert run_name(run) == f"sha256-{digest[:16]}"


def test_dags_tasks_and_users() -> None:
    assert [name_of(n) for n in ("publish_x", "")] == ["publish_x", ""]
    assert [user_of(n) for n in ("ann.b-2", "", None)] == ["ann.b-2", "", ""]
    for odd in ("Ann Example", "ann@example.org", "17", "a" * 200):
        assert user_of(odd).startswith("sha256-")
        assert name_of(odd).startswith("sha256-")
