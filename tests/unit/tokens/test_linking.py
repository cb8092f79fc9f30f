"""The purpose layer: what comes out, what goes back, and what is refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import KeyServiceError, TreatmentError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.cmac import cmac_tokens
from cloakhouse.tokens.linking import column_tokens, pseudonyms_of, purpose_tokens, translate

DOMAIN, FIRST, SECOND = (SecretKey(bytes([n]) * 32) for n in (1, 2, 3))


def test_a_purpose_key_leads_back_and_two_translate() -> None:
    pseudonyms = cmac_tokens(pa.array(["a", None, "b"]), DOMAIN)
    first, second = purpose_tokens(pseudonyms, FIRST), purpose_tokens(pseudonyms, SECOND)
    assert first.type == pa.binary(16)
    assert not set(first.drop_null().to_pylist()) & set(second.drop_null().to_pylist())
    assert pseudonyms_of(first, FIRST).equals(pseudonyms)
    assert translate(first, FIRST, SECOND).equals(second)
    assert translate(first, FIRST, FIRST).equals(first)
    assert not pseudonyms_of(first, SECOND).equals(pseudonyms)


def test_one_layer_after_the_other_in_one_call() -> None:
    for values in (pa.array(["a", None, "b"]), pa.array([7, None]), pa.array(["x", "x", None]).dictionary_encode()):
        expected = purpose_tokens(cmac_tokens(values, DOMAIN), FIRST)
        assert column_tokens(values, DOMAIN, FIRST).equals(expected)
    chunked = pa.chunked_array([["a"], [], ["b", None]], pa.string())
    assert isinstance(column_tokens(chunked, DOMAIN, FIRST), pa.FixedSizeBinaryArray)
    assert column_tokens(pa.chunked_array([], pa.string()), DOMAIN, FIRST).to_pylist() == []


@pytest.mark.parametrize("call", [purpose_tokens, pseudonyms_of, lambda v, k: translate(v, k, SECOND)])
def test_layouts_nulls_and_nothing_under_them(call: object) -> None:
    buffers = [pa.py_buffer(np.array([0b101], np.uint8)), pa.py_buffer(bytes(range(48)))]
    hidden = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), 3, buffers)
    result = call(hidden, FIRST)
    assert result.is_null().to_pylist() == [False, True, False]
    assert result.buffers()[1].to_pybytes()[16:32] == bytes(16)
    assert call(hidden.slice(2), FIRST).to_pylist() == result.to_pylist()[2:]
    assert call(pa.chunked_array([hidden, hidden]), FIRST).num_chunks == 2
    assert call(pa.nulls(2, pa.binary(16)), FIRST).to_pylist() == [None, None]
    assert call(pa.array([], pa.binary(16)), FIRST).to_pylist() == []


def test_other_types_and_keys_are_refused() -> None:
    for wrong in (pa.array([b"x" * 16]), pa.array([b"x"], pa.binary(1)), pa.array(["x"])):
        with pytest.raises(TreatmentError, match="pseudonyms"):
            purpose_tokens(wrong, FIRST, column="household")
    with pytest.raises(TreatmentError, match="double"):
        column_tokens(pa.array([1.5]), DOMAIN, FIRST)
    with pytest.raises(KeyServiceError):
        pseudonyms_of(pa.array([], pa.binary(16)), SecretKey(bytes(64)))
