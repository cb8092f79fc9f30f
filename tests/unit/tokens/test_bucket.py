"""Keyed buckets: exact, even, stable, of every layout."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import ContractError, KeyServiceError, TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.bucket import bucket
from cloakhouse.tokens.prf import value_words

KEY = SecretKey(bytes(range(32)))
VALUES = pa.array(["ann", "bob", None, "ann", ""])


@pytest.mark.parametrize("buckets", [2, 10, 65_536])
def test_a_bucket_is_the_high_part_of_word_times_buckets(buckets: int) -> None:
    words = value_words(VALUES, KEY)[:, 0].tolist()
    expected = [
        None if value is None else word * buckets >> 64 for value, word in zip(VALUES.to_pylist(), words, strict=True)
    ]
    result = bucket(VALUES, buckets, KEY)
    assert result.type == pa.int32()
    assert result.to_pylist() == expected
    assert expected[0] == expected[3]


def test_layouts() -> None:
    expected = bucket(VALUES, 1000, KEY).to_pylist()
    assert bucket(VALUES.slice(1), 1000, KEY).to_pylist() == expected[1:]
    assert bucket(VALUES.dictionary_encode(), 1000, KEY).to_pylist() == expected
    chunked = bucket(pa.chunked_array([VALUES[:2], VALUES[:0], VALUES[2:]]), 1000, KEY)
    assert chunked.num_chunks == 3
    assert chunked.to_pylist() == expected
    for kind in (pa.string(), pa.int64(), pa.date32(), pa.null()):
        assert bucket(pa.array([], kind), 2, KEY).type == pa.int32()
        assert bucket(pa.chunked_array([], kind), 2, KEY).type == pa.int32()
        assert bucket(pa.nulls(2, kind), 2, KEY).to_pylist() == [None, None]


def test_buckets_are_even_and_of_the_key() -> None:
    values = pa.array(range(50_000))
    counts = np.bincount(bucket(values, 10, KEY).to_numpy(), minlength=10)
    assert len(counts) == 10
    assert ((counts - 5000) ** 2 / 5000).sum() < 27.9  # chi-square, 9 degrees of freedom, p = 0.001
    other = bucket(values, 10, SecretKey(bytes(32))).to_numpy()
    assert 4000 < (other == bucket(values, 10, KEY).to_numpy()).sum() < 6000


@pytest.mark.parametrize("buckets", [-1, 0, 1, 65_537])
def test_numbers_of_buckets_that_make_no_split(buckets: int) -> None:
    with pytest.raises(ContractError):
        bucket(VALUES, buckets, KEY)


def test_types_and_keys_that_have_no_bucket() -> None:
    with pytest.raises(TreatmentError, match="column price"):
        bucket(pa.array([1.5]), 2, KEY, column="price")
    with pytest.raises(KeyServiceError):
        bucket(VALUES, 2, SecretKey(bytes(64)))
