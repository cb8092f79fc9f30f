"""`cloakhouse run`: the whole path on this machine, on the real engines, in one process and without daemons.

1. what is missing (Java) is said before anything starts;
2. Airflow's metadata database is brought up to date, and asked for connections that choose engines;
3. the sample feed is put into the inbox, except for files whose partitions have landed;
4. each DAG runs through `dag.test()`: feeds first, a referenced one before the one that refers to it, then the
   synthetic datasets and the aggregates; a DAG with nothing to do skips its tasks; at last `keep_audit` signs a
   checkpoint of the audit log and verifies it;
5. the summary is printed from the events of the stages and from the catalogue.

Everything the engines print goes to a log file; the screen shows a line per stage. Run twice, no work is done twice.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import StorageError
from cloakhouse.flow.submit import check_java, end_running_jobs
from cloakhouse.flow.watch import EventWatcher
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.progress import VARIABLE
from cloakhouse.sample import ABOUT_NAME, ALL_WEEKS, parse_weeks, week_start, write_feed
from cloakhouse.settings import Settings

PROCESS = "_AIRFLOW_PROCESS_CONTEXT"  # by which Airflow tells processes that may read its database

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class RunReport:
    """What a local run did, for the summary: per DAG its outcome and seconds, and the stages' events."""

    started: float = field(default_factory=time.monotonic)
    sample_files: int = 0
    dags: dict[str, tuple[bool, float]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    log: Path = Path()

    @property
    def succeeded(self) -> bool:
        """Whether every DAG run ended well."""
        return all(ok for ok, _ in self.dags.values())


def run(
    settings: Settings, weeks: str | None = None, seed: int = 2017, *, sample: bool = True, supersede: bool = False
) -> int:
    """Run the path and print the summary; return 0, 1 when a DAG run failed, 130 when a signal ended it.

    `weeks` narrows the sample feed (`1-4`); `supersede` takes changed files as corrections. Raises
    MissingDependency, ConfigurationError, ContractError, StorageError.
    """
    check_java()
    contracts = load_contracts(settings.contracts)
    chosen = parse_weeks(weeks) if weeks else ALL_WEEKS
    stamp = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S")
    logs = settings.home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    report = RunReport(log=logs / f"run-{stamp}-{os.getpid()}.log")
    events = logs / f"events-{stamp}-{os.getpid()}.jsonl"
    events.touch(mode=0o600)
    with _screen(report.log) as screen:
        from rich.console import Console

        console = Console(file=screen, highlight=False, soft_wrap=True)
        with _environment(settings, events) as settings:
            if sample:
                report.sample_files = _sample(settings, contracts, chosen, seed, console)
            with EventWatcher(events, console) as watcher, _interruptible() as stop:
                for dag_id in _order(contracts):
                    if not stop.is_set():
                        report.dags[dag_id] = _run_dag(dag_id, supersede=supersede)
        if stop.is_set():
            console.print("[bold red]interrupted[/]; nothing half done is visible, the next run goes on from here")
            return 130
        report.events = watcher.events
        from cloakhouse.flow.summary import print_summary

        print_summary(console, settings, contracts, report)
    return 0 if report.succeeded else 1


def _sample(settings: Settings, contracts: dict[str, Contract], weeks: range, seed: int, console: Console) -> int:
    """Put the files of the feed that have not landed into the inbox; return how many were made."""
    landed = landed_files(settings, contracts)
    names = {week_start(week).isoformat() for week in weeks}
    inbox = settings.inbox
    started = time.monotonic()

    def wanted(name: str) -> bool:
        return name not in landed and not (inbox / name).exists()

    summary = write_feed(inbox, weeks=weeks, seed=seed, wanted=wanted)
    made = len(summary.files)
    rows = f"{summary.rows:,} rows in {made} files" if made else "every file of the feed has landed"
    console.print(f"[bold]sample[/]        {'feed':<22} {rows}  [dim]{time.monotonic() - started:.1f} s[/]")
    console.print(f"[dim]{'':<37}{len(names)} weeks; {ABOUT_NAME} in the inbox says what is real[/]")
    return made


def landed_files(settings: Settings, contracts: dict[str, Contract]) -> set[str]:
    """Return the names under which partitions have landed."""
    catalogue = Catalogue(settings.database)
    return {
        contract.feed.file_name(partition)
        for contract in contracts.values()
        if contract.feed is not None
        for partition in catalogue.deliveries(contract.name)
    }


def _order(contracts: dict[str, Contract]) -> list[str]:
    """Return the DAG ids: feeds in the order of their references, then synthetic datasets and aggregates by name, and
    what keeps the audit log."""
    feeds = {name: contract for name, contract in contracts.items() if contract.kind is Kind.FEED}
    ordered: list[str] = []

    def place(name: str, above: Sequence[str] = ()) -> None:
        if name in above or name in ordered:
            return
        for reference in feeds[name].references:
            place(reference, (*above, name))
        ordered.append(name)

    for name in feeds:
        place(name)
    synthetic = [f"publish_{name}" for name, contract in contracts.items() if contract.kind is Kind.SYNTHETIC]
    aggregates = [f"aggregate_{name}" for name, contract in contracts.items() if contract.kind is Kind.AGGREGATE]
    return [f"protect_{name}" for name in ordered] + synthetic + aggregates + ["keep_audit"]


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Yield an event that SIGINT or SIGTERM sets: the first ends the Spark job that runs and lets no DAG run follow,
    a second one ends the process.

    A thread learns of signals through the wake-up descriptor, because Airflow puts its own SIGTERM handler in place
    of ours whenever a task starts.
    """
    stop = threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def follow() -> None:
        while number := reader.recv(1):
            if number[0] not in (signal.SIGINT, signal.SIGTERM):
                continue
            if stop.is_set():
                os._exit(128 + number[0])
            stop.set()
            end_running_jobs()

    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=follow, name="signals", daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()
        thread.join(timeout=5)
        reader.close()


def _run_dag(dag_id: str, *, supersede: bool) -> tuple[bool, float]:
    """Run one DAG with `dag.test()`; return whether it succeeded, and its seconds."""
    from airflow.dag_processing.dagbag import DagBag

    started = time.monotonic()
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    dag = bag.dags[dag_id]
    outcome = dag.test(run_conf={"supersede": True} if supersede and "supersede" in dag.params else None)
    return str(outcome.state) == "success", time.monotonic() - started


@contextlib.contextmanager
def _environment(settings: Settings, events: Path) -> Iterator[Settings]:
    """Airflow's variables for the block, its database up to date; yield the settings with what its connections choose.

    A failing task is not retried here.
    """
    from cloakhouse.flow.environment import prepare

    variables = {**prepare(settings), VARIABLE: str(events), "AIRFLOW__CORE__DEFAULT_TASK_RETRIES": "0"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        _migrate(settings)
        chosen = _chosen()
        os.environ.update(chosen.environment_of_airflow())
        yield chosen
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _chosen() -> Settings:
    """Return the settings that this Airflow's connections choose, read from its database as its servers do."""
    from cloakhouse.flow import engines

    os.environ[PROCESS] = "server"
    try:
        return engines.settings()
    finally:
        del os.environ[PROCESS]


def _migrate(settings: Settings) -> None:
    """Make Airflow's metadata database, or bring it up to date. Raises StorageError."""
    from airflow.utils.db import initdb
    from sqlalchemy.exc import OperationalError

    try:
        initdb()
    except OperationalError:
        raise StorageError(
            where="Airflow's metadata database",
            expected="a database that can be made and migrated",
            found="the system refused (no space, no permission, or locked by another process)",
            not_done="no DAG was run; what has landed waits",
            remedy=f"check space and permissions of {settings.home / 'airflow'}, then run again",
            code="airflow-database",
        ) from None


@contextlib.contextmanager
def _screen(log: Path) -> Iterator[TextIO]:
    """Send file descriptors 1 and 2, and so what children print, to `log`; yield the screen as it was."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept_out, kept_err = os.dup(1), os.dup(2)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    screen = os.fdopen(os.dup(kept_out), "w", encoding="utf-8", errors="replace")
    try:
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        yield screen
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        screen.close()
        os.dup2(kept_out, 1)
        os.dup2(kept_err, 2)
        for descriptor in (kept_out, kept_err, handle):
            os.close(descriptor)
