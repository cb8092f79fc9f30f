"""Whose raw lines are: as a scalar reference says, line by line, for sound and spoilt lines of CSV and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.contracts import column, feed_contract

from cloakhouse.contracts.subject import Register, Rights, Subject
from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.secret import SecretKey
from cloakhouse.stages.cut_landed import without_lines
from cloakhouse.stages.raw_fields import RawFields
from cloakhouse.stages.raw_subjects import RawSubjects, name_tokens, nobody
from cloakhouse.tokens.subjects import rights_tokens

TOKEN = "{token: {domain: customer, purpose: analytics}}"
COLUMNS = (
    column("amount", "number"),
    column("id", "integer", required=True, cls="direct identifier", how=TOKEN),
    column("card", cls="direct identifier", how="drop"),
    column("note", how="drop"),
)
SUBJECT = Rights(Subject("id", ("card",), Register({}, "note", "1")))
CSV = replace(feed_contract(columns=COLUMNS), rights=SUBJECT)
JSON = replace(feed_contract(columns=COLUMNS, form="jsonl"), rights=SUBJECT)
HEADER = b"amount,id,card,note\n"
PERSONS = range(1, 40)


class Keys:
    """One key for each use."""

    def key(self, use: KeyUse) -> SecretKey:
        return SecretKey(repr(use).encode()[-32:].rjust(32, b"k"))


@dataclass(frozen=True)
class Line:
    """A line of a feed and whose it is: the persons whom it names, in the order of what counts."""

    text: bytes
    names: frozenset[int]


def card(person: int) -> str:
    return f"CARD-{person:06d}"


def rights(persons: frozenset[int]) -> pa.Array:
    tokens = rights_tokens(pa.array(sorted(persons), pa.int64()), CSV.column("id"), Keys())
    return tokens.take(pc.sort_indices(tokens))


def subjects(contract: object, going: frozenset[int], staying: frozenset[int]) -> RawSubjects:
    texts = pa.array([card(person) for person in sorted(going)], pa.string())
    names = name_tokens(texts, CSV.column("card"), CSV.column("id"), Keys()) if going else nobody()
    return RawSubjects.of(contract, Keys(), rights(going), rights(staying), names)  # type: ignore[arg-type]


def csv_line(person: int, other: int, kind: str, amount: int) -> Line:
    """Return one line of `person`; `other` is somebody whose number or card stands in it where it says nothing."""
    one = frozenset({person})
    lines = {
        "sound": (f"{amount},{person},{card(other)},", one),
        "zeros": (f"{amount},00{person},{card(other)},x", one),
        "quoted": (f'{other},"{person}","{card(other)}","a, ""b"""', one),
        "wrong type": (f"several,{person},{card(other)},", one),
        "of nobody": (f"{amount},,{card(person)},", one),
        "no number": (f"{amount},unknown,{card(person)},", one),
        "number as amount": (f"{person},{other},,{person}", frozenset({other})),
        "inside a word": (f"{amount},{other},,id {person} x{person}", frozenset({other})),
        "field more": (f"1000,{person},{card(person)},,0,7", one),
        "field less": (f"1000,{person},{card(person)}", one),
        "field before": (f"1000,1001,{person},{card(person)},", one),
        "open quote": (f'1000,{person},{card(person)},"note', one),
        "return inside": (f"1000,{person},{card(person)},a\rb", one),
        "two persons": (f"1000,{person},{card(person)},x,{card(other)}", frozenset({person, other})),
        "empty": ("", frozenset()),
    }
    text, names = lines[kind]
    return Line(text.encode(), names)


