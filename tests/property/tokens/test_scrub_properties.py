"""Scrub over drawn text: the column agrees with the single text, nothing else changes, and twice is once."""

from __future__ import annotations

import re

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.tokens import checks
from cloakhouse.tokens.scrub import ALL_KINDS, MARKS, find, findings, scrub

PIECES = st.sampled_from(
    [
        *(
            "0",
            "06",
            "12",
            "34",
            "4111",
            "1111",
            "123",
            "4567",
            "89",
            "+",
            "+49 ",
            "00",
            "(",
            ")",
            " ",
            "-",
            ".",
            "/",
            ",",
        ),
        *(
            "@",
            "a",
            "b.example",
            "DE89",
            "370400440532013000",
            "tel ",
            "AB",
            "X",
            "Z",
            "\n",
            "é",
            "６",
            "\u00a0",
            "bsn ",
        ),
        *("4111111111111111", "12345678Z", "a@b.example", "212-555-0100", "111.444.777-35", "\U0001f600", "٣"),
    ]
)
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=30)
MARK = re.compile("|".join(map(re.escape, MARKS.values())))


@given(st.lists(st.none() | TEXTS, max_size=6))
@settings(deadline=None, max_examples=150)
def test_a_column_is_its_texts_one_by_one(texts: list[str | None]) -> None:
    expected: list[str | None] = []
    counts = dict.fromkeys(ALL_KINDS, 0)
    for text in texts:
        made, at = "", 0
        for start, end, kind in find(text or ""):
            assert at <= start < end
            made += (text or "")[at:start] + MARKS[kind]
            at = end
            counts[kind] += 1
        expected.append(None if text is None else made + text[at:])
    column = pa.array(texts, pa.string())
    assert scrub(column).to_pylist() == expected
    assert findings(column) == counts
    assert scrub(column.dictionary_encode()).to_pylist() == expected


@given(st.from_regex(r"[2-6][0-9]{11,17}", fullmatch=True), st.sampled_from(["", " ", "-"]), TEXTS)
@settings(deadline=None, max_examples=100)
def test_every_card_is_found_and_no_other_number(body: str, blank: str, after: str) -> None:
    number = next(body + digit for digit in "0123456789" if checks.luhn(body + digit))
    spelt = blank.join(number[at : at + 4] for at in range(0, len(number) - len(number) % 4, 4))
    spelt += number[len(number) - len(number) % 4 :]
    article = not blank and len(number) == 13 and checks.gs1(number)
    others = {kind for _, _, kind in find(spelt)}
    assert others == (set() if article else {"card"}) or "national id" in others
    wrong = spelt[:-1] + str((int(spelt[-1]) + 1) % 10)
    assert (0, len(wrong), "card") not in find(f"{wrong}\n{after}")


@given(
    TEXTS,
    st.sampled_from(["clara.w@example.org", "DE89 3704 0044 0532 0130 00", "RSSMRA85T10A562S"]),
)
@settings(deadline=None, max_examples=100)
def test_a_find_on_a_line_of_its_own_is_always_found(before: str, unit: str) -> None:
    text = f"{before}\n{unit}\n"
    assert unit not in scrub(pa.array([text]))[0].as_py()


@given(TEXTS)
@settings(deadline=None, max_examples=150)
def test_case_does_not_matter(text: str) -> None:
    if text.upper().lower() == text.lower() and len(text.upper()) == len(text.lower()) == len(text):
        assert find(text.upper()) == find(text.lower())
