"""The governed lake: reading (`tests.bench.lake_reading`), publishing, listing, collecting, and a client that starts.

What isn't measured is made without ceremony: files of a few bytes for the collector, rows of the register in bulk.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import sqlalchemy as sa
from tests.bench import lake_reading
from tests.support import databases
from tests.support.acting import by
from tests.support.budgets import installation
from tests.support.versions import AT, NAME, OLD, REF, Shelf, fingerprint, release, row

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.releases import SIGNER, write_release
from cloakhouse.lake.sums import FileEntry
from cloakhouse.ledger import database as db
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.publish_release import make_visible
from cloakhouse.stages.signing import signing_key

PUBLISHED_FILES = 10_000
DATASETS, VERSIONS = 1_000, 100
COLLECTED_FILES = (10_000, 100_000)
FILES_PER_VERSION = 1_000
ROUNDS = 7
COLLECT = """
import datetime as dt, json, sys, time
from pathlib import Path
from cloakhouse.settings import Settings
from cloakhouse.stages.collect import collect
settings = Settings.from_environment()
status = lambda: dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
wall, cpu = time.perf_counter(), time.process_time()
done = collect(settings, dry_run=sys.argv[1] == "dry", grace=dt.timedelta(0), datasets=[sys.argv[2]])
assert not done.failed and not done.left, (done.failed, done.left)
spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
print(json.dumps({"files": done.files, "rss": int(status()["VmHWM"].split()[0]) * 1024, **spent}))
"""
DATASETS_CALL = """
import time
import cloakhouse
lake = cloakhouse.connect()
for _ in range(2):
    before = time.perf_counter()
    assert len(lake.datasets()) == int(__import__("sys").argv[1])
    print(time.perf_counter() - before)
"""


def measure(folder: Path, *, large: bool = False) -> str:
    """Return the tables of the lake; `large` collects 100,000 files, too."""
    folder.mkdir(parents=True)
    tables = (
        lake_reading.measure(folder / "reading"),
        _publishing(folder / "publishing"),
        _listing(folder / "listing"),
        _collecting(folder / "collecting", COLLECTED_FILES if large else COLLECTED_FILES[:1]),
    )
    shutil.rmtree(folder)
    return "\n".join(tables)


def _publishing(folder: Path) -> str:
    """Publish a version of many files: each is compared with its entry, and opened under its footer's key."""
    shelf = Shelf.at(folder)
    contract = replace(next(iter(load_contracts(shelf.settings.contracts).values())), name=NAME)
    store = TableStore(shelf.store, open_ring(shelf.settings))
    classes = {"n": ColumnClass.PLAIN, "m": ColumnClass.SENSITIVE}
    table = pa.table({"n": [1, 2, 3], "m": [1.0, 2.0, 3.0]})
    started = _now()
    files = tuple(
        store.write(f"synthetic/{NAME}/run/part-{n:05}.parquet", table, classes) for n in range(PUBLISHED_FILES)
    )
    written = _now()
    columns = tuple({"name": name, "type": "number", "class": classes[name].value} for name in table.column_names)
    made = release(columns=columns, files=files, rows=3 * len(files), parents={})
    content = made.as_dict() | {"columns": columns, "source": REF.as_dict()}
    make_visible(shelf.settings, contract, "synthetic", content, Progress.of("publish", NAME))
    published = _now()
    shutil.rmtree(folder)
    lines = [
        f"| {PUBLISHED_FILES:,} files of {files[0].bytes:,} bytes, local disk | wall, s | CPU, s | target |",
        "| --- | --- | --- | --- |",
        f"| writing them, encrypted, with fsync | {_spent(started, written)} | |",
        f"| publishing them | {_spent(written, published)} | 20 s or less |",
    ]
    return "\n".join([*lines, ""])


def _listing(folder: Path) -> str:
    """List the datasets of a large register, by the client and by the command, on both databases."""
    lines = [
        f"| {DATASETS:,} datasets x {VERSIONS} versions, wall, best of {ROUNDS} | SQLite | PostgreSQL | target |",
        "| --- | --- | --- | --- |",
    ]
    columns = []
    for kind in ("sqlite", "postgresql"):
        settings = installation(folder / kind)
        with databases.fresh(kind, folder / kind) as url:
            settings = replace(settings, database=url)
            _fill(settings)
            columns.append(_answers(settings))
    for what, target in _ANSWERS.items():
        lines.append(f"| {what} | " + " | ".join(f"{found[what]:.3f} s" for found in columns) + f" | {target} |")
    shutil.rmtree(folder)
    return "\n".join([*lines, ""])


_ANSWERS = {
    "`Lake.datasets()`, the first of a process": "0.5 s or less",
    "`Lake.datasets()`, again": "0.5 s or less",
    "`cloakhouse datasets`, a process": "",
    "`cloakhouse datasets --output json`, a process": "",
    "`python -c 'import cloakhouse'`, a process": "0.5 s or less",
    "`import cloakhouse; cloakhouse.connect()`, a process": "0.5 s or less",
    "`python -c pass`, a process": "",
}


