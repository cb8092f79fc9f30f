"""Is this machine's clock that of the servers it works with?

S3 refuses signatures of another time than its own, by 15 minutes; tokens, leases, retention, and the order of consents
go by clocks as well. Each server is asked by itself: one that can't be asked leaves the others compared, and is told.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.clock import midway, time_at, time_of
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.s3 import S3Store
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.standing import CURRENT, standing
from cloakhouse.settings import Settings
from cloakhouse.stages.health_model import Found, fine, note, wrong

SKEW = dt.timedelta(seconds=5)
EXPECTED = f"at most {SKEW.seconds} seconds beside those of servers"
Times = tuple[dt.datetime, dt.datetime]  # theirs, and ours in the middle of the question (UTC)


class _Untold(Exception):
    """A server that answers, and doesn't say what time it is."""


def clock(settings: Settings, _now: dt.datetime) -> Found:
    """Compare this machine's clock with those of servers, and with the newest entry of the log."""
    compared, left = [], []
    for name, ask in ASKED.items():
        try:
            times = ask(settings)
        except Exception as fault:  # noqa: BLE001  # its text could hold a value; that connections fail, another check tells
            left.append(f"{name}: {_why(fault)}")
            continue
        if times is None:
            continue
        compared.append(name)
        skew = abs(times[0] - times[1])
        if skew > SKEW:
            return wrong(
                f"{skew.total_seconds():,.0f} s beside the clock of {name}", "have a time service set both clocks"
            )
    if _has_later_entry(settings):
        return wrong("the newest entry of the log is of a later time", "have a time service set the clock")
    text = "as " + " and ".join(compared) if compared else "no server compared; no entry of a later time"
    return note(f"{text}; not compared with {', '.join(left)}", "see the connections") if left else fine(text)


def _database(settings: Settings) -> Times | None:
    if sa.make_url(settings.database).get_backend_name() == "sqlite" or standing(settings.database).state != CURRENT:
        return None
    with AuditLog(settings.database).engine.connect() as connection:
        before = dt.datetime.now(dt.UTC)
        theirs = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return theirs, midway(before)


def _storage(settings: Settings) -> Times | None:
    """Ask the S3 server. Its refusal says the time, too: that of a signature of another time is one."""
    store = open_store(settings)
    if not isinstance(store, S3Store):
        return None
    from botocore.exceptions import ClientError

    before = dt.datetime.now(dt.UTC)
    try:
        answer: dict[str, Any] = store.calls.client().head_bucket(Bucket=store.calls.place.bucket)
    except ClientError as refusal:
        answer = refusal.response
    told = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if not told:
        raise _Untold
    return time_of(told), midway(before)


ASKED: dict[str, Callable[[Settings], Times | None]] = {
    "the database": _database,
    "the S3 server": _storage,
    "the key service": lambda settings: time_at(settings.keys),
}


def _has_later_entry(settings: Settings) -> bool:
    if standing(settings.database).state != CURRENT:
        return False
    log = AuditLog(settings.database)
    size = log.size()
    at = log.entry(size - 1).event.at if size else None
    return at is not None and at - dt.datetime.now(dt.UTC) > SKEW


def _why(fault: Exception) -> str:
    if isinstance(fault, CloakhouseError):
        return fault.code
    return "it tells no time" if isinstance(fault, _Untold | ValueError) else "no answer"
