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
    try:
        body = store.read(ref.path)
    except FileNotFoundError:
        raise _broken(ref, "the manifest file", "no file") from None
    if hashlib.sha256(body).hexdigest() != ref.sha256:
        raise _broken(ref, f"SHA-256 {ref.sha256[:16]}", "other bytes")
    content: dict[str, Any] = json.loads(body)
    if content.get("format") != FORMAT or (kind is not None and content.get("kind") != kind):
        raise _broken(ref, f"format {FORMAT}, kind {kind or 'any'}", "another")
    return content


def _broken(ref: ManifestRef, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where=ref.path,
        expected=expected,
        found=found,
        not_done="nothing that the manifest lists was read",
        remedy="restore the lake from its backup; manifests are never edited",
    )
