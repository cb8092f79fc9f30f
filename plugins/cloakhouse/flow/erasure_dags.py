"""The DAG that erases: `erase_subjects` goes on with every open erasure each night, or with the one it is started with.

    recut                       what landed since, without the persons who are erased
    batches -> erase.cut -> erase.renew -> erase.prove      for each erasure, one at a time

The tasks are the parts of `cloakhouse.flow.erasing`, which the command line runs, too. A task that is killed or fails
goes on where the erasure stands; one erasure that fails keeps no other waiting. XComs hold names of batches and
references alone. What is made anew tells its asset, as its own DAG does, so that what is scheduled on it runs.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, AssetAlias, CronTriggerTimetable, Param, task_group

from cloakhouse.flow import erasure_tasks as tasks
from cloakhouse.flow.factory import reference_task

BATCH = "^(er-[0-9]{8}-[0-9a-f]{8})?$"


def build_erasure_dags() -> dict[str, DAG]:
    """Return the DAG of erasures by its id."""
    with DAG(
        dag_id="erase_subjects",
        description="erase persons everywhere, make anew what was made of their rows, and prove it",
        schedule=CronTriggerTimetable("0 2 * * *", timezone="UTC"),
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        catchup=False,
        max_active_runs=1,
        default_args={"retry_delay": dt.timedelta(seconds=60), "execution_timeout": dt.timedelta(hours=4)},
        tags=["cloakhouse", "rights"],
        params={
            "batch": Param(
                "", type="string", pattern=BATCH, description="one erasure, er-20261122-0a1b2c3d; empty: all open ones"
            )
        },
    ) as dag:
        reference_task("recut", retries=3)(tasks.recut_deliveries)()
        names = reference_task("batches", retries=3)(tasks.batches)()
        _erase.expand(batch=names)
    return {dag.dag_id: dag}


@task_group(group_id="erase")  # type: ignore[untyped-decorator]
def _erase(batch: Any) -> None:
    one_at_a_time = {"retries": 3, "max_active_tis_per_dagrun": 1}
    cut = reference_task("cut", **one_at_a_time)(tasks.cut)(batch)
    anew = reference_task("renew", outlets=[AssetAlias("made_anew")], **one_at_a_time)(tasks.renew)(cut)
    reference_task("prove", **one_at_a_time)(tasks.prove)(anew)
