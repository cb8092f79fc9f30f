"""Requests over a real installation: whom a file names, what is refused, what a dry run counts, what kills leave."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from tests.support.acting import said
from tests.support.house import House, protected
from tests.support.persons import numbers

from cloakhouse.errors import ConfigurationError, DeliveryError, StageError
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger import database as db
from cloakhouse.ledger.audit_event import REFUSED, Action
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.settings import Settings
from cloakhouse.stages import subject_holding
from cloakhouse.stages.auditing import event
from cloakhouse.stages.erasure_batch import drop_abandoned, drop_list, open_batch, still, write_list
from cloakhouse.stages.erasure_preview import preview
from cloakhouse.stages.erasure_request import choose, request
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.subject_file import Tolerance
from cloakhouse.stages.subject_identifiers import Identifiers
from cloakhouse.stages.subject_lookup import master_rows
from cloakhouse.tokens.subjects import rights_tokens

WHY = "ticket 4711 of the service desk"
STRICT = Tolerance()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> House:
    """An installation that the tests of this module share; what one changes, others see."""
    return protected().copy(tmp_path_factory.mktemp("erasure") / "home")


@pytest.fixture(scope="module")
def people(made: House) -> list[dict[str, Any]]:
    ids = Identifiers.of(made.settings)
    return pa.concat_tables(master_rows(made.settings, ids, ids.also)).to_pylist()


@pytest.fixture
def house(made: House) -> Iterator[House]:
    """The installation, with everything that earlier tests requested or held taken back."""
    yield made
    holds, by = SubjectHolds(made.settings.database), event(made.settings, Action.LIFT_SUBJECT_HOLD, "all")
    holds.lift(holds.held(), by)
    erasures, stones = Erasures(made.settings.database), Tombstones(made.settings.database)
    for one in erasures.all(open_only=True):
        drop_list(made.settings, one.batch)
        stones.remove(stones.persons(), one.batch)
        erasures.end(one.batch, ManifestRef("none", "0" * 64), by)


def file_of(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "persons.csv"
    path.write_text("\n".join(lines))
    return path


def tokens(house: House, *households: int) -> pa.Array:
    ids = Identifiers.of(house.settings)
    return rights_tokens(pa.array(sorted(households), pa.int64()), ids.column, ids.keys)


def same(left: pa.Array, right: pa.Array) -> bool:
    return sorted(left.to_pylist()) == sorted(right.to_pylist())


def test_a_person_is_found_by_anything_that_names_one(
    house: House, people: list[dict[str, Any]], tmp_path: Path
) -> None:
    one, two, three = people[:3]
    file = file_of(
        tmp_path,
        "household_id,email,loyalty_card",
        f"{one['household_id']},,",
        f",{two['email'].upper()},",
        f",,{three['loyalty_card']}",
        f",{one['email']},",
    )
    chosen = choose(house.settings, file, STRICT)
    assert same(chosen.persons, tokens(house, *(person["household_id"] for person in people[:3])))
    assert len(chosen.names) == 6  # card and e-mail address of each
    assert chosen.counts["lines"] == 4
    assert chosen.counts["persons"] == 3


def test_short_identifiers_match_nobody_else(house: House, people: list[dict[str, Any]], tmp_path: Path) -> None:
    households = {person["household_id"] for person in people}
    short = next(number for number in sorted(households) if number < 100)
    chosen = choose(house.settings, file_of(tmp_path, "household_id", str(short)), STRICT)
    assert same(chosen.persons, tokens(house, short))


def test_unknown_persons_are_told_by_line_and_left_out(
    house: House, people: list[dict[str, Any]], tmp_path: Path
) -> None:
    file = file_of(
        tmp_path, "household_id,email", f"{people[0]['household_id']},", "987654,", ",nobody@example.org", "987654,"
    )
    chosen = choose(house.settings, file, STRICT)
    assert (len(chosen.persons), chosen.counts["unknown"], chosen.lines["unknown"].first) == (1, 2, [3, 4])
    assert chosen.counts["repeated"] == 1
    asked = choose(house.settings, file, Tolerance(also_unknown=True))
    assert same(asked.persons, tokens(house, people[0]["household_id"], 987654))
    alone = file_of(tmp_path, "household_id", "987654")
    assert request(house.settings, alone, WHY, STRICT)[0] is None


def test_unreadable_lines_refuse_the_whole_request(house: House, people: list[dict[str, Any]], tmp_path: Path) -> None:
    file = file_of(tmp_path, "household_id", str(people[0]["household_id"]), "abc", "x" * 30)
    with pytest.raises(DeliveryError, match=r"delivery\.subjects") as told:
        request(house.settings, file, WHY, STRICT)
    assert "2 wrong_value (line 3, 4)" in told.value.found
    assert "abc" not in str(told.value)
    assert Erasures(house.settings.database).all(open_only=True) == []
    assert said(house.settings.database, Action.REQUEST_ERASURE)[-1][2] == REFUSED
    done, _ = request(house.settings, file, WHY, Tolerance(skip_unreadable=True))
    assert done is not None
    assert done.subjects == 1


def test_a_reason_that_says_nothing_or_quotes_a_person_is_refused(house: House, tmp_path: Path) -> None:
    for reason in ("", "please", "erase ann.example@example.org at once"):
        with pytest.raises(ConfigurationError, match=r"configuration\.reason"):
            request(house.settings, file_of(tmp_path, "household_id", "7"), reason, STRICT)


@pytest.mark.parametrize(
    ("reason", "column"),
    [
        ("erasure for {name}'s sake, as asked", "name"),
        ("the person is called  {NAME}; see the letter", "name"),
        ("closing of household #{household_id}.", "household_id"),
        ("loyalty card ({loyalty_card}) was lost", "loyalty_card"),
        ("who lives at {street}", "street"),
    ],
)
def test_a_reason_that_names_one_of_the_persons_is_refused_and_recorded_nowhere(
    house: House, people: list[dict[str, Any]], tmp_path: Path, reason: str, column: str
) -> None:
    ids = Identifiers.of(house.settings)
    columns = ("name", "street", "loyalty_card")
    person = next(
        row
        for table in master_rows(house.settings, ids, columns)
        for row in table.to_pylist()
        if row["household_id"] == people[3]["household_id"]
    )
    why = reason.format(**person, NAME=person["name"].upper().replace(" ", "  "))
    file = file_of(tmp_path, "household_id,email", f",{people[3]['email']}", f"{people[4]['household_id']},")
    ask = subject_holding.place if column == "street" else request
    with pytest.raises(ConfigurationError, match=r"configuration\.reason") as told:
        ask(house.settings, file, why, STRICT)
    assert told.value.found == f"what names one: {column}"
    assert person[column if column in columns else "name"] not in told.value.explain()
    assert Erasures(house.settings.database).all(open_only=True) == []
    assert len(SubjectHolds(house.settings.database).held()) == 0
    assert why not in everything_recorded(house.settings)


def test_a_reason_that_fails_before_it_was_searched_is_not_recorded(house: House, tmp_path: Path) -> None:
    with pytest.raises(DeliveryError):
        request(house.settings, file_of(tmp_path, "household_id", "7", "abc"), "the letter of Anna Beispiel", STRICT)
    assert "Beispiel" not in everything_recorded(house.settings)


def test_numbers_that_only_look_like_somebodys_may_stand_in_a_reason(
    house: House, people: list[dict[str, Any]], tmp_path: Path
) -> None:
    one, other = (person["household_id"] for person in people[:2])
    why = f"ticket SD-{one} of {other}, order 12/{one}"
    done, _ = request(house.settings, file_of(tmp_path, "household_id", str(one)), why, STRICT)
    assert done is not None
    assert done.reason == why
    assert why in everything_recorded(house.settings)


def everything_recorded(settings: Settings) -> str:
    with db.open_database(settings.database).connect() as connection:
        return "\n".join(str(row) for row in connection.execute(sa.select(db.audit_entry)))


def test_what_is_requested_is_listed_encrypted_and_nowhere_else(
    house: House, people: list[dict[str, Any]], tmp_path: Path
) -> None:
    wanted = [person["household_id"] for person in people[:2]]
    file = file_of(tmp_path, "household_id", *map(str, wanted))
    done, _ = request(house.settings, file, WHY, STRICT)
    assert done is not None
    batch = open_batch(house.settings, done.batch)
    assert same(batch.rights, tokens(house, *wanted))
    assert (batch.reason, batch.requested_at) == (WHY, done.requested_at)
    assert same(Tombstones(house.settings.database).persons(), batch.rights)
    store = open_store(house.settings)
    listed = [item.path for item in store.list(f"rights/{done.batch}")]
    held = b"".join(store.read(path) for path in listed)
    assert len(listed) == 2
    assert not any(token in held or token.hex().encode() in held for token in batch.rights.to_pylist())
    again, _ = request(house.settings, file, WHY, STRICT)
    assert again == done
    assert [item.path for item in store.list(f"rights/{done.batch}")] == listed


def test_a_dropped_list_opens_nowhere_any_more(house: House, people: list[dict[str, Any]], tmp_path: Path) -> None:
    done, _ = request(house.settings, file_of(tmp_path, "household_id", str(people[4]["household_id"])), WHY, STRICT)
    assert done is not None
    store = open_store(house.settings)
    copies = {item.path: store.read(item.path) for item in store.list(f"rights/{done.batch}")}
    assert drop_list(house.settings, done.batch)
    assert not drop_list(house.settings, done.batch)
    assert list(store.list(f"rights/{done.batch}")) == []
    for path, content in copies.items():  # a copy that somebody kept
        store.create(path, content)
    with pytest.raises(Exception, match="destroyed"):
        open_batch(house.settings, done.batch)
    drop_list(house.settings, done.batch)


def test_a_list_whose_dropping_was_killed_opens_nowhere_and_is_dropped_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "er-20000101-11111111"
    manifest = write_list(house.settings, name, tokens(house, 7), tokens(house))
    store = open_store(house.settings)
    copies = {item.path: store.read(item.path) for item in store.list(f"rights/{name}")}

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            drop_list(house.settings, name)
    assert {item.path for item in store.list(f"rights/{name}")} == set(copies)
    [entry] = file_entries(read_manifest(store, manifest)["files"])
    with pytest.raises(Exception, match="destroyed"):
        TableStore(store, open_ring(house.settings)).read(entry)
    assert drop_abandoned(house.settings, dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)) == 1
    assert list(store.list(f"rights/{name}")) == []


def test_lists_of_killed_requests_are_dropped_after_a_while(house: House) -> None:
    write_list(house.settings, "er-20000101-00000000", tokens(house, 7), tokens(house))
    assert drop_abandoned(house.settings) == 0
    assert drop_abandoned(house.settings, dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)) == 1
    assert list(open_store(house.settings).list("rights/er-20000101-00000000")) == []


def test_a_held_person_is_left_out_and_counted(house: House, people: list[dict[str, Any]], tmp_path: Path) -> None:
    first, second = (str(person["household_id"]) for person in people[5:7])
    held = subject_holding.place(house.settings, file_of(tmp_path, "household_id", first), WHY, STRICT)
    assert (held.persons, held.changed, held.missed) == (1, 1, 0)
    both = file_of(tmp_path, "household_id", first, second)
    done, chosen = request(house.settings, both, WHY, STRICT)
    assert done is not None
    assert (done.subjects, chosen.counts["held"]) == (1, 1)
    batch = open_batch(house.settings, done.batch)
    assert same(still(house.settings, batch), tokens(house, int(second)))
    nobody, counted = request(house.settings, file_of(tmp_path, "household_id", first), WHY, STRICT)
    assert nobody is None
    assert counted.counts["held"] == 1


def test_a_hold_that_comes_later_takes_the_person_out_for_good(
    house: House, people: list[dict[str, Any]], tmp_path: Path
) -> None:
    first, second = (person["household_id"] for person in people[7:9])
    done, _ = request(house.settings, file_of(tmp_path, "household_id", str(first), str(second)), WHY, STRICT)
    assert done is not None
    batch = open_batch(house.settings, done.batch)
    one = file_of(tmp_path, "household_id", str(first))
    subject_holding.place(house.settings, one, WHY, STRICT)
    assert same(still(house.settings, batch), tokens(house, second))
    assert same(Tombstones(house.settings.database).persons(), tokens(house, second))
    assert subject_holding.lift(house.settings, one, WHY, STRICT).changed == 1
    assert same(still(house.settings, batch), tokens(house, second))


def test_who_a_hold_took_out_of_an_open_erasure_is_in_the_next_one_once_it_is_lifted(
    house: House, people: list[dict[str, Any]], tmp_path: Path
) -> None:
    one = people[8]["household_id"]
    file = file_of(tmp_path, "household_id", str(one))
    first, _ = request(house.settings, file, WHY, STRICT)
    subject_holding.place(house.settings, file, WHY, STRICT)
    subject_holding.lift(house.settings, file, WHY, STRICT)
    second, _ = request(house.settings, file, WHY, STRICT)
    assert first is not None
    assert second is not None
    assert second.batch != first.batch
    assert same(still(house.settings, open_batch(house.settings, second.batch)), tokens(house, one))
    assert same(Tombstones(house.settings.database).persons(), tokens(house, one))
    assert request(house.settings, file, WHY, STRICT)[0] == second


def test_a_hold_reaches_persons_who_are_not_known_yet(house: House, tmp_path: Path) -> None:
    file = file_of(tmp_path, "household_id,email", "987654,", ",nobody@example.org")
    held = subject_holding.place(house.settings, file, WHY, STRICT)
    assert (held.persons, held.missed) == (1, 1)
    assert same(SubjectHolds(house.settings.database).held(), tokens(house, 987654))


def test_a_dry_run_counts_what_is_there_and_changes_nothing(
    house: House, people: list[dict[str, Any]], tmp_path: Path
) -> None:
    household = people[0]["household_id"]
    file = file_of(tmp_path, "household_id", str(household))
    choose(house.settings, file, STRICT)  # the root of rights tokens is made at first use
    before = contents(house)
    chosen = choose(house.settings, file, STRICT)
    places = {(one.dataset, one.zone, one.name): one.rows for one in preview(house.settings, chosen.batch())}
    assert contents(house) == before
    assert places[("customers", "landing", "2016-12-26/1")] == 1
    assert places[("customers", "protected", "2016-12-26")] == 1
    for week in ("2016-12-26", "2017-01-02"):
        landed = places.get(("transactions", "landing", f"{week}/1"), 0)
        parts = [places.get(("transactions", zone, week), 0) for zone in ("protected", "quarantine")]
        assert landed == sum(parts)
    assert sum(rows for (dataset, *_), rows in places.items() if dataset == "transactions") > 0


def contents(house: House) -> dict[str, str]:
    """Return the digest of every file below the home but the control database's."""
    home = house.settings.home
    return {
        str(path.relative_to(home)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(home.rglob("*"))
        if path.is_file() and "control" not in path.name
    }


def test_two_customers_with_one_address_are_refused_unless_all_are_meant(tmp_path: Path) -> None:
    house = protected().copy(tmp_path / "home")
    from cloakhouse.stages.land import land

    ids = Identifiers.of(house.settings)
    rows = pa.concat_tables(master_rows(house.settings, ids, ids.also)).to_pylist()
    first, second = rows[:2]
    landed = house.settings.inbox / "customers-2017-01-02.jsonl"
    house.settings.inbox.mkdir(exist_ok=True)
    changed = {"household_id": second["household_id"], "email": first["email"], "loyalty_card": "000000000017"}
    whole = {column.name: None for column in house.contracts["customers"].columns} | changed
    landed.write_text(json.dumps(whole) + "\n")
    assert land(house.settings, house.contracts["customers"]).landed == 1
    shared = file_of(tmp_path, "email", first["email"])
    with pytest.raises(DeliveryError, match=r"delivery\.ambiguous") as told:
        choose(house.settings, shared, STRICT)
    assert first["email"] not in str(told.value)
    both = tokens(house, first["household_id"], second["household_id"])
    assert same(choose(house.settings, shared, Tolerance(all_matches=True)).persons, both)
    for card in (second["loyalty_card"], "000000000017"):  # one person, two cards
        assert same(
            choose(house.settings, file_of(tmp_path, "loyalty_card", card), STRICT).persons,
            tokens(house, second["household_id"]),
        )


def test_a_hold_that_comes_while_a_request_is_made_refuses_it(
    house: House, people: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloakhouse.stages import erasure_request as module

    who = tokens(house, people[9]["household_id"])
    real = module.write_list

    def held_meanwhile(*arguments: Any) -> ManifestRef:
        by = event(house.settings, Action.HOLD_SUBJECT, "persons", reason=WHY)
        SubjectHolds(house.settings.database).place(who, by)
        return real(*arguments)

    monkeypatch.setattr(module, "write_list", held_meanwhile)
    with pytest.raises(StageError, match=r"stage\.held"):
        request(house.settings, file_of(tmp_path, "household_id", str(people[9]["household_id"])), WHY, STRICT)
    assert not [item for item in open_store(house.settings).list("rights") if "/er-" in item.path]
    assert numbers(Tombstones(house.settings.database).persons()) == []
