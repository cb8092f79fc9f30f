"""Every check of the doctor: in order on an installation that is, and wrong where what it looks for is planted."""

from __future__ import annotations

import collections
import datetime as dt
import email.utils
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError
from tests.support.audit_logs import open_to_all
from tests.support.elsewhere import copied
from tests.support.published import PublishedHouse, empty_house

from cloakhouse.errors import CloakhouseError, KeyServiceError
from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.service import service_of
from cloakhouse.lake.manifests import write_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.store.s3_calls import Calls as S3Calls
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import Catalogue, Delivery, ProtectedPartition
from cloakhouse.ledger.forwarding import Positions
from cloakhouse.settings import Settings
from cloakhouse.stages import health_clock, health_machine, health_records
from cloakhouse.stages.checkpointing import checkpoint
from cloakhouse.stages.forwarding import Forwarded
from cloakhouse.stages.health import CHECKS, health
from cloakhouse.stages.health_model import Check, State, fine
from cloakhouse.stages.restored import Closed, write_closed
from cloakhouse.stages.retention_plan import Item
from cloakhouse.stages.retention_plan import State as Due

pytestmark = pytest.mark.embedded
NOW = dt.datetime.now(dt.UTC)
FUTURE = NOW + dt.timedelta(days=400)


@dataclass(frozen=True)
class House:
    """An installation, the test's to damage."""

    settings: Settings


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> PublishedHouse:
    """What `house` is a copy of: a published version, a protected partition, a checkpoint."""
    made = empty_house(tmp_path_factory.mktemp("template") / "home")
    made.publish()
    catalogue = Catalogue(made.settings.database)
    manifest = write_manifest(FolderStore(made.settings.lake), "protected/transactions", "protected", {"rows": 1})
    by = Event("platform", Action.LAND, "transactions")
    catalogue.add_delivery(Delivery("transactions", "2017-01-02", 1, "1" * 64, 1, 1, manifest, NOW), by)
    part = ProtectedPartition("transactions", "2017-01-02", "1" * 64, "1.0.0", 1, 0, True, manifest)
    catalogue.record_protected([part], replace(by, action=Action.PSEUDONYMIZE))
    checkpoint(made.settings)
    return made


@pytest.fixture
def house(template: PublishedHouse, tmp_path: Path) -> House:
    copied(template.home, tmp_path / "home")
    settings = template.settings.with_home(tmp_path / "home")
    shutil.copytree(settings.contracts, tmp_path / "home" / "contracts")
    return House(replace(settings, contracts=tmp_path / "home" / "contracts"))


def look(settings: Settings, what: str, now: dt.datetime | None = None) -> State:
    """Return what became of one check; what is wrong tells what to do."""
    (check,) = (one for one in CHECKS if one.what == what)
    found = check.run(settings, now or dt.datetime.now(dt.UTC)).found
    assert bool(found.remedy) or found.state is not State.WRONG
    return found.state


def change(settings: Settings, *statements: sa.Executable) -> None:
    with db.open_database(settings.database).begin() as connection:
        for statement in statements:
            connection.execute(statement)


def test_an_installation_in_order(house: House) -> None:
    found = {one.what: one.found.state for one in health(house.settings, dt.datetime.now(dt.UTC))}
    assert len(found) == len(CHECKS)
    assert not {what for what, state in found.items() if state in (State.WRONG, State.SKIPPED)}
    fast = {one.what for one in health(house.settings, dt.datetime.now(dt.UTC), fast=True)}
    assert found.keys() - fast == {"log chain", "budgets", "versions", "leftovers"}


def test_looking_makes_and_records_nothing(house: House, tmp_path: Path) -> None:
    log = AuditLog(house.settings.database)
    before, files = log.size(), {path for path in house.settings.home.rglob("*") if "control.db" not in path.name}
    list(health(house.settings, NOW))
    assert log.size() == before
    assert {path for path in house.settings.home.rglob("*") if "control.db" not in path.name} == files
    nowhere = Settings.from_environment({}).with_home(tmp_path / "nowhere")
    states = {one.what: one.found.state for one in health(nowhere, NOW)}
    assert State.WRONG not in states.values()
    assert states["checkpoint"] is states["access policy"] is State.SKIPPED
    assert not nowhere.home.exists()


