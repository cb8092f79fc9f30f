"""The archive of one person's data: a ZIP file, made piece by piece, that is never on a disk in plain form.

    pieces = archive([Rows("landed/customers", columns, rows), Page("about.json", content)], spill)
    seal_stream(pieces, sink, recipient)

Rows are written twice, as JSON and as CSV, and come once: the JSON goes straight into the archive, the CSV waits in a
temporary file that is encrypted under a key of this process's memory and has no name (a kill leaves nothing of it). So
memory holds a few rows, however many there are. The same rows give the same bytes: no time and no user is in them.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from typing_extensions import Buffer

from cloakhouse.keys.protocol import new_data_key
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.streaming import DecryptingReader, EncryptingWriter, Source

PIECE = 1 << 18  # bytes
MADE = (1980, 1, 1, 0, 0, 0)  # the first moment that ZIP knows
_SPILL = b"cloakhouse/subject-export/spill"
OTHERS = "other_fields"  # the column of the CSV for what isn't in its columns, as JSON
Row = Mapping[str, Any]  # what JSON holds


@dataclass
class Rows:
    """Rows for `<name>.json` (an array of objects) and `<name>.csv` (RFC 4180, UTF-8, a missing value is empty).

    Attributes:
        columns: of the CSV, in order. A row may lack some; those that it has besides are in the last column.
        rows: come once. count: how many there were, once the archive is made.
    """

    name: str
    columns: tuple[str, ...]
    rows: Iterable[Row]
    count: int = field(default=0, init=False)


@dataclass(frozen=True)
class Page:
    """One file of the archive with its whole content."""

    name: str
    content: bytes


def archive(parts: Iterable[Rows | Page], spill: Path) -> Iterator[bytes]:
    """Yield the bytes of the archive of `parts`, in their order. `parts` is asked for the next as one is done.

    `spill` is the folder of the temporary file. Raises OSError for it, and what the rows raise.
    """
    sink = _Sink()
    with zipfile.ZipFile(cast(BinaryIO, sink), "w", zipfile.ZIP_DEFLATED) as file:
        for part in parts:
            if isinstance(part, Page):
                yield from _member(file, sink, part.name, iter((part.content,)))
            else:
                yield from _both(file, sink, part, spill)
    yield sink.taken()


def _both(file: zipfile.ZipFile, sink: _Sink, part: Rows, folder: Path) -> Iterator[bytes]:
    key = new_data_key()
    with tempfile.TemporaryFile(dir=folder, buffering=0) as spill:
        sealed = EncryptingWriter(cast(BinaryIO, spill), key, _SPILL)
        yield from _member(file, sink, f"{part.name}.json", _json(part, sealed))
        sealed.finish()
        spill.seek(0)
        yield from _member(file, sink, f"{part.name}.csv", _spilt(cast(Source, spill), key))


def _member(file: zipfile.ZipFile, sink: _Sink, name: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    info = zipfile.ZipInfo(name, MADE)
    info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_DEFLATED, 0o600 << 16, 3
    with file.open(info, "w", force_zip64=True) as member:
        for piece in pieces:
            member.write(piece)
            if sink.waiting >= PIECE:
                yield sink.taken()
    yield sink.taken()


def _json(part: Rows, sealed: EncryptingWriter) -> Iterator[bytes]:
    """Yield the JSON of the rows; their CSV goes to `sealed`."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow((*part.columns, OTHERS))
    yield b"["
    for row in part.rows:
        yield (b",\n" if part.count else b"\n") + _encoded(_text(row))
        part.count += 1
        others = {name: value for name, value in row.items() if name not in part.columns}
        table.writerow([*(_cell(row.get(name)) for name in part.columns), _text(others) if others else ""])
        if text.tell() >= PIECE:
            _pour(text, sealed)
    _pour(text, sealed)
    yield b"\n]\n"


def _pour(text: io.StringIO, sealed: EncryptingWriter) -> None:
    sealed.write(_encoded(text.getvalue()))
    text.seek(0)
    text.truncate()


def _encoded(text: str) -> bytes:
    """Return `text` in UTF-8. A surrogate that stands alone, which JSON may hold, becomes the escape that JSON has."""
    return text.encode(errors="backslashreplace")


def _text(row: Row) -> str:
    """Return a row as JSON; numbers that JSON doesn't have (NaN and the infinities) as texts."""
    try:
        return json.dumps(dict(row), ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(json.loads(json.dumps(dict(row)), parse_constant=str), ensure_ascii=False)


def _cell(value: Any) -> Any:
    if isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value


def _spilt(spill: Source, key: SecretKey) -> Iterator[bytes]:
    reader = io.BufferedReader(DecryptingReader(spill, key, _SPILL, "temporary file"), PIECE)
    while piece := reader.read(PIECE):
        yield piece


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken. It can't seek, so the ZIP writer puts sizes behind the members."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def writable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Never: bytes that were taken are gone."""
        return False

    def write(self, data: Buffer) -> int:
        """Take `data` and return its length (bytes)."""
        view = memoryview(data).cast("B")
        self._held += view
        return len(view)

    @property
    def waiting(self) -> int:
        """Bytes that were not taken yet."""
        return len(self._held)

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        held = bytes(self._held)
        self._held.clear()
        return held
