"""Encrypted modules, the pieces that an encrypted Parquet file is made of, read without pyarrow.

Bytes of a module, and what authenticates it under AES_GCM_V1:

    length (4 bytes, little-endian) | nonce (12) | ciphertext | tag (16)        length counts what follows it
    AAD = aad prefix | random identifier of the file | module type (1) | row group (2) | column (2) | page (2)

the last three little-endian, and only for types that have them. Under AES_GCM_CTR_V1 pages have no tag.
Key material, beside the footer and each column, as JSON: the data key (DEK) wrapped under a key-encryption key (KEK)
with the KEK's identifier as AAD, and the KEK wrapped under a dataset key.

Source: https://github.com/apache/parquet-format/blob/master/Encryption.md, sections 4.4 and 5;
key material: https://github.com/apache/arrow/blob/main/cpp/src/parquet/encryption/key_material.h
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.ring import HEADER, KeyRing
from cloakhouse.lake.encryption import context_of

NONCE, TAG = 12, 16
MAX_MODULE = 256 << 20  # bytes; a page has about one MiB


class FormatError(ValueError):
    """The bytes are not in the form of an encrypted Parquet file, or not the ones that were written."""


class ModuleType(IntEnum):
    """What a module holds (section 4.4.2)."""

    FOOTER = 0
    COLUMN_METADATA = 1
    DATA_PAGE = 2
    DICTIONARY_PAGE = 3
    DATA_PAGE_HEADER = 4
    DICTIONARY_PAGE_HEADER = 5
    COLUMN_INDEX = 6
    OFFSET_INDEX = 7
    BLOOM_FILTER_HEADER = 8
    BLOOM_FILTER_BITSET = 9


@dataclass(frozen=True)
class KeyMaterial:
    """How to get at one data key; holds it wrapped only. `key` is the dataset key's name, `kek` None if unused."""

    key: str
    wrapped: bytes
    kek: bytes | None
    kek_id: bytes

    @classmethod
    def parse(cls, metadata: Any) -> KeyMaterial:
        """Return the material in a file's key metadata. Raises FormatError, for material outside the file, too."""
        try:
            content = json.loads(metadata)
            if (content["keyMaterialType"], content["internalStorage"]) != ("PKMT1", True):
                raise FormatError("the key material is not in the file")
            wrapped = base64.b64decode(content["wrappedDEK"], validate=True)
            if not content["doubleWrapping"]:
                return cls(str(content["masterKeyID"]), wrapped, None, b"")
            kek = base64.b64decode(content["wrappedKEK"], validate=True)
            identifier = base64.b64decode(content["keyEncryptionKeyID"], validate=True)
        except (KeyError, TypeError, ValueError, RecursionError):
            raise FormatError("the key material is not of the form PKMT1, inside the file") from None
        return cls(str(content["masterKeyID"]), wrapped, kek, identifier)

    @property
    def bits(self) -> int:
        """Length of the data key (bits), told by that of its wrapped form."""
        around = NONCE + TAG if self.kek is not None else HEADER.size + TAG
        return 8 * (len(self.wrapped) - around)

    def open(self, ring: KeyRing) -> bytes:
        """Return the data key. Raises FormatError, KeyServiceError, AccessRefused, IntegrityError."""
        key = DatasetKey.parse(self.key)
        if self.kek is None:
            return ring.unwrap(key, self.wrapped, context_of(key)).reveal()
        return unseal(ring.unwrap(key, self.kek, context_of(key)).reveal(), self.wrapped, self.kek_id)


def unseal(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Return the plaintext of nonce | ciphertext | tag. Raises FormatError when the tag doesn't hold."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], aad)
    except (InvalidTag, ValueError):
        raise FormatError("a tag does not hold: bytes were changed, or belong elsewhere") from None


def aad_of(file: bytes, kind: ModuleType, *ordinals: int) -> bytes:
    """Return the AAD of a module: `file` is prefix and identifier, `ordinals` row group, column and page."""
    return file + bytes([kind]) + struct.pack(f"<{len(ordinals)}H", *(ordinal & 0xFFFF for ordinal in ordinals))


def framed(data: bytes) -> bytes:
    """Return what stands in a module that must be all of `data`, its length taken off. Raises FormatError."""
    if len(data) < 4 + NONCE + TAG or struct.unpack_from("<I", data)[0] != len(data) - 4:
        raise FormatError("a module's length is not that of its bytes")
    return data[4:]


def end_of_modules(stream: BinaryIO, start: int, end: int) -> int:
    """Return how far, from `start`, the bytes up to `end` can be a chain of modules; `end` when they all are.

    Needs no key and reads the lengths alone: it finds what was never encrypted, not what was forged to look so.
    """
    at = start
    while end - at >= 4 + NONCE:
        stream.seek(at)
        length = int.from_bytes(stream.read(4), "little")
        if length < NONCE or length > end - at - 4:
            break
        at += 4 + length
    return at


def opened_pages(
    stream: BinaryIO, start: int, end: int, key: bytes, file: bytes, place: tuple[int, int], *, dictionary: bool
) -> Iterator[bytes]:
    """Yield each page and page header between `start` and `end`, decrypted. Raises FormatError for a wrong tag.

    `place` is the ordinals of row group and column; `dictionary`: the chunk starts with a dictionary page.
    """
    at, page = start, 0
    expected = [(ModuleType.DICTIONARY_PAGE_HEADER, False), (ModuleType.DICTIONARY_PAGE, False)] if dictionary else []
    while at < end:
        expected = expected or [(ModuleType.DATA_PAGE_HEADER, True), (ModuleType.DATA_PAGE, True)]
        kind, numbered = expected.pop(0)
        sealed = read_module(stream, at, end)
        ordinals = (*place, page) if numbered else place
        yield unseal(key, sealed, aad_of(file, kind, *ordinals))
        page += kind is ModuleType.DATA_PAGE
        at += 4 + len(sealed)


def read_module(stream: BinaryIO, at: int, end: int) -> bytes:
    """Return nonce, ciphertext and tag of the module at `at`. Raises FormatError when it would pass `end`."""
    stream.seek(at)
    length = int.from_bytes(stream.read(4), "little")
    if length < NONCE + TAG or length > min(end - at - 4, MAX_MODULE):
        raise FormatError("a module has a length that it can't have")
    sealed = stream.read(length)
    if len(sealed) != length:
        raise FormatError("the file ends within a module")
    return sealed
