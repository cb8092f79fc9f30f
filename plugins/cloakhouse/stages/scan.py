"""One delivered file, as its bytes tell: its digest, and what one pass over it finds while it is encrypted."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cloakhouse.contracts.model import Contract, Feed
from cloakhouse.keys.files import storage_error
from cloakhouse.keys.streaming import EncryptingWriter
from cloakhouse.stages.inspection import Gunzip, LineCounter, check_header, refuse
from cloakhouse.stages.splits import SPLIT_BYTES


@dataclass(frozen=True)
class Identity:
    """What tells a file from another that is renamed to its name: inode, size (bytes), time of its last change."""

    inode: int
    bytes: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Identity:
        """Return the identity of the file with this status."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Scan:
    """What one pass over a delivery found: digest, bytes, data rows, columns that the contract doesn't declare, splits.

    `splits` holds, per split, its offset (bytes of plaintext) and the data rows before it.
    """

    sha256: str
    bytes: int
    rows: int
    undeclared: int
    splits: tuple[dict[str, int], ...]


def digest_of(path: Path) -> tuple[str, Identity]:
    """Return the SHA-256 (hex) of the file and its identity. Raises StorageError."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), Identity.of(os.fstat(stream.fileno()))
    except OSError as fault:
        raise storage_error(fault, path, "the file was not landed") from None


def encrypt(
    path: Path, name: str, contract: Contract, feed: Feed, writer: EncryptingWriter, split_bytes: int = SPLIT_BYTES
) -> Scan:
    """Stream the file once into `writer`; return what it is. Raises DeliveryError for what can't be landed.

    A split begins with the first line after `split_bytes` bytes of plaintext. Every check looks at the bytes where the
    writer has read them.
    """
    digest, size = hashlib.sha256(), 0
    lines, gunzip = LineCounter(name, feed, split_bytes), Gunzip(name)
    with path.open("rb", buffering=0) as source:
        for block in writer.absorb(source):
            digest.update(block)
            size += len(block)
            for piece in gunzip.pieces(block) if feed.compressed else (block,):
                lines.feed(piece)
    if feed.compressed:
        gunzip.finish()
    lines.finish()
    if lines.lines == 0:
        raise refuse(name, "at least one line", f"none ({size} bytes)", "have the sender deliver it again", "empty")
    undeclared = check_header(name, contract, lines.first)
    if lines.rows == 0:
        raise refuse(name, "rows below the header", "a header alone", "have the sender deliver it again", "no-rows")
    return Scan(digest.hexdigest(), size, lines.rows, undeclared, lines.splits)
