"""What the bytes of one file hold: as they lie, decompressed, and decrypted and decoded where the platform encrypts.

| file | what is searched beside its raw bytes |
| --- | --- |
| encrypted Parquet | every column, value by value; in the quarantine the raw lines, too |
| landed delivery | its plaintext, decompressed; its rows, parsed by the contract, for their subjects |
| fitted synthesizer | the opened model |
| anything | what gzip, zip and zstd in it hold |

Whatever can't be opened is told as such, but for files whose keys were destroyed: nobody opens these any more.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cloakhouse.errors import CloakhouseError, IntegrityError
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.signing import SIGNATURE, PublicKey
from cloakhouse.lake.encryption import FileEncryption
from cloakhouse.lake.landed import LandedObject
from cloakhouse.lake.landed import opened as opened_landed
from cloakhouse.lake.parquet import MAGIC
from cloakhouse.lake.projection import ColumnKeys
from cloakhouse.lake.sealed import LENGTH, Synthesizer
from cloakhouse.lake.sealed import MAGIC as SEALED
from cloakhouse.lake.sealed import opened as opened_model
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.lake.sums import FileEntry

BLOCK = 1 << 20  # bytes; larger ones are no longer in the cache when they are searched
ROWS = 65_536
DEPTH = 3  # of archives in archives
ENDS_WITHIN_S = 60  # seconds, once all bytes were read
LARGEST = 1 << 28  # bytes of an archive in an archive, which is unpacked in memory
PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")  # how gzip, zstd and zip begin
DESTROYED = "key.destroyed"
Chunk = tuple[str, pa.Array]


def blocks(stream: BinaryIO, overlap: int) -> Iterator[tuple[np.ndarray, int, bool]]:
    """Yield (bytes, kept, whether it is the last): a block begins with `kept` bytes that the one before ended with."""
    kept, block = b"", stream.read(BLOCK)
    while block:
        following = stream.read(BLOCK)
        whole = kept + block
        yield np.frombuffer(whole, np.uint8), len(kept), not following
        kept, block = whole[-overlap:], following


@contextlib.contextmanager
def read_elsewhere(file: Path) -> Iterator[BinaryIO]:
    """Yield the bytes of a file as another process reads them, in order; raises OSError where it can't.

    For files that SQLite may have open here: when this process closes any descriptor of one, the system lets go of
    SQLite's locks on it. Source: https://www.sqlite.org/howtocorrupt.html, section 2.2.
    """
    file.stat()
    with subprocess.Popen(["cat", "--", str(file)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
        assert reader.stdout is not None
        yield cast(BinaryIO, reader.stdout)
        if reader.wait(timeout=ENDS_WITHIN_S):
            raise OSError("another process could not read the file to its end")


def layers(stream: BinaryIO, depth: int = DEPTH, largest: int = LARGEST) -> Iterator[BinaryIO]:
    """Yield what is packed in a file: of gzip, zip and zstd, and in what these hold.

    Of gzip and zstd a damaged end is passed over: all that can be unpacked before it was. Raises OSError for a zip
    whose list of members is torn off or damaged, since what it holds can't be told; and for archives that are packed
    too deep to be looked into, or have more than `largest` bytes within another, or a password.
    """
    start = stream.read(4)
    stream.seek(0)
    if start.startswith(PACKED[0]):
        yield from _unpacked(gzip.GzipFile(fileobj=stream), depth, largest)
    elif start == PACKED[1]:
        with pa.CompressedInputStream(pa.PythonFile(stream), "zstd") as inner:
            yield from _unpacked(inner, depth, largest)
    elif start == PACKED[2]:
        try:
            with zipfile.ZipFile(stream) as archive:
                for member in archive.infolist():
                    with archive.open(member) as inner:
                        yield from _unpacked(inner, depth, largest)
        except zipfile.BadZipFile:
            raise OSError("a zip archive that is torn or damaged") from None
        except (NotImplementedError, RuntimeError):
            raise OSError("an archive with a password, or of a method that is not known") from None


def _unpacked(stream: Any, depth: int, largest: int) -> Iterator[BinaryIO]:
    whole = _Unpacking(stream)
    start = whole.read(4)
    if not start.startswith(PACKED):
        whole.first = start
        yield cast(BinaryIO, whole)
        return
    content = start + whole.read(largest)
    yield io.BytesIO(content)
    if depth == 1 or whole.read(1):
        raise OSError("archives in an archive, too deep or too large to be searched")
    yield from layers(io.BytesIO(content), depth - 1, largest)


class _Unpacking:
    """What is unpacked from a stream, up to where it is damaged; `first` is given before it."""

    def __init__(self, stream: Any) -> None:
        self.first, self._stream = b"", stream

    def read(self, size: int) -> bytes:
        found, self.first = self.first, b""
        try:
            while len(found) < size and (more := self._stream.read(size - len(found))):
                found += more
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile):
            return found
        return found


def decoded(
    store: ObjectStore, ring: KeyRing, trusted: Callable[[], PublicKey], path: str, local: Path
) -> Iterator[Chunk | BinaryIO]:
    """Yield columns (name, values) or streams of plaintext of an encrypted file of the lake; nothing for another.

    Raises CloakhouseError for one that can't be opened.
    """
    with local.open("rb") as stream:
        start = stream.read(4)
    if start == MAGIC:
        yield from _columns(ring, path, local)
    elif start == SEALED:
        yield io.BytesIO(_model(ring, trusted(), path, local.read_bytes()))
    elif start[:3] == b"CHL":
        parts = path.split("/")
        if len(parts) != 4:
            raise _strange(path)
        with opened_landed(store, LandedObject(*parts[1:]), ring) as plain:
            packed = plain.peek(2)[:2] == b"\x1f\x8b"  # type: ignore[attr-defined]
            yield cast(BinaryIO, gzip.GzipFile(fileobj=plain)) if packed else plain


def _columns(ring: KeyRing, path: str, local: Path) -> Iterator[Chunk]:
    """Yield the columns of an encrypted Parquet file, whether a manifest lists it or not, batch by batch."""
    encryption = FileEncryption(ring)
    entry = FileEntry(path, local.stat().st_size, 0, "")
    try:
        with pq.ParquetFile(local, decryption_properties=encryption.opening(path)) as file:
            names = file.schema_arrow.names
            ColumnKeys.recorded(entry, file.metadata.metadata, names).authorise(names, encryption.require)
            for batch in file.iter_batches(ROWS):
                yield from zip(batch.schema.names, batch.columns, strict=True)
    except CloakhouseError:
        raise
    except (OSError, ValueError, pa.ArrowException):
        raise _strange(path) from None


def _model(ring: KeyRing, trusted: PublicKey, path: str, found: bytes) -> bytes:
    try:
        _, length = LENGTH.unpack_from(found)
        context = json.loads(found[LENGTH.size : LENGTH.size + length])["context"]
        target = Synthesizer(path, str(context["engine"]), str(context["fingerprint"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _strange(path) from None
    if len(found) <= SIGNATURE:
        raise _strange(path)
    return opened_model(ring, trusted, target, found)


def texts(values: pa.Array) -> pa.Array | None:
    """Return a column as it is searched: text or binary, dictionaries written out; None for numbers, days and flags."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return values if is_text or is_bytes else None


def _strange(path: str) -> IntegrityError:
    return IntegrityError(
        where=path,
        expected="a file that the platform writes at this path",
        found="another, or a damaged one",
        not_done="what it holds was not searched",
        remedy="restore the file from a backup of the lake, or remove it",
        code="sweep",
    )
