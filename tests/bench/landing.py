"""Landing against copying the same file: CPU seconds, interleaved, the best of several."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from cloakhouse.keys.protocol import new_data_key
from cloakhouse.keys.streaming import DecryptingReader, EncryptingWriter

SIZE = 256 << 20  # bytes
ROUNDS = 5
CHUNK = 1 << 20


def measure(folder: Path) -> str:
    """Return the table of throughputs and their ratio to the copy."""
    folder.mkdir(parents=True)
    plain, sealed, copy = folder / "plain", folder / "sealed", folder / "copy"
    with plain.open("wb") as stream:
        for _ in range(SIZE >> 20):
            stream.write(os.urandom(1 << 20))
    key = new_data_key()
    works: dict[str, Callable[[], None]] = {
        "copy the file": lambda: _copy(plain, copy),
        "encrypt it (AES-256-GCM, 1 MiB segments)": lambda: _encrypt(plain, sealed, key),
        "decrypt it": lambda: _decrypt(sealed, key),
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, work in works.items():
            before = time.process_time()
            work()
            best[name] = min(best[name], time.process_time() - before)
    shutil.rmtree(folder)
    base = best["copy the file"]
    lines = [f"| {name} | {SIZE / 1e9 / s:.2f} | {base / s:.2f} |" for name, s in best.items()]
    return "\n".join([f"| {SIZE >> 20} MiB | GB per CPU second | against copying |", "| --- | --- | --- |", *lines, ""])


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(CHUNK):
            writer.write(block)


def _encrypt(source: Path, target: Path, key: object) -> None:
    with source.open("rb") as reader, target.open("wb") as sink:
        writer = EncryptingWriter(sink, key, b"bench")  # type: ignore[arg-type]
        while block := reader.read(CHUNK):
            writer.write(block)
        writer.finish()


def _decrypt(source: Path, key: object) -> None:
    with source.open("rb") as sealed:
        reader = io.BufferedReader(DecryptingReader(sealed, key, b"bench", "bench"), CHUNK)  # type: ignore[arg-type]
        while reader.read(CHUNK):
            pass
