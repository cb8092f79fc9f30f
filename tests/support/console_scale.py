"""An installation of a size: 1,000 datasets of ten versions each, and as many events in four weeks as asked."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import sqlalchemy as sa
from tests.support.console import fill, simulated
from tests.support.published import empty_house

from cloakhouse.ledger import database as db
from cloakhouse.settings import Settings

DATASETS = 1_000
ASKED = (
    "/",
    "/datasets",
    "/datasets?page=11",
    "/datasets?name=42",
    "/datasets/people_synthetic",
    "/datasets/people_synthetic/1",
    "/datasets/dataset_0500",
    "/budgets",
    "/keys",
    "/access",
    "/approvals",
    "/requests",
    "/alerts",
    "/log",
    "/log?decision=refused",
    "/log?decision=failed&action=read&actor=person-3",
    "/log?actor=person-3&action=detokenize&since={late}&until={late_end}",
    "/log?since={early}&until={early_end}",
    "/log?actor=nobody",
    "/log?before={half}&dataset=dataset_0500",
    "/log/{half}",
    "/downloads",
)


def pages(events: int) -> list[str]:
    """Return the addresses that are asked, of an installation with so many events, the newest of them of now."""
    today = dt.datetime.now(dt.UTC).date()
    days = {"early": 26, "early_end": 25, "late": 12, "late_end": 11}  # so many days ago
    asked = {name: (today - dt.timedelta(days=ago)).isoformat() for name, ago in days.items()}
    return [path.format(half=events // 2, **asked) for path in ASKED]


def large(home: Path, events: int) -> Settings:
    """Return the settings of a new installation in `home`."""
    house = empty_house(home)
    house.publish()
    names = [f"dataset_{n:04d}" for n in range(DATASETS)]
    engine, now = db.open_database(house.settings.database), dt.datetime.now(dt.UTC)
    common = {
        "zone": "synthetic",
        "rows": 1_000,
        "manifest_path": "x",
        "manifest_sha256": "0" * 64,
        "published_at": now,
    }
    versions = [
        {**common, "dataset": name, "version": v, "fingerprint": f"{v:064x}", "state": "published", "reason": ""}
        for name in names
        for v in range(1, 11)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(db.dataset_version), versions)
        connection.execute(sa.insert(db.dataset_head), [{"dataset": n, "version": 10, "reserved": 10} for n in names])
        partitions = [
            {
                "dataset": f"feed_{n:03d}", "partition": f"2026-{w:02d}", "delivery_sha256": "0" * 64, "rows": 9,
                "contract_version": "1.0.0", "quarantined": 0, "validated": True, "manifest_path": "x",
                "manifest_sha256": "0" * 64, "updated_at": now,
            }
            for n in range(100)
            for w in range(100)
        ]  # fmt: skip
        connection.execute(sa.insert(db.protected_partition), partitions)
        for row in connection.execute(sa.text("select name from sqlite_master where type = 'trigger'")).fetchall():
            connection.exec_driver_sql(f"drop trigger {row[0]}")
        connection.execute(sa.delete(db.audit_entry))
    assert fill(house.settings, simulated(events, names, now - dt.timedelta(days=28))) == events
    with engine.begin() as connection:
        note = {"size": events, "at": now, "note": "a note\n1\n\n"}
        connection.execute(sa.insert(db.audit_checkpoint), [note])
    return house.settings
