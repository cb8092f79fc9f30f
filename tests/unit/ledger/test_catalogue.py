from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.contracts import feed_contract
from tests.support.crash import limit_file_size
from tests.support.processes import in_fork, race

from cloakhouse.errors import ContractError, NotFound, StageError, StorageError
from cloakhouse.ledger import database
from cloakhouse.ledger.catalogue import Catalogue, Delivery, ManifestRef, ProtectedPartition

REF = ManifestRef("landing/people/x.json", "a" * 64)
NOW = dt.datetime(2017, 1, 3, 4, 5, 6, tzinfo=dt.UTC)
DELIVERY = Delivery("people", "2017-01-02", 1, "b" * 64, 7, 100, REF, NOW)
PARTITION = ProtectedPartition("people", "2017-01-02", "b" * 64, "1.0.0", 6, 1, False, REF)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sub/control.db"


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
        catalogue.add_delivery(delivery)
    assert Catalogue(url).deliveries("people") == {"2017-01-02": [DELIVERY, later], "2017-01-09": [other]}
    assert catalogue.deliveries("nobody") == {}
    with pytest.raises(StageError) as refusal:
        catalogue.add_delivery(replace(DELIVERY, sha256="d" * 64))
    assert refusal.value.code == "stage.conflict"
    assert catalogue.deliveries("people")["2017-01-02"][0] == DELIVERY


def test_protected_partitions_are_replaced_together(catalogue: Catalogue) -> None:
    second = replace(PARTITION, partition="2017-01-09")
    catalogue.record_protected([second, PARTITION])
    assert list(catalogue.protected("people")) == ["2017-01-02", "2017-01-09"]
    newer = replace(PARTITION, rows=9, manifest=ManifestRef("y", "c" * 64))
    catalogue.record_protected([newer])
    assert catalogue.protected("people") == {"2017-01-02": newer, "2017-01-09": second}
    assert catalogue.protected("others") == {}

    def both() -> None:
        catalogue.record_protected([replace(newer, rows=10), replace(second, rows=None)])  # type: ignore[type-var]

    with pytest.raises(sa.exc.IntegrityError):
        both()
    assert catalogue.protected("people") == {"2017-01-02": newer, "2017-01-09": second}


def test_validation_marks_the_manifests_that_were_checked(catalogue: Catalogue) -> None:
    other = replace(PARTITION, partition="2017-01-09", manifest=ManifestRef("y", "c" * 64))
    catalogue.record_protected([PARTITION, other])
    catalogue.mark_validated("people", [REF, ManifestRef("z", "d" * 64)])
    catalogue.mark_validated("others", [other.manifest])
    catalogue.mark_validated("people", [])
    assert [p.validated for p in catalogue.protected("people").values()] == [True, False]
    catalogue.record_protected([PARTITION])
    assert not catalogue.protected("people")["2017-01-02"].validated


def test_publishing_counts_from_one_and_the_same_fingerprint_is_one_version(catalogue: Catalogue, url: str) -> None:
    first = catalogue.publish("people", "f1", "protected", 7, REF)
    assert (first.version, first.rows, first.zone, first.manifest) == (1, 7, "protected", REF)
    assert first.published_at.tzinfo is not None
    again = Catalogue(url).publish("people", "f1", "elsewhere", 8, ManifestRef("y", "c" * 64))
    assert again == first
    assert catalogue.publish("people", "f2", "protected", 7, REF).version == 2
    assert catalogue.publish("others", "f1", "protected", 7, REF).version == 1
    assert catalogue.publish("people", "f1", "protected", 7, REF) == first
    assert [(v.dataset, v.version) for v in catalogue.versions()] == [("others", 1), ("people", 1), ("people", 2)]
    assert [v.version for v in catalogue.versions("people")] == [1, 2]
    assert catalogue.published("people", "f2") == catalogue.versions("people")[1]
    assert catalogue.published("people", "f9") is None
    assert catalogue.version("people").version == 2
    assert catalogue.version("people", 1) == first


def test_what_is_not_published_is_not_found(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound) as refusal:
        catalogue.version("people")
    assert "none yet" in refusal.value.expected
    catalogue.publish("people", "f1", "protected", 7, REF)
    for dataset, version in (("people", 2), ("people", 0), ("others", None)):
        with pytest.raises(NotFound) as refusal:
            catalogue.version(dataset, version)
    assert "people" in refusal.value.expected


PUBLISH = """
import sys
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef
ready()
catalogue = Catalogue(sys.argv[1])
print(catalogue.publish("people", sys.argv[2], "protected", 1, ManifestRef("x", "a" * 64)).version)
"""


def test_eight_processes_publish_versions_one_to_eight(url: str) -> None:
    """On a database that none of them has made before."""
    versions = sorted(int(out) for out in race(PUBLISH, [[url, f"fingerprint-{n}"] for n in range(8)]))
    assert versions == list(range(1, 9))
    assert [v.version for v in Catalogue(url).versions("people")] == list(range(1, 9))
    assert len({v.fingerprint for v in Catalogue(url).versions("people")}) == 8


def test_eight_processes_with_one_fingerprint_publish_one_version(url: str) -> None:
    assert race(PUBLISH, [[url, "fingerprint"]] * 8) == ["1\n"] * 8
    assert len(Catalogue(url).versions()) == 1


def test_eight_processes_register_one_contract(url: str) -> None:
    code = """
    import sys
    from cloakhouse.errors import ContractError
    from cloakhouse.ledger.catalogue import Catalogue
    from tests.support.contracts import feed_contract
    contract = feed_contract(after=sys.argv[2])
    ready()
    try:
        Catalogue(sys.argv[1]).register_contract(contract)
        print(sys.argv[2])
    except ContractError as refusal:
        print(refusal.code)
    """
    outputs = race(code, [[url, "keep" if n % 2 else "delete"] for n in range(8)])
    winner = {"keep\n", "delete\n"} & set(outputs)
    assert len(winner) == 1
    assert sorted(outputs) == sorted([*winner] * 4 + ["contract.changed\n"] * 4)


def test_sqlite_is_durable(url: str) -> None:
    engine = database.open_database(url)
    with engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar_one() == 2  # FULL
        assert connection.execute(sa.text("PRAGMA foreign_keys")).scalar_one() == 1
        assert connection.execute(sa.text("PRAGMA busy_timeout")).scalar_one() == 30_000
        assert connection.execute(sa.text("PRAGMA integrity_check")).scalar_one() == "ok"
    assert set(sa.inspect(engine).get_table_names()) == set(database.METADATA.tables)


def test_the_tables_survive_being_opened_again(url: str, catalogue: Catalogue) -> None:
    catalogue.add_delivery(DELIVERY)
    for _ in range(3):
        database.open_database(url)
    assert Catalogue(url).deliveries("people") == {"2017-01-02": [DELIVERY]}


def test_no_statement_shows_its_values(catalogue: Catalogue) -> None:
    with pytest.raises(sa.exc.IntegrityError) as fault:
        catalogue.record_protected([replace(PARTITION, delivery_sha256=None, contract_version="Zwetsch")])  # type: ignore[type-var]
    assert "Zwetsch" not in str(fault.value)


def test_a_full_disk_is_a_storage_error_and_loses_nothing(url: str, catalogue: Catalogue) -> None:
    catalogue.add_delivery(DELIVERY)

    def child() -> None:
        known = Catalogue(url)
        limit_file_size(64 << 10)

        def fill() -> None:
            for number in range(2, 10_000):
                known.add_delivery(replace(DELIVERY, revision=number, manifest=ManifestRef("x" * 4000, "a" * 64)))

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
