"""Landing against copying the same file, and against other streaming encryption: CPU seconds, interleaved, the best.

Every way reads the same file and writes a new one; the slow ones take the file's first part, as their rows say. The
copy is a plain loop over blocks of 1 MiB. Landing is all of it: key ring, encryption, fsync, rename; it stands beside
a copy with fsync, and once without its own, since copying and the others have none.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from aws_encryption_sdk import EncryptionSDKClient
from aws_encryption_sdk.identifiers import EncryptionKeyType, WrappingAlgorithm
from aws_encryption_sdk.internal.crypto.wrapping_keys import WrappingKey
from aws_encryption_sdk.key_providers.raw import RawMasterKeyProvider
from tink import new_keyset_handle, streaming_aead

from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.lake.landed import LandedObject, landing, opened
from cloakhouse.lake.store.folder import FolderStore

SIZE = 256 << 20  # bytes
PART = 16 << 20  # bytes of the file, for what takes too long for all of it
ROUNDS = 12
CHUNK = 1 << 20  # bytes
BLOCK = 4 << 20  # bytes that the CSV parser reads at a time
TARGET = LandedObject("bench", "2017-01-02", "bench.chl")
COPY = "copy it"


def measure(folder: Path) -> str:
    """Return the table of throughputs and their ratio to the copy."""
    folder.mkdir(parents=True)
    try:
        best = _measured(folder)
    finally:
        shutil.rmtree(folder)
    lines = [f"| {name} | {speed / 1e9:.2f} | {speed / best[COPY]:.2f} |" for name, speed in best.items()]
    return "\n".join([f"| {SIZE >> 20} MiB | GB per CPU second | against copying |", "| --- | --- | --- |", *lines, ""])


def _measured(folder: Path) -> dict[str, float]:
    """Return the bytes per CPU second of each way."""
    plain, part, other = folder / "plain", folder / "part", folder / "other"
    for path, size in ((plain, SIZE), (part, PART)):
        with path.open("wb") as stream:
            for _ in range(size // CHUNK):
                stream.write(os.urandom(CHUNK))
    landed, tinks = folder / TARGET.path, folder / "tink"
    ring = KeyRing(AgeKeyService(folder / "keystore"), folder / "dataset-keys")
    streaming_aead.register()
    primitive = new_keyset_handle(streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB).primitive(
        streaming_aead.StreamingAead
    )
    provider = _RawAes()
    provider.add_master_key("bench")
    few = f"the first {PART >> 20} MiB"
    ways: list[tuple[str, int, Path | None, Callable[[], None]]] = [
        (COPY, SIZE, other, lambda: _copy(plain, other)),
        ("land it, fsync left out", SIZE, landed, lambda: _land_undurably(folder, plain, ring)),
        ("copy it, fsync", SIZE, other, lambda: _copy(plain, other, durable=True)),
        ("land it", SIZE, landed, lambda: _land(folder, plain, ring)),
        ("read what was landed", SIZE, None, lambda: _read(folder, ring)),
        ("tink, AES256_GCM_HKDF_1MB: encrypt it", SIZE, tinks, lambda: _tink_encrypt(primitive, plain, tinks)),
        ("tink: decrypt it", SIZE, None, lambda: _tink_decrypt(primitive, tinks)),
        (f"aws-encryption-sdk, frames of 1 MiB: {few}", PART, other, lambda: _aws(provider, part, other, CHUNK)),
        (f"aws-encryption-sdk, its defaults: {few}", PART, other, lambda: _aws(provider, part, other, None)),
    ]
    best = {name: 0.0 for name, *_ in ways}
    for _ in range(ROUNDS):
        for name, size, target, way in ways:
            if target is not None:
                target.unlink(missing_ok=True)
            before = time.process_time()
            way()
            best[name] = max(best[name], size / (time.process_time() - before))
    return best


def _copy(source: Path, target: Path, *, durable: bool = False) -> None:
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(CHUNK):
            writer.write(block)
        if durable:
            writer.flush()
            os.fsync(writer.fileno())


def _land(lake: Path, source: Path, ring: KeyRing) -> None:
    with source.open("rb", buffering=0) as reader:
        size = os.fstat(reader.fileno()).st_size
        with landing(FolderStore(lake), TARGET, ring, plain_bytes=size) as writer:
            for _ in writer.absorb(reader):
                pass


def _land_undurably(lake: Path, source: Path, ring: KeyRing) -> None:
    with mock.patch.object(os, "fsync"):
        _land(lake, source, ring)


def _read(lake: Path, ring: KeyRing) -> None:
    with opened(FolderStore(lake), TARGET, ring) as stream:
        while stream.read(BLOCK):
            pass


def _tink_encrypt(primitive: Any, source: Path, target: Path) -> None:
    with source.open("rb") as reader, primitive.new_encrypting_stream(target.open("wb"), b"bench") as writer:
        while block := reader.read(CHUNK):
            writer.write(block)


def _tink_decrypt(primitive: Any, source: Path) -> None:
    with primitive.new_decrypting_stream(source.open("rb"), b"bench") as reader:
        while reader.read(BLOCK):
            pass


def _aws(provider: RawMasterKeyProvider, source: Path, target: Path, frame: int | None) -> None:
    options: dict[str, Any] = {} if frame is None else {"frame_length": frame}
    stream = EncryptionSDKClient().stream(mode="e", source=source.open("rb"), key_provider=provider, **options)
    with stream as sealed, target.open("wb") as writer:
        while block := sealed.read(CHUNK):
            writer.write(block)


class _RawAes(RawMasterKeyProvider):  # type: ignore[misc]
    """A wrapping key in memory, as the SDK's raw AES keyring has it."""

    provider_id = "bench"

    def _get_raw_key(self, key_id: str) -> WrappingKey:
        algorithm = WrappingAlgorithm.AES_256_GCM_IV12_TAG16_NO_PADDING
        return WrappingKey(algorithm, bytes(range(32)), EncryptionKeyType.SYMMETRIC)
