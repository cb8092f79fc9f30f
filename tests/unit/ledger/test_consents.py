"""The consent register and its snapshots on each database: what is added, kept once, read by person, and removed."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from cloakhouse.ledger import consents
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.consent_model import Snapshot
from cloakhouse.ledger.consent_snapshots import ConsentSnapshots
from cloakhouse.ledger.consents import ConsentRegister, choices_table
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.tokens.subjects import RIGHTS_TYPE

BY = Event("platform", "record consent", "a test")
NOON = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def person(number: int) -> bytes:
    return number.to_bytes(16, "big")


def persons(*numbers: int) -> pa.Array:
    return pa.array([person(number) for number in numbers], RIGHTS_TYPE)


def table(*rows: tuple[int, str, dt.datetime], source: str = "file", purpose: str = "sharing") -> pa.Table:
    fixed = {"purpose": purpose, "jurisdiction": "gdpr", "policy": "1", "source": source}
    columns: dict[str, Any] = {name: [value] * len(rows) for name, value in fixed.items()}
    numbers, choices, times = zip(*rows, strict=True)
    return choices_table({**columns, "subject": persons(*numbers), "choice": choices, "chosen_at": times})


def held(url: str, purpose: str = "sharing", **how: Any) -> list[tuple[int, str, str]]:
    windows = ConsentRegister(url).windows(purpose, **how)
    return [(int.from_bytes(row.subject, "big"), row.choice, row.source) for rows in windows for row in rows]


def test_a_choice_is_kept_once_and_each_new_one_is_counted_in_one_event(url: str) -> None:
    register = ConsentRegister(url)
    assert register.add(table((1, "granted", NOON), (2, "refused", NOON)), BY) == 2
    assert register.add(table((1, "granted", NOON), (3, "granted", NOON)), BY) == 1
    assert register.add(table((1, "granted", NOON)), BY) == 0
    assert held(url) == [(1, "granted", "file"), (2, "refused", "file"), (3, "granted", "file")]
    assert [event.count for event in AuditLog(url).events()] == [2, 1]


def test_at_one_instant_of_one_source_the_refusal_stays(url: str) -> None:
    register = ConsentRegister(url)
    register.add(table((1, "granted", NOON), (2, "refused", NOON)), BY)
    assert register.add(table((1, "refused", NOON), (2, "granted", NOON)), BY) == 1
    assert held(url) == [(1, "refused", "file"), (2, "refused", "file")]


def test_choices_are_read_by_person_and_time_and_no_person_is_cut_in_two(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consents, "WINDOW", 2)
    register = ConsentRegister(url)
    rows = [(n, choice, NOON + k * HOUR) for n in (7, 3, 5) for k, choice in enumerate(("granted", "refused", "told"))]
    register.add(table(*rows), BY)
    windows = [[int.from_bytes(row.subject, "big") for row in rows] for rows in register.windows("sharing")]
    assert [number for window in windows for number in window] == [3, 3, 3, 5, 5, 5, 7, 7, 7]
    assert sum(len(set(window)) for window in windows) == 3
    assert [choice for _, choice, _ in held(url)][:3] == ["granted", "refused", "told"]


def test_only_choices_up_to_a_time_of_a_purpose_and_a_source_are_read(url: str) -> None:
    register = ConsentRegister(url)
    register.add(table((1, "granted", NOON), (1, "refused", NOON + HOUR)), BY)
    register.add(table((2, "granted", NOON), source="customers"), BY)
    register.add(table((3, "granted", NOON), purpose="analytics"), BY)
    assert held(url, as_of=NOON) == [(1, "granted", "file"), (2, "granted", "customers")]
    assert held(url, as_of=NOON.astimezone(dt.timezone(9 * HOUR))) == held(url, as_of=NOON)
    assert held(url, source="customers") == [(2, "granted", "customers")]
    assert held(url, as_of=NOON - HOUR) == []
    assert register.newest("file", "sharing") == NOON + HOUR
    assert register.newest("api", "sharing") is None
    assert register.sources() == ["customers", "file"]


def test_persons_are_removed_and_counted_in_any_number(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consents, "NAMED", 2)
    register = ConsentRegister(url)
    register.add(table(*((n, "granted", NOON + k * HOUR) for n in range(6) for k in range(2))), BY)
    gone = persons(0, 1, 2, 4, 9)
    assert register.count(gone) == 8
    assert register.remove(gone, replace(BY, action="erase")) == 8
    assert register.remove(gone, replace(BY, action="erase")) == 0
    assert {number for number, _, _ in held(url)} == {3, 5}
    assert [(e.action, e.count) for e in AuditLog(url).events()][1:] == [("erase", 8)]
    assert (register.records(person(4)), len(register.records(person(5)))) == ([], 2)
    assert register.records(person(5))[0].chosen_at == NOON


def test_an_erased_person_is_not_taken_in_again(url: str) -> None:
    Tombstones(url).add(persons(2), "er-1", replace(BY, action="request erasure"))
    register = ConsentRegister(url)
    assert register.add(table((1, "granted", NOON), (2, "granted", NOON)), BY) == 1
    assert held(url) == [(1, "granted", "file")]
    assert register.add(table((2, "granted", NOON)), BY) == 0
    assert [event.action for event in AuditLog(url).events()] == ["request erasure", "record consent"]


def snapshot(letter: str, purpose: str, at: dt.datetime) -> Snapshot:
    return Snapshot(letter * 64, purpose, at, 3, 2, ManifestRef(f"rights/consents/{letter}.json", letter * 64))


def test_a_snapshot_stands_once_under_its_digest_and_is_found_by_purpose_and_time(url: str) -> None:
    snapshots = ConsentSnapshots(url)
    first, second, other = (
        snapshot(name, use, NOON + k * HOUR) for name, use, k in (("a", "x", 0), ("b", "x", 1), ("c", "y", 2))
    )
    for one in (second, first, other):
        assert snapshots.add(one, BY) == one
    rival = replace(first, manifest=ManifestRef("rights/consents/rival.json", "f" * 64))
    assert snapshots.add(rival, BY) == first
    assert (snapshots.get("a" * 64), snapshots.get("d" * 64)) == (first, None)
    assert (snapshots.newest("x"), snapshots.newest("z")) == (second, None)
    assert snapshots.all() == [first, second, other]
    assert AuditLog(url).size() == 3


def test_a_snapshot_is_replaced_and_removed_only_as_it_stood(url: str) -> None:
    snapshots, one = ConsentSnapshots(url), snapshot("a", "x", NOON)
    snapshots.add(one, BY)
    cut = ManifestRef("rights/consents/cut.json", "c" * 64)
    assert snapshots.replace(one, cut)
    assert not snapshots.replace(one, cut)
    assert not snapshots.remove(one)
    assert snapshots.remove(replace(one, manifest=cut))
    assert snapshots.all() == []
