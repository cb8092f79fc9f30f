"""What the data path leaves in the audit log: every act, every refusal, in order, and nothing of the data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support import house
from tests.support.acting import Said, by, said, sound
from tests.support.contracts import feed_contract
from tests.support.house import SYNTHETIC, planned
from tests.support.versions import NAME, Shelf

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import AccessRefused, CloakhouseError, ConfigurationError, StorageError, ValidationRefused
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.ledger.versions import Selector
from cloakhouse.settings import Settings
from cloakhouse.stages import pseudonymize
from cloakhouse.stages.collect import collect
from cloakhouse.stages.land import land
from cloakhouse.stages.publish import publish
from cloakhouse.stages.refused_reads import not_read
from cloakhouse.stages.validate import validate_protected
from cloakhouse.stages.version_changes import operator

DAY = "2017-01-02"
MARKER = "Zwetschgenhuber"
GOOD = f"id,name,amount\n1,{MARKER},2.5\n2,Ben,3\n"
CSV = feed_contract()
WHY = "rows of a test store were in it"
SIDES = ("training", "holdout")
RUN = {
    "AIRFLOW_CTX_DAG_ID": "land_people",
    "AIRFLOW_CTX_DAG_RUN_ID": "manual__2026-11-22T15:00:00+00:00",
    "AIRFLOW_CTX_TASK_ID": "land",
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path / "home")})
    made.inbox.mkdir(parents=True)
    return made


def events(settings: Settings) -> list[Event]:
    """Return what was recorded, but for keys."""
    return [e for e in AuditLog(settings.database).events() if not e.action.endswith(" key")]


def full(settings: Settings, action: str) -> None:
    """Have no event of `action` fit into the log any more."""
    with db.open_database(settings.database).begin() as connection:
        what = f"BEFORE INSERT ON audit_entry WHEN NEW.action = '{action}'"
        connection.exec_driver_sql(f"CREATE TRIGGER full {what} BEGIN SELECT RAISE(ABORT, 'full'); END")


def room(settings: Settings) -> None:
    with db.open_database(settings.database).begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER full")


def stopped(work: Callable[[], object]) -> None:
    with pytest.raises((StorageError, sa.exc.SQLAlchemyError)):
        work()


def test_a_house_from_landing_to_publication() -> None:
    found = house.published()
    customers, first, second = 2469, 3722, 31454
    released = found.release().rows
    views = sum(read_manifest(open_store(found.settings), found.release().source)[s]["rows"] for s in SIDES)
    expected: list[Said] = [
        ("land", "customers/2016-12-26", "allowed", 2471),
        ("pseudonymize", "customers/2016-12-26", "allowed", customers),
        ("land", "transactions/2016-12-26", "allowed", 3727),
        ("land", "transactions/2017-01-02", "allowed", 31459),
        ("pseudonymize", "transactions/2016-12-26", "allowed", first),
        ("pseudonymize", "transactions/2017-01-02", "allowed", second),
        ("read", "protected/customers", "allowed", customers),
        ("validate", "customers/2016-12-26", "allowed", customers),
        ("read", "protected/transactions", "allowed", first + second),
        ("validate", "transactions/2016-12-26", "allowed", first),
        ("validate", "transactions/2017-01-02", "allowed", second),
        ("synthesize", SYNTHETIC, "allowed", 0),
        ("read", "protected/customers", "allowed", customers),
        ("read", "protected/transactions", "allowed", first + second),
        ("read", f"views/{SYNTHETIC}", "allowed", views),
        ("read", "protected/customers", "allowed", customers),
        ("validate", SYNTHETIC, "allowed", released),
        ("publish", f"{SYNTHETIC}@1", "allowed", released),
    ]
    assert said(found.settings.database) == expected
    last = events(found.settings)[-1]
    release = found.release()
    assert (last.actor, last.dataset, last.purpose) == ("platform", SYNTHETIC, "operations")
    assert last.facts["evidence"] == release.evidence.sha256 == events(found.settings)[-2].facts["evidence"]
    assert events(found.settings)[-2].facts["synthesis"] == release.source.sha256
    sound(found.settings.database)


def test_landings_and_refusals_name_the_partition_and_no_more_of_the_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in RUN.items():
        monkeypatch.setenv(name, value)
    (settings.inbox / f"people-{DAY}.csv").write_text(GOOD)
    (settings.inbox / "people-2017-01-03.csv").write_text(f"{MARKER},1\n")
    (settings.inbox / f"PEOPLE-{MARKER}.csv").write_text(GOOD)
    land(settings, CSV, [DAY, "2017-01-03", "2017-01-04"])
    found = events(settings)
    assert [(e.action, e.object, e.decision, e.code, e.count) for e in found] == [
        ("land", f"people/{DAY}", "allowed", "", 2),
        ("land", "people/2017-01-03", "refused", "delivery.header", 0),
        ("land", "people/2017-01-04", "refused", "delivery.missing", 0),
        ("land", "people", "refused", "delivery.name", 0),
    ]
    assert {(e.dag, e.run, e.task, e.dataset) for e in found} == {
        ("land_people", RUN["AIRFLOW_CTX_DAG_RUN_ID"], "land", "people")
    }
    assert all(MARKER.encode() not in entry.content for entry in AuditLog(settings.database).entries())


def test_a_refusal_that_comes_before_everything_else_is_recorded(settings: Settings) -> None:
    """The platform is its actor before its keystore is made."""
    assert land(settings, CSV).refused[0]["code"] == "delivery.missing"
    assert said(settings.database) == [("land", "people", "refused", 0)]
    assert events(settings)[0].actor == "platform"


def test_a_delivery_that_cannot_be_recorded_is_not_landed(settings: Settings) -> None:
    land(settings, CSV)
    (settings.inbox / f"people-{DAY}.csv").write_text(GOOD)
    full(settings, "land")
    stopped(lambda: land(settings, CSV))
    assert Catalogue(settings.database).deliveries("people") == {}
    assert (settings.inbox / f"people-{DAY}.csv").exists()
    room(settings)
    assert land(settings, CSV).landed == 1
    assert said(settings.database)[1:] == [("land", f"people/{DAY}", "allowed", 2)]


def test_workers_start_when_it_is_recorded_what_they_read_and_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = house.protected().copy(tmp_path / "home")
    settings, contract = here.settings, here.contracts["transactions"]
    request, _, treater = planned(settings, contract, [DAY], reprocess=True)
    before = AuditLog(settings.database).size()

    def on_spark(_settings: Settings, _contract: Contract, _refs: Any, tasks: Any, *_: Any) -> Iterator[Any]:
        found = AuditLog(settings.database).events()[before:]
        leases = {e.object for e in found if e.facts.get("operation") == "lease"}
        assert leases > {
            *("landing/file/transactions", "protected/direct/transactions", "quarantine/direct/transactions"),
            *("protected/direct/customers", "protected/footer/customers", "tokens/root"),
        }
        assert [(e.object, e.count, e.facts["by"]) for e in found if e.action == "read"] == [
            ("landing/transactions", 31459, "pseudonymization"),
            ("protected/customers", 2469, "references of transactions"),
        ]
        return iter([treater.run(task) for task in tasks])

    monkeypatch.setattr(pseudonymize, "on_spark", on_spark)
    assert pseudonymize.run(settings, request, None).rows == 31454  # type: ignore[arg-type]
    assert said(settings.database)[-1] == ("pseudonymize", f"transactions/{DAY}", "allowed", 31454)
    full(settings, "read")
    stopped(lambda: pseudonymize.run(settings, request, None))  # type: ignore[arg-type]
    room(settings)

    def lost(*_: Any) -> Any:
        raise AccessRefused(
            where="a worker",
            expected="a key",
            found="none",
            not_done="nothing was treated",
            remedy="grant it",
            code="key",
        )

    monkeypatch.setattr(pseudonymize, "on_spark", lost)
    with pytest.raises(AccessRefused):
        pseudonymize.run(settings, request, None)  # type: ignore[arg-type]
    assert said(settings.database)[-1] == ("pseudonymize", "transactions", "refused", 0)


def test_a_read_that_cannot_be_recorded_does_not_happen(tmp_path: Path) -> None:
    here = house.protected().copy(tmp_path / "home")
    before = said(here.settings.database)
    full(here.settings, "read")
    stopped(lambda: validate_protected(here.settings, here.contracts["customers"]))
    room(here.settings)
    assert not here.catalogue.protected("customers")["2016-12-26"].validated
    assert said(here.settings.database) == before


def test_evidence_that_does_not_fit_is_refused_and_recorded(tmp_path: Path) -> None:
    here = house.protected().copy(tmp_path / "home")
    contract = here.contracts[SYNTHETIC]
    content = {"dataset": SYNTHETIC, "contract": {"digest": contract.digest}, "passed": False}
    ref = write_manifest(open_store(here.settings), f"evidence/{SYNTHETIC}", "validation", content)
    with pytest.raises(ValidationRefused):
        publish(here.settings, contract, ref)
    [found] = [e for e in events(here.settings) if e.action == "publish"]
    assert (found.object, found.decision, found.code) == (SYNTHETIC, "refused", "validation.evidence")
    assert found.facts["evidence"] == ref.sha256


def test_changes_of_versions_and_what_was_refused_of_them(tmp_path: Path) -> None:
    shelf = Shelf.at(tmp_path)
    for _ in range(2):
        shelf.publish()
    acting = operator(shelf.settings)
    acting.tag(NAME, 1, "certified")
    acting.withdraw(NAME, 2, WHY)
    acting.withdraw(NAME, 2, WHY)  # is already
    refusals: list[Callable[[], object]] = [
        lambda: acting.expire(NAME, [1], WHY),
        lambda: acting.rollback(NAME, None, WHY),
        lambda: acting.withdraw(f"../{MARKER}", 1, WHY),
    ]
    for refused in refusals:
        with pytest.raises(CloakhouseError):
            refused()
    with pytest.raises(ConfigurationError):
        acting.hold(NAME, 1, f"{MARKER} asked: jane.doe@example.com")
    found = events(shelf.settings)[2:]
    assert [(e.action, e.object, e.decision, e.code, e.reason) for e in found] == [
        ("tag", f"{NAME}@1", "allowed", "", ""),
        ("withdraw", f"{NAME}@2", "allowed", "", WHY),
        ("expire", f"{NAME}@1", "refused", "access.needed", WHY),
        ("roll back", NAME, "failed", "not-found.version", WHY),
        ("withdraw", "another name", "failed", "configuration.name", WHY),
    ]
    assert all(MARKER.encode() not in entry.content for entry in AuditLog(shelf.settings.database).entries())


def test_files_go_once_it_is_recorded_that_they_do(tmp_path: Path) -> None:
    shelf = Shelf.at(tmp_path)
    for _ in range(2):
        shelf.publish()
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    files, now = shelf.files(), dt.timedelta()
    full(shelf.settings, "delete")
    with pytest.raises((StorageError, sa.exc.SQLAlchemyError)):
        raise collect(shelf.settings, dry_run=False, grace=now, datasets=[NAME]).failed[NAME]
    assert shelf.files() == files
    room(shelf.settings)
    done = collect(shelf.settings, dry_run=False, grace=now, datasets=[NAME])
    assert done.files == 3
    assert said(shelf.settings.database)[-3:] == [
        ("delete", f"{NAME}@1", "allowed", 21),
        ("delete", NAME, "allowed", 3),
        ("delete", f"{NAME}@1", "allowed", 21),
    ]
    plan = next(shelf.settings.lake.glob(f"evidence/collections/{NAME}/plan-*.json"))
    assert str(events(shelf.settings)[-2].facts["plan"])[:16] in plan.name


def test_a_version_that_cannot_be_recorded_is_not_published(tmp_path: Path) -> None:
    shelf = Shelf.at(tmp_path)
    shelf.publish()
    full(shelf.settings, "publish")
    stopped(shelf.publish)
    assert [v.version for v in shelf.register.versions(NAME)] == [1]
    room(shelf.settings)
    assert shelf.publish().version == 3  # numbers may have gaps


def test_who_asks_for_what_was_withdrawn_is_recorded_where_that_can_be(
    tmp_path: Path,
) -> None:
    shelf = Shelf.at(tmp_path)
    for _ in range(3):
        shelf.publish()
    shelf.register.withdraw(NAME, 1, by("ann", WHY))
    shelf.register.expire(NAME, [2], by("ann", WHY))
    for number in (1, 2):
        asked = Selector(NAME, version=number)
        with pytest.raises(CloakhouseError) as refusal:
            shelf.register.resolve(asked)
        assert not_read(shelf.settings, asked, refusal.value)
    found = events(shelf.settings)[-2:]
    assert [(e.action, e.object, e.decision, e.code) for e in found] == [
        ("read", f"{NAME}@1", "refused", "withdrawn"),
        ("read", f"{NAME}@2", "failed", "gone"),
    ]
    full(shelf.settings, "read")
    assert not not_read(shelf.settings, asked, refusal.value)
