"""Checks of what Airflow needs: Java and Spark, its own database, DAGs that can be imported, and connections that say
what the shell says.

Airflow is asked in a process of its own, which has two minutes: importing it configures the process for good. Run as a
module (`python -m cloakhouse.flow.health`), this is that process; it prints one line of JSON.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cloakhouse.errors import CloakhouseError
from cloakhouse.flow import health_choices
from cloakhouse.flow.environment import airflow_home, prepare
from cloakhouse.flow.submit import check_java
from cloakhouse.settings import Settings
from cloakhouse.stages.health_model import Found, Health, fine, note, refused, wrong

LIMIT_S = 120.0
CONNECTION = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"  # set where Airflow is deployed, and not started by `make console`
LOGS = "read the logs under airflow/components in CLOAKHOUSE_HOME"


def programs() -> Health:
    """Return whether Java and Spark are there."""
    try:
        check_java()
        found = fine(f"Spark {importlib.metadata.version('pyspark')}, and a Java that it runs on")
    except CloakhouseError as problem:
        found = refused(problem)
    except (importlib.metadata.PackageNotFoundError, subprocess.TimeoutExpired):
        found = wrong(
            "no Spark, or a Java that doesn't answer", "pip install -e '.[platform]', and see that `java` runs"
        )
    return Health("Java and Spark", "Java 17 or newer, and PySpark", found)


def airflow(settings: Settings, limit_s: float = LIMIT_S) -> Iterator[Health]:
    """Yield whether Airflow's database answers at its revision, whether all DAGs can be imported, and whether its
    connections name what this shell does."""
    if not (airflow_home(settings) / "airflow.db").exists() and CONNECTION not in os.environ:
        answer, database = None, note("Airflow never ran here: `cloakhouse run` or `make console` makes its database")
    else:
        answer = _asked(settings, limit_s)
        database = _database(answer)
    yield Health("Airflow's database", "one that answers, at Airflow's revision", database)
    yield Health("DAGs", "all can be imported", note("not looked at without it") if answer is None else _dags(answer))
    if answer is None:
        yield health_choices.as_health(health_choices.of_environment(os.environ))
    else:
        yield health_choices.as_health(answer.get("connections"), health_choices.NO_ANSWER)


def _asked(settings: Settings, limit_s: float) -> dict[str, Any]:
    """Return what the process prints; empty where it doesn't, in time or at all."""
    command = [sys.executable, "-m", "cloakhouse.flow.health"]
    environment = dict(os.environ) if CONNECTION in os.environ else {**os.environ, **prepare(settings)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit_s, check=False)
        found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return {}
    return found


def _database(answer: dict[str, Any]) -> Found:
    if answer.get("database") == "current":
        return fine("answers, at its revision")
    if answer.get("database") == "older":
        return wrong("tables of another revision", "run `airflow db migrate`, or `make console`, which does")
    return wrong("no answer from Airflow within two minutes, or a fault", LOGS)


def _dags(answer: dict[str, Any]) -> Found:
    if "dags" not in answer:
        return wrong("no answer from Airflow within two minutes, or a fault", LOGS)
    if broken := answer["broken"]:
        return wrong(f"{len(broken)} files can't be imported, e.g. {broken[0]}", "`airflow dags list-import-errors`")
    dags = int(answer["dags"])
    return fine(f"{dags} DAGs") if dags else wrong("none", "see that CLOAKHOUSE_PROJECT is the checkout")


def main() -> None:
    """Print what Airflow says; names and counts alone."""
    from airflow.configuration import conf
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils import db

    told: dict[str, Any] = {"database": "current"}
    try:
        db.check_migrations(1)
    except TimeoutError:
        told["database"] = "older"
    except Exception:  # noqa: BLE001  # its text could hold a password
        told["database"] = "away"
    bag = DagBag(conf.get("core", "dags_folder"))
    told |= {"dags": len(bag.dags), "broken": sorted(Path(path).name for path in bag.import_errors)}
    with contextlib.suppress(Exception):  # its text could hold a password; what isn't told is told as not compared
        told["connections"] = health_choices.told_by_airflow()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
