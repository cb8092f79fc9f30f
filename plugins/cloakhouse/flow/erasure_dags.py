"""The DAG that erases: `erase_subjects` goes on with every open erasure each night, or with the one it is started with.

    recut -> cut -> renew -> prove

`recut` takes persons who are erased out of what landed since; the others are the parts of `cloakhouse.flow.erasing`,
which the command line runs, too. A task that is killed or fails goes on where the erasures stand. One erasure that
fails keeps no other waiting: the tasks after it are run for those that are ready, and `prove` fails while one isn't
proved. XComs hold counts alone. What is made anew tells its asset, as its own DAG does, so that what is scheduled on it
runs.
"""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, AssetAlias, CronTriggerTimetable, Param, TriggerRule

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
        whatever_failed = {"trigger_rule": TriggerRule.ALL_DONE, "retries": 3}
        recut = reference_task("recut", retries=3)(tasks.recut_deliveries)()
        cut = reference_task("cut", **whatever_failed)(tasks.cut)()
        renew = reference_task("renew", outlets=[AssetAlias("made_anew")], **whatever_failed)(tasks.renew)()
        recut >> cut >> renew >> reference_task("prove", **whatever_failed)(tasks.prove)()
    return {dag.dag_id: dag}
