"""Every module of an encrypted Parquet file opened with its key: whether each tag holds, and no byte is left over."""

from __future__ import annotations

from typing import BinaryIO

from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.encryption import ALGORITHM
from cloakhouse.lake.footer import Chunk, FileCrypto
from cloakhouse.lake.modules import (
    FormatError,
    KeyMaterial,
    ModuleType,
    aad_of,
    framed,
    opened_pages,
    read_module,
    unseal,
)
from cloakhouse.lake.thrift import Struct, ThriftError, read_struct


def check_modules(stream: BinaryIO, crypto: FileCrypto, chunks: tuple[Chunk, ...], ring: KeyRing) -> int:
    """Return the bytes of data whose tags hold: all there are, unless columns are in plaintext or AES-CTR is used.

    Raises FormatError for a tag that doesn't hold and for bytes between the modules; KeyServiceError and
    AccessRefused for a column whose key is refused.
    """
    if crypto.algorithm != ALGORITHM:
        return 0
    keys: dict[KeyMaterial, bytes] = {}
    footer = crypto.material.open(ring)
    extents: list[tuple[int, int, bool]] = []
    for chunk in chunks:
        key = footer if chunk.material is None else keys.get(chunk.material) or chunk.material.open(ring)
        if chunk.material is not None:
            keys[chunk.material] = key
        extents += _chunk(stream, crypto, chunk, key)
    at, checked = 4, 0
    for start, end, sealed in sorted(extents):
        if start != at:
            raise FormatError("bytes between the columns belong to none")
        at, checked = end, checked + (end - start if sealed else 0)
    if at != crypto.data_end:
        raise FormatError("bytes behind the columns belong to none")
    return checked


def _chunk(stream: BinaryIO, crypto: FileCrypto, chunk: Chunk, key: bytes) -> list[tuple[int, int, bool]]:
    """Check one chunk and return its extents: (start, end, encrypted)."""
    if chunk.protection == chunk.protection.NONE:
        return [(*chunk.extent(chunk.metadata or {}), False)]
    place = (chunk.group, chunk.ordinal)
    metadata = chunk.metadata
    if chunk.sealed is not None:
        metadata = _struct(unseal(key, framed(chunk.sealed), aad_of(crypto.file, ModuleType.COLUMN_METADATA, *place)))
    start, end = chunk.extent(metadata or {})
    if not 4 <= start <= end <= crypto.data_end:
        raise FormatError("a column chunk is not where its metadata says")
    dictionary = bool((metadata or {}).get(11))
    for _page in opened_pages(stream, start, end, key, crypto.file, place, dictionary=dictionary):
        pass
    extents = [(start, end, True)]
    for kind, offset, length in chunk.indexes:
        unseal(key, read_module(stream, offset, offset + length), aad_of(crypto.file, kind, *place))
        extents.append((offset, offset + length, True))
    return extents


def _struct(data: bytes) -> Struct:
    try:
        return read_struct(data)[0]
    except ThriftError as fault:
        raise FormatError(str(fault)) from None
