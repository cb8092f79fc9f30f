"""Landed files: the raw bytes of a delivery, encrypted, with the wrapped key in front.

Bytes on disk:

    `CHL1` | length of the header (4 bytes, big-endian) | header (JSON) | Tink AES256_GCM_HKDF_1MB stream

The header holds the master key's name, the wrapped data key (base64) and the context: zone, dataset,
partition and object. The context is bound twice: into the wrap, and as associated data of the stream, so a file
moved to another name doesn't open. Re-wrapping replaces the header alone.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.files import replacing, storage_error
from cloakhouse.keys.protocol import FILE, KeyService, new_data_key, zone_key
from cloakhouse.keys.streaming import DecryptingReader, EncryptingWriter

MAGIC = b"CHL1"
MAX_HEADER = 64 << 10  # bytes
ZONE = "landing"


@dataclass(frozen=True)
class LandedObject:
    """Which delivery a landed file holds; this is the encryption context of its data key."""

    dataset: str
    partition: str
    object: str

    @property
    def path(self) -> str:
        """Path within the lake."""
        return f"{ZONE}/{self.dataset}/{self.partition}/{self.object}"

    def context(self) -> dict[str, str]:
        """Return the encryption context."""
        return {"zone": ZONE, "dataset": self.dataset, "partition": self.partition, "object": self.object}


@contextlib.contextmanager
def landing(lake: Path, target: LandedObject, service: KeyService) -> Iterator[EncryptingWriter]:
    """Yield a writer of plaintext; the encrypted file appears at `target` in one step when the block ends well.

    An exception in the block leaves nothing behind. Raises StorageError, KeyServiceError.
    """
    name = zone_key(ZONE, FILE)
    key = new_data_key()
    context = target.context()
    wrapped = service.wrap(name, key, context)
    header = _encode(base64.b64encode(wrapped).decode(), context)
    with replacing(lake / target.path) as sink:
        sink.write(MAGIC + struct.pack(">I", len(header)) + header)
        writer = EncryptingWriter(sink, key, _associated_data(context))
        yield writer
        writer.finish()


@contextlib.contextmanager
def opened(lake: Path, target: LandedObject, service: KeyService) -> Iterator[BinaryIO]:
    """Yield the plaintext of the landed file `target` as a buffered stream of checked bytes.

    Raises IntegrityError when the file is missing, changed, another file or plaintext; KeyServiceError.
    """
    path = lake / target.path
    try:
        source = path.open("rb")
    except FileNotFoundError:
        raise _broken(target, "the landed file", "no file") from None
    except OSError as fault:
        raise storage_error(fault, path, "the landed file was not opened") from None
    with source:
        start = source.read(8)
        if len(start) < 8 or start[:4] != MAGIC:
            raise _broken(target, "an encrypted landed file (CHL1)", "other bytes")
        (length,) = struct.unpack(">I", start[4:])
        header = _header(source.read(length) if length <= MAX_HEADER else b"", target)
        context = target.context()
        key = service.unwrap(zone_key(ZONE, FILE), base64.b64decode(header["wrapped"]), context)
        reader = DecryptingReader(source, key, _associated_data(context), target.path)
        yield io.BufferedReader(reader, 1 << 20)


def _encode(wrapped: str, context: dict[str, str]) -> bytes:
    header = {"format": 1, "key": zone_key(ZONE, FILE), "wrapped": wrapped, "context": context}
    return json.dumps(header).encode()


def _header(raw: bytes, target: LandedObject) -> dict[str, Any]:
    """Return the header in `raw`, which must be the one form that `landing` writes, to the byte."""
    try:
        header: dict[str, Any] = json.loads(raw)
        wrapped = base64.b64encode(base64.b64decode(header["wrapped"], validate=True)).decode()
        context = header["context"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _broken(target, "a header of format 1", "a damaged one") from None
    if context != target.context():
        raise _broken(target, "the header of this object", "the header of another")
    if raw != _encode(wrapped, target.context()):
        raise _broken(target, "a header of format 1", "one of another form")
    return header


def _associated_data(context: dict[str, str]) -> bytes:
    return MAGIC + json.dumps(context, sort_keys=True, separators=(",", ":")).encode()


def _broken(target: LandedObject, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where=target.path,
        expected=expected,
        found=found,
        not_done="nothing of it was read",
        remedy="restore the landing zone from its backup, or deliver the file again with supersede",
    )
