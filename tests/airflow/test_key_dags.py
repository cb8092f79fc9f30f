"""The DAGs for keys, run for real: what they leave in the lake, in Airflow's database and in its log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support.house import House, published

from cloakhouse.flow.environment import prepare
from cloakhouse.keys.dataset_keys import DatasetKey, DatasetKeyFile
from cloakhouse.keys.protocol import KeyName
from cloakhouse.keys.service import service_of
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.stages.rewrite import unfinished
from cloakhouse.stages.sources import partition_files

pytestmark = pytest.mark.airflow

DIRECT = KeyName("protected/direct")
TRANSACTIONS = DatasetKey.parse("protected/direct/transactions")
DAGS = """
from airflow.sdk import DAG  # by the words airflow and dag the file is known
from cloakhouse.flow.key_dags import build_key_dags
globals().update(build_key_dags(poke_s=1.0))
"""
RUN = """
import json, os, sys
from airflow.utils.db import initdb
initdb()
from airflow.dag_processing.dagbag import DagBag
from airflow.settings import Session
from sqlalchemy import text
dag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"]).dags[sys.argv[1]]
run = dag.test(run_conf=json.loads(sys.argv[2]))
xcoms = [json.loads(value) for value, in Session().execute(text("select value from xcom"))]
pauses = Session().execute(text("select count(*) from task_reschedule")).scalar()
print(json.dumps({"state": str(run.state), "xcoms": xcoms, "pauses": pauses}))
"""


@dataclass(frozen=True)
class Ran:
    """One run of a DAG: its state, every XCom, how often a sensor was put off, and all that was printed."""

    state: str
    xcoms: list[Any]
    pauses: int
    log: str


def run_dag(house: House, dag_id: str, conf: dict[str, Any], **environment: str) -> Ran:
    """Run a DAG with `dag.test()` in a process of its own, over `house`."""
    settings = house.settings
    folder = settings.home.parent / "dags"
    folder.mkdir(exist_ok=True)
    (folder / "keys.py").write_text(DAGS)
    variables = {
        **prepare(settings),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
        "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "0",
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, dag_id, json.dumps(conf)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Ran(**json.loads(done.stdout.splitlines()[-1]), log=done.stdout + done.stderr)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return published().copy(tmp_path / "home")


def versions(house: House, key: DatasetKey = TRANSACTIONS) -> list[tuple[int, int]]:
    """Return (version, version of the master key) of each version of a dataset key."""
    return [(r.version, r.master_version) for r in DatasetKeyFile.read(house.settings.dataset_keys, key).versions]


def rows(house: House) -> pa.Table:
    partitions = house.catalogue.protected("transactions").values()
    entries = [e for p in partitions for e in partition_files(house.settings, p.manifest)]
    return pa.concat_tables([house.store.read(entry) for entry in entries])


def report(house: House, reference: dict[str, str]) -> dict[str, Any]:
    assert reference.keys() == {"path", "sha256"}
    assert reference["path"].startswith("evidence/keys/")
    return read_manifest(FolderStore(house.settings.lake), ManifestRef(**reference))


def names(items: Iterable[dict[str, Any]]) -> set[str]:
    return {item["name"] for item in items}


def test_the_nightly_run_finishes_what_an_interrupted_rotation_left(house: House) -> None:
    before = rows(house)
    service_of(house.settings).rotate(DIRECT)
    assert versions(house) == [(1, 1)]
    ran = run_dag(house, "rotate_keys", {})
    assert ran.state == "success"
    (reference,) = ran.xcoms
    found = report(house, reference)
    assert (found["kind"], found["period_days"], found["rotated"]) == ("rotation", 90, [])
    assert {item["name"]: item["dataset_keys"] for item in found["settled"]}[DIRECT] == 2
    assert versions(house) == [(1, 2), (2, 2)]
    assert rows(house).equals(before)


def test_the_nightly_run_rotates_what_the_policy_says(house: House, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(AGED)
    ran = run_dag(house, "rotate_keys", {}, CLOAKHOUSE_ROTATION_DAYS="1", PYTHONPATH=str(clock))
    assert ran.state == "success"
    found = report(house, ran.xcoms[0])
    assert names(found["rotated"]) == set(service_of(house.settings).names())
    assert found["settled"] == []
    assert versions(house) == [(1, 2), (2, 2)]


# The policy counts days, and a keystore is signed: so the task is asked at a time two days ahead instead.
AGED = """
import datetime, sys
class Ahead(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.now(tz) + datetime.timedelta(days=2)
class Calendar:
    datetime = Ahead
    def __getattr__(self, name):
        return getattr(datetime, name)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "cloakhouse.flow.key_dags":
            import cloakhouse.flow.tasks
            cloakhouse.flow.tasks.dt = Calendar()
        return None
sys.meta_path.insert(0, Finder())
"""


def test_a_rewrite_leaves_readable_data_a_reference_and_no_old_key(house: House) -> None:
    before = rows(house)
    old = {path.name for path in (house.settings.lake / "protected/transactions").rglob("*.parquet")}
    ran = run_dag(house, "rewrite_keys", {"key": DIRECT, "grace_s": 0})
    assert (ran.state, ran.pauses) == ("success", 0)
    (reference,) = ran.xcoms
    found = report(house, reference)
    assert (found["kind"], found["name"], found["state"]) == ("rewrite", DIRECT, "done")
    assert found["rewritten"] == found["removed"] > 0
    assert versions(house) == [(2, 2)]
    assert rows(house).equals(before)
    assert not old & {path.name for path in (house.settings.lake / "protected/transactions").rglob("*.parquet")}


def test_a_rewrite_waits_for_readers_without_holding_a_worker(house: House) -> None:
    ran = run_dag(house, "rewrite_keys", {"key": DIRECT, "grace_s": 4})
    assert ran.state == "success"
    assert ran.pauses > 0
    assert report(house, ran.xcoms[0])["rewritten"] == 0  # the last look had only to remove
    assert versions(house) == [(2, 2)]
    assert unfinished(house.settings) == []


def test_a_key_that_is_not_there_fails_for_good_with_our_explanation(house: House) -> None:
    ran = run_dag(house, "rewrite_keys", {"key": "protected/nonsense", "grace_s": 0})
    assert (ran.state, ran.xcoms) == ("failed", [])
    assert "key.missing at master key protected/nonsense" in ran.log
    assert "\n  to do:    " in ran.log.replace("\\n", "\n")
    for place in ("stages/rewrite.py", "stages/rotation.py", "keys/age.py", "KeyServiceError"):
        assert place not in ran.log  # nothing of the platform's own stack, whatever Airflow shows of its own
    assert "UP_FOR_RETRY" not in ran.log
    assert "up_for_retry" not in ran.log
    assert unfinished(house.settings) == []


def test_a_text_that_names_no_key_is_refused_before_the_task(house: House) -> None:
    with pytest.raises(AssertionError, match="ParamValidationError"):
        run_dag(house, "rewrite_keys", {"key": "../../etc", "grace_s": 0})
    assert unfinished(replace(house).settings) == []
