"""Every treatment of the registry through landing, planning and treating: what comes out row by row, and what not."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support import all_treatments as feeds
from tests.support.all_treatments import Everything, everything, fault_of, people_csv, person, visitor, visits_jsonl
from tests.support.contracts import column, feed_text
from tests.support.splits import settle
from tests.support.sweep import Sweep

from cloakhouse.contracts.model import Contract, Reference, Treatment
from cloakhouse.contracts.treatments import REGISTRY
from cloakhouse.errors import ContractError, KeyServiceError
from cloakhouse.keys.protocol import KeyName
from cloakhouse.keys.service import service_of
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.stages import pseudonymize, spark_tasks
from cloakhouse.stages.lines import BLOCK
from cloakhouse.stages.splits import splits_of
from cloakhouse.stages.token_roots import roots_of, token_keys
from cloakhouse.stages.treating import DeliveryTask, splits_for
from cloakhouse.tokens.apply import TREATMENTS_VERSION, output_type
from cloakhouse.tokens.canonical import NORMALISATION_VERSION
from cloakhouse.tokens.fictional import SUBSTITUTION_VERSION

DAY = "2016-12-30"
BY_ROW = ("shade", "paid")  # drawn by place, which a split is part of


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that temporary files of this module would be in."""
    folder = tmp_path_factory.mktemp("tmp dir")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", None)
        yield folder


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Everything:
    """Both feeds landed in splits and treated. Tests only read it."""
    place = everything(tmp_path_factory.mktemp("all") / "home")
    place.land("people", DAY, people_csv())
    place.land("visits", DAY, visits_jsonl())
    place.treat("people")
    place.treat("visits")
    return place


@pytest.fixture
def own(house: Everything, tmp_path: Path) -> Everything:
    """A copy of `house` for the test to damage."""
    return house.copy(tmp_path / "home")


SOUND = {
    "people": [i for i in range(feeds.PEOPLE) if fault_of(i) is None and i not in feeds.BROKEN],
    "visits": [
        i
        for i in range(feeds.VISITS)
        if fault_of(i) is None and i not in feeds.ODD_LINES and i % feeds.UNKNOWN
    ],
}  # fmt: skip


def refused(kind: type[Any], call: Any) -> Any:
    with pytest.raises(kind) as caught:
        call()
    assert not [value for value in feeds.MARKERS.values() if value in str(caught.value)]
    return caught.value


def test_the_two_contracts_use_every_treatment(house: Everything) -> None:
    contracts = house.contracts
    assert {c.treatment.name for c in contracts["people"].columns} == set(REGISTRY)
    assert {c.treatment.name for c in contracts["visits"].columns} == set(REGISTRY) - {"drop", "suppress rare"}
    ways = {key for c in contracts["people"].columns for key in c.treatment.parameters}
    assert ways >= set(REGISTRY["generalize"].one_of)


@pytest.mark.parametrize("name", ["people", "visits"])
def test_rows_add_up_with_their_reasons_and_columns_are_of_the_type_that_is_announced(
    house: Everything, name: str
) -> None:
    contract, [content] = house.contracts[name], house.content(name).values()
    expected: Counter[tuple[str, str]] = Counter()
    broken = feeds.BROKEN if name == "people" else feeds.ODD_LINES
    for i in range(feeds.PEOPLE if name == "people" else feeds.VISITS):
        fault = fault_of(i)
        if i in broken:
            expected[broken[i], ""] += 1
        elif fault is not None:
            of_json = name == "visits" and fault[1] == "customer" and fault[0] == "wrong_type"
            expected[fault[0], "" if of_json else fault[1]] += 1
        elif name == "visits" and i % feeds.UNKNOWN == 0:
            expected["unknown_reference", "customer"] += 1
    aside = house.table(name, "quarantine")
    assert Counter(zip(aside["reason"].to_pylist(), aside["column"].to_pylist(), strict=True)) == expected
    assert content["rows"] == len(SOUND[name]) == house.table(name).num_rows
    assert content["rows"] + sum(content["quarantined"].values()) == house.catalogue.deliveries(name)[DAY][-1].rows
    assert house.table(name).schema.equals(pa.schema([(c.name, output_type(c)) for c in contract.kept_columns]))


def test_no_planted_value_is_in_any_byte_that_was_written(house: Everything, temporary: Path) -> None:
    sweep = Sweep(feeds.MARKERS)
    sweep.folder(house.settings.home)
    sweep.folder(temporary)
    assert sweep.files > 30
    assert sweep.hits == set()
    control = Sweep(feeds.MARKERS)
    control.data("delivery", people_csv())
    assert {hit.marker for hit in control.hits} == set(feeds.MARKERS)


