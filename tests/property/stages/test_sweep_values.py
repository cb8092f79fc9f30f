"""Looking for many values at once finds exactly what looking for each alone does."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloakhouse.stages import sweep_groups, sweep_values
from cloakhouse.stages.sweep_anchors import LEAST, ats, numbers
from cloakhouse.stages.sweep_values import ADDRESS, ANYWHERE, NUMBER, SHORTEST, Needles, beside

FIXTURE = [HealthCheck.function_scoped_fixture]  # which sets the same for all examples
LETTERS = st.sampled_from(list(b"ab1 @.\xc3"))
DIGITS = st.sampled_from(list(b"012"))
VALUE = st.one_of(st.lists(one, min_size=SHORTEST, max_size=24).map(bytes) for one in (LETTERS, LETTERS, DIGITS))
VALUES = st.lists(VALUE, min_size=1, max_size=8, unique=True)


@pytest.fixture(autouse=True, params=["few", "many, in small blocks"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for them as for a few values, and as for more than fit in a cache."""
    if request.param != "few":
        monkeypatch.setattr(sweep_values, "FEW", 0)
        monkeypatch.setattr(sweep_groups, "BLOCK", 9)
        monkeypatch.setattr(sweep_groups, "BYTES", 21)


def joined(byte: int | None, kind: int, *, before: bool) -> bool:
    if byte is None or kind == ANYWHERE:
        return False
    if kind == NUMBER:
        return chr(byte) in "0123456789"
    word = chr(byte).isalnum() or byte > 127
    return word or (kind == ADDRESS and chr(byte) in ("._%+-" if before else "-"))


def alone(text: bytes, value: bytes, kind: int) -> list[int]:
    """Where `value` stands in `text`, one position after the other."""
    found, at = [], text.find(value)
    while at >= 0:
        end = at + len(value)
        first = text[at - 1] if at else None
        after = text[end] if end < len(text) else None
        if not joined(first, kind, before=True) and not joined(after, kind, before=False):
            found.append(at)
        at = text.find(value, at + 1)
    return found


@settings(max_examples=120, deadline=None, suppress_health_check=FIXTURE)
@given(values=VALUES, text=st.data(), tokens=st.booleans())
def test_all_at_once_is_each_alone(values: list[bytes], text: st.DataObject, tokens: bool) -> None:
    pieces = st.one_of(st.sampled_from(values), st.lists(st.one_of(LETTERS, DIGITS), max_size=5).map(bytes))
    whole = b"".join(text.draw(st.lists(pieces, max_size=12)))
    kinds = [ANYWHERE if tokens else beside(value) for value in values]
    needles = Needles(pa.array(values, pa.binary()), np.array(kinds, np.uint8))
    found = needles.find(np.frombuffer(whole, np.uint8))
    expected = sorted((at, i) for i, value in enumerate(values) for at in alone(whole, value, kinds[i]))
    assert sorted(zip(found.places.tolist(), found.values.tolist(), strict=True)) == expected


@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE)
@given(values=VALUES, rows=st.data())
def test_in_cells_a_value_never_spans_two(values: list[bytes], rows: st.DataObject) -> None:
    halves = [half for value in values for half in (value[:7], value[7:], value)]
    column = rows.draw(st.lists(st.one_of(st.none(), st.sampled_from(halves)), max_size=20))
    kinds = [beside(value) for value in values]
    needles = Needles(pa.array(values, pa.binary()), np.array(kinds, np.uint8))
    found = needles.find_in_cells(pa.array([b"x", *column, b"y"], pa.binary()).slice(1, len(column)))
    expected = sorted(
        (row, i)
        for row, cell in enumerate(column)
        for i, value in enumerate(values)
        for _ in alone(cell or b"", value, kinds[i])
    )
    assert sorted(zip(found.places.tolist(), found.values.tolist(), strict=True)) == expected


def test_tokens_in_a_column_of_fixed_size_are_found_by_row() -> None:
    tokens = [bytes([n]) * 16 for n in range(5)]
    needles = Needles(pa.array([tokens[3], tokens[1]], pa.binary()), np.zeros(2, np.uint8))
    found = needles.find_in_cells(pa.array(tokens, pa.binary(16)).slice(1))
    assert sorted(zip(found.places.tolist(), found.values.tolist(), strict=True)) == [(0, 1), (2, 0)]


