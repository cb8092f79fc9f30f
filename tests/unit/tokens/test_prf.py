"""Keyed words: against plain computations of the same algorithms, and what separates rows, places and nulls."""

from __future__ import annotations

import hmac
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from cloakhouse.errors import KeyServiceError, TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens import prf
from cloakhouse.tokens.prf import below, row_words, value_words

KEY = SecretKey(bytes(range(32)))
OTHER = SecretKey(bytes(32))


def halves(block: bytes) -> list[int]:
    return [int.from_bytes(block[:8], "big"), int.from_bytes(block[8:], "big")]


def mac(value: bytes) -> list[int]:
    one = CMAC(algorithms.AES(KEY.reveal()))
    one.update(value)
    return halves(one.finalize())


def test_the_words_of_a_value_are_the_halves_of_its_cmac() -> None:
    words = value_words(pa.array(["ab", None, "c"]), KEY)
    assert words.dtype == np.uint64
    assert words.tolist() == [mac(b"ab"), [0, 0], mac(b"c")]
    assert value_words(pa.array([7]), KEY).tolist() == [mac(b"\xffi" + (7).to_bytes(8, "big"))]


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["x", "ab", None, "c"]).slice(1),
        pa.array(["ab", None, "c"]).dictionary_encode(),
        pa.array(["x", "ab", None, "c"]).dictionary_encode().slice(1),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["ab", None, "c"])),
        pa.chunked_array([["ab"], [], [None, "c"]], pa.string()),
    ],
)
def test_the_layout_of_a_column_makes_no_difference(values: Any) -> None:
    assert value_words(values, KEY).tolist() == [mac(b"ab"), [0, 0], mac(b"c")]


def test_nothing_is_drawn_from_what_lies_under_a_null(monkeypatch: pytest.MonkeyPatch) -> None:
    bitmap, content = pa.py_buffer(b"\x05"), pa.py_buffer(bytes(range(48)))
    tokens = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), 3, [bitmap, content])
    monkeypatch.setattr(prf, "cmac_tokens", lambda *_, **__: tokens)
    expected = [halves(bytes(range(16))), [0, 0], halves(bytes(range(32, 48)))]
    assert value_words(pa.array(["a", None, "b"]), KEY).tolist() == expected
    monkeypatch.setattr(prf, "cmac_tokens", lambda *_, **__: tokens.slice(1))
    assert value_words(pa.array([None, "b"]), KEY).tolist() == expected[1:]


def test_columns_without_values() -> None:
    for values in (pa.array([], pa.string()), pa.chunked_array([], pa.int64())):
        assert value_words(values, KEY).shape == (0, 2)
    assert value_words(pa.nulls(2, pa.string()), KEY).tolist() == [[0, 0]] * 2
    assert row_words(KEY, b"file", 0).shape == (0, 2)


def test_values_and_keys_that_give_no_words() -> None:
    with pytest.raises(TreatmentError, match="column price"):
        value_words(pa.array([1.5]), KEY, column="price")
    with pytest.raises(KeyServiceError):
        value_words(pa.array(["x"]), SecretKey(bytes(48)))


def test_row_words_are_the_counter_mode_stream_of_a_key_of_the_place() -> None:
    """HKDF as in RFC 5869 sections 2.2 and 2.3 by hand, and AES of 0, 1, 2 ... as the stream."""
    extracted = hmac.digest(bytes(32), KEY.reveal(), "sha256")
    expanded = hmac.digest(extracted, b"cloakhouse/rows/1\0" + b"file 7" + b"\x01", "sha256")
    aes = Cipher(algorithms.AES(expanded), modes.ECB()).encryptor()
    expected = [halves(aes.update(row.to_bytes(16, "big"))) for row in range(300)]
    assert row_words(KEY, b"file 7", 300).tolist() == expected
    assert row_words(KEY, b"file 7", 5).tolist() == expected[:5]


def test_no_two_rows_places_or_keys_draw_alike() -> None:
    drawn = [row_words(key, place, 1000) for key in (KEY, OTHER) for place in (b"", b"a", b"b", b"a\0")]
    assert len(np.unique(np.concatenate(drawn), axis=0)) == 8000


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 2**31, 2**32 - 1, 2**32])
def test_below_is_the_high_part_of_word_times_limit(limit: int) -> None:
    words = [0, 1, 2**32 - 1, 2**32, 2**63, 2**64 - 1, *row_words(KEY, b"", 50).ravel().tolist()]
    drawn = below(np.array(words, np.uint64), limit)
    assert drawn.dtype == np.int64
    assert drawn.tolist() == [word * limit >> 64 for word in words]


@pytest.mark.parametrize("limit", [0, -1, 2**32 + 1])
def test_limits_that_no_word_can_be_below(limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        below(np.zeros(1, np.uint64), limit)


def test_draws_are_even() -> None:
    counts = np.bincount(below(row_words(KEY, b"even", 70_000)[:, 0], 7), minlength=7)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 22.5  # chi-square, 6 degrees of freedom, p = 0.001
