"""DAGs from data contracts. At parse time the contracts are read, and nothing else is imported or read.

A feed gets `protect_<dataset>`:  land -> plan -> pseudonymize (Spark) -> validate, and check_delivery beside; that of
the customer master brings the consent register up to date before it plans (register_choices).
A synthetic dataset gets `publish_<dataset>`:  plan -> synthesize (Spark) -> validate -> publish, started when any of
the assets it is made from changes. An aggregate gets `aggregate_<dataset>`:  aggregate -> publish, started likewise.
Where the contract asks for an approval, the task `approve` stands before publish (`cloakhouse.flow.approval`).
One run takes every partition that waits; a backfill takes those of its interval.
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
    "execution_timeout": dt.timedelta(hours=4),
}


def build_dags(settings: Settings | None = None) -> dict[str, DAG]:
    """Return the DAGs of all contracts by DAG id. Raises ContractError, which Airflow shows as an import error."""
    contracts = load_contracts((settings or Settings.from_environment()).contracts)
    make = {Kind.FEED: _feed_dag, Kind.SYNTHETIC: _synthetic_dag, Kind.AGGREGATE: _aggregate_dag}
    dags = [make[contract.kind](contract) for contract in contracts.values()]
    return {dag.dag_id: dag for dag in dags}


def protected_asset(dataset: str) -> Asset:
    """Return the asset of a dataset in the protected zone."""
    return Asset(name=f"protected_{dataset}", uri=f"cloakhouse://protected/{dataset}", group="cloakhouse")


def published_asset(dataset: str, zone: str = "synthetic") -> Asset:
    """Return the asset of a dataset that is published in `zone`."""
    return Asset(name=f"published_{dataset}", uri=f"cloakhouse://{zone}/{dataset}", group="cloakhouse")


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
        if contract.rights.subject is not None and contract.rights.subject.register is not None:
            landed >> reference_task("register_choices")(tasks.register_choices)(name) >> request
        else:
            landed >> request
        request >> job >> valid
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
        request = reference_task("plan")(tasks.plan_synthesis)(name)
        made = SparkJobOperator(task_id="synthesize", dataset=name, job="synthesize", request=request)
        evidence = reference_task("validate")(tasks.validate_synthetic)(name, made.output)
        agreed = _approved(contract, evidence)
        released = reference_task("publish", outlets=[published_asset(name)])(tasks.publish)(name, agreed)
        reference_task("report")(tasks.report)(name, released)
    return dag


def _aggregate_dag(contract: Contract) -> DAG:
    name = contract.name
    with DAG(
        dag_id=f"aggregate_{name}",
        description=f"answer the query and publish {contract.description}",
        schedule=AssetAny(*(protected_asset(source) for source in contract.sources)),
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        tags=["cloakhouse", "aggregate", contract.purpose],
    ) as dag:
        evidence = reference_task("aggregate")(tasks.aggregate)(name)
        outlets = [published_asset(name, "aggregates")]
        agreed = _approved(contract, evidence)
        released = reference_task("publish", outlets=outlets)(tasks.publish_answer)(name, agreed)
        reference_task("report")(tasks.report)(name, released)
    return dag


def _approved(contract: Contract, evidence: Any) -> Any:
    """Return the reference that publication takes: of the evidence, or of what an approver agreed to."""
    if contract.approval is None:
        return evidence
    from cloakhouse.flow.approval import ApproveRelease, form  # where nobody is asked, parsing goes without it

    asked = ApproveRelease(
        task_id="approve",
        dataset=contract.name,
        evidence=evidence,
        approvers=contract.approval.approvers,
        hours=contract.approval.timeout_hours,
        params=form(),
    )
    return asked.output


def reference_task(task_id: str, **settings: Any) -> Any:
    """Return the decorator of a task that returns one reference, stored as one XCom."""
    return task(task_id=task_id, multiple_outputs=False, **settings)
