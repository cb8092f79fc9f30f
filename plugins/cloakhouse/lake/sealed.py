"""Fitted synthesizers as files: encrypted, signed, and not looked into before the signature is verified.

Bytes of a file (CHS1):

    `CHS1` | length of the header (4, big-endian) | header | stream | signature (64)

    header    = {"context": {"dataset": ..., "engine": ..., "fingerprint": ..., "object": "<path within the lake>",
                 "use": "synthesizer", "zone": "synthetic"}, "format": 1, "key": "synthetic/file/<dataset>",
                 "signer": "<fingerprint>", "wrapped": "<base64>"}       as canonical JSON: sorted keys, no spaces
    stream    = Tink AES256_GCM_HKDF_1MB (see `cloakhouse.keys.streaming`) under the file's own data key, with `CHS1`
                and the context as associated data; `wrapped` is that key under its dataset key, bound to the context
    signature = Ed25519 (RFC 8032) over `cloakhouse/synthesizer/1` | 0x00 | everything before the signature

Reading is in this order, and ends at the first step that fails:

1. the signature over all bytes is verified with the public key that the caller trusts;
2. the header is parsed, and must be the one form that `seal` writes, for the path, engine and fingerprint asked for;
3. the data key is unwrapped, and the stream decrypted whole;
4. only then may the content be given to an engine's `open_model`, whose reader knows a list of names alone.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
from dataclasses import dataclass

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.dataset_keys import DatasetKey, canonical
from cloakhouse.keys.protocol import FILE, new_data_key
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.signing import SIGNATURE, PublicKey, SigningKey, verify
from cloakhouse.keys.streaming import DecryptingReader, EncryptingWriter
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.catalogue import ManifestRef

MAGIC = b"CHS1"
FORMAT = 1
ZONE = "synthetic"
SIGNER = "artifacts"  # name of the signing key
DOMAIN = b"cloakhouse/synthesizer/1\0"
LENGTH = struct.Struct(">4sI")
LIMIT = 1 << 30  # bytes of a file that is read at all


@dataclass(frozen=True)
class Synthesizer:
    """Which synthesizer a file holds; this is the encryption context of its data key.

    Attributes:
        path: within the lake, `<folder>/<dataset>/<name>`.
        engine: name in contracts.
        fingerprint: of what it was fitted on and how (contract, pinned sources, code), hexadecimal.
    """

    path: str
    engine: str
    fingerprint: str

    @property
    def key(self) -> DatasetKey:
        """The dataset key that wraps its data key. Raises IntegrityError for a path of another form."""
        parts = self.path.split("/")
        return DatasetKey(ZONE, FILE, parts[1] if len(parts) == 3 else "")

    def context(self) -> dict[str, str]:
        """Return the encryption context."""
        named = {"dataset": self.key.dataset, "engine": self.engine, "fingerprint": self.fingerprint}
        return {"use": "synthesizer", "zone": ZONE, "object": self.path, **named}


def seal(
    ring: KeyRing, signer: SigningKey, store: ObjectStore, path: str, content: bytes, engine: str, fingerprint: str
) -> ManifestRef:
    """Write `content`, a model's `to_bytes`, to the file at `path` within the lake in one step; return its reference.

    A file that stands there stays, and its reference is returned. Raises KeyServiceError, AccessRefused, StorageError.
    """
    store.create(path, sealed(ring, signer, Synthesizer(path, engine, fingerprint), content))
    return reference(store, path)


def reference(store: ObjectStore, path: str) -> ManifestRef:
    """Return the reference of the file at `path` within the lake. Raises IntegrityError when there is none."""
    return ManifestRef(path, hashlib.sha256(_read(store, path)).hexdigest())


def unseal(
    ring: KeyRing, trusted: PublicKey, store: ObjectStore, file: ManifestRef, engine: str, fingerprint: str
) -> bytes:
    """Return the content of a sealed file; see the module for the order of checks.

    Raises IntegrityError when it is missing, changed, not signed by `trusted`, or of another engine or fingerprint;
    KeyServiceError, AccessRefused, StorageError.
    """
    found = _read(store, file.path)
    if hashlib.sha256(found).hexdigest() != file.sha256:
        raise _broken(file.path, f"SHA-256 {file.sha256[:16]}", "other bytes")
    return opened(ring, trusted, Synthesizer(file.path, engine, fingerprint), found)


def sealed(ring: KeyRing, signer: SigningKey, target: Synthesizer, content: bytes) -> bytes:
    """Return the bytes of the file that holds `content`. Raises KeyServiceError, AccessRefused."""
    key = new_data_key()
    header = _header(target, signer.public, ring.wrap(target.key, key, target.context()))
    sink = io.BytesIO()
    sink.write(LENGTH.pack(MAGIC, len(header)) + header)
    writer = EncryptingWriter(sink, key, _associated_data(target))
    writer.write(content)
    writer.finish()
    return sink.getvalue() + signer.sign(DOMAIN + sink.getvalue())


def opened(ring: KeyRing, trusted: PublicKey, target: Synthesizer, found: bytes) -> bytes:
    """Return the content of a file's bytes. Raises as `unseal`."""
    signed, signature = found[:-SIGNATURE], found[-SIGNATURE:]
    verify(trusted, DOMAIN + signed, signature, target.path)  # 1
    header, stream = _parted(target, signed)  # 2
    wrapped = _wrapped(target, trusted, header)
    key = ring.unwrap(target.key, wrapped, target.context())  # 3
    return DecryptingReader(io.BytesIO(stream), key, _associated_data(target), target.path).readall() or b""


