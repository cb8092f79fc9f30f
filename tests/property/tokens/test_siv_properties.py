"""SIV by column equals SIV value by value, round-trips every kind, and takes no changed token."""

from __future__ import annotations

import decimal
from typing import Any

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.errors import TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import CHUNK_ROWS
from cloakhouse.tokens.blockwise import LONG_VALUE
from cloakhouse.tokens.siv import siv_tokens, siv_values

KEY = SecretKey(bytes(range(64)))
SCALAR = AESSIV(KEY.reveal())
LENGTHS = st.sampled_from([15, 16, 17, 31, 32, 33, 48, 200, LONG_VALUE - 1, LONG_VALUE, LONG_VALUE + 1, 3000])
BINARY = st.lists(st.none() | st.binary(max_size=40) | LENGTHS.map(lambda n: bytes([n % 251]) * n), max_size=30)


def scalar(value: bytes | None) -> bytes | None:
    return None if value is None else SCALAR.encrypt(value, [])


def test_every_length_alone_and_in_one_column() -> None:
    values = [bytes([n % 256]) * n for n in [*range(200), *range(LONG_VALUE - 40, LONG_VALUE + 40), 2000, 3000]]
    expected = [scalar(value) for value in values]
    column = siv_tokens(pa.array(values, pa.binary()), KEY)
    assert column.to_pylist() == expected
    assert siv_values(column, KEY, pa.binary()).to_pylist() == values
    for value, token in zip(values, expected, strict=True):
        twice = siv_tokens(pa.array([value, value], pa.binary()), KEY)
        assert twice.to_pylist() == [token, token]
        assert siv_values(twice, KEY, pa.binary()).to_pylist() == [value, value]


@given(BINARY, st.sampled_from([pa.binary(), pa.large_binary(), pa.binary_view()]), st.integers(0, 30))
@settings(max_examples=150, deadline=None)
def test_slices_equal_the_scalar_siv_and_round_trip(values: list[bytes | None], kind: pa.DataType, start: int) -> None:
    tokens = siv_tokens(pa.array(values, kind).slice(start), KEY)
    tokens.validate(full=True)
    assert tokens.to_pylist() == [scalar(value) for value in values[start:]]
    back = siv_values(tokens, KEY, kind)
    assert back.type == kind
    assert back.to_pylist() == values[start:]


@pytest.mark.parametrize("rows", [CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1])
@pytest.mark.parametrize("longest", [1, 70])
def test_rows_around_the_borders_of_scratch_chunks(rows: int, longest: int) -> None:
    values = [b"%012d" % row + b"x" * (row * 7 % longest) for row in range(rows)]
    tokens = siv_tokens(pa.array(values, pa.binary()), KEY)
    for row in {0, 1, rows // 2, *range(CHUNK_ROWS - 3, rows)}:
        assert tokens[row].as_py() == scalar(values[row])
    assert siv_values(tokens, KEY, pa.binary()).to_pylist() == values


WHOLE = st.integers(-(2**63), 2**63 - 1)
UNIT = decimal.Decimal("0.0001")
DECIMALS = st.decimals(-(10**15), 10**15, places=4, allow_nan=False).map(lambda number: number.quantize(UNIT))
KINDS: list[tuple[pa.DataType, Any]] = [
    (pa.string(), st.text(max_size=20)),
    (pa.large_string(), st.text(max_size=20)),
    (pa.string_view(), st.text(max_size=20)),
    (pa.int64(), WHOLE),
    (pa.int8(), st.integers(-128, 127)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.date32(), st.dates()),
    (pa.decimal128(25, 4), DECIMALS),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
]


@pytest.mark.parametrize(("kind", "values"), KINDS, ids=lambda value: str(value)[:20])
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_kind_comes_back(kind: pa.DataType, values: Any, data: st.DataObject) -> None:
    chunks = data.draw(st.lists(st.lists(st.none() | values, max_size=6), max_size=3))
    column = pa.chunked_array([pa.array(chunk, kind) for chunk in chunks], kind)
    back = siv_values(siv_tokens(column, KEY), KEY, kind)
    assert back.type == kind
    assert back.to_pylist() == column.to_pylist()


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=8), st.data())
@settings(max_examples=100, deadline=None)
def test_one_flipped_bit_is_refused(values: list[bytes], data: st.DataObject) -> None:
    tokens = siv_tokens(pa.array(values, pa.binary()), KEY).to_pylist()
    row = data.draw(st.integers(0, len(tokens) - 1))
    bit = data.draw(st.integers(0, 8 * len(tokens[row]) - 1))
    changed = bytearray(tokens[row])
    changed[bit // 8] ^= 1 << bit % 8
    tokens[row] = bytes(changed)
    with pytest.raises(TreatmentError, match=f"1 of {len(values)} that aren't") as caught:
        siv_values(pa.array(tokens, pa.binary()), KEY, pa.binary())
    assert caught.value.code == "treatment.authenticity"
