"""What counts of choices, against the rules written down for one person at a time; and the rules themselves."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.contracts.jurisdictions import PROFILES
from cloakhouse.ledger.consent_model import CHOICES, DIRECT
from cloakhouse.stages.consent_standing import LAWS, resolved

T0 = dt.datetime(2020, 1, 1)
MASTER = "customers"


@dataclass(frozen=True)
class Row:
    """A row of the register, as its windows yield it."""

    subject: bytes
    choice: str
    jurisdiction: str
    source: str
    chosen_at: dt.datetime
    policy: str = "1"


def row(person: int, choice: str, law: str, source: str, hour: int) -> Row:
    return Row(bytes(15) + bytes([person]), choice, law, source, T0 + dt.timedelta(hours=hour))


ROWS = st.lists(
    st.builds(
        row,
        st.integers(0, 3),
        st.sampled_from(CHOICES),
        st.sampled_from(["gdpr", "ccpa", "other"]),
        st.sampled_from([MASTER, MASTER, *DIRECT]),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=24,
    unique_by=lambda r: (r.subject, r.source, r.chosen_at),
).map(lambda rows: sorted(rows, key=lambda r: (r.subject, r.chosen_at)))


def counted(rows: list[Row]) -> tuple[str, str, dt.datetime]:
    """Return (choice, law, since) of one person's rows, by the rules of `consent_standing`, one after the other."""
    master = sorted((r for r in rows if r.source not in DIRECT), key=lambda r: r.chosen_at)
    own = [r for r in rows if r.source in DIRECT]
    made = [r for r in own if r.choice != "told"]
    newest = max(made, key=lambda r: (r.chosen_at, r.choice == "refused"), default=None)
    law = (
        master[-1].jurisdiction
        if master
        else max(own, key=lambda r: (r.chosen_at, -LAWS.index(r.jurisdiction))).jurisdiction
    )
    flag, since, before = None, T0, None
    for one in master:
        if one.choice != flag:
            flag, since, before = one.choice, one.chosen_at, flag
    if newest is None:
        return (flag, law, since) if flag else ("told", law, max(r.chosen_at for r in own))
    if flag is None or flag == "told":
        return newest.choice, law, newest.chosen_at
    if newest.choice == "refused" and flag == "granted" and before != "refused":
        return newest.choice, law, newest.chosen_at
    if newest.chosen_at > since or (newest.chosen_at == since and newest.choice == "refused"):
        return newest.choice, law, newest.chosen_at
    return flag, law, since


@given(rows=ROWS)
def test_a_window_of_persons_stands_as_each_of_them_does_alone(rows: list[Row]) -> None:
    found = resolved(rows, "sharing")
    everybody = sorted({r.subject for r in rows})
    assert found.subjects.to_pylist() == everybody
    for index, subject in enumerate(everybody):
        choice, law, since = counted([r for r in rows if r.subject == subject])
        assert CHOICES[found.choices[index]] == choice
        assert LAWS[found.laws[index]] == law
        assert dt.timedelta(microseconds=int(found.since[index])) == since - dt.datetime(1970, 1, 1)
        allowed = choice == "granted" or (choice == "told" and PROFILES[law].without_choice("sharing"))
        assert found.allowed[index] == allowed


def alone(*rows: Row) -> bool:
    [allowed] = resolved(sorted(rows, key=lambda r: r.chosen_at), "sharing").allowed.tolist()
    return bool(allowed)


@given(
    signal=st.integers(1, 9),
    source=st.sampled_from(DIRECT),
    flags=st.lists(st.integers(0, 20), min_size=1, unique=True),
)
def test_no_copy_of_a_flag_undoes_an_objection(signal: int, source: str, flags: list[int]) -> None:
    """However often, before and after, the master shows that the person agreed."""
    copies = [row(1, "granted", "ccpa", MASTER, 2 * hour) for hour in flags]
    assert not alone(row(1, "refused", "ccpa", source, 2 * signal + 1), *copies)


@given(hour=st.integers(2, 9), older=st.integers(0, 1), source=st.sampled_from(DIRECT))
def test_nothing_older_and_nothing_of_the_same_instant_undoes_a_refusal(hour: int, older: int, source: str) -> None:
    refusal = row(1, "refused", "gdpr", "gpc", hour)
    same = [] if source == "gpc" else [row(1, "granted", "gdpr", source, hour)]
    assert not alone(refusal, row(1, "granted", "gdpr", source, older), *same)


def test_an_objection_is_undone_by_a_later_grant_and_by_a_flag_that_changes_from_refused() -> None:
    refusal = row(1, "refused", "gdpr", "gpc", 3)
    assert alone(refusal, row(1, "granted", "gdpr", "api", 4))
    flags = [row(1, "granted", "gdpr", MASTER, 1), row(1, "refused", "gdpr", MASTER, 5)]
    assert not alone(refusal, *flags)
    assert alone(refusal, *flags, row(1, "granted", "gdpr", MASTER, 6))
    assert not alone(refusal, *flags, row(1, "told", "gdpr", MASTER, 6), row(1, "granted", "gdpr", MASTER, 7))
    assert not alone(row(1, "refused", "gdpr", "gpc", 8), *flags, row(1, "granted", "gdpr", MASTER, 6))


def test_told_is_a_yes_under_opt_out_alone_and_takes_no_choice_back() -> None:
    assert alone(row(1, "told", "ccpa", MASTER, 1))
    assert not alone(row(1, "told", "gdpr", MASTER, 1))
    assert alone(row(1, "granted", "gdpr", "api", 1), row(1, "told", "gdpr", "api", 2))
    assert not alone(row(1, "refused", "ccpa", "api", 1), row(1, "told", "ccpa", "file", 2))
    assert not alone(row(1, "granted", "gdpr", MASTER, 1), row(1, "told", "gdpr", MASTER, 2))


def test_the_master_knows_where_a_person_lives() -> None:
    assert not alone(row(1, "told", "gdpr", MASTER, 1), row(1, "told", "ccpa", "api", 2))
    assert not alone(row(1, "told", "ccpa", "api", 1), row(1, "told", "other", "file", 1))
    assert not alone(row(1, "told", "atlantis", "api", 1))


def test_tokens_that_end_in_zeros_are_told_apart() -> None:
    rows = [
        Row(bytes([1]) + bytes(15), "granted", "gdpr", "api", T0),
        Row(bytes([1, 1]) + bytes(14), "refused", "gdpr", "api", T0),
    ]
    assert np.array_equal(resolved(rows, "sharing").allowed, [True, False])