def _answers(settings: Settings) -> dict[str, float]:
    """Return the wall seconds of each of `_ANSWERS`, in turns, the best of several."""
    program = str(Path(sys.executable).parent / "cloakhouse")
    processes = {
        "`cloakhouse datasets`, a process": (program, "datasets"),
        "`cloakhouse datasets --output json`, a process": (program, "datasets", "--output", "json"),
        "`python -c 'import cloakhouse'`, a process": (sys.executable, "-c", "import cloakhouse"),
        "`import cloakhouse; cloakhouse.connect()`, a process": (
            sys.executable,
            "-c",
            "import cloakhouse; cloakhouse.connect()",
        ),
        "`python -c pass`, a process": (sys.executable, "-c", "pass"),
    }
    best = dict.fromkeys(_ANSWERS, float("inf"))
    for _ in range(ROUNDS):
        calls = _run(settings, sys.executable, "-c", DATASETS_CALL, str(DATASETS)).split()
        for what, seconds in zip(_ANSWERS, calls, strict=False):
            best[what] = min(best[what], float(seconds))
        for what, command in processes.items():
            before = time.perf_counter()
            _run(settings, *command)
            best[what] = min(best[what], time.perf_counter() - before)
    return best


def _fill(settings: Settings) -> None:
    """Give the register many versions, one in ten tagged, as publishing them would."""
    with db.open_database(settings.database).begin() as connection:
        for number in range(DATASETS):
            name = f"dataset_{number:04}"
            made = [vars(row(release(v, name))) for v in range(1, VERSIONS + 1)]
            fields = ("dataset", "version", "fingerprint", "zone", "rows", "published_at")
            ref = {"manifest_path": REF.path, "manifest_sha256": REF.sha256, "state": "published", "reason": ""}
            rows = [{field: version[field] for field in fields} | ref for version in made]
            connection.execute(sa.insert(db.dataset_version), rows)
            event = {"at": AT, "action": "publish", "actor": "ann", "reason": ""}
            events = [{"dataset": name, "version": v, "detail": f"head {v}"} | event for v in range(1, VERSIONS + 1)]
            connection.execute(sa.insert(db.version_event), events)
            head = {"dataset": name, "version": VERSIONS, "reserved": VERSIONS}
            connection.execute(sa.insert(db.dataset_head), head)
            tags = [{"dataset": name, "version": v, "tag": "certified", "tagged_at": AT} for v in range(10, 101, 10)]
            connection.execute(sa.insert(db.version_tag), tags)


def _collecting(folder: Path, sizes: tuple[int, ...]) -> str:
    """Collect versions of 1,000 files each, all but the newest expired; as many files again that nothing lists."""
    lines = [
        f"| collecting versions of {FILES_PER_VERSION:,} files each | files removed | CPU for 1,000 files, s | wall, s "
        "| peak memory | target |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for files in sizes:
        shelf = Shelf.at(folder / str(files))
        _expired(shelf, files)
        for how in ("dry", "real"):
            found = json.loads(_run(shelf.settings, sys.executable, "-c", COLLECT, how, NAME).splitlines()[-1])
            assert found["files"] == files
            what = f"{files:,} files" + (", a dry run" if how == "dry" else "")
            lines.append(
                f"| {what} | {found['files'] if how == 'real' else 0:,} | {found['cpu'] / files * 1e3:.3f} "
                f"| {found['wall']:.1f} | {found['rss'] / 2**20:.0f} MiB | flat memory |"
            )
        shutil.rmtree(folder / str(files))
    return "\n".join([*lines, ""])


def _expired(shelf: Shelf, files: int) -> None:
    """Publish so many versions that `files` may go: half of them are of versions that are expired then."""
    register, signer = shelf.register, signing_key(shelf.settings, SIGNER)
    versions = files // FILES_PER_VERSION // 2
    for _ in range(versions + 1):
        number = register.reserve(NAME, fingerprint(register.reserved(NAME) + 1))
        assert isinstance(number, int)
        home = f"synthetic/{NAME}/{fingerprint(number)[:12]}-0a0b0c0d"
        paths = [f"{home}/part-{n:05}.parquet" for n in range(FILES_PER_VERSION)]
        unlisted = [f"{home}/left-{n:05}.parquet" for n in range(FILES_PER_VERSION)] if number <= versions else []
        (shelf.settings.lake / home).mkdir(parents=True)
        moment = dt.datetime.now().timestamp() - OLD
        for path in (*paths, *unlisted):
            (shelf.settings.lake / path).write_bytes(b"PARE")
            os.utime(shelf.settings.lake / path, (moment, moment))
        entries = tuple(FileEntry(path, 4, 1, "0" * 64) for path in paths)
        made = release(number, files=entries, rows=len(entries))
        register.publish(row(made, write_release(shelf.store, signer, made)), by("ann"))
    register.expire(NAME, range(1, versions + 1), by("ann", "a measure"))


def _run(settings: Settings, *command: str) -> str:
    """Return what a process of the installation printed."""
    environment: Mapping[str, str] = {**os.environ, **{k: v for k, v in settings.environment().items() if v}}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _spent(before: tuple[float, float], after: tuple[float, float]) -> str:
    return " | ".join(f"{end - start:.1f}" for start, end in zip(before, after, strict=True))
