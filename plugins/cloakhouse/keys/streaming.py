"""Whole files under AES-256-GCM in 1 MiB segments: Tink's streaming AEAD wire format, AES256_GCM_HKDF_1MB.

Bytes (https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming):

    header     = 40 (1 byte, the header's length) | salt (32) | nonce prefix (7)
    file key   = HKDF-SHA256(ikm = data key, salt = salt, info = associated data), 32 bytes
    segment i  = AES-256-GCM(file key, nonce, plaintext), ciphertext followed by a tag of 16 bytes
    nonce      = nonce prefix (7) | i (4, big-endian) | 1 for the last segment, else 0 (1)

Each ciphertext segment has 1,048,576 bytes, the first one counts the header in, the last may be shorter.
An empty plaintext has one empty segment. The counter finds reordering, the last-segment byte truncation,
the associated data a swap with another file (Hoang, Reyhanitabar, Rogaway, Vizar 2015: STREAM).

Whether a segment is the last is part of its nonce, so both sides look one byte ahead. Both work in buffers that are
made once: at this speed a copy more, or fresh pages for each segment, would cost as much as the cipher.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from typing_extensions import Buffer

from cloakhouse.errors import IntegrityError
from cloakhouse.keys import pages
from cloakhouse.keys.secret import SecretKey

SEGMENT = 1 << 20  # bytes of ciphertext
SALT = 32
PREFIX = 7
HEADER = 1 + SALT + PREFIX
TAG = 16
MAX_SEGMENTS = 1 << 32


class Source(Protocol):
    """What bytes are read from: an unbuffered file, a buffered one, io.BytesIO."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill `buffer` from its start and return the number of bytes, 0 at the end."""


