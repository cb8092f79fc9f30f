"""Tokens as text and back: every length, and what is no token's text."""

from __future__ import annotations

import base64

import numpy as np
import pyarrow as pa
import pytest

from cloakhouse.errors import TreatmentError
from cloakhouse.tokens import render
from cloakhouse.tokens.render import from_base32, from_hex, to_base32, to_hex

VALUES = [None, *[bytes((7 * n + k) % 256 for k in range(n)) for n in range(45)], b"\xff" * 16, None, bytes(5)]
PAIRS = [(to_hex, from_hex), (to_base32, from_base32)]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
@pytest.mark.parametrize("start", [0, 3])
def test_values_of_every_length_equal_the_standard_library(kind: pa.DataType, start: int) -> None:
    column = pa.array(VALUES, kind).slice(start)
    kept = VALUES[start:]
    assert to_hex(column).to_pylist() == [None if v is None else v.hex() for v in kept]
    base32 = [None if v is None else base64.b32encode(v).decode().rstrip("=") for v in kept]
    assert to_base32(column).to_pylist() == base32


@pytest.mark.parametrize(("there", "back"), PAIRS)
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_every_length_comes_back(there: object, back: object, kind: pa.DataType) -> None:
    text = there(pa.array(VALUES, kind))
    for shape in (text, text.cast(pa.large_string()), text.cast(pa.string_view()), text.dictionary_encode()):
        result = back(shape, kind=kind)
        assert (result.type, result.to_pylist()) == (kind, VALUES)
    assert back(text.slice(5), kind=kind).to_pylist() == VALUES[5:]
    assert back(pa.chunked_array([text, text]), kind=kind).num_chunks == 2


@pytest.mark.parametrize(("there", "back"), PAIRS)
def test_tokens_of_sixteen_bytes_come_back_by_default(there: object, back: object) -> None:
    tokens = pa.array([bytes(range(16)), None, b"\xff" * 16], pa.binary(16))
    assert back(there(tokens)).equals(tokens)
    assert back(pa.array([], pa.string())).type == pa.binary(16)
    assert back(pa.nulls(2, pa.string())).to_pylist() == [None, None]
    with pytest.raises(TreatmentError, match="1 of 2"):
        back(there(pa.array([b"x" * 15, b"x" * 16])))


@pytest.mark.parametrize(
    ("back", "bad"),
    [
        (from_hex, "0"),
        (from_hex, "0G"),
        (from_hex, "AB"),
        (from_hex, " 0"),
        (from_hex, "é"),
        (from_base32, "A"),
        (from_base32, "AAA"),
        (from_base32, "aa"),
        (from_base32, "A1"),
        (from_base32, "ME======"),
        (from_base32, "AB"),  # bits behind the byte
        (from_base32, "MZXW7"),
        (from_base32, "é"),
    ],
)
def test_a_text_that_no_token_has_is_counted(back: object, bad: str) -> None:
    column = pa.array(["", bad, None, bad])
    with pytest.raises(TreatmentError) as caught:
        back(column, kind=pa.binary(), column="card")
    assert caught.value.code == "treatment.rendering"
    assert caught.value.found == "2 of 4 that aren't"


def test_what_lies_under_a_null_is_neither_rendered_nor_read() -> None:
    offsets, bitmap = pa.py_buffer(np.array([0, 3, 5], np.int32)), pa.py_buffer(b"\x02")
    hidden = pa.BinaryArray.from_buffers(pa.binary(), 2, [bitmap, offsets, pa.py_buffer(b"abcde")])
    for encode in (to_hex, to_base32):
        text = encode(hidden)
        assert np.frombuffer(text.buffers()[1], np.int32, 2).tolist() == [0, 0]
    unreadable = pa.StringArray.from_buffers(2, offsets, pa.py_buffer(b"!!!ff"), bitmap)
    assert from_hex(unreadable, kind=pa.binary()).to_pylist() == [None, b"\xff"]


def test_types_and_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    for back in (from_hex, from_base32):
        with pytest.raises(TreatmentError, match="binary"):
            back(pa.array([b"00"]))
    for encode in (to_hex, to_base32):
        with pytest.raises(TreatmentError, match="int64"):
            encode(pa.array([1]))
    monkeypatch.setattr(render, "_MAX_BYTES", 3)
    with pytest.raises(TreatmentError, match="2 tokens"):
        to_hex(pa.array([b"a", b"b"]))