@pytest.mark.parametrize("name", ["people", "visits"])
def test_no_planted_value_is_in_a_protected_cell_but_the_one_that_is_kept(house: Everything, name: str) -> None:
    table = house.table(name)
    cells = "\n".join(str(value) for column in table.columns for value in column.unique().to_pylist())
    assert not [marker for marker in feeds.TAKEN_OUT if feeds.MARKERS[marker] in cells]
    assert table["plan"].to_pylist().count(feeds.MARKERS["kept plan"]) == 1
    assert "to [EMAIL]" in table["note"].to_pylist()


@pytest.mark.parametrize("name", ["people", "visits"])
def test_the_same_delivery_gives_the_same_rows_again(own: Everything, house: Everything, name: str) -> None:
    own.treat(name, reprocess=True)
    assert own.table(name).equals(house.table(name))
    assert own.state(name) != house.state(name)
    assert own.table(name, "quarantine").equals(house.table(name, "quarantine"))


def test_splits_change_what_is_drawn_by_row_and_nothing_else(own: Everything, house: Everything) -> None:
    own.treat("visits", reprocess=True, whole=True)
    assert len(own.content("visits")[DAY]["files"]) == 1 < len(house.content("visits")[DAY]["files"])
    whole, split = own.table("visits"), house.table("visits")
    assert [name for name in whole.column_names if not whole[name].equals(split[name])] == list(BY_ROW)


def test_shuffle_keeps_the_values_of_the_sound_rows_of_each_split(house: Everything) -> None:
    delivery = read_manifest(FolderStore(house.settings.lake), house.catalogue.deliveries("visits")[DAY][-1].manifest)
    first = 0
    files = [FileEntry(**item) for item in house.content("visits")[DAY]["files"]]
    assert len(files) == len(splits_of(delivery)) > 5
    for split, entry in zip(splits_of(delivery), files, strict=True):
        raw = [person(i)["shade"] for i in SOUND["visits"] if first <= i < first + split.rows]
        first += split.rows
        found = house.store.read(entry, ["shade"])["shade"].to_pylist()
        assert Counter(found) == Counter(raw)
        assert sum(a == b for a, b in zip(found, raw, strict=True)) < len(raw) / 20
    people = Counter(house.table("people")["shade"].to_pylist())
    assert people == Counter(person(i)["shade"] for i in SOUND["people"])


def test_rows_set_aside_leave_no_row_alone_with_its_value(tmp_path: Path) -> None:
    """Blocks of which nearly every row can't be treated are put together before values are exchanged."""
    place = everything(tmp_path / "home")
    rows = [person(i) | ({"phone": "none"} if i % 200 != 1 else {}) for i in range(5_000)]
    lines = [",".join("" if v is None else str(v) for v in row.values()) + "x" * 3_500 for row in rows]
    assert len(lines[0]) * 1_000 < BLOCK  # so many rows, of which five are sound, are a batch
    place.land("people", DAY, "\n".join([",".join(rows[0]), *lines]).encode() + b"\n", 1 << 30)
    place.treat("people")
    shades = place.table("people")["shade"].to_pylist()
    raw = [row["shade"] for row in rows[1::200]]
    assert sorted(shades) == raw
    assert max(abs(raw.index(shade) - at) for at, shade in enumerate(shades)) > 10


def test_noise_stays_in_bounds_and_is_one_shift_a_subject_in_all_datasets(house: Everything) -> None:
    people, visits = house.table("people"), house.table("visits")
    for name, table in (("people", people), ("visits", visits)):
        raw = [person(i)["paid"] for i in SOUND[name]]
        noise = [new - old for new, old in zip(table["paid"].to_pylist(), raw, strict=True)]
        assert max(map(abs, noise)) <= 0.5 + 1e-9
        assert min(table["paid"].to_pylist()) >= 0
        assert len({round(n, 2) for n in noise}) > 80
    shifts = {}
    for i, token, joined in zip(
        SOUND["people"], people["customer"].to_pylist(), people["joined"].to_pylist(), strict=True
    ):
        old = dt.date.fromisoformat(person(i)["joined"])
        shifts[token] = (joined - old).days
        assert dt.date.min <= joined <= dt.date.max
    assert max(map(abs, shifts.values())) == 30
    assert len(set(shifts.values())) == 61
    clipped = {people["customer"][SOUND["people"].index(i)].as_py() for i in (10, 11)}
    seen = 0
    for i, token, joined in zip(
        SOUND["visits"], visits["customer"].to_pylist(), visits["joined"].to_pylist(), strict=True
    ):
        if token not in clipped:
            assert (joined - dt.date(1991 + i % 2, 6, 15)).days == shifts[token]
            seen += 1
    assert seen > 5_000


