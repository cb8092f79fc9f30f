from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.acting import by
from tests.support.contracts import feed_contract
from tests.support.crash import limit_file_size
from tests.support.forks import at_once
from tests.support.processes import in_fork

from cloakhouse.errors import ContractError, StageError, StorageError
from cloakhouse.ledger import database
from cloakhouse.ledger.catalogue import Catalogue, Delivery, ManifestRef, ProtectedPartition

REF = ManifestRef("landing/people/x.json", "a" * 64)
NOW = dt.datetime(2017, 1, 3, 4, 5, 6, tzinfo=dt.UTC)
DELIVERY = Delivery("people", "2017-01-02", 1, "b" * 64, 7, 100, REF, NOW)
PARTITION = ProtectedPartition("people", "2017-01-02", "b" * 64, "1.0.0", 6, 1, False, REF)


@pytest.fixture
def catalogue(url: str) -> Catalogue:
    return Catalogue(url)


def test_a_contract_may_not_change_under_its_version(catalogue: Catalogue, url: str) -> None:
    contract = feed_contract()
    for known in (catalogue, catalogue, Catalogue(url)):
        known.register_contract(contract)
    changed = feed_contract(after="keep")
    with pytest.raises(ContractError) as refusal:
        Catalogue(url).register_contract(changed)
    assert refusal.value.code == "contract.changed"
    assert contract.digest[:12] in refusal.value.expected
    assert changed.digest[:12] in refusal.value.found
    assert "raise its version" in refusal.value.remedy
    catalogue.register_contract(feed_contract(after="keep", version="1.0.1"))
    catalogue.register_contract(contract)
    catalogue.register_contract(feed_contract("others"))


def test_deliveries_come_back_by_partition_and_revision(catalogue: Catalogue, url: str) -> None:
    later = replace(DELIVERY, revision=2, sha256="c" * 64)
    other = replace(DELIVERY, partition="2017-01-09")
    for delivery in (later, other, DELIVERY, replace(DELIVERY, dataset="others")):
        catalogue.add_delivery(delivery, by())
    assert Catalogue(url).deliveries("people") == {"2017-01-02": [DELIVERY, later], "2017-01-09": [other]}
    assert catalogue.deliveries("nobody") == {}
    with pytest.raises(StageError) as refusal:
        catalogue.add_delivery(replace(DELIVERY, sha256="d" * 64), by())
    assert refusal.value.code == "stage.conflict"
    assert catalogue.deliveries("people")["2017-01-02"][0] == DELIVERY


def test_protected_partitions_are_replaced_together(catalogue: Catalogue) -> None:
    second = replace(PARTITION, partition="2017-01-09")
    catalogue.record_protected([second, PARTITION], by())
    assert list(catalogue.protected("people")) == ["2017-01-02", "2017-01-09"]
    newer = replace(PARTITION, rows=9, manifest=ManifestRef("y", "c" * 64))
    catalogue.record_protected([newer], by())
    assert catalogue.protected("people") == {"2017-01-02": newer, "2017-01-09": second}
    assert catalogue.protected("others") == {}

    def both() -> None:
        catalogue.record_protected([replace(newer, rows=10), replace(second, rows=None)], by())  # type: ignore[type-var]

    with pytest.raises(sa.exc.IntegrityError):
        both()
    assert catalogue.protected("people") == {"2017-01-02": newer, "2017-01-09": second}


def test_validation_marks_the_manifests_that_were_checked(catalogue: Catalogue) -> None:
    other = replace(PARTITION, partition="2017-01-09", manifest=ManifestRef("y", "c" * 64))
    catalogue.record_protected([PARTITION, other], by())
    catalogue.mark_validated("people", [REF, ManifestRef("z", "d" * 64)], by())
    catalogue.mark_validated("others", [other.manifest], by())
    catalogue.mark_validated("people", [], by())
    assert [p.validated for p in catalogue.protected("people").values()] == [True, False]
    catalogue.record_protected([PARTITION], by())
    assert not catalogue.protected("people")["2017-01-02"].validated


