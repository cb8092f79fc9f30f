"""Manifests: what a stage wrote, by reference. Immutable, named by their own digest, created once.

A manifest is canonical JSON (UTF-8, sorted keys, no spaces) at `<folder>/<kind>-<first 16 hex of SHA-256>.json`.
It holds paths, counts, digests and key names; never a value from a feed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cloakhouse.errors import IntegrityError
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.catalogue import ManifestRef

FORMAT = 1


def write_manifest(store: ObjectStore, folder: str, kind: str, content: Mapping[str, Any]) -> ManifestRef:
    """Write `content` as a manifest of `kind` below `folder`; return its reference.

    Writing the same content again changes nothing. Raises StorageError.
    """
    body = json.dumps(
        {"format": FORMAT, "kind": kind, **content}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    digest = hashlib.sha256(body).hexdigest()
    path = f"{folder}/{kind}-{digest[:16]}.json"
    if not store.create(path, body):
        read_manifest(store, ManifestRef(path, digest))
    return ManifestRef(path, digest)


def read_manifest(store: ObjectStore, ref: ManifestRef, kind: str | None = None) -> dict[str, Any]:
    """Return the manifest behind `ref`. Raises IntegrityError when it is missing, changed or of another kind."""
    body = _body(store, ref.path)
    if hashlib.sha256(body).hexdigest() != ref.sha256:
        raise _broken(ref.path, f"SHA-256 {ref.sha256[:16]}", "other bytes")
    return _content(ref.path, body, kind)


def read_named(store: ObjectStore, path: str, kind: str | None = None) -> tuple[ManifestRef, dict[str, Any]]:
    """Return the manifest at `path`, of which only its name tells the digest, with its reference.

    Raises IntegrityError as `read_manifest`.
    """
    body = _body(store, path)
    digest = hashlib.sha256(body).hexdigest()
    if not path.endswith(f"-{digest[:16]}.json"):
        raise _broken(path, "the bytes that its name tells of", "others")
    return ManifestRef(path, digest), _content(path, body, kind)


def _body(store: ObjectStore, path: str) -> bytes:
    try:
        return store.read(path)
    except FileNotFoundError:
        raise _broken(path, "the manifest file", "no file") from None


def _content(path: str, body: bytes, kind: str | None) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(body)
    if content.get("format") != FORMAT or (kind is not None and content.get("kind") != kind):
        raise _broken(path, f"format {FORMAT}, kind {kind or 'any'}", "another")
    return content


def _broken(path: str, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where=path,
        expected=expected,
        found=found,
        not_done="nothing that the manifest lists was read",
        remedy="restore the lake from its backup; manifests are never edited",
    )
