"""Verification: every way to change the log by SQL is found, and told for what it is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.support.audit_logs import (
    NOON,
    ORIGIN,
    change,
    edit,
    event,
    filled,
    rehashed,
    renumber,
    replace_all,
    rows,
    signed,
    swap,
)

from cloakhouse.ledger import audit_verify
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import encode
from cloakhouse.ledger.audit_findings import Findings, Kind, Remark, Verification
from cloakhouse.ledger.audit_verify import verify
from cloakhouse.ledger.checkpoints import Checkpoint
from cloakhouse.ledger.merkle import EMPTY

SIZE = 150
SIGNED = (40, 100)
Tamper = Callable[[AuditLog], None]
Told = list[tuple[str, int, int]]


def told(found: Verification) -> Told:
    return [(one.kind.value, one.first, one.last) for one in found.findings]


def verified(log: AuditLog, tamper: Tamper, *sizes: int) -> Verification:
    checkpoints = signed(log, *(sizes or SIGNED))
    tamper(log)
    return verify(log, checkpoints)


def test_a_log_as_it_was_written(url: str) -> None:
    log = filled(url, SIZE)
    found = verify(log, signed(log, *SIGNED, 0, SIZE, 100))
    assert found == Verification(SIZE, log.root(SIZE), (0, 40, 100, SIZE))
    assert found.sound
    partly = verify(log, signed(log, *SIGNED))
    assert [(one.remark, one.count, one.first) for one in partly.remarks] == [(Remark.SINCE, 50, 100)]
    assert [one.remark for one in verify(log).remarks] == [Remark.UNSIGNED]
    assert found.as_dict() == {
        "sound": True,
        "size": SIZE,
        "root": log.root(SIZE).hex(),
        "checkpoints": [0, 40, 100, SIZE],
        "findings": [],
        "more": 0,
        "remarks": [],
    }


def test_an_empty_log(url: str) -> None:
    assert verify(AuditLog(url)) == Verification(0, EMPTY)
    assert told(verify(AuditLog(url), [Checkpoint(ORIGIN, 3, b"r" * 32)])) == [("truncated", 0, 2)]


def test_pages_and_look_ahead_do_not_matter(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_verify, "PAGE", 7)
    log = filled(url, SIZE)
    assert verify(log, signed(log, *SIGNED)).checkpoints == SIGNED
    assert told(verified(log, lambda log: swap(log, 20, 49))) == [("reordered", 20, 49)]


EDITS: dict[str, tuple[Tamper, Told]] = {
    "content": (lambda log: edit(log, 50, rehash=False, reason="another"), [("edited", 50, 50)]),
    "content and leaf hash": (lambda log: edit(log, 50, rehash=True, count=1), [("edited", 50, 51)]),
    "content and leaf hash of a right sibling": (
        lambda log: edit(log, 51, rehash=True, count=1),
        [("edited", 50, 51)],
    ),
    "bytes that are no event": (
        lambda log: change(log, "UPDATE audit_entry SET content = :c WHERE number = 7", c=b"{}"),
        [("edited", 7, 7)],
    ),
    "hash of a node": (
        lambda log: change(
            log,
            "UPDATE audit_entry SET hashes = :h WHERE number = 3",
            h=rows(log)[3][1][:32] + b"x" * 32 + rows(log)[3][1][64:],
        ),
        [("edited", 2, 3)],
    ),
    "no hashes": (
        lambda log: change(log, "UPDATE audit_entry SET hashes = :h WHERE number = 9", h=b""),
        [("edited", 9, 9)],
    ),
    "a column": (
        lambda log: change(log, "UPDATE audit_entry SET decision = 'refused' WHERE number = 12"),
        [("copy differs", 12, 12)],
    ),
    "the column of times": (
        lambda log: change(log, "UPDATE audit_entry SET at = :at WHERE number = 12", at="2030-05-17 12:00:00.000000"),
        [("copy differs", 12, 12)],
    ),
    "first removed": (lambda log: change(log, "DELETE FROM audit_entry WHERE number = 0"), [("missing", 0, 0)]),
    "middle removed": (
        lambda log: change(log, "DELETE FROM audit_entry WHERE number BETWEEN 60 AND 64"),
        [("missing", 60, 64)],
    ),
    "removed, all after it numbered anew": (
        lambda log: (change(log, "DELETE FROM audit_entry WHERE number = 60"), renumber(log, 60, -1))[0],
        [("missing", 60, 60)],
    ),
    "removed, three, all after them numbered anew": (
        lambda log: (change(log, "DELETE FROM audit_entry WHERE number IN (61, 62, 63)"), renumber(log, 61, -3))[0],
        [("missing", 61, 63)],
    ),
    "last removed, after the newest checkpoint's size": (
        lambda log: change(log, "DELETE FROM audit_entry WHERE number >= 98"),
        [("truncated", 98, 99)],
    ),
    "all removed": (lambda log: change(log, "DELETE FROM audit_entry"), [("truncated", 0, 99)]),
    "inserted before all": (
        lambda log: change(log, "UPDATE audit_entry SET number = -5 WHERE number = 0"),
        [("inserted", -5, -5), ("missing", 0, 0)],
    ),
    "two changed places": (lambda log: swap(log, 50, 73), [("reordered", 50, 73)]),
    "two neighbours changed places": (lambda log: swap(log, 50, 51), [("reordered", 50, 51)]),
    "two that complete nodes": (lambda log: swap(log, 1, 5), [("reordered", 1, 5)]),
    "two even ones": (lambda log: swap(log, 20, 48), [("reordered", 20, 48)]),
}


@pytest.mark.parametrize(("tamper", "expected"), EDITS.values(), ids=EDITS)
def test_whatever_is_done_to_rows_is_found(
    sqlite_url: str, tamper: Tamper, expected: list[tuple[str, int, int]]
) -> None:
    found = verified(filled(sqlite_url, SIZE), tamper)
    assert told(found) == expected
    assert not found.sound


@pytest.mark.stores
@pytest.mark.parametrize(("tamper", "expected"), EDITS.values(), ids=EDITS)
def test_and_on_postgresql(url: str, tamper: Tamper, expected: Told) -> None:
    if url.startswith("postgresql"):
        test_whatever_is_done_to_rows_is_found(url, tamper, expected)


@pytest.mark.parametrize("place", [0, 1, 50, 51, 63, 64, 148])
@pytest.mark.parametrize("own_hashes", [True, False])
def test_an_entry_that_was_put_in(sqlite_url: str, place: int, own_hashes: bool) -> None:
    log = filled(sqlite_url, SIZE)

    def put_in(log: AuditLog) -> None:
        before = rows(log)
        new = encode(event(10**6, at=NOON))
        theirs = rehashed([*(content for content, _ in before[:place]), new])[-1]
        made = theirs if own_hashes else (new, before[place][1])
        replace_all(log, [*before[:place], made, *before[place:]])

    found = verified(log, put_in)
    assert ("inserted", place, place) in told(found)
    assert found.checkpoints == SIGNED  # the tree without it is the one that was signed


def test_contents_that_changed_places(sqlite_url: str) -> None:
    def exchange(log: AuditLog) -> None:
        for number, other in ((30, 31), (31, 30)):
            content = encode(event(other))
            change(log, "UPDATE audit_entry SET content = :c WHERE number = :n", c=content, n=number)

    assert told(verified(filled(sqlite_url, SIZE), exchange)) == [("reordered", 30, 31)]


@pytest.mark.parametrize("change_at", [0, 41, 99])
def test_a_history_with_right_hashes_is_another_than_the_one_that_was_signed(sqlite_url: str, change_at: int) -> None:
    def rewrite(log: AuditLog) -> None:
        contents = [content for content, _ in rows(log)]
        contents[change_at] = encode(replace(event(change_at), reason="never happened"))
        replace_all(log, rehashed(contents))

    found = verified(filled(sqlite_url, SIZE), rewrite)
    assert told(found) == [("rewritten", 0 if change_at < 40 else 40, 39 if change_at < 40 else 99)]
    assert found.checkpoints == (() if change_at < 40 else (40,))
    assert found.findings[0].where == f"checkpoint {40 if change_at < 40 else 100}"


def test_a_log_cut_short_with_right_hashes_is_found_by_a_checkpoint_only(sqlite_url: str) -> None:
    log = filled(sqlite_url, SIZE)
    checkpoints = signed(log, 40, 100)
    change(log, "DELETE FROM audit_entry WHERE number >= 100")
    assert verify(log, checkpoints).sound  # what was after it is not proved by it
    assert told(verify(log, [*checkpoints, Checkpoint(ORIGIN, SIZE, b"x" * 32)])) == [("truncated", 100, 149)]


def test_several_faults_are_told_one_by_one(sqlite_url: str) -> None:
    def tamper(log: AuditLog) -> None:
        edit(log, 10, rehash=False, reason="another")
        edit(log, 30, rehash=True, count=1)
        change(log, "DELETE FROM audit_entry WHERE number = 60")
        change(log, "UPDATE audit_entry SET actor = 'nobody' WHERE number IN (80, 81)")

    assert told(verified(filled(sqlite_url, SIZE), tamper)) == [
        ("edited", 10, 10),
        ("edited", 30, 31),
        ("missing", 60, 60),
        ("copy differs", 80, 81),
    ]


def test_a_log_of_rubbish_takes_no_longer(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_verify, "MOST_DIAGNOSES", 3)
    log = filled(sqlite_url, SIZE)
    found = verified(log, lambda log: change(log, "UPDATE audit_entry SET hashes = :h", h=b"?"))
    assert told(found) == [("edited", 0, SIZE - 1)]
    assert found.root == b""
    assert found.as_dict()["sound"] is False


def test_findings_are_bounded_and_counted() -> None:
    findings = Findings()
    for number in range(0, 4_000, 2):
        findings.add(Kind.EDITED, number, number)
    assert (len(findings.found), findings.more) == (1_000, 1_000)


def test_a_clock_that_goes_backwards_is_a_remark(url: str) -> None:
    log = AuditLog(url)
    for minutes in (0, 5, 3, 4, 1):
        log.record(event(0, at=NOON + dt.timedelta(minutes=minutes)))
    found = verify(log, signed(log, 5))
    assert found.sound
    assert [one.as_dict() for one in found.remarks] == [{"remark": Remark.CLOCK.value, "count": 2, "first": 2}]


def test_times_of_other_zones_are_stored_as_told(url: str) -> None:
    log = AuditLog(url)
    log.record(event(0, at=NOON.astimezone(dt.timezone(dt.timedelta(hours=-7)))))
    assert verify(log, signed(log, 1)).sound
    assert log.entry(0).event.at == NOON
