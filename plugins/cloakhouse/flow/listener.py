"""Airflow's listener: runs of DAGs, ends of tasks, and assets become events of the audit log.

Each hook is called in one process (Airflow 3.3): runs in the scheduler, in `dag.test()` in the process that calls it
(which tells only how a run ended), and in the API server when a person sets a run's state; ends of tasks in the task's
own process, in the scheduler for a task that was killed, and in the API server for a state that a person sets; assets
where the task's end is taken in, which is the API server, and a new asset in the DAG processor. So each is recorded
once.

All DAGs of this Airflow are told of, not only the platform's: each runs with the platform's settings and so with its
keys. Recorded are ids, states, counts and digests; never conf, params, XComs, the text of an exception, or a name that
somebody typed freely (`cloakhouse.ledger.run_names`). The successful scheduled runs of `forward_audit` are left out:
they would give that DAG something to forward for ever.

Airflow goes on when a listener fails, so what could not be recorded is an error in its log with the code; the stages'
own events go to the same database, and stop what they describe.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from airflow.listeners import hookimpl

from cloakhouse.errors import CloakhouseError
from cloakhouse.flow import task_cost

QUIET = "forward_audit"
RUN_FAILED, TASK_FAILED = "run.failed", "task.failed"
FACTS = ("partitions", "rows", "version")  # of an asset's event: whole numbers
_DIGEST = re.compile(r"[0-9a-f]{64}")
_URI = re.compile(r"cloakhouse://[a-z]{1,20}/[a-z][a-z0-9_]{0,62}")
_WORD = re.compile(r"[a-z_]{1,30}")
log = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., None])
_hook: Callable[[F], F] = hookimpl


@_hook
def on_dag_run_running(dag_run: Any, msg: str) -> None:
    """Record that a run started, and who started it."""
    _run(dag_run, "running")


@_hook
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """Record that a run ended well."""
    _run(dag_run, "success")


@_hook
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """Record that a run failed."""
    _run(dag_run, "failed", RUN_FAILED)


@_hook
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:
    """Note how much CPU time the task's process has used before; nothing is recorded."""
    task_cost.begin(task_instance)


@_hook
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """Record that a task ended well, or was set so by a person."""
    _task(previous_state, task_instance, "success")


@_hook
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:
    """Record that an attempt of a task failed; `error` is not looked at, since its text may quote values."""
    _task(previous_state, task_instance, "failed", TASK_FAILED)


@_hook
def on_asset_created(asset: Any) -> None:
    """Record that an asset is known from now on."""
    _record("asset", _asset_name(asset.uri), facts={"state": "created"})


@_hook
def on_asset_event_emitted(asset_event: Any) -> None:
    """Record that an asset changed: which run changed it, with counts and the digest of the manifest."""
    _record(
        "asset",
        _asset_name(asset_event.asset.uri),
        dag=asset_event.source_dag_id or "",
        run=asset_event.source_run_id or "",
        task=asset_event.source_task_id or "",
        facts={"state": "changed", **asset_facts(asset_event.extra)},
    )


def asset_facts(extra: Mapping[str, Any] | None) -> dict[str, str | int]:
    """Return what of an asset event's `extra` may be recorded: whole numbers by known names, and a digest."""
    known = extra or {}
    numbers = {name: known[name] for name in FACTS if type(known.get(name)) is int}
    digest = known.get("sha256")
    told = isinstance(digest, str) and _DIGEST.fullmatch(digest)
    return {**numbers, "sha256": str(digest)} if told else dict(numbers)


def _run(dag_run: Any, state: str, code: str = "") -> None:
    kind = _word(dag_run.run_type)
    if dag_run.dag_id == QUIET and kind == "scheduled" and not code:
        return
    facts: dict[str, str | int] = {"state": state, "run_type": kind}
    if state == "running" and dag_run.triggering_user_name:
        facts["triggered_by"] = _user(dag_run.triggering_user_name)
    _record("run", "", dag=dag_run.dag_id, run=dag_run.run_id, code=code, facts=facts)


def _task(previous: Any, instance: Any, state: str, code: str = "") -> None:
    if instance.dag_id == QUIET and str(instance.run_id).startswith("scheduled__") and not code:
        return
    facts: dict[str, str | int] = {"state": state, "attempt": max(int(instance.try_number or 0), 0)}
    if previous is None:
        facts["set_by"] = "a person"
    if type(instance.map_index) is int and instance.map_index >= 0:
        facts["map_index"] = instance.map_index
    facts |= task_cost.facts(instance)
    _record("task", "", dag=instance.dag_id, run=instance.run_id, task=instance.task_id, code=code, facts=facts)


def _record(
    action: str,
    what: str,
    *,
    facts: dict[str, str | int],
    dag: str = "",
    run: str = "",
    task: str = "",
    code: str = "",
) -> None:
    from cloakhouse.flow import engines
    from cloakhouse.ledger.audit import AuditLog
    from cloakhouse.ledger.audit_event import ALLOWED, FAILED, Event
    from cloakhouse.ledger.run_names import name_of, run_name

    try:
        settings = engines.settings()
        event = Event(
            "platform",
            action,
            what or name_of(task or dag),
            settings.purpose,
            decision=FAILED if code else ALLOWED,
            code=code,
            facts=facts,
            dag=name_of(dag),
            run=run_name(run),
            task=name_of(task),
        )
        AuditLog(settings.database).record(event)
    except CloakhouseError as problem:
        log.error("the audit log has no event of this %s: %s", action, problem.explain())
    except Exception as fault:  # noqa: BLE001 - Airflow would log its text, which may quote values
        log.error("the audit log has no event of this %s: %s", action, type(fault).__qualname__)


def _asset_name(uri: str) -> str:
    from cloakhouse.ledger.run_names import digest_of

    return uri if _URI.fullmatch(uri) else digest_of(uri)


def _user(name: str) -> str:
    from cloakhouse.ledger.run_names import user_of

    return user_of(name)


def _word(value: Any) -> str:
    text = str(getattr(value, "value", value))
    return text if _WORD.fullmatch(text) else "other"
