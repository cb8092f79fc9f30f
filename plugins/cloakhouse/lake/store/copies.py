"""A copy of an object: which one is wanted, how it is called in the cache, and how it is filled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO


class OtherContent(Exception):
    """What was fetched has not the digest that was expected."""


@dataclass(frozen=True)
class Wanted:
    """A copy that is wanted: of which object (URI and path), which version of it, and its SHA-256 where known."""

    uri: str
    path: str
    version: str = ""
    sha256: str | None = None

    @property
    def object(self) -> str:
        """What the names of all copies of the object begin with."""
        return hashlib.sha256(f"{self.uri}\0{self.path}".encode()).hexdigest()[:32]

    def is_in(self, name: str) -> bool:
        """Return whether the copy called `name` is the one."""
        parts = name.split("-")
        if len(parts) != 3 or parts[0] != self.object:
            return False
        return parts[2] == self.sha256 if self.sha256 is not None else parts[1] == self._version

    def name(self, sha256: str) -> str:
        """Return the name of the copy whose content has the digest `sha256`."""
        return f"{self.object}-{self._version}-{sha256}"

    @property
    def _version(self) -> str:
        return hashlib.sha256(self.version.encode()).hexdigest()[:16]


class Copy:
    """A copy that is being fetched."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def begin(self) -> Callable[[bytes], None]:
        """Return what takes the content block by block; what was taken before is forgotten."""
        self._stream.seek(0)
        self._stream.truncate()
        self._digest = hashlib.sha256()
        return self._take

    @property
    def sha256(self) -> str:
        """SHA-256 of the content so far, hexadecimal."""
        return self._digest.hexdigest()

    def _take(self, block: bytes) -> None:
        self._digest.update(block)
        self._stream.write(block)
