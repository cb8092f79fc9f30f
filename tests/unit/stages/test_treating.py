"""One delivery through the treater: rows add up, rows set aside keep their reason, columns come out as declared."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support import house
from tests.support.contracts import column, feed_contract

from cloakhouse.contracts.model import Contract, Reference, Treatment
from cloakhouse.errors import IntegrityError, StageError
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land
from cloakhouse.stages.treating import DeliveryTask, Treater
from cloakhouse.tokens.apply import output_type, treat

TOKEN = "{token: {domain: customer, purpose: analytics}}"
CARD = "{format-preserving token: {domain: card, purpose: analytics, length: 16, keepPrefix: 6, keepSuffix: 4}}"
BORN = "{generalize: {ageBands: [35, 55], on: 2017-01-01}}"
COLUMNS = (
    column("id", "integer", required=True, cls="direct identifier", how=TOKEN),
    column("name", cls="direct identifier", how="drop"),
    column("card", cls="payment", how=CARD),
    column("born", "date", cls="indirect identifier", how=BORN),
)
HEADER = b"id,name,card,born\n"
ROWS = (
    b"1,ann,4111111111111111,1980-01-01\n",
    b"2,bob,5500000000000004,1950-12-31\n",
    b"3,cat,,\n",
    b"4,dan,411111111111111,1990-01-01\n",  # fifteen digits
    b"5,eve,4111111111111111,2017-01-02\n",  # not yet born
    b"6,fay,123,2018-01-01\n",  # both: set aside once
    b"x,gus,4111111111111111,1980-01-01\n",
    b"8,hal,4111111111111111\n",
)


def made(
    tmp_path: Path, contract: Contract, rows: tuple[bytes, ...]
) -> tuple[Settings, Treater, DeliveryTask, TableStore]:
    settings = Settings.from_environment({}).with_home(tmp_path)
    settings.inbox.mkdir(exist_ok=True)
    (settings.inbox / "people-2017-01-02.csv").write_bytes(HEADER + b"".join(rows))
    assert land(settings, contract).landed == 1
    keys = open_ring(settings)
    TokenKeys(keys.service, settings.token_root).ensure_root()
    [object_] = (settings.lake / "landing" / "people" / "2017-01-02").glob("*.chl")
    task = DeliveryTask("2017-01-02", object_.name, len(rows), "people/2017-01-02/abc")
    return settings, Treater(settings, contract, {}), task, TableStore(settings.lake, keys)


def test_rows_add_up_and_are_set_aside_with_reason_column_and_record(tmp_path: Path) -> None:
    contract = feed_contract(columns=COLUMNS)
    settings, treater, task, store = made(tmp_path, contract, ROWS)
    outcome = treater.run(task)
    assert outcome["rows"] == 3
    assert outcome["quarantined"] == {"wrong_field_count": 1, "wrong_form": 3, "wrong_type": 1}
    assert outcome["rows"] + sum(outcome["quarantined"].values()) == len(ROWS)

    table = store.read(FileEntry(**outcome["files"][0]))
    assert table.schema.names == ["id", "card", "born"]
    assert table.schema.types == [pa.binary(16), pa.string(), pa.string()]
    assert table.column("born").to_pylist() == ["35-54", "55+", None]
    assert [card[:6] + card[-4:] if card else None for card in table.column("card").to_pylist()] == [
        "4111111111",
        "5500000004",
        None,
    ]
    aside = store.read(FileEntry(**outcome["quarantine"][0]))
    found = Counter(zip(aside.column("reason").to_pylist(), aside.column("column").to_pylist(), strict=True))
    expected = {("wrong_form", "card"): 2, ("wrong_form", "born"): 1, ("wrong_type", "id"): 1}
    assert found == {**expected, ("wrong_field_count", ""): 1}
    records = aside.column("record").to_pylist()
    assert b"6\x1ffay\x1f123\x1f2018-01-01" in records
    for path in settings.lake.rglob("*.parquet"):
        content = path.read_bytes()
        assert not [word for word in (b"gus", b"4111111111111111", b"wrong_type") if word in content]


def test_the_columns_are_those_that_apply_gives(tmp_path: Path) -> None:
    contract = feed_contract(columns=COLUMNS)
    settings, treater, task, store = made(tmp_path, contract, ROWS[:3])
    table = store.read(FileEntry(**treater.run(task)["files"][0]))
    tokens = TokenKeys(service_of(settings), settings.token_root)
    raw = pa.array([1, 2, 3], pa.int64())
    assert table.column("id").combine_chunks() == treat(raw, contract.column("id"), tokens)
    assert [table.schema.field(c.name).type for c in contract.kept_columns] == [
        output_type(c) for c in contract.kept_columns
    ]


def test_another_number_of_rows_than_landed_leaves_no_file(tmp_path: Path) -> None:
    settings, treater, task, _ = made(tmp_path, feed_contract(columns=COLUMNS), ROWS)
    for rows in (len(ROWS) - 1, len(ROWS) + 1):
        with pytest.raises(StageError) as caught:
            treater.run(replace(task, rows=rows))
        assert caught.value.code == "stage.rows-lost"
    assert not list(settings.lake.rglob("*.parquet"))
    assert not list(settings.lake.rglob("*.tmp"))


def test_an_altered_or_missing_landed_file_leaves_no_file(tmp_path: Path) -> None:
    settings, treater, task, _ = made(tmp_path, feed_contract(columns=COLUMNS), ROWS)
    path = settings.lake / "landing" / "people" / "2017-01-02" / task.object
    sound = path.read_bytes()
    for damaged in (sound[:-1], sound[:-3] + bytes([sound[-3] ^ 1]) + sound[-2:], sound[:4], HEADER + b"".join(ROWS)):
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError):
            treater.run(task)
    path.unlink()
    with pytest.raises(IntegrityError):
        treater.run(task)
    assert not list((settings.lake / "protected").rglob("*.*"))
    path.write_bytes(sound)
    assert treater.run(task)["rows"] == 3


def test_a_delivery_of_bad_rows_alone_gives_empty_tables(tmp_path: Path) -> None:
    _, treater, task, store = made(tmp_path, feed_contract(columns=COLUMNS), ROWS[6:])
    outcome = treater.run(task)
    assert (outcome["rows"], sum(outcome["quarantined"].values())) == (0, 2)
    assert store.read(FileEntry(**outcome["files"][0])).num_rows == 0


def test_a_value_without_its_reference_is_set_aside_and_a_missing_one_is_not(tmp_path: Path) -> None:
    place = house.protected()
    [customers] = place.catalogue.protected("customers").values()
    from cloakhouse.stages.sources import partition_files

    files = partition_files(place.settings, customers.manifest)
    known = place.store.read(files[0], ["household_id"])
    columns = (column("id", "integer", cls="direct identifier", how=TOKEN),)
    contract = feed_contract(columns=columns)
    [only] = contract.columns
    contract = replace(contract, columns=(replace(only, reference=Reference("customers", "household_id")),))
    settings = place.copy(tmp_path / "home").settings
    settings.inbox.mkdir(exist_ok=True)
    (settings.inbox / "people-2017-01-02.csv").write_bytes(b"id\n1\n999999\n\n2\n")
    land(settings, contract)
    [object_] = (settings.lake / "landing" / "people" / "2017-01-02").glob("*.chl")
    treater = Treater(settings, contract, {"id": files})
    outcome = treater.run(DeliveryTask("2017-01-02", object_.name, 4, "people/2017-01-02/abc"))
    assert outcome["quarantined"] == {"unknown_reference": 1}
    tokens = place.copy(tmp_path / "home").store.read(FileEntry(**outcome["files"][0])).column("id")
    assert tokens.null_count == 1
    assert pc.sum(pc.is_in(tokens, value_set=known.column(0).combine_chunks())).as_py() == 2


def test_the_treatment_of_a_dropped_column_has_nothing_to_give() -> None:
    [dropped] = [c for c in feed_contract(columns=COLUMNS).columns if c.treatment.name == "drop"]
    with pytest.raises(ValueError, match="drop"):
        treat(pa.array(["x"]), dropped, None)  # type: ignore[arg-type]
    assert dropped.treatment == Treatment("drop")
