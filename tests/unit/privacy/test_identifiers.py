from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.privacy.identifiers import (
    IdentifierCounts,
    count_identifiers,
    find_cards,
    find_emails,
    find_ibans,
    find_phones,
    luhn_valid,
    scan_table,
)

EMAILS = ["a@b.co", "Reach me: x.y+z@mail.example.org, thanks", "o'neil@example.com", "jörg@bücher.example"]
PHONES = [
    "+49 151 23456789", "+1-555-201-3344x12", "(415)555-2671", "001-555-301-2345", "415.555.2671",
    "4155552671", " 020 7946 0958 ", "0151 23456789", "call +44 20 7946 0958 now",
]  # fmt: skip
CARDS = [
    "4111111111111111", "4111 1111 1111 1111 12/27", "3782-822463-10005", "card 5500005555555559.",
    "6011 0009 9013 9424", "4222222222222", "1234567890123 then 4111111111111111",
]  # fmt: skip
IBANS = [
    "DE89370400440532013000", "de89 3704 0044 0532 0130 00", "GB82 WEST 1234 5698 7654 32 THANKS",
    "NO93 8601 1117 947", "IBAN: FR1420041010050500013M02606", "MT84MALT011000012345MTLCAST001S",
]  # fmt: skip
HARMLESS = [
    "", "2017-01-02", "2017-01-02 13:45:00", "35-54", "under 35", "125-149K", "12.5 OZ", "1/2 GAL", "01/2017", "a@b",
    "12 @ 3.50", "CNTRL/STORE SUP", "4111111111111112", "0000000000000000", "41111111111111111111111", "AB12 CDEF",
    "DE89370400440532013001", "2 LT 2.11 QT", "NO. 10 CAN 6 LB 7 OZ", "100 200 300", "1234567890", "National",
    "1 234 567", "07:30-19:30",
]  # fmt: skip
FINDERS = {"emails": find_emails, "phones": find_phones, "cards": find_cards, "ibans": find_ibans}


@pytest.mark.parametrize(
    ("kind", "texts"), [("emails", EMAILS), ("phones", PHONES), ("cards", CARDS), ("ibans", IBANS)]
)
def test_each_notation_is_found(kind: str, texts: list[str]) -> None:
    found = FINDERS[kind](pa.array(texts))
    assert [text for text, hit in zip(texts, found, strict=True) if not hit] == []


@pytest.mark.parametrize("kind", FINDERS)
def test_labels_dates_and_wrong_check_digits_are_not(kind: str) -> None:
    found = FINDERS[kind](pa.array(HARMLESS))
    assert [text for text, hit in zip(HARMLESS, found, strict=True) if hit] == []


def test_luhn_against_the_plain_algorithm() -> None:
    def plain(digits: str) -> bool:
        total = sum(sum(divmod(int(d) * (1 + at % 2), 10)) for at, d in enumerate(reversed(digits)))
        return total % 10 == 0 and int(digits) > 0

    rng = np.random.default_rng(3)
    digits = [str(rng.integers(10 ** (n - 1), 10**n - 1)) for n in range(13, 19) for _ in range(200)]
    assert luhn_valid(pa.array(digits)).tolist() == [plain(d) for d in digits]


def test_any_single_wrong_character_breaks_an_iban() -> None:
    good = "DE89370400440532013000"
    bad = [good[:at] + str((int(good[at]) + 1) % 10) + good[at + 1 :] for at in range(2, len(good))]
    assert not find_ibans(pa.array(bad)).any()


def test_counts_cells_not_distinct_texts_and_holds_no_text() -> None:
    column = pa.chunked_array([["a@b.co", None, "a@b.co"], ["+49 151 23456789 or a@b.co", "plain"]])
    counts = count_identifiers(column)
    assert counts == IdentifierCounts(cells=4, emails=3, phones=1, cards=0, ibans=0, flagged=3)
    assert all(isinstance(number, int) for number in counts.as_dict().values())


def test_scan_skips_exempt_and_other_types_and_sees_through_encodings() -> None:
    table = pa.table(
        {
            "card_number": ["4111111111111111"],
            "note": pa.array(["a@b.co"]).dictionary_encode(),
            "big": pa.array(["x"], pa.large_string()),
            "count": [4111111111111111],
            "token": pa.array([b"0123456789abcdef"], pa.binary(16)),
        }
    )
    found = scan_table(table, exempt=["card_number"])
    assert {name: counts.flagged for name, counts in found.items()} == {"note": 1, "big": 0}
    assert scan_table(table)["card_number"].cards == 1


def test_columns_of_one_name_are_both_seen() -> None:
    twice = pa.Table.from_arrays([pa.array(["x"]), pa.array(["a@b.co"])], names=["note", "note"])
    assert {name: counts.flagged for name, counts in scan_table(twice).items()} == {"note": 0, "note#2": 1}


def test_nothing_to_look_at() -> None:
    for column in (pa.array([], pa.string()), pa.array([None], pa.string()), pa.array([1, 2])):
        assert count_identifiers(column) == IdentifierCounts()
