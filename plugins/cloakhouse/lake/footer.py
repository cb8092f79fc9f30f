"""The end of an encrypted Parquet file, read by our own parser: what the bytes say of its encryption.

    `PARE` | data | FileCryptoMetaData | footer, an encrypted module | length of these two (4, LE) | `PARE`

FileCryptoMetaData is readable without any key: algorithm, the file's random identifier, the footer's key material.
The footer says of each column chunk how it is encrypted. A file that ends with `PAR1` has its footer in plaintext,
and is read here, too, so that it can be told what it is.

Source: https://github.com/apache/parquet-format/blob/master/Encryption.md, section 5;
field numbers: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.encryption import ALGORITHM, KEY_BITS, dataset_key
from cloakhouse.lake.modules import FormatError, KeyMaterial, ModuleType, aad_of, framed, unseal
from cloakhouse.lake.thrift import Struct, ThriftError, read_struct

MAGIC = b"PARE"
PLAIN_MAGIC = b"PAR1"
MAX_FOOTER = 64 << 20  # bytes
ALGORITHMS = {1: ALGORITHM, 2: "AES_GCM_CTR_V1"}


class Protection(StrEnum):
    """How a column is encrypted."""

    OWN = "with a key of its class"
    FOOTER = "with the footer's key"
    NONE = "not at all"


@dataclass(frozen=True)
class Chunk:
    """One column of one row group. `material` is None unless it has a key of its own.

    `metadata` is its ColumnMetaData as read from the footer, `sealed` the same encrypted with its own key.
    """

    group: int
    ordinal: int
    column: str
    protection: Protection
    material: KeyMaterial | None
    metadata: Struct | None
    sealed: bytes | None
    indexes: tuple[tuple[ModuleType, int, int], ...]  # (type, offset, length)

    def extent(self, metadata: Struct) -> tuple[int, int]:
        """Return where its pages start and end. Raises FormatError."""
        starts = [_whole(metadata.get(field)) for field in (9, 11) if metadata.get(field)]
        if not starts:
            raise FormatError("a column chunk does not say where it is")
        return min(starts), min(starts) + _whole(metadata.get(7))


@dataclass(frozen=True)
class FileCrypto:
    """What an encrypted file says of itself without a key. The data are the bytes from 4 to `data_end`."""

    algorithm: str
    file: bytes  # AAD prefix and identifier
    material: KeyMaterial
    data_end: int
    footer: bytes

    def open_footer(self, ring: KeyRing) -> tuple[Chunk, ...]:
        """Return the column chunks. Raises FormatError, KeyServiceError, AccessRefused, IntegrityError."""
        plain = unseal(self.material.open(ring), framed(self.footer), aad_of(self.file, ModuleType.FOOTER))
        return tuple(_chunks(_struct(plain)[0]))


def read_crypto(stream: BinaryIO, size: int) -> FileCrypto:
    """Return what the end of an encrypted file of `size` bytes says. Raises FormatError."""
    start, tail = _tail(stream, size, MAGIC)
    crypto, length = _struct(tail)
    try:
        (number, algorithm) = next(iter(crypto[1].items()))
        file = _bytes(algorithm.get(1, b"")) + _bytes(algorithm[2])
        name = ALGORITHMS[number]
        material = KeyMaterial.parse(crypto[2])
    except (KeyError, TypeError, AttributeError, StopIteration):
        raise FormatError("the file's crypto metadata is incomplete") from None
    framed(tail[length:])
    return FileCrypto(name, file, material, start, tail[length:])


def read_plain_footer(stream: BinaryIO, size: int) -> tuple[int, tuple[Chunk, ...]]:
    """Return (end of the data, column chunks) of a file whose footer is in plaintext. Raises FormatError."""
    start, tail = _tail(stream, size, PLAIN_MAGIC)
    return start, tuple(_chunks(_struct(tail)[0]))


def require_encrypted(path: Path, name: str, keys: Mapping[str, str], ring: KeyRing) -> None:
    """Check from its bytes that the new file at `path` is encrypted as agreed; `keys`: dataset key of each column.

    Raises IntegrityError for another algorithm, a column under another key or none, a footer under another key.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(4) != MAGIC:
                raise FormatError("the file does not start as an encrypted one")
            crypto = read_crypto(stream, path.stat().st_size)
        if (crypto.algorithm, crypto.material.key) != (ALGORITHM, dataset_key(name, "footer").name):
            raise FormatError("the footer has another algorithm or key")
        for chunk in crypto.open_footer(ring):
            if chunk.material is None or chunk.material.key != keys.get(chunk.column):
                raise FormatError("a column has another key, or none")
            if min(chunk.material.bits, crypto.material.bits) != KEY_BITS:
                raise FormatError("a data key has another length")
    except FormatError as fault:
        raise IntegrityError(
            where=name,
            expected=f"{ALGORITHM}, {KEY_BITS} bits, an encrypted footer, each column under the key of its class",
            found=str(fault),
            not_done="the file was not made visible",
            remedy="check the version of pyarrow; encryption did not work",
        ) from None


def _tail(stream: BinaryIO, size: int, magic: bytes) -> tuple[int, bytes]:
    """Return where the footer starts, and its bytes, of a file that must end with `magic`."""
    if size < 12:
        raise FormatError("the file is too short")
    stream.seek(size - 8)
    end = stream.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != magic:
        raise FormatError("the file does not end as it starts")
    if length > min(size - 12, MAX_FOOTER):
        raise FormatError("the footer has a length that it can't have")
    stream.seek(size - 8 - length)
    return size - 8 - length, stream.read(length)


def _struct(data: bytes) -> tuple[Struct, int]:
    try:
        return read_struct(data)
    except ThriftError as fault:
        raise FormatError(str(fault)) from None


def _chunks(footer: Struct) -> Iterator[Chunk]:
    materials: dict[bytes, KeyMaterial] = {}  # a column has the same in every row group
    try:
        for group, content in enumerate(footer[4]):
            for ordinal, chunk in enumerate(content[1]):
                yield _chunk(_whole(content.get(7, group)), ordinal, chunk, materials)
    except (KeyError, IndexError, TypeError, AttributeError, UnicodeDecodeError):
        raise FormatError("the footer is not that of a Parquet file") from None


def _chunk(group: int, ordinal: int, chunk: dict[int, Any], materials: dict[bytes, KeyMaterial]) -> Chunk:
    crypto, metadata, sealed = chunk.get(8, {}), chunk.get(3), chunk.get(9)
    if not isinstance(metadata, dict | None):
        raise FormatError("a column chunk has no metadata")
    path = crypto[2][1] if 2 in crypto else (metadata or {})[3]
    protection = Protection.OWN if 2 in crypto else Protection.FOOTER if 1 in crypto else Protection.NONE
    material = None
    if protection is Protection.OWN:
        raw = _bytes(crypto[2].get(2))
        material = materials[raw] = materials.get(raw) or KeyMaterial.parse(raw)
    indexes = [
        (kind, _whole(chunk[offset]), _whole(chunk[length]))
        for kind, offset, length in ((ModuleType.OFFSET_INDEX, 4, 5), (ModuleType.COLUMN_INDEX, 6, 7))
        if offset in chunk and length in chunk
    ]
    return Chunk(
        group,
        ordinal,
        b".".join(path).decode(),
        protection,
        material,
        metadata,
        None if sealed is None else _bytes(sealed),
        tuple(indexes),
    )


def _whole(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 62:
        raise FormatError("a field does not hold a number that it can hold")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise FormatError("a field does not hold bytes")
    return value
