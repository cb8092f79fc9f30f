"""The DAG that keeps retention: every night what its contract lets go is deleted, and the keys of ended months.

`keep` returns the report's reference; it fails when a dataset could not be kept to its retention, and a retry goes on
where it stands. `shed` drops the consent snapshots that nothing refers to, and returns how many. Plan backups after it,
so that what is due isn't backed up once more.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, CronTriggerTimetable

from cloakhouse.flow import engines
from cloakhouse.flow.factory import reference_task
from cloakhouse.flow.tasks import Reference, explained


@explained("retention")
def keep_retention() -> Reference:
    """Delete what is due and return the report; fail when a dataset, or the keys, could not be done."""
    from cloakhouse.stages.retention import keep

    done = keep(engines.settings())
    for problem in done.failed.values():
        raise problem
    assert done.report is not None
    return done.report.as_dict()


@explained("retention")
def shed_snapshots() -> int:
    """Drop the consent snapshots that nothing refers to any more; return how many."""
    from cloakhouse.stages.consent_shedding import shed

    return shed(engines.settings())


def build_retention_dags() -> dict[str, DAG]:
    """Return the DAGs for retention by DAG id."""
    with DAG(
        dag_id="keep_retention",
        description="delete what retention lets go, the keys of what is gone, and consent snapshots that nothing needs",
        schedule=CronTriggerTimetable("30 1 * * *", timezone="UTC"),
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        catchup=False,
        max_active_runs=1,
        default_args={"retry_delay": dt.timedelta(seconds=60), "execution_timeout": dt.timedelta(hours=4)},
        tags=["cloakhouse", "retention"],
    ) as dag:
        reference_task("keep", retries=3)(keep_retention)()
        reference_task("shed", retries=3)(shed_snapshots)()  # waits for nothing: the run fails when either does
    return {dag.dag_id: dag}
