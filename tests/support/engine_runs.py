"""Runs of DAGs on the engines: deliver a file, start a run, wait until it ends, and see that it did all of it once."""

from __future__ import annotations

import http.client
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.airflow.conftest import Console
from tests.support.engine_figures import partitions, steps, unlisted
from tests.support.engines import Engines
from tests.support.fault_proxy import Fault, Rule
from tests.support.house import House
from tests.support.waiting import until

from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.stages.audit_verification import examine

DAG = "protect_transactions"
ENDED = ("success", "failed")
RUN_WITHIN_S = 600.0
POLL_S = 0.5


@dataclass
class EveryNth(Rule):
    """Hits one request in `nth`, with each of `faults` in turn."""

    nth: int = 20
    faults: tuple[Fault, ...] = ()
    hits: int = field(default=0, init=False)
    _seen: int = field(default=0, init=False)

    def takes(self, line: str) -> bool:
        """Return whether this request is hit."""
        self._seen += 1
        if self._seen % self.nth:
            return False
        self.fault = self.faults[self.hits % len(self.faults)]
        self.hits += 1
        return True


def deliver(source: Path, inbox: Path) -> None:
    """Put a file into the inbox as a sender does: under another name first."""
    made = inbox / f".{source.name}.tmp"
    shutil.copyfile(source, made)
    made.replace(inbox / source.name)


def start(console: Console, dag_id: str = DAG, **conf: object) -> str:
    """Start a run and return its id."""
    made = console.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf})
    return str(made["dag_run_id"])


def ended(console: Console, run_id: str, dag_id: str = DAG, limit_s: float = RUN_WITHIN_S) -> str:
    """Return the state in which a run ended, waiting for it; the API may be away meanwhile."""

    def state() -> str | None:
        time.sleep(POLL_S)
        try:
            found = console.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
        except (OSError, http.client.HTTPException):
            return None
        return str(found["state"]) if found["state"] in ENDED else None

    return str(until(state, f"the end of {dag_id}", limit_s))


def pause(console: Console, dag_id: str) -> None:
    """Let assets start no run of a DAG."""
    console.call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": True})


@dataclass(frozen=True)
class Before:
    """What an installation held of transactions before a run: its partitions, and the audit log's steps."""

    held: dict[str, Any]
    steps: Counter[tuple[str, str, str]]
    entries: int

    @classmethod
    def of(cls, engines: Engines) -> Before:
        return cls(partitions(engines.settings), steps(engines.settings), AuditLog(engines.settings.database).size())


def check_once(engines: Engines, before: Before, partition: str, clean: House) -> None:
    """Assert that `partition` was taken whole and once since `before`, as in the installation `clean`, where nothing
    failed: same counts, nothing else changed, each step recorded once, no file left over, the log sound."""
    settings, key = engines.settings, f"transactions {partition}"
    now = partitions(settings)
    assert now[key] == partitions(clean.settings)[key]
    assert {name: held for name, held in now.items() if name != key} == before.held
    assert len(Catalogue(settings.database).deliveries("transactions")[partition]) == 1
    done = steps(settings) - before.steps
    once = {(step, "transactions", "allowed"): 1 for step in ("land", "pseudonymize", "validate")}
    assert {step: number for step, number in done.items() if step[2] == "allowed"} == once
    assert unlisted(settings, "transactions") == set()
    assert not list(settings.inbox.glob(f"transactions-{partition}*"))
    found = examine(settings)
    assert found.sound, found.findings
    assert found.size > before.entries


def failed_attempts(engines: Engines, before: Before) -> list[tuple[str, str]]:
    """Return task and code of the attempts that failed since `before`, as the audit log has them."""
    events = AuditLog(engines.settings.database).events()[before.entries :]
    return [(e.task, e.code) for e in events if e.action == "task" and e.decision == "failed"]