def examined(path: str, found: bytes, ring: KeyRing | None) -> int:
    """Return how many bytes of a sealed file at `path` are encrypted; with `ring` its stream is decrypted, which checks
    every tag. The signature is for those to verify who know the signer.

    Raises IntegrityError for a file that isn't the one that `seal` writes at this path, KeyServiceError, AccessRefused.
    """
    signed = found[:-SIGNATURE]
    try:
        header = json.loads(_parted(Synthesizer(path, "", ""), signed)[0])
        context = header["context"]
        target = Synthesizer(path, str(context["engine"]), str(context["fingerprint"]))
        wrapped = base64.b64decode(header["wrapped"], validate=True)
        named = header["key"] == target.key.name and context == target.context()
    except (ValueError, KeyError, TypeError, RecursionError):
        named = False
    stream = _parted(Synthesizer(path, "", ""), signed)[1]
    if not named or not stream:
        raise _broken(path, "the synthesizer of this path", "another header")
    if ring is not None:
        key = ring.unwrap(target.key, wrapped, target.context())
        DecryptingReader(io.BytesIO(stream), key, _associated_data(target), path).readall()
    return len(stream)


def _read(store: ObjectStore, path: str) -> bytes:
    try:
        return store.read(path, LIMIT)
    except FileNotFoundError:
        raise _broken(path, "the file of a fitted synthesizer", "no file") from None


def _header(target: Synthesizer, signer: PublicKey, wrapped: bytes) -> bytes:
    content = {
        "context": target.context(),
        "format": FORMAT,
        "key": target.key.name,
        "signer": signer.fingerprint,
        "wrapped": base64.b64encode(wrapped).decode(),
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _parted(target: Synthesizer, signed: bytes) -> tuple[bytes, bytes]:
    """Return (header, stream)."""
    magic, length = LENGTH.unpack_from(signed) if len(signed) >= LENGTH.size else (b"", 0)
    if magic != MAGIC or len(signed) < LENGTH.size + length:
        raise _broken(target.path, "a fitted synthesizer (CHS1)", "other bytes")
    return signed[LENGTH.size : LENGTH.size + length], signed[LENGTH.size + length :]


def _wrapped(target: Synthesizer, signer: PublicKey, header: bytes) -> bytes:
    """Return the wrapped key in the header, which must be what `seal` writes for `target`, to the byte."""
    try:
        wrapped = base64.b64decode(json.loads(header)["wrapped"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _broken(target.path, "a header of format 1", "a damaged one") from None
    if header != _header(target, signer, wrapped):
        raise _broken(target.path, "the synthesizer of this path, engine and fingerprint", "another one")
    return wrapped


def _associated_data(target: Synthesizer) -> bytes:
    return MAGIC + canonical(target.context())


def _broken(path: str, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where=path,
        expected=expected,
        found=found,
        not_done="nothing of it was unpickled or sampled",
        remedy="synthesize the dataset again",
        code="artifact",
    )