def test_many_addresses_of_one_host_and_few_are_told_apart() -> None:
    values = [b"p%d@example.com" % number for number in range(200)]
    needles = Needles(pa.array(values, pa.binary()), np.array([beside(v) for v in values], np.uint8))
    text = b",".join([*values[::2], b"q7@example.com", b"xp1@example.com", b"p1@example.community"])
    assert sorted(needles.find(np.frombuffer(text, np.uint8)).values.tolist()) == list(range(0, 200, 2))


def test_values_too_short_to_be_found_anywhere_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 11 bytes"):
        Needles(pa.array([b"0123456789"], pa.binary()), np.zeros(1, np.uint8))


def test_thousands_at_every_offset_of_text_and_of_ciphertext_are_found() -> None:
    rng = np.random.default_rng(4)
    values = [*(rng.bytes(16) for _ in range(300)), *(b"%016d" % n for n in rng.integers(10**15, 10**16, 300))]
    values += [b"%012d" % n for n in range(10**11, 10**11 + 40)]  # whose first digits are the same: none is an anchor
    values += [b"%s@example.com" % (b"x" * (n % 12) + b"%d" % n) for n in range(300)]
    values += [rng.bytes(16).hex().encode() for _ in range(300)]
    kinds = [ANYWHERE if i < 300 or i >= 940 else beside(v) for i, v in enumerate(values)]
    needles = Needles(pa.array(values, pa.binary()), np.array(kinds, np.uint8))
    for filling in (bytes(range(128, 208)) * 20, b", " * 800):
        parts = [filling[: 17 + i % 201] + b" " + value + b" " for i, value in enumerate(values)]
        ends = np.cumsum([len(part) for part in parts])
        found = needles.find(np.frombuffer(b"".join(parts), np.uint8))
        expected = [(int(end) - 1 - len(values[i]), i) for i, end in enumerate(ends)]
        assert sorted(zip(found.places.tolist(), found.values.tolist(), strict=True)) == expected
    for i, value in [*enumerate(values)][::7]:
        for before in (b"", b" "):
            found = needles.find(np.frombuffer(before + value, np.uint8))
            assert list(zip(found.places.tolist(), found.values.tolist(), strict=True)) == [(len(before), i)]


def test_numbers_in_cells_that_touch_each_other_are_found_each() -> None:
    cards = [b"%016d" % (4 * 10**15 + 7 * n) for n in range(90)]
    needles = Needles(pa.array(cards[::3], pa.binary()), np.full(30, NUMBER, np.uint8))
    found = needles.find_in_cells(pa.array([b"9" * 30, *cards, b"1"], pa.binary()))
    assert sorted(zip(found.places.tolist(), found.values.tolist(), strict=True)) == [(1 + 3 * n, n) for n in range(30)]


@settings(max_examples=60, deadline=None, suppress_health_check=FIXTURE)
@given(
    text=st.lists(st.sampled_from([b"1", b"22333", b"4" * 60, b"@", b"a", b"\xff" * 70]), max_size=30).map(b"".join),
    block=st.integers(1, 200),
    cuts=st.lists(st.integers(0, 200), max_size=4, unique=True),
)
def test_anchors_are_those_that_one_byte_after_the_other_gives(text: bytes, block: int, cuts: list[int]) -> None:
    edges, data = np.array(sorted(cuts), np.int64), np.frombuffer(text, np.uint8)
    edges = edges[edges <= len(text)]
    begins = [at for at in range(len(text)) if at == 0 or at in edges or not text[at - 1 : at].isdigit()]
    expected = [at for at in begins if len(text) >= at + LEAST and text[at : at + LEAST].isdigit()]
    blocks = range(0, len(text), block)
    assert [n for first in blocks for n in numbers(data, first, min(first + block, len(text)), edges)] == expected
    signs = [n for first in blocks for n in ats(data, first, min(first + block, len(text)), edges)]
    assert signs == [at for at in range(len(text)) if text[at : at + 1] == b"@"]
