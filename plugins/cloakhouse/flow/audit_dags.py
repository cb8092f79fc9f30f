"""DAGs of the auditor's side.

`watch_audit` looks every hour whether something in the audit log is unusual, and tells those named in `alerts.yaml`.
`keep_audit` signs a checkpoint of the log every night and verifies the whole log against all checkpoints; it fails when
that finds anything. `forward_audit` gives the receivers of the log every minute what they lack; without receivers it
skips. Like all DAGs they are paused until somebody lets them run.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, CronTriggerTimetable, TriggerRule

from cloakhouse.flow import audit_tasks
from cloakhouse.flow.factory import reference_task


def build_audit_dags() -> dict[str, DAG]:
    """Return the DAGs of the auditor's side by DAG id."""
    return {dag.dag_id: dag for dag in (_watch(), _keep(), _forward())}


def _watch() -> DAG:
    with DAG(
        dag_id="watch_audit",
        description="look for what is unusual in the audit log, and tell who has to know",
        schedule=CronTriggerTimetable("5 * * * *", timezone="UTC"),
        **_COMMON,
    ) as dag:
        found = reference_task("evaluate", retries=2)(audit_tasks.evaluate_alerts)()
        found >> reference_task("notify", retries=3)(audit_tasks.tell_alerts)()
    return dag


def _keep() -> DAG:
    with DAG(
        dag_id="keep_audit",
        description="sign a checkpoint of the audit log, and verify the log against every checkpoint",
        schedule=CronTriggerTimetable("15 2 * * *", timezone="UTC"),
        **_COMMON,
    ) as dag:
        signed = reference_task("checkpoint", retries=3)(audit_tasks.sign_checkpoint)()
        # A checkpoint that can't be signed is no reason not to verify.
        signed >> reference_task("verify", retries=1, trigger_rule=TriggerRule.ALL_DONE)(audit_tasks.verify_log)()
    return dag


def _forward() -> DAG:
    with DAG(
        dag_id="forward_audit",
        description="give the receivers of the audit log what they lack",
        schedule=CronTriggerTimetable("* * * * *", timezone="UTC"),
        **_COMMON,
    ) as dag:
        reference_task("forward", retries=0)(audit_tasks.forward_log)()
    return dag


_COMMON: dict[str, Any] = {
    "start_date": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    "catchup": False,
    "max_active_runs": 1,
    "default_args": {"retry_delay": dt.timedelta(seconds=60), "execution_timeout": dt.timedelta(hours=4)},
    "tags": ["cloakhouse", "audit"],
}