def test_another_principal_is_not_asked_for_the_platforms_keys(house: House, tmp_path: Path) -> None:
    theirs = replace(house.settings, identity=tmp_path / "model.txt")
    found = {one.what: one.found.state for one in health(theirs, NOW, fast=True)}
    assert found["access policy"] is found["key rotation"] is State.SKIPPED


def test_contracts(house: House) -> None:
    contract = next(house.settings.contracts.glob("*.odcs.yaml"))
    contract.write_text(contract.read_text() + "\n  broken: [")
    assert look(house.settings, "contracts") is State.WRONG
    shutil.rmtree(house.settings.contracts)
    assert look(house.settings, "contracts") is State.WRONG
    house.settings.contracts.mkdir()
    assert look(house.settings, "contracts") is State.WRONG


def test_access_policy(house: House) -> None:
    assert look(house.settings, "access policy") in (State.OK, State.NOTE)
    (house.settings.home / "access-changes.json").write_text("{}")
    assert look(house.settings, "access policy") is State.WRONG
    (house.settings.home / "access-changes.json").unlink()
    seen = house.settings.home / "access-grants.json"
    seen.write_text('{"format": 1, "grants": [["ann", "synthetic/plain", "reporting"]]}')
    assert look(house.settings, "access policy") is State.WRONG
    seen.write_text('{"format": 1, "grants": []}')
    assert look(house.settings, "access policy") in (State.OK, State.NOTE)
    service = service_of(house.settings)
    service.enrol("somebody", identity=house.settings.home / "somebody.txt")  # type: ignore[attr-defined]
    service.grant(Grant("somebody", KeyName("protected/direct"), "analytics"))
    assert look(house.settings, "access policy") is State.WRONG
    assert look(replace(house.settings, policy=house.settings.home / "none.yaml"), "access policy") is State.WRONG


