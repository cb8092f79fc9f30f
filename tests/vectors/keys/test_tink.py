"""Files that Tink itself wrote. How they were made stands in the file."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
from tests.support import tink_reference

from cloakhouse.keys import streaming
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.streaming import DecryptingReader, EncryptingWriter

VECTORS = json.loads(Path(__file__).with_name("tink_aes256_gcm_hkdf_streaming.json").read_text())
KEY, ASSOCIATED = bytes.fromhex(VECTORS["key"]), bytes.fromhex(VECTORS["associated_data"])


def pattern(length: int) -> bytes:
    return bytes((i * i + 7 * i) % 251 for i in range(length))


def named(case: dict[str, int]) -> str:
    return f"{case['plaintext_bytes']}-in-{case['segment_bytes']}"


def write(plain: bytes, monkeypatch: pytest.MonkeyPatch, header: bytes) -> bytes:
    """Return `plain` encrypted by us with the salt and nonce prefix of `header` in place of random ones."""
    random = iter([header[1:33], header[33:40]])
    monkeypatch.setattr(streaming.os, "urandom", lambda size: next(random))
    sink = io.BytesIO()
    writer = EncryptingWriter(sink, SecretKey(KEY), ASSOCIATED)
    writer.write(plain)
    writer.finish()
    assert writer.written == len(sink.getvalue())
    return sink.getvalue()


@pytest.mark.parametrize("case", VECTORS["small"], ids=named)
def test_we_read_what_tink_wrote_and_write_the_same_bytes(
    case: dict[str, int | str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "SEGMENT", case["segment_bytes"])
    ciphertext = bytes.fromhex(str(case["ciphertext"]))
    plain = pattern(int(case["plaintext_bytes"]))
    assert DecryptingReader(io.BytesIO(ciphertext), SecretKey(KEY), ASSOCIATED, "vector").read() == plain
    assert write(plain, monkeypatch, ciphertext[:40]) == ciphertext


@pytest.mark.parametrize("case", VECTORS["small"], ids=named)
def test_the_reference_reads_what_tink_wrote(case: dict[str, int | str]) -> None:
    ciphertext = bytes.fromhex(str(case["ciphertext"]))
    plain = tink_reference.decrypt(KEY, ASSOCIATED, ciphertext, int(case["segment_bytes"]))
    assert plain == pattern(int(case["plaintext_bytes"]))
    for wrong in (ciphertext[:-1], ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])):
        with pytest.raises(tink_reference.Refused):
            tink_reference.decrypt(KEY, ASSOCIATED, wrong, int(case["segment_bytes"]))


@pytest.mark.parametrize("case", VECTORS["large"], ids=named)
def test_files_of_several_mebibytes_are_those_of_tink(
    case: dict[str, int | str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ciphertext = write(pattern(int(case["plaintext_bytes"])), monkeypatch, bytes.fromhex(str(case["header"])))
    assert len(ciphertext) == case["ciphertext_bytes"]
    assert hashlib.sha256(ciphertext).hexdigest() == case["ciphertext_sha256"]
