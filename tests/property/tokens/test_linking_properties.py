"""The purpose layer is the CMAC of every pseudonym, and a permutation."""

from __future__ import annotations

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.ciphers import algorithms
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import CHUNK_ROWS
from cloakhouse.tokens.linking import column_tokens, pseudonyms_of, purpose_tokens, translate

BLOCKS = st.lists(st.none() | st.binary(min_size=16, max_size=16), max_size=30)
KEYS = st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size))


def scalar(value: bytes | None, key: bytes) -> bytes | None:
    if value is None:
        return None
    mac = cmac.CMAC(algorithms.AES(key))
    mac.update(value)
    return mac.finalize()


@given(BLOCKS, KEYS, KEYS, st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_slices_equal_the_scalar_cmac_and_go_back(
    values: list[bytes | None], first: bytes, second: bytes, start: int
) -> None:
    pseudonyms = pa.array(values, pa.binary(16)).slice(start)
    tokens = purpose_tokens(pseudonyms, SecretKey(first))
    tokens.validate(full=True)
    assert tokens.to_pylist() == [scalar(value, first) for value in values[start:]]
    assert pseudonyms_of(tokens, SecretKey(first)).equals(pseudonyms)
    expected = [scalar(value, second) for value in values[start:]]
    assert translate(tokens, SecretKey(first), SecretKey(second)).to_pylist() == expected


@given(st.lists(st.none() | st.text(max_size=30), max_size=20), st.booleans())
@settings(max_examples=100, deadline=None)
def test_both_layers_equal_two_scalar_cmacs(values: list[str | None], dictionary: bool) -> None:
    domain, purpose = bytes(32), bytes(range(32))
    column = pa.array(values, pa.string())
    column = column.dictionary_encode() if dictionary else column
    expected = [None if v is None else scalar(scalar(v.encode(), domain), purpose) for v in values]
    assert column_tokens(column, SecretKey(domain), SecretKey(purpose)).to_pylist() == expected


@pytest.mark.parametrize("rows", [CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 2 * CHUNK_ROWS + 7])
def test_rows_around_the_borders_of_scratch_chunks(rows: int) -> None:
    values = [row.to_bytes(16, "big") for row in range(rows)]
    key = bytes(range(32))
    tokens = purpose_tokens(pa.array(values, pa.binary(16)), SecretKey(key))
    for row in {0, rows - 1, *range(CHUNK_ROWS - 3, min(rows, CHUNK_ROWS + 3))}:
        assert tokens[row].as_py() == scalar(values[row], key)
    assert pseudonyms_of(tokens, SecretKey(key)).to_pylist() == values
