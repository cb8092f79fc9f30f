"""Whole files under AES-256-GCM in 1 MiB segments: Tink's streaming AEAD wire format, AES256_GCM_HKDF_1MB.

Bytes (https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming):

    header     = 40 (1 byte, the header's length) | salt (32) | nonce prefix (7)
    file key   = HKDF-SHA256(ikm = data key, salt = salt, info = associated data), 32 bytes
    segment i  = AES-256-GCM(file key, nonce, plaintext), ciphertext followed by a tag of 16 bytes
    nonce      = nonce prefix (7) | i (4, big-endian) | 1 for the last segment, else 0 (1)

Each ciphertext segment has 1,048,576 bytes, the first one counts the header in, the last may be shorter.
An empty plaintext has one empty segment. The counter finds reordering, the last-segment byte truncation,
the associated data a swap with another file (Hoang, Reyhanitabar, Rogaway, Vizar 2015: STREAM).
"""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from typing_extensions import Buffer

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.secret import SecretKey

SEGMENT = 1 << 20  # bytes of ciphertext
SALT = 32
PREFIX = 7
HEADER = 1 + SALT + PREFIX
TAG = 16
MAX_SEGMENTS = 1 << 32


class EncryptingWriter:
    """Writes plaintext, in pieces of any size, as one encrypted stream to `sink`. Memory: two segments."""

    def __init__(self, sink: BinaryIO, key: SecretKey, associated_data: bytes) -> None:
        salt, self._prefix = os.urandom(SALT), os.urandom(PREFIX)
        self._cipher = _cipher(key, salt, associated_data)
        self._sink = sink
        self._plain = memoryview(bytearray(SEGMENT - TAG))
        self._sealed = memoryview(bytearray(SEGMENT))
        self._filled = 0
        self._room = SEGMENT - TAG - HEADER
        self._index = 0
        self.written = sink.write(bytes([HEADER]) + salt + self._prefix)

    def write(self, data: Buffer) -> int:
        """Take `data` (bytes); a full segment leaves when more arrives. Return its length (bytes)."""
        view = memoryview(data).cast("B")
        taken = 0
        while taken < len(view):
            if self._filled == self._room:
                self._seal(last=False)
            size = min(self._room - self._filled, len(view) - taken)
            self._plain[self._filled : self._filled + size] = view[taken : taken + size]
            self._filled += size
            taken += size
        return len(view)

    def finish(self) -> None:
        """Write the last segment. Without it the stream reads as truncated."""
        self._seal(last=True)

    def _seal(self, *, last: bool) -> None:
        nonce = _nonce(self._prefix, self._index, last)
        sealed = self._sealed[: self._filled + TAG]
        self._cipher.encrypt_into(nonce, self._plain[: self._filled], None, sealed)
        self.written += self._sink.write(sealed)
        self._index += 1
        self._filled, self._room = 0, SEGMENT - TAG


class DecryptingReader(io.RawIOBase):
    """Reads the plaintext of an encrypted stream. A segment is given out only after its tag is checked.

    Raises IntegrityError from `readinto` when the stream was changed, truncated, reordered, belongs to other
    associated data, or is not an encrypted stream. Memory: two segments.
    """

    def __init__(self, source: BinaryIO, key: SecretKey, associated_data: bytes, name: str) -> None:
        super().__init__()
        self._source = source
        self._name = name
        header = _read_exactly(source, HEADER)
        if len(header) != HEADER or header[0] != HEADER:
            raise self._broken("the header of an encrypted stream", "other bytes")
        self._prefix = header[1 + SALT :]
        self._cipher = _cipher(key, header[1 : 1 + SALT], associated_data)
        self._index = 0
        self._plain = memoryview(b"")
        self._ahead = _read_exactly(source, SEGMENT - HEADER)
        self._done = False

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer` with plaintext; return the number of bytes, 0 at the end."""
        while not self._plain and not self._done:
            self._open_segment()
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._plain))
        target[:size] = self._plain[:size]
        self._plain = self._plain[size:]
        return size

    def _open_segment(self) -> None:
        sealed, self._ahead = self._ahead, _read_exactly(self._source, SEGMENT)
        last = not self._ahead
        if len(sealed) < TAG or self._index >= MAX_SEGMENTS:
            raise self._broken("whole segments", "a truncated one")
        try:
            plain = self._cipher.decrypt(_nonce(self._prefix, self._index, last), sealed, None)
        except InvalidTag:
            raise self._broken("the bytes that were written, in order, to the end", "others") from None
        self._plain = memoryview(plain)
        self._index += 1
        self._done = last

    def _broken(self, expected: str, found: str) -> IntegrityError:
        return IntegrityError(
            where=f"{self._name}, segment {getattr(self, '_index', 0)}",
            expected=expected,
            found=found,
            not_done="no unchecked byte was given out",
            remedy="restore the file from a copy; if the feed still has it, deliver and land it again",
        )


def _cipher(key: SecretKey, salt: bytes, associated_data: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt, associated_data).derive(key.reveal()))


def _nonce(prefix: bytes, index: int, last: bool) -> bytes:
    return prefix + struct.pack(">IB", index, 1 if last else 0)


def _read_exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    while len(data) < size:
        more = source.read(size - len(data))
        if not more:
            break
        data += more
    return data
