"""Checks of the machine: room on its disks, its clock, and what killed processes left."""

from __future__ import annotations

import datetime as dt
import email.utils
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from cloakhouse.keys.files import TEMPORARY
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.s3 import S3Store
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.standing import CURRENT, standing
from cloakhouse.settings import Settings
from cloakhouse.stages.health_model import Check, Found, fine, note, wrong

LEAST_FREE, LEAST_SHARE = 2 << 30, 0.05  # bytes, and of the disk: whichever is more
SKEW = dt.timedelta(seconds=5)
DAY = dt.timedelta(days=1)


def disk(settings: Settings, _now: dt.datetime) -> Found:
    """Look at the room on the disks of the home, the cache and temporary files."""
    least: tuple[float, str] | None = None
    for name, folder in (
        ("home", settings.home),
        ("cache", settings.copies),
        ("temporary files", _temporary(settings)),
    ):
        usage = shutil.disk_usage(_existing(folder))
        text = f"{usage.free / (1 << 30):,.1f} GiB free of {usage.total / (1 << 30):,.0f} for {name}"
        if usage.free < max(LEAST_FREE, LEAST_SHARE * usage.total):
            return wrong(text, "free space, or move CLOAKHOUSE_HOME, CLOAKHOUSE_CACHE or TMPDIR to a larger disk")
        least = (usage.free, text) if least is None or usage.free < least[0] else least
    assert least is not None
    return fine(least[1])


def clock(settings: Settings, _now: dt.datetime) -> Found:
    """Compare this machine's clock with those of servers, and with the newest entry of the log."""
    compared = []
    for name, server, ours in _times(settings):
        compared.append(name)
        skew = abs(server - ours)
        if skew > SKEW:
            return wrong(
                f"{skew.total_seconds():,.0f} s beside the clock of {name}", "have a time service set both clocks"
            )
    if standing(settings.database).state == CURRENT:
        log = AuditLog(settings.database)
        if (size := log.size()) and (at := log.entry(size - 1).event.at) and at - dt.datetime.now(dt.UTC) > SKEW:
            return wrong("the newest entry of the log is of a later time", "have a time service set the clock")
    return fine("as " + " and ".join(compared) if compared else "no server to compare with; no entry of a later time")


def leftovers(settings: Settings, now: dt.datetime) -> Found:
    """Look for files and folders that a killed process left more than a day ago."""
    if not settings.home.is_dir():
        return fine("none: there is no home yet")
    old = (now - DAY).timestamp()
    files = [path for path in settings.home.rglob(f".*{TEMPORARY}") if _older(path, old)]
    scratch = [path for path in _temporary(settings).glob(f"{settings.scratch}*") if _older(path, old)]
    if not files and not scratch:
        return fine("none")
    text = f"{len(files)} half-written files and {len(scratch)} temporary folders, older than a day"
    return note(text, "runs remove those of their dataset; remove the others when nothing of this home is running")


def _times(settings: Settings) -> Iterator[tuple[str, dt.datetime, dt.datetime]]:
    """Yield servers with their time and ours, in the middle of the question."""
    url = sa.make_url(settings.database)
    if url.get_backend_name() != "sqlite" and standing(settings.database).state == CURRENT:
        with AuditLog(settings.database).engine.connect() as connection:
            before = dt.datetime.now(dt.UTC)
            theirs = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
            yield "the database", theirs, before + (dt.datetime.now(dt.UTC) - before) / 2
    store = open_store(settings)
    if isinstance(store, S3Store):
        before = dt.datetime.now(dt.UTC)
        answer = store.calls.client().head_bucket(Bucket=store.calls.place.bucket)
        ours = before + (dt.datetime.now(dt.UTC) - before) / 2
        told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        if told:
            yield "the S3 server", email.utils.parsedate_to_datetime(told).astimezone(dt.UTC), ours


def _temporary(settings: Settings) -> Path:
    return Path(os.environ.get("TMPDIR") or settings.home / "tmp")


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _older(path: Path, than: float) -> bool:
    try:
        return path.lstat().st_mtime < than
    except OSError:
        return False  # gone since it was listed


CHECKS = (
    Check("disk space", "2 GiB and 5 % free", disk),
    Check("clock", "at most 5 seconds beside those of servers", clock),
    Check("leftovers", "none older than a day", leftovers, slow=True),
)
