"""The DAG that keeps versions: every night, those that are older than their contracts keep them expire, and the files
that nobody needs any more are collected. Its task returns the collection's report."""

from __future__ import annotations

import datetime as dt

from airflow.sdk import DAG, CronTriggerTimetable

from cloakhouse.flow import tasks
from cloakhouse.flow.factory import reference_task


def build_version_dags() -> dict[str, DAG]:
    """Return the DAGs for versions by DAG id."""
    with DAG(
        dag_id="expire_and_collect",
        description="expire versions by their contracts' retention, and remove files that nobody needs",
        schedule=CronTriggerTimetable("30 3 * * *", timezone="UTC"),
        start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        catchup=False,
        max_active_runs=1,
        default_args={"retry_delay": dt.timedelta(seconds=60), "execution_timeout": dt.timedelta(hours=4)},
        tags=["cloakhouse", "versions"],
    ) as dag:
        expired = reference_task("expire", retries=3)(tasks.expire_versions)()
        expired >> reference_task("collect", retries=3)(tasks.collect_files)()
    return {dag.dag_id: dag}
