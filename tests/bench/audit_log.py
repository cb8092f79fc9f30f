"""The audit log: events a second from eight processes, each commit durable, and how long a million take to verify."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import resource
import time
from pathlib import Path

from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.audit_query import Query, count_days, page
from cloakhouse.ledger.audit_verify import verify
from cloakhouse.ledger.checkpoints import Checkpoint

PROCESSES = 8
EACH = 10_000  # events of one process
BATCHES = (1, 10, 100)
VERIFIED = 1_000_000
NOON = dt.datetime(2030, 5, 17, 12, tzinfo=dt.UTC)
ACTORS = ("platform", "ann", "bob", "carla")
HEAD = "| audit log, SQLite | entries | rate or time | CPU |\n| --- | --- | --- | --- |"


def measure(folder: Path, entries: int = VERIFIED) -> str:
    """Return the table: appending, by size of the batch; verifying `entries`; one page of them."""
    lines = [HEAD, *(_appending(folder / f"{batch}.db", batch) for batch in BATCHES)]
    log = AuditLog(f"sqlite:///{folder / 'large.db'}")
    for first in range(log.size(), entries, 5_000):
        log.record(*(_event(number) for number in range(first, min(first + 5_000, entries))))
    return "\n".join([*lines, _verifying(log, entries), *_asking(log, entries), ""])


def _appending(path: Path, batch: int) -> str:
    url, commits = f"sqlite:///{path}", max(1, min(EACH // batch, 100))
    AuditLog(url)
    forks = multiprocessing.get_context("fork")
    go = forks.Barrier(PROCESSES + 1)

    def work(number: int) -> None:
        log = AuditLog(url)
        go.wait()
        for _ in range(commits):
            log.record(*(_event(number) for _ in range(batch)))

    children = [forks.Process(target=work, args=(number,)) for number in range(PROCESSES)]
    for child in children:
        child.start()
    go.wait()
    started = time.monotonic()
    for child in children:
        child.join()
    taken, total = time.monotonic() - started, PROCESSES * commits * batch
    found = verify(AuditLog(url))
    assert (found.size, found.sound) == (total, True)
    return f"| {PROCESSES} processes, {batch} a commit | {total:,} | {total / taken:,.0f} events/s | |"


def _verifying(log: AuditLog, entries: int) -> str:
    checkpoints = [Checkpoint("bench", size, log.root(size)) for size in (entries // 2, entries)]
    wall, cpu = time.monotonic(), time.process_time()
    found = verify(log, checkpoints)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    assert (found.sound, len(found.checkpoints)) == (True, 2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| verify, peak {peak:.0f} MiB | {entries:,} | {wall:.0f} s | {cpu:.0f} s |"


def _asking(log: AuditLog, entries: int) -> list[str]:
    lines = []
    for name, query in (
        ("newest page", Query()),
        ("page of one actor", Query(actor="ann")),
        ("page of actor, dataset and decision", Query(actor="bob", dataset="baskets", decision="refused")),
        ("page of a day", Query(since=NOON, until=NOON + dt.timedelta(days=1))),
    ):
        page(log, query, None, 50)
        cpu = time.process_time()
        page(log, query, None, 50)
        lines.append(f"| {name} | {entries:,} | | {(time.process_time() - cpu) * 1000:.1f} ms |")
    cpu = time.process_time()
    count_days(log, NOON.date(), NOON.date() + dt.timedelta(days=13))
    return [*lines, f"| counts of 14 days | {entries:,} | | {(time.process_time() - cpu) * 1000:.1f} ms |"]


def _event(number: int) -> Event:
    return Event(
        ACTORS[number % len(ACTORS)],
        ("read", "publish", "use key")[number % 3],
        f"thing {number}",
        count=number,
        dataset=("", "baskets", "baskets", "customers", "customers")[number % 5],
        decision="refused" if number % 7 == 6 else "allowed",
        run=f"run-{number // 10}",
        at=NOON + dt.timedelta(seconds=30 * number),
    )