def test_tokens_are_one_a_customer_in_both_feeds_however_the_value_is_written(house: Everything) -> None:
    people, visits = house.table("people"), house.table("visits")
    of = dict(zip(SOUND["people"], people["customer"].to_pylist(), strict=True))
    assert len(set(of.values())) == len(of)
    assert visits["customer"].to_pylist() == [of[visitor(i)] for i in SOUND["visits"]]
    by_card: dict[str, set[str]] = {}
    for i, card in zip(SOUND["people"], people["card"].to_pylist(), strict=True):
        if card:
            assert card[:6] == "400000"
            by_card.setdefault(card, set()).add(feeds.luhn(f"400000{i:09d}"))
    assert {len(raws) for raws in by_card.values()} == {1}  # with separators and full-width digits, too
    names = dict(zip(SOUND["people"], people["name"].to_pylist(), strict=True))
    assert len({names[i] for i in names if i % 7 in (0, 1) and i != feeds.PLANTED}) == 1


def suppressed(rows: list[int], column: str, at_least: int, subject: str | None) -> set[Any]:
    """Return the values that must go, counted in the plainest way; at least `at_least` rows or subjects together."""
    holders: dict[Any, set[Any]] = {}
    for i in rows:
        row = person(i)
        if row[column] is not None:
            holder = i if subject is None else row[subject]
            holders.setdefault(row[column], set()).update(() if holder is None else {holder})
    gone = {value for value, who in holders.items() if len(who) < at_least}
    if gone and len(set().union(*(holders[value] for value in gone))) < at_least:
        gone.add(min(holders.keys() - gone, key=lambda value: (len(holders[value]), value)))
    assert len(set().union(*(holders[value] for value in gone))) >= at_least
    return gone


def test_rare_categories_are_counted_over_the_kept_rows_of_the_partition(house: Everything) -> None:
    table, rows = house.table("people"), SOUND["people"]
    trades = suppressed(rows, "trade", 5, "household")
    assert trades >= {"falconer", "whaler"}  # many rows of one household; one of none
    assert len(trades) == 3
    expected = ["another" if t in trades else t for t in (person(i)["trade"] for i in rows)]
    assert table["trade"].to_pylist() == expected
    assert sum(i in rows for i in feeds.SIZED) == 3 < 4 < len(feeds.SIZED)  # frequent, were all rows counted
    sizes = suppressed(rows, "size", 4, None)
    assert len(sizes) == 2
    assert table["size"].to_pylist() == [None if s in sizes else s for s in (person(i)["size"] for i in rows)]


def test_a_delivery_with_rare_categories_is_one_split(house: Everything) -> None:
    deliveries = {
        name: read_manifest(FolderStore(house.settings.lake), house.catalogue.deliveries(name)[DAY][-1].manifest)
        for name in ("people", "visits")
    }
    assert all(len(splits_of(delivery)) > 2 for delivery in deliveries.values())
    assert len(splits_for(house.contracts["people"], deliveries["people"])) == 1
    assert len(splits_for(house.contracts["visits"], deliveries["visits"])) > 2
    assert len(house.content("people")[DAY]["files"]) == 1


def test_tokens_of_a_period_join_within_it_and_not_beyond(tmp_path: Path) -> None:
    place = everything(tmp_path / "home")
    days = ("2016-12-31", "2017-01-01", "2017-03-31", "2017-04-01")
    for number, day in enumerate(days):
        place.land("people", day, people_csv(300 + number))
    place.treat("people")
    members, customers = (
        {
            day: set(place.store.read(FileEntry(**content["files"][0]))[name].to_pylist())
            for day, content in place.content("people").items()
        }
        for name in ("member", "customer")
    )
    assert members[days[1]] <= members[days[2]]
    assert len(members[days[1]]) > 200
    assert customers[days[0]] <= customers[days[3]]
    for one, other in ((0, 1), (2, 3), (0, 3)):
        assert not members[days[one]] & members[days[other]]


def test_a_reference_refuses_tokens_of_a_period(own: Everything) -> None:
    for name in ("people", "visits"):
        path = own.settings.contracts / f"{name}.odcs.yaml"
        text = path.read_text()
        path.write_text(
            text.replace("domain: customer, purpose: analytics", "domain: customer, purpose: analytics, period: year")
        )
    assert refused(ContractError, lambda: own.contracts).code == "contract.reference"


def listing(home: Path) -> dict[str, tuple[int, int]]:
    settle()
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in home.rglob("*") if p.is_file()}


def with_treatment(contract: Contract, name: str, treatment: Treatment, reference: Reference | None = None) -> Contract:
    columns = [replace(c, treatment=treatment, reference=reference) if c.name == name else c for c in contract.columns]
    return replace(contract, columns=tuple(columns))