def sealed_size(plain_bytes: int) -> int:
    """Return the length (bytes) of the stream that encrypts `plain_bytes` bytes."""
    segments = max(1, -(-(HEADER + plain_bytes) // (SEGMENT - TAG)))
    return HEADER + plain_bytes + TAG * segments


class EncryptingWriter:
    """Writes plaintext as one encrypted stream to `sink`, behind the bytes of `front`.

    `sink` gets pieces of 1 MiB, `front` counted in: in a file of its own they fill whole pages. Memory: two segments,
    each in a page of 2 MiB.
    """

    def __init__(self, sink: BinaryIO, key: SecretKey, associated_data: bytes, front: bytes = b"") -> None:
        salt, self._prefix = os.urandom(SALT), os.urandom(PREFIX)
        self._cipher = _cipher(key, salt, associated_data)
        self._sink = sink
        self._plain = pages.buffer(SEGMENT - TAG + 1)  # a segment and the byte after it
        header = front + bytes([HEADER]) + salt + self._prefix
        self._sealed = pages.buffer(len(front) + SEGMENT)
        self._sealed[: len(header)] = header
        self._held = len(header)  # bytes of `_sealed` that are still to be written
        self._room = SEGMENT - TAG - HEADER
        self._filled = 0
        self._index = 0
        self.written = 0

    def write(self, data: Buffer) -> int:
        """Take `data` (bytes); a full segment leaves when more arrives. Return its length (bytes).

        A whole segment is encrypted from where it lies; only what is left over is copied.
        """
        view = memoryview(data).cast("B")
        taken = 0
        while len(view) - taken > self._room - self._filled:
            end = taken + self._room - self._filled
            if self._filled:
                self._plain[self._filled : self._room] = view[taken:end]
                self._seal(self._plain[: self._room], last=False)
            else:
                self._seal(view[taken:end], last=False)
            taken = end
        left = len(view) - taken
        self._plain[self._filled : self._filled + left] = view[taken:]
        self._filled += left
        return len(view)

    def absorb(self, source: Source) -> Iterator[memoryview]:
        """Take all of `source`, read straight into the segment; yield each piece as it comes (bytes, read-only).

        A piece is valid until the next one is asked for, and belongs to the stream from then on.
        """
        while size := source.readinto(self._plain[self._filled : self._room + 1]):
            yield self._plain[self._filled : self._filled + size].toreadonly()
            self._filled += size
            if self._filled > self._room:
                ahead = self._plain[self._room]
                self._seal(self._plain[: self._room], last=False)
                self._plain[0] = ahead
                self._filled = 1

    def finish(self) -> None:
        """Write the last segment. Without it the stream reads as truncated."""
        self._seal(self._plain[: self._filled], last=True)

    def _seal(self, plain: memoryview, *, last: bool) -> None:
        nonce = _nonce(self._prefix, self._index, last)
        end = self._held + len(plain) + TAG
        self._cipher.encrypt_into(nonce, plain, None, self._sealed[self._held : end])
        size = end if last else SEGMENT
        out = self._sealed[:size]
        while out:  # an unbuffered file may take a part
            out = out[self._sink.write(out) :]
        self.written += size
        self._held = end - size
        self._sealed[: self._held] = self._sealed[size:end]
        self._index += 1
        self._filled, self._room = 0, SEGMENT - TAG


class DecryptingReader(io.RawIOBase):
    """Reads the plaintext of an encrypted stream. A segment is given out only after its tag is checked.

    Raises IntegrityError from `readinto` when the stream was changed, truncated, reordered, belongs to other
    associated data, or is not an encrypted stream; so does every later call. Memory: two segments.

    It can be set to any byte of the plaintext where its source can seek: from there on the segments are checked as
    ever, those before it are not looked at.
    """

    def __init__(self, source: Source, key: SecretKey, associated_data: bytes, name: str) -> None:
        super().__init__()
        self._source = source
        self._name = name
        self._index = 0
        self._sealed = pages.buffer(SEGMENT + 1)  # a segment and the byte after it
        self._origin = source.tell() if isinstance(source, io.IOBase) and source.seekable() else 0
        header = bytes(self._sealed[: self._fill(0, HEADER)])
        if len(header) != HEADER or header[0] != HEADER:
            raise self._broken("the header of an encrypted stream", "other bytes")
        self._prefix = header[1 + SALT :]
        self._cipher = _cipher(key, header[1 : 1 + SALT], associated_data)
        self._own = pages.buffer(SEGMENT - TAG)  # for segments that don't fit where they were asked for
        self._plain = self._own[:0]
        self._waiting = 0  # bytes of the segment in `_sealed`, 0 when the next is still to be read
        self._carried = 0  # bytes of the segment after it that are there already: 1, or 0 at the start
        self._last = False
        self._done = False
        self._position = 0
        self._failed: IntegrityError | None = None

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Return whether the source can seek."""
        return isinstance(self._source, io.IOBase) and self._source.seekable()

    def tell(self) -> int:
        """Return the place in the plaintext (bytes)."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to byte `offset` of the plaintext and return it. Raises UnsupportedOperation, as `readinto` else."""
        if whence != io.SEEK_SET or not isinstance(self._source, io.IOBase):
            raise io.UnsupportedOperation("only from the start")
        if self._failed is not None:
            raise self._failed
        self._index, inside = divmod(HEADER + offset, SEGMENT - TAG)
        inside -= 0 if self._index else HEADER
        self._source.seek(self._origin + (self._index * SEGMENT or HEADER))
        self._waiting = self._carried = 0
        self._done, self._plain = False, self._own[:0]
        if inside:
            self._skip(inside)
        self._position = offset
        return offset

    def _skip(self, inside: int) -> None:
        """Have the rest of the next segment wait, from its byte `inside` on."""
        self._next()
        size = self._waiting - TAG
        if inside > size:
            self._failed = self._broken("a byte to begin at", "the end before it")
            raise self._failed
        self._open(self._own[:size])
        self._plain = self._own[inside:size]

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer` with plaintext; return the number of bytes, 0 at the end.

        Whole segments are decrypted right there, if they fit. One that proves broken is wiped from it: the cipher
        writes before it has checked.
        """
        target = memoryview(buffer).cast("B")
        done = self._give(target)
        while done < len(target) and self._next():
            size = self._waiting - TAG
            if size <= len(target) - done:
                self._open(target[done : done + size])
                done += size
            elif done:
                break  # too little room is left: the next call takes it without a copy
            else:
                self._open(self._own[:size])
                self._plain = self._own[:size]
                done = self._give(target)
        self._position += done
        return done

    def _give(self, target: memoryview) -> int:
        size = min(len(target), len(self._plain))
        target[:size] = self._plain[:size]
        self._plain = self._plain[size:]
        return size

    def _next(self) -> bool:
        """Have a segment wait in `_sealed`; return whether there is one."""
        if self._failed is not None:
            raise self._failed
        if not self._done and not self._waiting:
            room = SEGMENT if self._index else SEGMENT - HEADER
            filled = self._fill(self._carried, room + 1)
            self._last = filled <= room
            self._waiting = min(filled, room)
            if self._waiting < TAG or self._index >= MAX_SEGMENTS:
                self._failed = self._broken("whole segments", "a truncated one")
                raise self._failed
        return not self._done

    def _open(self, target: memoryview) -> None:
        """Decrypt the segment that waits into `target`."""
        nonce = _nonce(self._prefix, self._index, self._last)
        try:
            self._cipher.decrypt_into(nonce, self._sealed[: self._waiting], None, target)
        except InvalidTag:
            target[:] = bytes(len(target))
            self._failed = self._broken("the bytes that were written, in order, to the end", "others")
            raise self._failed from None
        self._sealed[0] = self._sealed[self._waiting]
        self._waiting, self._carried = 0, 1
        self._index += 1
        self._done = self._last

    def _fill(self, start: int, end: int) -> int:
        """Read into `_sealed` from `start` up to `end`; return where the bytes end, earlier if the source does."""
        while start < end and (size := self._source.readinto(self._sealed[start:end])):
            start += size
        return start

    def _broken(self, expected: str, found: str) -> IntegrityError:
        return IntegrityError(
            where=f"{self._name}, segment {self._index}",
            expected=expected,
            found=found,
            not_done="no unchecked byte was given out",
            remedy="restore the file from a copy; if the feed still has it, deliver and land it again",
        )


def _cipher(key: SecretKey, salt: bytes, associated_data: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt, associated_data).derive(key.reveal()))


def _nonce(prefix: bytes, index: int, last: bool) -> bytes:
    return prefix + struct.pack(">IB", index, 1 if last else 0)