def json_line(person: int, other: int, kind: str, amount: int) -> Line:
    one = frozenset({person})
    sound = {"amount": amount, "id": person, "card": card(other), "note": None}
    lines: dict[str, tuple[str, frozenset[int]]] = {
        "sound": (json.dumps(sound), one),
        "in text": (json.dumps({**sound, "id": f" {person}"}), one),
        "as a float": (json.dumps({**sound, "id": float(person)}), one),
        "wrong type": (json.dumps({**sound, "amount": "several"}), one),
        "undeclared": (json.dumps({**sound, "more": other, "id2": other}), one),
        "of nobody": (json.dumps({**sound, "id": None, "card": card(person)}), one),
        "left out": (json.dumps({"card": card(person)}), one),
        "nested": (json.dumps({**sound, "card": "", "id": {"number": person}}), one),
        "twice": (f'{{"id": {person}, "id": {person}, "amount": {other}}}', one),
        "cut off": (f'{{"amount": {other}, "id": {person}, "card": "{card(person)[:4]}', one),
        "escaped": (f'{{"amount": 1, "id": null, "card": "\\u0043ARD-{person:06d}"}}', one),
        "a list": (f'[{other}, "{card(person)}"]', one),
        "null": ("null", frozenset()),
        "number as amount": (json.dumps({**sound, "amount": other}), one),
        "empty": ("", frozenset()),
    }
    text, names = lines[kind]
    return Line(text.encode(), names)


CSV_KINDS = (
    "sound", "sound", "sound", "zeros", "quoted", "wrong type", "of nobody", "no number", "number as amount",
    "inside a word", "field more", "field less", "field before", "open quote", "return inside", "two persons", "empty",
)  # fmt: skip
JSON_KINDS = (
    "sound", "sound", "sound", "in text", "as a float", "wrong type", "undeclared", "of nobody", "left out", "nested",
    "twice", "cut off", "escaped", "a list", "null", "number as amount", "empty",
)  # fmt: skip
PERSON = st.sampled_from(PERSONS)
AMOUNT = st.integers(1000, 9000)
BROKEN = st.booleans()
GROUPS = st.frozensets(PERSON, max_size=20)


def goes(line: Line, going: frozenset[int], staying: frozenset[int]) -> bool:
    """The reference: who is named and erased, and nobody beside who is held."""
    return bool(line.names & going) and not line.names & (staying - going)


@settings(max_examples=30)
@given(
    st.lists(st.builds(csv_line, PERSON, PERSON, st.sampled_from(CSV_KINDS), AMOUNT), min_size=1),
    GROUPS,
    GROUPS,
    BROKEN,
)
def test_lines_of_csv_go_by_whom_they_name(
    lines: list[Line], going: frozenset[int], staying: frozenset[int], broken: bool
) -> None:
    check(lines, going, staying, broken, header=HEADER)


@settings(max_examples=30)
@given(
    st.lists(st.builds(json_line, PERSON, PERSON, st.sampled_from(JSON_KINDS), AMOUNT), min_size=1),
    GROUPS,
    GROUPS,
    BROKEN,
)
def test_lines_of_json_go_by_whom_they_name(
    lines: list[Line], going: frozenset[int], staying: frozenset[int], broken: bool
) -> None:
    check(lines, going, staying, broken, header=b"")


def check(lines: list[Line], going: frozenset[int], staying: frozenset[int], broken: bool, header: bytes) -> None:
    staying = staying - going
    contract = CSV if header else JSON
    texts = [line.text.replace(b"several", b"\xff\xfe") if broken else line.text for line in lines]
    block = b"\n".join(texts) + (b"" if texts[-1] else b"\n")
    assert contract.feed is not None
    fields = RawFields(contract, contract.feed, ("id", "card"), header).read(block)
    whose = subjects(contract, going, staying).whose(fields)
    expected = [goes(line, going, staying) for line in lines]
    assert whose.goes.tolist() == expected
    stay = [text for text, gone in zip(texts, expected, strict=True) if not gone]
    kept = without_lines(block, whose.goes) if any(expected) else block
    assert kept.split(b"\n")[: len(stay)] == stay
    assert np.count_nonzero(whose.goes) == sum(expected)