@pytest.mark.parametrize(
    ("name", "treatment"),
    [
        ("score", Treatment("round", {"to": -1})),
        ("paid", Treatment("perturb", {"bound": 0.001})),
        ("shade", Treatment("mask", {"sign": "**"})),
        ("children", Treatment("generalize", {"bins": [3, 1]})),
        ("size", Treatment("suppress rare", {"atLeast": 5, "other": "x"})),
    ],
)
def test_settings_that_cannot_work_stop_the_plan_before_data_is_read(
    tmp_path: Path, name: str, treatment: Treatment
) -> None:
    place = everything(tmp_path / "home")
    place.land("people", DAY, people_csv(100))
    for landed in (place.settings.lake / "landing").rglob("*.chl"):
        landed.unlink()  # nobody may look for it
    before = listing(place.settings.home)
    contract = with_treatment(place.contracts["people"], name, treatment)
    refused(ContractError, lambda: pseudonymize.plan(place.settings, contract))
    assert listing(place.settings.home) == before


@pytest.mark.parametrize("name", ["shuffle", "perturb", "suppress rare"])
def test_a_reference_under_a_treatment_that_keeps_no_value_stops_the_plan(house: Everything, name: str) -> None:
    parameters = {"shuffle": {}, "perturb": {"bound": 3}, "suppress rare": {"atLeast": 5}}[name]
    contract = with_treatment(
        house.contracts["visits"], "children", Treatment(name, parameters), Reference("people", "children")
    )
    problem = refused(ContractError, lambda: pseudonymize.plan(house.settings, contract))
    assert problem.code == "contract.reference"


@pytest.mark.parametrize("how", ["keep", feeds.CUSTOMER])
def test_a_reference_to_a_column_of_another_type_stops_the_plan(tmp_path: Path, how: str) -> None:
    place = everything(tmp_path / "home")
    cls = "plain" if how == "keep" else feeds.DIRECT
    to = ", relationships: [{type: foreignKey, to: one.id}]}"
    for name, kind, end in (("one", "integer", "}"), ("two", "string", to), ("three", "integer", to)):
        columns = [column("id", kind, cls=cls, how=how)[:-1] + end]
        (place.settings.contracts / f"{name}.odcs.yaml").write_text(feed_text(name, columns=columns))
        place.land(name, DAY, b"id\n7\n")
    place.treat("one")
    place.treat("three")
    assert place.table("three").equals(place.table("one"))
    before = listing(place.settings.home)
    assert refused(ContractError, lambda: place.treat("two")).code == "contract.reference"
    assert listing(place.settings.home) == before


def test_another_hierarchy_file_under_the_same_version_stops_before_anything(own: Everything) -> None:
    request = own.plan("people", reprocess=True)
    assert request is not None
    path = own.settings.contracts / "cities.csv"
    path.write_bytes(path.read_bytes().replace(b"West", b"East"))
    before = listing(own.settings.home)
    assert refused(ContractError, lambda: own.contracts).code == "contract.hierarchy"
    assert refused(ContractError, lambda: pseudonymize.run(own.settings, request, None)).code == "contract.hierarchy"  # type: ignore[arg-type]
    assert listing(own.settings.home) == before


def test_the_request_tells_the_versions_of_what_makes_tokens(own: Everything) -> None:
    request = own.plan("people", reprocess=True)
    assert request is not None
    assert read_manifest(FolderStore(own.settings.lake), request)["treatments"] == {
        "version": TREATMENTS_VERSION,
        "normalisation": NORMALISATION_VERSION,
        "substitution": SUBSTITUTION_VERSION,
    }


def test_there_is_a_root_for_every_purpose(house: Everything) -> None:
    names = ["purposes/analytics", "reversible/analytics", "tokens/root"]
    assert roots_of(house.contracts["people"]) == roots_of(house.contracts["visits"]) == names
    assert token_keys(house.settings).names() == names


@pytest.mark.parametrize("key", ["purposes/analytics", "reversible/analytics", "tokens/root"])
def test_a_disabled_root_stops_driver_and_worker_with_nothing_visible(own: Everything, key: str) -> None:
    before, rows = own.state("people"), own.table("people")
    service_of(own.settings).disable(KeyName(key))
    assert refused(KeyServiceError, lambda: own.treat("people", reprocess=True)).code == "key.disabled"
    delivery = read_manifest(FolderStore(own.settings.lake), own.catalogue.deliveries("people")[DAY][-1].manifest)
    task = DeliveryTask(DAY, delivery["object"], delivery["rows"], "people/x/y")
    worker = spark_tasks.Worker(own.settings, own.contracts["people"], {})
    [text] = worker.outcome(task).column(0).to_pylist()
    assert json.loads(text)["error"]["code"] == "key.disabled"
    assert not [value for value in feeds.MARKERS.values() if value in text]
    assert own.state("people") == before
    assert own.unlisted("people") == set()
    service_of(own.settings).enable(KeyName(key))
    own.treat("people", reprocess=True)
    assert own.table("people").equals(rows)