def test_eight_processes_register_one_contract(url: str) -> None:
    def register(number: int) -> list[str]:
        after = "keep" if number % 2 else "delete"
        try:
            Catalogue(url).register_contract(feed_contract(after=after))
        except ContractError as refusal:
            return [refusal.code]
        return [after]

    outputs = at_once(register, 8)
    winner = {"keep", "delete"} & set(outputs)
    assert len(winner) == 1
    assert sorted(outputs) == sorted([*winner] * 4 + ["contract.changed"] * 4)


def test_sqlite_is_durable(sqlite_url: str) -> None:
    engine = database.open_database(sqlite_url)
    with engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar_one() == 2  # FULL
        assert connection.execute(sa.text("PRAGMA foreign_keys")).scalar_one() == 1
        assert connection.execute(sa.text("PRAGMA busy_timeout")).scalar_one() == 30_000
        assert connection.execute(sa.text("PRAGMA integrity_check")).scalar_one() == "ok"


def test_the_tables_survive_being_opened_again(url: str, catalogue: Catalogue) -> None:
    catalogue.add_delivery(DELIVERY, by())
    for _ in range(3):
        database.open_database(url)
    assert Catalogue(url).deliveries("people") == {"2017-01-02": [DELIVERY]}


def test_no_statement_shows_its_values(catalogue: Catalogue) -> None:
    with pytest.raises(sa.exc.IntegrityError) as fault:
        catalogue.record_protected([replace(PARTITION, delivery_sha256=None, contract_version="Zwetsch")], by())  # type: ignore[type-var]
    assert "Zwetsch" not in str(fault.value)


def test_a_full_disk_is_a_storage_error_and_loses_nothing(sqlite_url: str) -> None:
    url, catalogue = sqlite_url, Catalogue(sqlite_url)
    catalogue.add_delivery(DELIVERY, by())

    def child() -> None:
        known = Catalogue(url)
        limit_file_size(64 << 10)

        def fill() -> None:
            for number in range(2, 10_000):
                known.add_delivery(replace(DELIVERY, revision=number, manifest=ManifestRef("x" * 4000, "a" * 64)), by())

        with pytest.raises(StorageError) as refusal:
            fill()
        assert refusal.value.code == "storage.database"
        assert "xxx" not in str(refusal.value)

    assert in_fork(child) == 0
    assert Catalogue(url).deliveries("people")["2017-01-02"][0] == DELIVERY


@pytest.mark.parametrize("content", [b"id,name\n" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_another_file_in_place_of_the_database(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "control.db").write_bytes(content)
    with pytest.raises(StorageError) as refusal:
        Catalogue(f"sqlite:///{tmp_path}/control.db")
    assert "CLOAKHOUSE_DATABASE" in refusal.value.remedy


def test_a_place_where_no_database_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "control.db", tmp_path):
        with pytest.raises(StorageError):
            Catalogue(f"sqlite:///{path}")


def test_eight_processes_record_one_delivery_and_one_partition(url: str) -> None:
    """Of the delivery one is the first; of the partition the last stands, whole."""

    def record(number: int) -> list[str]:
        catalogue, manifest = Catalogue(url), ManifestRef(f"{number}", f"{number}" * 64)
        catalogue.record_protected(
            [
                replace(PARTITION, partition=name, manifest=manifest, rows=number)
                for name in ("a", "b")[:: number % 2 or -1]
            ],
            by(),
        )
        try:
            catalogue.add_delivery(replace(DELIVERY, manifest=manifest), by())
        except StageError as refusal:
            return [refusal.code]
        return ["first"]

    assert sorted(at_once(record, 8)) == ["first"] + ["stage.conflict"] * 7
    first, second = Catalogue(url).protected("people").values()
    assert first == replace(second, partition="a")
    assert len(Catalogue(url).deliveries("people")["2017-01-02"]) == 1


def test_eight_processes_record_one_fingerprint(url: str) -> None:
    found = at_once(lambda number: [Catalogue(url).record_key_fingerprint("root", f"{number:016}")], 8)
    assert set(found) == {Catalogue(url).key_fingerprint("root")}
