from __future__ import annotations

import io
from collections.abc import Sequence
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import tink_reference

from cloakhouse.errors import IntegrityError
from cloakhouse.keys import streaming
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.streaming import DecryptingReader, EncryptingWriter

KEYS = st.sampled_from([16, 24, 32, 48, 64]).flatmap(lambda n: st.binary(min_size=n, max_size=n))


def write(pieces: list[bytes], key: bytes, associated: bytes, absorbed: Sequence[bool] = (False,) * 6) -> bytes:
    """Return the stream of `pieces`, each written, or absorbed from a source that holds it."""
    sink = io.BytesIO()
    writer = EncryptingWriter(sink, SecretKey(key), associated)
    for piece, absorb in zip(pieces, absorbed, strict=False):
        if absorb:
            assert b"".join(map(bytes, writer.absorb(io.BytesIO(piece)))) == piece
        else:
            assert writer.write(piece) == len(piece)
    writer.finish()
    return sink.getvalue()


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=150), max_size=6), KEYS, st.binary(max_size=40), st.integers(57, 200), st.data())
def test_any_pieces_read_back_in_any_pieces_and_by_the_reference(
    pieces: list[bytes], key: bytes, associated: bytes, segment: int, data: st.DataObject
) -> None:
    with mock.patch.object(streaming, "SEGMENT", segment):
        ciphertext = write(pieces, key, associated, data.draw(st.lists(st.booleans(), min_size=6, max_size=6)))
        reader = DecryptingReader(io.BytesIO(ciphertext), SecretKey(key), associated, "x")
        plain = b""
        while piece := reader.read(data.draw(st.integers(1, 100))):
            plain += piece
    assert plain == b"".join(pieces)
    assert tink_reference.decrypt(key, associated, ciphertext, segment) == plain


@settings(max_examples=150)
@given(st.binary(max_size=400), st.data())
def test_any_edit_is_found(plain: bytes, data: st.DataObject) -> None:
    with mock.patch.object(streaming, "SEGMENT", 90):
        ciphertext = write([plain], bytes(32), b"")
        at = data.draw(st.integers(0, len(ciphertext)))
        to = data.draw(st.integers(at, len(ciphertext)))
        edited = ciphertext[:at] + data.draw(st.binary(max_size=60)) + ciphertext[to:]
        if edited == ciphertext:
            return
        with pytest.raises(IntegrityError):
            DecryptingReader(io.BytesIO(edited), SecretKey(bytes(32)), b"", "x").read()
