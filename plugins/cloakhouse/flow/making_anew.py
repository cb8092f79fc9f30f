"""A derived dataset is made anew after an erasure, as its DAG makes it: plan, run, validate, publish, report.

What it costs is spent again, of the privacy budget too. Where the platform refuses (no budget left, too few units, a
gate that isn't passed), where an approver has to agree, or where its contract is gone, the dataset isn't made again:
that, and the code of the refusal, is what the erasure records, and the name stands for an older version or for none.
What may pass by itself is raised: the erasure stays open, and goes on when it is run again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError, StageError
from cloakhouse.flow.environment import airflow_home, prepare
from cloakhouse.flow.submit import CONNECTION, Cluster, cluster_at, run_job
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister, VersionState
from cloakhouse.settings import Settings

REFUSALS = ("access.budget", "validation", "contract", "not-found", "withdrawn", "gone")  # codes, or their first part
MOVED = "stage.overtaken"  # somebody asked for an erasure meanwhile, or called one off
ATTEMPTS = 3
ASK_S = 120.0
ASK = """
import json, os, sys
os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
from cloakhouse.flow.lookup import lookup
found = lookup(sys.argv[1])
print(json.dumps([found.host, found.port, dict(found.extra)] if found else [None, None, None]))
"""


@dataclass(frozen=True)
class Anew:
    """What became of a dataset: the version that was made anew, or None and why not (a code)."""

    dataset: str
    version: int | None = None
    rows: int = 0
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return dict(vars(self))


def make_anew(settings: Settings, dataset: str, cluster: Cluster) -> Anew:
    """Make `dataset` anew from what stands now and return what became of it; a version that stands already stays.

    Raises StageError, StorageError, KeyServiceError, AccessRefused, MissingDependency.
    """
    contract = load_contracts(settings.contracts).get(dataset)
    if contract is None or contract.kind is Kind.FEED:
        return Anew(dataset, why="contract.none")
    if contract.approval is not None:
        return Anew(dataset, why="approval")  # its DAG asks for it
    make = _synthesized if contract.kind is Kind.SYNTHETIC else _answered
    for left in reversed(range(ATTEMPTS)):
        try:
            version = make(settings, contract, cluster)
            break
        except CloakhouseError as refusal:
            if refusal.code == MOVED and left:
                continue
            if not refusal.code.startswith(REFUSALS):
                raise
            return Anew(dataset, why=refusal.code)
    return Anew(dataset, version.version, version.rows)


def _synthesized(settings: Settings, contract: Contract, cluster: Cluster) -> DatasetVersion:
    from cloakhouse.stages.publish import publish
    from cloakhouse.stages.reporting import write_report
    from cloakhouse.stages.synthesize import plan
    from cloakhouse.stages.validate_release import validate_synthetic

    request = plan(settings, contract)
    if request is None:
        return _newest(settings, contract)
    arguments = ("--request", request.path, "--sha256", request.sha256)
    made = run_job(cluster.job("synthesize", arguments), settings)
    evidence = validate_synthetic(settings, contract, ManifestRef.of(made))
    version = publish(settings, contract, evidence)
    write_report(settings, version)
    return version


def _answered(settings: Settings, contract: Contract, _cluster: Cluster) -> DatasetVersion:
    from cloakhouse.stages.aggregate import aggregate
    from cloakhouse.stages.publish_answer import publish_answer
    from cloakhouse.stages.reporting import write_report

    answer = aggregate(settings, contract)
    if not isinstance(answer, ManifestRef):
        return _newest(settings, contract)
    version = publish_answer(settings, contract, answer)
    write_report(settings, version)
    return version


def _newest(settings: Settings, contract: Contract) -> DatasetVersion:
    """Return the newest published version: a call before this one made it."""
    versions = VersionRegister(settings.database).versions(contract.name)
    published = [version for version in versions if version.state is VersionState.PUBLISHED]
    if not published:
        raise StageError(
            where=f"dataset {contract.name}",
            expected="the version that these inputs were published as",
            found="one that is withdrawn or gone",
            not_done="nothing was made anew",
            remedy="see `cloakhouse versions` for what became of it, then go on with the erasure",
            code="anew",
        )
    return published[-1]


def cluster_of(settings: Settings) -> Cluster:
    """Return where Spark runs by Airflow's connection `spark`, for processes that aren't Airflow's; local without one.

    Airflow is asked in a process of its own, since importing it changes the environment. Raises StageError.
    """
    known = settings.airflow_database or (airflow_home(settings) / "airflow.db").exists()
    if f"AIRFLOW_CONN_{CONNECTION.upper()}" not in os.environ and not known:
        return Cluster()
    command = [sys.executable, "-c", ASK, CONNECTION]
    environment = {**os.environ, **prepare(settings)}
    asked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=ASK_S, check=False)
    try:
        host, port, extra = json.loads(asked.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise _unasked(f"no answer, exit code {asked.returncode}") from None
    return cluster_at(host, port, extra)


def _unasked(found: str) -> StageError:
    return StageError(
        where=f"Airflow's connection {CONNECTION}",
        expected="the Spark master, or that there is no such connection",
        found=found,
        not_done="nothing was made anew",
        remedy=f"see `airflow connections get {CONNECTION}`, then go on with the erasure",
        code="connection",
    )
