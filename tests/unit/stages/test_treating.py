"""One delivery through the treater: rows add up, rows set aside keep their reason, columns come out as declared."""

from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.support import house
from tests.support.contracts import column, feed_contract
from tests.support.splits import land_in_splits

from cloakhouse.contracts.model import Contract, Reference, Treatment
from cloakhouse.errors import IntegrityError, StageError
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land
from cloakhouse.stages.spark_tasks import together
from cloakhouse.stages.splits import SPLIT_BYTES, splits_of
from cloakhouse.stages.token_roots import ensure_roots, roots_of, token_keys
from cloakhouse.stages.treating import DeliveryTask, Treater
from cloakhouse.tokens.apply import Around, output_type, treat
from cloakhouse.tokens.place import Place

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
AROUND = Around(Place("people", "2017-01-02"))
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
    tmp_path: Path, contract: Contract, rows: tuple[bytes, ...], split_bytes: int = SPLIT_BYTES
) -> tuple[Settings, Treater, DeliveryTask, TableStore]:
    settings = Settings.from_environment({}).with_home(tmp_path)
    settings.inbox.mkdir(exist_ok=True)
    assert contract.feed is not None
    name = f"people-2017-01-02.csv{'.gz' if contract.feed.compressed else ''}"
    data = HEADER + b"".join(rows)
    (settings.inbox / name).write_bytes(gzip.compress(data, 1) if contract.feed.compressed else data)
    land_in_splits(settings, contract, name, split_bytes)
    keys = open_ring(settings)
    ensure_roots(settings, roots_of(contract))
    [object_] = (settings.lake / "landing" / "people" / "2017-01-02").glob("*.chl")
    task = DeliveryTask("2017-01-02", object_.name, len(rows), "people/2017-01-02/abc")
    return settings, Treater(settings, contract, {}), task, TableStore(FolderStore(settings.lake), keys)


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
    tokens = token_keys(settings)
    raw = pa.array([1, 2, 3], pa.int64())
    assert table.column("id").combine_chunks() == treat(raw, contract.column("id"), tokens, AROUND)
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
        treat(pa.array(["x"]), dropped, None, AROUND)  # type: ignore[arg-type]
    assert dropped.treatment == Treatment("drop")


def many_rows() -> tuple[bytes, ...]:
    """Return 40,000 lines: quotes, CRLF, a long line, and faults of every kind, also next to each other."""
    rows = []
    for i in range(40_000):
        name = f'"ann, the {i}th"' if i % 7 == 0 else "x" * 30_000 if i % 9_000 == 8_999 else f"n{i}"
        row = f"{i},{name},4111111111111111,{1930 + i % 80}-01-01"
        fault = i % 997
        row = {0: f'{i},"open,,', 1: f"{i},n", 2: f"x{i},n,,", 3: f"{i},n,12,", 4: f"{i},\udcff,,"}.get(fault, row)
        rows.append((row + ("\r\n" if i % 3 else "\n")).encode("utf-8", "surrogateescape"))
    return tuple(rows)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_splits_give_the_rows_of_the_whole_delivery_in_order(tmp_path: Path, suffix: str) -> None:
    contract = feed_contract(columns=COLUMNS, files="people-{partition}.csv" + suffix)
    settings, treater, whole, store = made(tmp_path, contract, many_rows(), 300_001)
    delivery = read_manifest(
        FolderStore(settings.lake),
        Catalogue(settings.database).deliveries("people")["2017-01-02"][-1].manifest,
        "delivery",
    )
    splits = splits_of(delivery)
    assert len(splits) > 5
    tasks = [DeliveryTask(whole.partition, whole.object, split.rows, "people/x/y", split) for split in splits]
    outcomes = [treater.run(task) for task in tasks]
    for number, (task, outcome) in enumerate(zip(tasks, outcomes, strict=True)):
        assert outcome["rows"] + sum(outcome["quarantined"].values()) == task.rows
        for kind, zone in (("files", "protected"), ("quarantine", "quarantine")):
            [entry] = outcome[kind]
            assert entry["path"].startswith(f"{zone}/people/x/y/part-{number:05d}-")
    [merged] = together(outcomes[::-1])
    alone = treater.run(whole)
    assert {key: merged[key] for key in ("partition", "rows", "quarantined")} == {
        key: alone[key] for key in ("partition", "rows", "quarantined")
    }
    assert merged["rows"] + sum(merged["quarantined"].values()) == delivery["rows"] == 40_000

    def rows(outcome: dict[str, Any], kind: str) -> pa.Table:
        return pa.concat_tables([store.read(FileEntry(**item)) for item in outcome[kind]]).combine_chunks()

    assert rows(merged, "files").equals(rows(alone, "files"))
    aside, alone_aside = (rows(o, "quarantine").to_pylist() for o in (merged, alone))
    assert Counter(map(str, aside)) == Counter(map(str, alone_aside))


def test_places_of_batches_are_the_same_each_time_and_never_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = feed_contract(columns=COLUMNS)
    settings, treater, whole, _ = made(tmp_path, contract, many_rows(), 1_000_000)
    delivery = read_manifest(
        FolderStore(settings.lake),
        Catalogue(settings.database).deliveries("people")["2017-01-02"][-1].manifest,
        "delivery",
    )
    found: list[tuple[bytes, int]] = []
    treated = Treater._treated

    def noted(self: Treater, sound: pa.Table, place: Any, frequent: Any) -> pa.Table:
        found.append((bytes(place), sound.num_rows))
        return treated(self, sound, place, frequent)

    monkeypatch.setattr(Treater, "_treated", noted)
    monkeypatch.setattr("cloakhouse.stages.lines.BLOCK", 200_000)
    for _ in range(2):
        for split in splits_of(delivery):
            treater.run(DeliveryTask(whole.partition, whole.object, split.rows, "people/x/y", split))
    half = len(found) // 2
    assert found[:half] == found[half:]
    assert len({place for place, _ in found}) == half > 6
    assert found[0][0] == b"people/2017-01-02/0/0"
    assert min(rows for _, rows in found) >= 1_000


def test_a_split_that_gives_other_rows_than_landing_counted_leaves_no_file(tmp_path: Path) -> None:
    settings, treater, whole, _ = made(tmp_path, feed_contract(columns=COLUMNS), many_rows(), 300_000)
    delivery = read_manifest(
        FolderStore(settings.lake),
        Catalogue(settings.database).deliveries("people")["2017-01-02"][-1].manifest,
        "delivery",
    )
    split = splits_of(delivery)[2]
    assert split.end is not None
    for wrong in (replace(split, end=split.end - 1000), replace(split, offset=split.offset + 3000)):
        with pytest.raises(StageError) as caught:
            treater.run(DeliveryTask(whole.partition, whole.object, split.rows, "people/x/y", wrong))
        assert caught.value.code == "stage.rows-lost"
        assert "split 2" in caught.value.where
    assert not list(settings.lake.rglob("*.parquet"))