def test_tables(house: House) -> None:
    change(house.settings, sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert look(house.settings, "tables") is State.WRONG
    assert {one.found.state for one in health(house.settings, NOW) if one.what == "checkpoint"} == {State.SKIPPED}


def test_key_rotation(house: House) -> None:
    assert look(house.settings, "key rotation") is State.OK
    assert look(house.settings, "key rotation", FUTURE) is State.WRONG


def test_restored_home(house: House) -> None:
    assert look(house.settings, "restored home") is State.OK
    closed = Closed("full-1", NOW.isoformat(), 3, redo=("e1",))
    for left, told in (
        (closed, "later erasures, persons to be erased again, later consents"),
        (replace(closed, erasures_known=True, erased=True), "later consents"),
    ):
        write_closed(house.settings, left)
        [found] = [one.found for one in health(house.settings, NOW) if one.what == "restored home"]
        assert (found.state, found.text) == (State.WRONG, f"a backup restored and not settled: {told}")
    (house.settings.home / "restored.json").write_text("{")
    assert look(house.settings, "restored home") is State.WRONG


def test_checkpoint(house: House) -> None:
    assert look(house.settings, "checkpoint", FUTURE) is State.OK  # nothing was added since
    AuditLog(house.settings.database).record(Event("p", "alert", "x"))
    assert look(house.settings, "checkpoint") is State.OK
    assert look(house.settings, "checkpoint", FUTURE) is State.WRONG
    open_to_all(AuditLog(house.settings.database))
    forged = sa.func.replace(db.audit_checkpoint.c.note, "cloakhouse/", "claokhouse/")
    change(house.settings, sa.update(db.audit_checkpoint).values(note=forged))
    assert look(house.settings, "checkpoint") is State.WRONG
    change(house.settings, sa.delete(db.audit_checkpoint))
    assert look(house.settings, "checkpoint") is State.NOTE
    assert look(house.settings, "checkpoint", FUTURE) is State.WRONG


def test_log_chain(house: House) -> None:
    open_to_all(AuditLog(house.settings.database))
    log = db.audit_entry
    changed = sa.update(log).where(log.c.number == 2).values(actor="somebody-else")
    change(house.settings, changed)
    assert look(house.settings, "log chain") is State.WRONG
    (one,) = (one for one in health(house.settings, NOW) if one.what == "log chain")
    assert one.found.integrity


def test_budgets(house: House) -> None:
    row = {"dataset": "transactions", "unit": "household", "consumer": "default", "rho": 1, "delta": 0, "reason": ""}
    row |= {"spend_id": "planted", "purpose": "p", "state": "committed", "reserved_at": NOW}
    change(house.settings, sa.insert(db.privacy_spend).values(row))
    assert look(house.settings, "budgets") is State.WRONG


def test_versions(house: House) -> None:
    file = next((house.settings.lake / "synthetic").rglob("*.parquet"))
    kept = file.read_bytes()
    file.unlink()
    assert look(house.settings, "versions") is State.WRONG
    file.write_bytes(kept)
    assert look(house.settings, "versions") is State.OK
    for manifest in (house.settings.lake / "protected" / "transactions").rglob("*.json"):
        manifest.write_bytes(b"{}")
    assert look(house.settings, "versions") is State.WRONG


def test_retention(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def due(days: int) -> Callable[..., list[Item]]:
        at = NOW - dt.timedelta(days=days)
        return lambda *_: [Item("transactions", "landing", "2017-01-02/1", at, at, 1, Due.DUE)]

    monkeypatch.setattr(health_records, "plan", due(0))
    assert look(house.settings, "retention") is State.OK  # tonight's
    monkeypatch.setattr(health_records, "plan", due(2))
    assert look(house.settings, "retention") is State.WRONG


def test_erasures(house: House) -> None:
    row = {"batch": "er-1", "state": "open", "actor": "a", "reason": "r", "subjects": 1, "request_path": "p"}
    change(house.settings, sa.insert(db.erasure).values({**row, "request_sha256": "0" * 64, "requested_at": NOW}))
    for days, state in ((1, State.OK), (25, State.NOTE), (31, State.WRONG)):
        assert look(house.settings, "erasures", NOW + dt.timedelta(days=days)) is state


def test_receivers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Positions(house.settings.database).all() == []
    for backlog, trouble, state in (
        (5, "", State.OK),
        (10_001, "", State.WRONG),
        (1, "forwarding.refused", State.WRONG),
    ):
        found = (Forwarded("siem", 0, backlog, trouble),)
        monkeypatch.setattr(health_records, "waiting", lambda _, found=found: found)
        assert look(house.settings, "receivers") is state


def test_backups(house: House) -> None:
    assert look(house.settings, "backups") is State.NOTE
    log = AuditLog(house.settings.database)
    log.record(Event("p", Action.BACK_UP, "x"))
    assert look(house.settings, "backups") is State.NOTE  # begun, and maybe killed
    log.record(Event("p", Action.FINISH_BACKUP, "x"))
    assert look(house.settings, "backups") is State.OK
    assert look(house.settings, "backups", FUTURE) is State.WRONG


def test_backups_of_the_rights_alone_and_failed_ones_are_none(house: House) -> None:
    log = AuditLog(house.settings.database)
    for action in (Action.BACK_UP, Action.FINISH_BACKUP):
        log.record(Event("p", action, "x", facts={"kind": "rights"}))
    assert look(house.settings, "backups") is State.NOTE
    log.record(Event("p", Action.FINISH_BACKUP, "y", facts={"kind": "full"}))
    begun = log.record(Event("p", Action.BACK_UP, "z", facts={"kind": "full"}))
    log.record(Event("p", Action.BACK_UP, "z", decision="failed", facts={"entry": begun}))
    assert look(house.settings, "backups") is State.OK
    assert "1 begun since and not finished" in health_records.backups(house.settings, NOW).text


def test_disk_space(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = collections.namedtuple("usage", "total used free")  # as shutil's
    for free, state in ((200 << 30, State.OK), (1 << 30, State.WRONG), (40 << 30, State.WRONG)):
        monkeypatch.setattr(health_machine.shutil, "disk_usage", lambda _, free=free: usage(1 << 40, 0, free))
        assert look(house.settings, "disk space") is state


def test_clock(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(house.settings, "clock") is State.OK
    for skew, state in ((1, State.OK), (60, State.WRONG), (-60, State.WRONG)):
        times = NOW + dt.timedelta(seconds=skew), NOW
        monkeypatch.setitem(health_clock.ASKED, "the key service", lambda _, times=times: times)
        assert look(house.settings, "clock") is state
    monkeypatch.setitem(health_clock.ASKED, "the key service", lambda _: None)
    AuditLog(house.settings.database).record(Event("p", "alert", "x", at=NOW + dt.timedelta(hours=3)))
    assert look(house.settings, "clock") is State.WRONG


def test_a_server_that_is_not_compared_is_told_and_hides_no_other(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_settings: Settings) -> None:
        raise KeyServiceError(where="kms", expected="x", found="y", not_done="z", remedy="w", code="unreachable")

    monkeypatch.setitem(health_clock.ASKED, "the key service", away)
    found = health_clock.clock(house.settings, NOW)
    assert (found.state, "not compared with the key service: key.unreachable" in found.text) == (State.NOTE, True)
    monkeypatch.setitem(health_clock.ASKED, "another", lambda _: (NOW + dt.timedelta(minutes=16), NOW))
    assert look(house.settings, "clock") is State.WRONG


@pytest.mark.parametrize("refused", [False, True])
def test_the_clock_of_an_s3_server_that_refuses_signatures_of_another_time(
    house: House, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    headers = {"date": email.utils.format_datetime(dt.datetime.now(dt.UTC) - dt.timedelta(minutes=20), usegmt=True)}
    answer = {"Error": {"Code": "403"}, "ResponseMetadata": {"HTTPHeaders": headers}}

    class Client:
        def head_bucket(self, **_: str) -> dict[str, object]:
            if refused:
                raise ClientError(answer, "HeadBucket")  # type: ignore[arg-type]
            return answer

    there = replace(house.settings, store="s3://bucket/lake?region=eu-west-1")
    monkeypatch.setattr(S3Calls, "client", lambda _: Client())
    found = health_clock.clock(there, NOW)
    assert (found.state, "s beside the clock of the S3 server" in found.text) == (State.WRONG, True)
    assert "1,2" in found.text  # 20 minutes
    headers.clear()
    found = health_clock.clock(there, NOW)
    assert (found.state, "the S3 server: it tells no time" in found.text) == (State.NOTE, True)


def test_leftovers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    left = house.settings.lake / "protected" / ".part-00000.parquet.x.tmp"
    left.touch()
    assert look(house.settings, "leftovers") is State.OK  # somebody may be writing it
    two_days_ago = NOW.timestamp() - 2 * 86_400
    os.utime(left, (two_days_ago, two_days_ago))
    assert look(house.settings, "leftovers") is State.NOTE


def test_what_raises_is_wrong_and_told_without_its_text() -> None:
    def bad(*_: object) -> None:
        raise RuntimeError("jane@example.org")

    found = Check("x", "y", bad).run(Settings.from_environment({}), NOW)  # type: ignore[arg-type]
    assert found.found.state is State.WRONG
    assert "jane" not in str(found)
    assert not issubclass(RuntimeError, CloakhouseError)
    assert Check("x", "y", lambda *_: fine("z")).run(Settings.from_environment({}), NOW).as_dict()["ok"] is True
