"""DAGs that keep keys: rotation by policy every night, and the rewrite after a compromise.

`rotate_keys` looks every night which master keys are as old as CLOAKHOUSE_ROTATION_DAYS, rotates them, finishes what an
interrupted rotation left, and returns its report. `rewrite_keys` has no schedule: started with a master key's name,
it encrypts the data under it again, waits for the readers of the old files without holding a worker, and removes these.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, Param, task

from cloakhouse.flow import tasks
from cloakhouse.flow.factory import reference_task

POKE_S = 300.0
LONGEST_S = 7 * 24 * 3600.0
LONGEST_GRACE_S = 6 * 24 * 3600  # within LONGEST_S


def build_key_dags(poke_s: float = POKE_S) -> dict[str, DAG]:
    """Return the DAGs for keys by DAG id. A rewrite that waits is looked at every `poke_s` seconds."""
    return {dag.dag_id: dag for dag in (_rotation(), _rewrite(poke_s))}


def _rotation() -> DAG:
    with DAG(
        dag_id="rotate_keys",
        description="rotate the master keys that are due, and wrap anew what older versions wrapped",
        schedule=CronTriggerTimetable("30 2 * * *", timezone="UTC"),
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        **_COMMON,
    ) as dag:
        reference_task("rotate", retries=3)(tasks.rotate_keys)()
    return dag


def _rewrite(poke_s: float) -> DAG:
    with DAG(
        dag_id="rewrite_keys",
        description="after a compromise: encrypt data again under new keys, and destroy the old dataset keys",
        schedule=None,
        params={
            "key": Param(
                "protected/direct",
                type="string",
                pattern="^[a-z][a-z0-9_-]*/[a-z][a-z0-9_-]*$",
                description="master key: zone/class",
            ),
            "grace_s": Param(
                3600,
                type="integer",
                minimum=0,
                maximum=LONGEST_GRACE_S,
                description="seconds that readers of old files have",
            ),
        },
        **_COMMON,
    ) as dag:
        waiting = task.sensor(
            task_id="rewrite",
            mode="reschedule",
            poke_interval=poke_s,
            timeout=LONGEST_S,
            retries=3,
        )
        waiting(tasks.rewrite_keys)()
    return dag


_COMMON: dict[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {"retry_delay": dt.timedelta(seconds=60), "execution_timeout": dt.timedelta(hours=4)},
    "tags": ["cloakhouse", "keys"],
}
