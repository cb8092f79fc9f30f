"""The one file of a bundle: a ZIP archive of one form only, so that every byte of it counts.

Members are stored, not compressed, in the order of their names, dated 1980-01-01, without comments or extra fields. Any
tool opens it (`unzip`, a file manager). Whoever verifies reads the members, makes the archive again from them, and
compares the bytes: a flipped byte anywhere, in a name, a date, an attribute or behind the end, is found before any
content is looked at. So is everything that archives are abused for: a member twice, a path that leads elsewhere,
content that is larger unpacked than packed, an archive within another's comment.

Source: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping

from cloakhouse.errors import IntegrityError

LIMIT = 1 << 26  # bytes of a bundle
MOST_MEMBERS = 100
NAME = re.compile(r"(?:[a-z0-9][a-z0-9_-]*/)?[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[a-z0-9]+){1,2}")
_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX, _MODE = 3, 0o100644 << 16
_FAULTS = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, OSError, EOFError),
    *(ValueError, KeyError, IndexError, NotImplementedError, RuntimeError, OverflowError, MemoryError),
)


def packed(members: Mapping[str, bytes]) -> bytes:
    """Return the archive of `members` by name; the same members give the same bytes. Raises ValueError for names or
    sizes that a bundle doesn't have."""
    if not 0 < len(members) <= MOST_MEMBERS or not all(NAME.fullmatch(name) for name in members):
        raise ValueError("names of members of a bundle")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, content in sorted(members.items()):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = _UNIX, _MODE
            archive.writestr(info, content)
    text = stream.getvalue()
    if len(text) > LIMIT:
        raise ValueError(f"a bundle has at most {LIMIT} bytes")
    return text


def unpacked(text: bytes, where: str) -> dict[str, bytes]:
    """Return the members of an archive by name. Raises IntegrityError (`integrity.bundle`) for any other bytes than
    `packed` gives; memory: twice the archive's."""
    if len(text) > LIMIT:
        raise damaged(where, f"an archive of at most {LIMIT:,} bytes", f"{len(text):,} bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(text)) as archive:
            infos = archive.infolist()
            sizes = sum(info.file_size for info in infos)
            plain = all(info.compress_type == zipfile.ZIP_STORED and not info.flag_bits for info in infos)
            if len(infos) > MOST_MEMBERS or sizes > len(text) or not plain:
                raise damaged(where, "few stored members, as large unpacked as packed", "others")
            members = {info.filename: archive.read(info) for info in infos}
        again = packed(members)
    except _FAULTS:
        raise damaged(where, "an archive as `cloakhouse audit bundle` writes it", "other bytes") from None
    if again != text:
        raise damaged(where, "exactly the bytes that its members make", "other bytes beside them")
    return members


def damaged(where: str, expected: str, found: str) -> IntegrityError:
    """Return the error for a bundle that isn't what was written."""
    return IntegrityError(
        where=where,
        expected=expected,
        found=found,
        not_done="nothing that it says was believed",
        remedy="ask the platform for the bundle again, and compare the fingerprint of its key",
        code="bundle",
    )
