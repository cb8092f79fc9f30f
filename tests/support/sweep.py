"""The marker sweep: looking for planted values in every byte below a folder, decompressed where compressed.

A marker is searched in the forms in which software writes it: UTF-8, UTF-16, hexadecimal, base64 (three
alignments), and integers as 8 bytes in both orders.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import os
import subprocess
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.support.elsewhere import bytes_of

Seen = tuple[int, int, int]  # inode, bytes, time of the last change (ns)


@dataclass(frozen=True)
class Hit:
    """One occurrence: the file, the marker's label, the form it was found in."""

    path: str
    marker: str
    form: str


def forms(value: str) -> dict[str, bytes]:
    """Return the byte forms of `value` that are searched, by name."""
    text = value.encode()
    found = {
        "utf-8": text,
        "utf-16": value.encode("utf-16-le"),
        "hex": text.hex().encode(),
        "HEX": text.hex().upper().encode(),
    }
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + text)
        first, end = -(-shift * 8 // 6), (len(text) + shift) * 8 // 6  # characters made of the value's bits alone
        found[f"base64+{shift}"] = encoded[first:end]
    if value.isdigit() and 10**9 < int(value) < 2**63:
        found["int64"] = int(value).to_bytes(8, "little")
        found["int64 be"] = int(value).to_bytes(8, "big")
    return found


@dataclass
class Sweep:
    """Searches for `markers` (label -> value)."""

    markers: dict[str, str]
    hits: set[Hit] = field(default_factory=set)
    files: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        self._needles = [
            (label, form, needle)
            for label, value in self.markers.items()
            for form, needle in forms(value).items()
            if len(needle) >= 6
        ]

    def folder(self, root: Path, skip: Iterable[Path] = (), known: dict[Path, Seen] | None = None) -> None:
        """Search every file below `root` but those below `skip`; names are searched as well as contents.

        Files that stand in `known` as they are are passed over; what is searched is added to it.
        """
        skipped, known = tuple(skip), {} if known is None else known
        for path in everything(root):
            if any(path.is_relative_to(other) for other in skipped):
                continue
            self.data(str(path.relative_to(root)), str(path.relative_to(root)).encode())
            if path.is_file() and not path.is_symlink():
                try:
                    state = path.stat()
                    seen = state.st_ino, state.st_size, state.st_mtime_ns
                    if known.get(path) == seen:
                        continue
                    content = bytes_of(path) if ".db" in path.name else path.read_bytes()
                except (OSError, subprocess.CalledProcessError):
                    continue  # vanished while the run goes on: the next pass sees the rest
                known[path] = seen
                self.files += 1
                self.bytes += len(content)
                self.data(str(path), content)

    def data(self, name: str, content: bytes) -> None:
        """Search one content, and what it holds when it is compressed."""
        for layer, plain in layers(content):
            for label, form, needle in self._needles:
                if needle in plain:
                    self.hits.add(Hit(name + layer, label, form))


def everything(root: Path) -> Iterator[Path]:
    """Yield every folder and file below `root`; what vanishes while it is walked is passed over (Path.rglob raises)."""
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            yield Path(folder, name)


def layers(content: bytes, depth: int = 3) -> Iterator[tuple[str, bytes]]:
    """Yield (suffix, bytes): the content itself and, recursively, what it decompresses to."""
    yield "", content
    if depth == 0:
        return
    for suffix, plain in _decompressed(content):
        for deeper, bytes_ in layers(plain, depth - 1):
            yield suffix + deeper, bytes_


def _decompressed(content: bytes) -> Iterator[tuple[str, bytes]]:
    if content[:2] == b"\x1f\x8b":
        try:
            yield "|gzip", gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            yield "|gzip", zlib.decompressobj(wbits=31).decompress(content[: 1 << 26])
    elif content[:4] == b"PK\x03\x04":
        with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():  # an archive that is still being written has no list of them yet
                yield f"|zip:{member}", archive.read(member)
    elif content[:4] == b"\x28\xb5\x2f\xfd":
        import pyarrow as pa

        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            yield "|zstd", stream.read()


class Watch:
    """Sweeps folders again and again while a run goes on, so that temporary files are searched before they go."""

    def __init__(self, sweep: Sweep, folders: Iterable[Path], skip: Iterable[Path] = ()) -> None:
        self.passes = 0
        self.seen: set[str] = set()
        self.commands: set[str] = set()  # command lines of all processes below this one
        self._sweep, self._folders, self._skip = sweep, tuple(folders), tuple(skip)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=120)

    def _run(self) -> None:
        known: dict[Path, Seen] = {}  # only what is new is read again, so that passes are short
        while not self._stop.wait(0.1):
            self._note_commands()
            for folder in self._folders:
                self.seen.update(str(path) for path in everything(folder))
                self._sweep.folder(folder, self._skip, known)
            self.passes += 1

    def _note_commands(self) -> None:
        with contextlib.suppress(psutil.Error):  # processes end while they are listed
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    self.commands.add("\0".join(process.cmdline()))
