"""Tink's own library beside us, in both directions, at every border between segments."""

from __future__ import annotations

import io
import os
from typing import Any

import pytest
import tink
from tink import secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from cloakhouse.errors import IntegrityError
from cloakhouse.keys import streaming
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.streaming import HEADER, TAG, DecryptingReader, EncryptingWriter

KEY = bytes(range(32))
SMALL = 128  # bytes of a segment; the borders lie close enough to try every size around them
LARGE = 1 << 20


def borders(segment: int) -> list[int]:
    """Return the plaintext sizes at which the number of segments changes, and those around them."""
    first, more = segment - HEADER - TAG, segment - TAG
    edges = [0, first, first + more, first + 2 * more, first + 5 * more]
    return sorted({edge + off for edge in edges for off in (-1, 0, 1) if edge + off >= 0})


def primitive(segment: int, key: bytes = KEY) -> Any:
    """Return Tink's streaming AEAD of this key and segment size."""
    streaming_aead.register()
    parameters = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
        ciphertext_segment_size=segment, derived_key_size=32, hkdf_hash_type=common_pb2.SHA256
    )
    value = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(version=0, params=parameters, key_value=key)
    data = tink_pb2.KeyData(
        type_url="type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey",
        value=value.SerializeToString(),
        key_material_type=tink_pb2.KeyData.SYMMETRIC,
    )
    only = tink_pb2.Keyset.Key(key_data=data, status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.RAW)
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[only])
    handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


class Kept(io.BytesIO):
    """Keeps its bytes when it is closed, as Tink closes what it wrote to."""

    content = b""

    def close(self) -> None:
        if not self.closed:
            self.content = self.getvalue()
        super().close()


def tink_writes(plain: bytes, segment: int, associated: bytes = b"aad") -> bytes:
    sink = Kept()
    with primitive(segment).new_encrypting_stream(sink, associated) as stream:
        stream.write(plain)
    return sink.content


def tink_reads(sealed: bytes, segment: int, associated: bytes = b"aad") -> bytes:
    with primitive(segment).new_decrypting_stream(io.BytesIO(sealed), associated) as stream:
        plain: bytes = stream.read()
        return plain


def we_write(plain: bytes, associated: bytes = b"aad") -> bytes:
    sink = io.BytesIO()
    writer = EncryptingWriter(sink, SecretKey(KEY), associated)
    for _ in writer.absorb(io.BytesIO(plain)):
        pass
    writer.finish()
    return sink.getvalue()


def we_read(sealed: bytes, associated: bytes = b"aad") -> bytes:
    return DecryptingReader(io.BytesIO(sealed), SecretKey(KEY), associated, "x").read()


@pytest.mark.parametrize("segment", [SMALL, LARGE])
def test_each_reads_what_the_other_wrote(segment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "SEGMENT", segment)
    for size in borders(segment) if segment == SMALL else borders(segment)[:8]:
        plain = os.urandom(size)
        assert tink_reads(we_write(plain), segment) == plain, size
        assert we_read(tink_writes(plain, segment)) == plain, size


def test_both_refuse_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "SEGMENT", SMALL)
    sealed = we_write(bytes(SMALL - HEADER - TAG + 3 * (SMALL - TAG)))
    a, b, c, d = (sealed[at : at + SMALL] for at in range(0, 4 * SMALL, SMALL))
    assert we_read(a + b + c + d) == tink_reads(a + b + c + d, SMALL)
    flips = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(0, len(sealed), 3)]
    cuts = [sealed[:length] for length in range(0, len(sealed), 5)]
    moves = [a + c + b + d, a + b + d + c, a + d, a + b + c, b + a + c + d, a + b + b + c + d]
    for broken in (*flips, *cuts, *moves):
        with pytest.raises((tink.TinkError, OSError)):
            tink_reads(broken, SMALL)
        with pytest.raises(IntegrityError):
            we_read(broken)


def test_both_bind_the_associated_data() -> None:
    assert tink_reads(we_write(b"plain", b""), LARGE, b"") == b"plain"
    for ours, theirs in ((b"", b"a"), (b"a", b""), (b"a", b"A"), (b"a", b"a\0")):
        with pytest.raises((tink.TinkError, OSError)):
            tink_reads(we_write(b"plain", ours), LARGE, theirs)
        with pytest.raises(IntegrityError):
            we_read(tink_writes(b"plain", LARGE, theirs), ours)
