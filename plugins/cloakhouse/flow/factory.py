"""DAGs from data contracts. At parse time the contracts are read, and nothing else is imported or read.

A feed gets `protect_<dataset>`:  land -> plan -> pseudonymize (Spark) -> validate, and check_delivery beside.
A synthetic dataset gets `publish_<dataset>`:  synthesize -> validate -> publish, started when any of the assets
it is made from changes. One run takes every partition that waits; a backfill takes those of its interval.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, Asset, AssetAny, CronDataIntervalTimetable, Param, TriggerRule, task

from cloakhouse.contracts.model import Contract, Kind, Period
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.flow import tasks
from cloakhouse.flow.operator import SparkJobOperator
from cloakhouse.settings import Settings

SCHEDULES = {Period.DAY: "0 0 * * *", Period.WEEK: "0 0 * * 1", Period.SNAPSHOT: "0 0 * * *"}
DEFAULTS: dict[str, Any] = {
    "retry_delay": dt.timedelta(seconds=60),
    "execution_timeout": dt.timedelta(hours=4),
}


def build_dags(settings: Settings | None = None) -> dict[str, DAG]:
    """Return the DAGs of all contracts by DAG id. Raises ContractError, which Airflow shows as an import error."""
    contracts = load_contracts((settings or Settings.from_environment()).contracts)
    dags = [_feed_dag(c) if c.kind is Kind.FEED else _synthetic_dag(c) for c in contracts.values()]
    return {dag.dag_id: dag for dag in dags}


def protected_asset(dataset: str) -> Asset:
    """Return the asset of a dataset in the protected zone."""
    return Asset(name=f"protected_{dataset}", uri=f"cloakhouse://protected/{dataset}", group="cloakhouse")


def published_asset(dataset: str) -> Asset:
    """Return the asset of a published dataset."""
    return Asset(name=f"published_{dataset}", uri=f"cloakhouse://synthetic/{dataset}", group="cloakhouse")


def _feed_dag(contract: Contract) -> DAG:
    feed = contract.feed
    assert feed is not None
    name = contract.name
    with DAG(
        dag_id=f"protect_{name}",
        description=f"land, pseudonymize and validate {contract.description}",
        schedule=CronDataIntervalTimetable(SCHEDULES[feed.period], timezone="UTC"),
        start_date=dt.datetime.combine(feed.first_partition, dt.time(), dt.UTC),
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        tags=["cloakhouse", "feed", contract.purpose],
        params={
            "partitions": Param("", type="string", description="2017-01-02, a range with .., or empty for all waiting"),
            "supersede": Param(False, type="boolean", description="take changed files as corrections"),
            "reprocess": Param(False, type="boolean", description="pseudonymize what is up to date, too"),
        },
    ) as dag:
        landed = reference_task("land")(tasks.land)(name)
        reference_task("check_delivery", retries=0)(tasks.check_delivery)(name, landed)
        request = reference_task("plan")(tasks.plan)(name)
        job = SparkJobOperator(task_id="pseudonymize", dataset=name, job="pseudonymize", request=request)
        waits_for_all = {"trigger_rule": TriggerRule.NONE_FAILED, "outlets": [protected_asset(name)]}
        valid = reference_task("validate", **waits_for_all)(tasks.validate_protected)(name)
        landed >> request >> job >> valid
    return dag


def _synthetic_dag(contract: Contract) -> DAG:
    name = contract.name
    with DAG(
        dag_id=f"publish_{name}",
        description=f"synthesize, validate and publish {contract.description}",
        schedule=AssetAny(*(protected_asset(source) for source in contract.sources)),
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        tags=["cloakhouse", "synthetic", contract.purpose],
    ) as dag:
        made = reference_task("synthesize")(tasks.synthesize)(name)
        evidence = reference_task("validate")(tasks.validate_synthetic)(name, made)
        reference_task("publish", outlets=[published_asset(name)])(tasks.publish)(name, evidence)
    return dag


def reference_task(task_id: str, **settings: Any) -> Any:
    """Return the decorator of a task that returns one reference, stored as one XCom."""
    return task(task_id=task_id, multiple_outputs=False, **settings)
