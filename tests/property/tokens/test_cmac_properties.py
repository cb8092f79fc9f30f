"""Tokens by column equal a scalar CMAC of the canonical bytes, whatever the layout of the column."""

from __future__ import annotations

import base64
import random

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import algorithms
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens import aes
from cloakhouse.tokens.cmac import LONG_VALUE, cmac_tokens, to_base32, to_hex

KEY = SecretKey(bytes(range(32)))
LENGTHS = st.sampled_from([0, 1, 15, 16, 17, 31, 32, 33, 64, 200, LONG_VALUE - 1, LONG_VALUE, LONG_VALUE + 1, 3000])
BINARY = st.lists(st.none() | st.binary(max_size=40) | LENGTHS.map(lambda n: bytes([n % 251]) * n), max_size=40)
BINARY_TYPES = st.sampled_from([pa.binary(), pa.large_binary(), pa.binary_view()])


def scalar(value: bytes | None) -> bytes | None:
    if value is None:
        return None
    mac = cmac.CMAC(algorithms.AES(KEY.reveal()))
    mac.update(value)
    return mac.finalize()


@given(BINARY, BINARY_TYPES, st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_slices_of_binary_equal_the_scalar_cmac(
    values: list[bytes | None], kind: pa.DataType, start: int, size: int
) -> None:
    tokens = cmac_tokens(pa.array(values, kind).slice(start, size), KEY)
    assert tokens.type == pa.binary(16)
    assert tokens.to_pylist() == [scalar(value) for value in values[start : start + size]]
    tokens.validate(full=True)


@given(st.integers(0, 3), st.booleans(), st.data())
@settings(max_examples=100, deadline=None)
def test_values_of_as_many_blocks_keep_their_order(full: int, nulls: bool, data: st.DataObject) -> None:
    value = st.binary(min_size=16 * full + 1, max_size=16 * full + 16)
    values = data.draw(st.lists(st.none() | value if nulls else value, max_size=30))
    tokens = cmac_tokens(pa.array(values, pa.binary()), KEY)
    assert tokens.to_pylist() == [scalar(value) for value in values]


@pytest.mark.parametrize("values", [["a" * 20, None], ["a", "b" * 40, None], ["x" * 2000, None], [7, None], [None]])
def test_nothing_lies_under_a_null(values: list[str | int | None]) -> None:
    column = pa.array(values * 300)
    used = np.frombuffer(pa.allocate_buffer(16 * len(column) + 15), np.uint8)
    used[:] = 0xAA  # the result may get this memory again
    del used
    cells = cmac_tokens(column, KEY).buffers()[1].to_pybytes()
    tokens = [cells[16 * row : 16 * row + 16] for row in range(len(column))]
    assert [any(token) for token in tokens] == column.is_valid().to_pylist()


@given(st.lists(st.lists(st.none() | st.text(max_size=20), max_size=12), max_size=4), st.booleans())
@settings(max_examples=100, deadline=None)
def test_chunked_text_equals_the_scalar_cmac(chunks: list[list[str | None]], dictionary: bool) -> None:
    column = pa.chunked_array([pa.array(chunk, pa.large_string()) for chunk in chunks], pa.large_string())
    column = column.dictionary_encode() if dictionary else column
    flat = [value for chunk in chunks for value in chunk]
    expected = [None if value is None else scalar(value.encode()) for value in flat]
    tokens = cmac_tokens(column, KEY)
    assert isinstance(tokens, pa.FixedSizeBinaryArray)
    assert tokens.to_pylist() == expected


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=30), st.integers(0, 5))
@settings(deadline=None)
def test_integers_equal_the_scalar_cmac_of_their_tagged_form(values: list[int | None], start: int) -> None:
    forms = [None if v is None else b"\xffi" + v.to_bytes(8, "big", signed=True) for v in values[start:]]
    tokens = cmac_tokens(pa.array(values, pa.int64()).slice(start), KEY)
    assert tokens.to_pylist() == [scalar(form) for form in forms]


@pytest.mark.parametrize("rows", [aes.CHUNK_ROWS - 1, aes.CHUNK_ROWS, aes.CHUNK_ROWS + 1, 2 * aes.CHUNK_ROWS + 7])
@pytest.mark.parametrize("lengths", [(21, 21), (17, 32), (0, 69)], ids=["one length", "as many blocks", "any"])
def test_rows_around_the_borders_of_scratch_chunks(rows: int, lengths: tuple[int, int]) -> None:
    draw = random.Random(rows)
    values = [draw.randbytes(draw.randint(*lengths)) for _ in range(rows)]
    tokens = cmac_tokens(pa.array(values, pa.binary()), KEY)
    around = {0, rows - 1, *range(aes.CHUNK_ROWS - 3, aes.CHUNK_ROWS + 3), *draw.sample(range(rows), 300)}
    for row in around & set(range(rows)):
        assert tokens[row].as_py() == scalar(values[row])


@given(st.lists(st.none() | st.binary(min_size=16, max_size=16), max_size=20), st.integers(0, 6))
@settings(deadline=None)
def test_renderers_equal_the_standard_library(values: list[bytes | None], start: int) -> None:
    tokens = pa.array(values, pa.binary(16)).slice(start)
    kept = values[start:]
    assert to_hex(tokens).to_pylist() == [None if v is None else v.hex() for v in kept]
    base32 = [None if v is None else base64.b32encode(v).decode().rstrip("=") for v in kept]
    assert to_base32(tokens).to_pylist() == base32
