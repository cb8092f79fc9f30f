"""Two places for the header of a landed file, so that a new header never touches the old one's bytes.

Bytes on disk: two slots of 4,096 bytes, a block of the disk each. A slot is all zero, or

    `CHL2` | serial (4 bytes, big-endian) | length of the content (4, big-endian) | content | zeros | SHA-256 (32)

with the SHA-256 over all that stands before it in the slot. The valid slot with the highest serial counts.

A change, under an exclusive lock on the file:

1. the other slot is written with the next serial, and fsynced;
2. the old slot is filled with zeros, and fsynced.

Killed or without power in 1, the old slot counts, and what was written in part is no valid slot; in 2, the new one
counts. A reader takes both slots with one read and no lock. Step 1 leaves the old slot alone and step 2 the new one,
so whatever a reader finds of the slot being written, the other one is valid. Only a reader that is stopped between
the two slots, while both steps go by, may see neither: it then reads again under a shared lock, when nobody writes.
Finding none even so means damage.

The digest finds accidents. Against forgery the content is authenticated by its key, as is the stream behind it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from cloakhouse.errors import StageError
from cloakhouse.keys.files import storage_error

MAGIC = b"CHL2"
SLOT = 4096  # bytes
AREA = 2 * SLOT
HEAD = struct.Struct(">4sII")
DIGEST = 32
ROOM = SLOT - HEAD.size - DIGEST
MAX_SERIAL = 0xFFFF_FFFE  # so that there is always a next one
LOCK_WAIT_S = 60.0  # a change asks the key service in between, which is bounded by 30 s


@dataclass(frozen=True)
class Slot:
    """A valid slot: which of the two (0 or 1), its serial and its content."""

    place: int
    serial: int
    content: bytes


def first(content: bytes) -> bytes:
    """Return the two slots of a new file."""
    return _packed(1, content) + bytes(SLOT)


def newest(area: bytes) -> Slot | None:
    """Return the slot that counts in `area` (both slots' bytes), or None when none is valid."""
    found = [slot for place in (0, 1) if (slot := _parsed(place, area[place * SLOT : (place + 1) * SLOT]))]
    return max(found, key=lambda slot: slot.serial, default=None)


def read(handle: int, path: Path) -> Slot | None:
    """Return the slot that counts in the open file, or None when the file has none. Raises StageError, StorageError."""
    slot = newest(os.pread(handle, AREA, 0))
    if slot is None:
        lock(handle, path, fcntl.LOCK_SH)
        slot = newest(os.pread(handle, AREA, 0))
        fcntl.flock(handle, fcntl.LOCK_UN)
    return slot


def replace(handle: int, old: Slot, content: bytes) -> None:
    """Have `content` stand in the place of `old`. The caller holds the lock. Raises OSError."""
    _put(handle, 1 - old.place, _packed(old.serial + 1, content))
    clear(handle, old.place)


def clear(handle: int, place: int) -> None:
    """Fill a slot with zeros, if it isn't. The caller holds the lock. Raises OSError."""
    if any(os.pread(handle, SLOT, place * SLOT)):
        _put(handle, place, bytes(SLOT))


def lock(handle: int, path: Path, kind: int = fcntl.LOCK_EX) -> None:
    """Lock the open file until it is closed. Raises StageError (`stage.busy`) after a minute, StorageError."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StageError(
                    where=path.name,
                    expected=f"the header of the file to be free within {LOCK_WAIT_S:.0f} s",
                    found="another process that re-wraps its key",
                    not_done="nothing was read or changed",
                    remedy="wait for the other process to end, then run again",
                    code="busy",
                ) from None
            time.sleep(0.01)
        except OSError as fault:
            raise storage_error(fault, path, "nothing was read or changed") from None


def _put(handle: int, place: int, data: bytes) -> None:
    at, rest = place * SLOT, memoryview(data)
    while rest:
        size = os.pwrite(handle, rest, at)
        at, rest = at + size, rest[size:]
    os.fsync(handle)


def _packed(serial: int, content: bytes) -> bytes:
    if len(content) > ROOM:
        raise ValueError(f"a header has at most {ROOM} bytes")
    filled = (HEAD.pack(MAGIC, serial, len(content)) + content).ljust(SLOT - DIGEST, b"\0")
    return filled + hashlib.sha256(filled).digest()


def _parsed(place: int, raw: bytes) -> Slot | None:
    filled, digest = raw[: SLOT - DIGEST], raw[SLOT - DIGEST :]
    if len(raw) < SLOT or filled[:4] != MAGIC or hashlib.sha256(filled).digest() != digest:
        return None
    _, serial, length = HEAD.unpack_from(filled)
    end = HEAD.size + length
    sound = serial <= MAX_SERIAL and length <= ROOM and not any(filled[end:])
    return Slot(place, serial, filled[HEAD.size : end]) if sound else None
