"""Where a version comes from: release <- synthesis or answer <- protected partitions <- deliveries.

Every manifest is read by the reference that the one above it holds, which is its path and its SHA-256: a tree in which
each node says whether its bytes are the ones that were meant. The release at the root is signed. No row is read and no
key is asked for: manifests hold paths, counts and digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from cloakhouse.errors import CloakhouseError, IntegrityError
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.releases import Release
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.catalogue import ManifestRef


class Check(StrEnum):
    """Whether a manifest is the one that is referred to."""

    SIGNED = "signed"
    VERIFIED = "verified"
    BROKEN = "missing or changed"
    UNREADABLE = "not readable from here"


@dataclass(frozen=True)
class Node:
    """One manifest of the tree.

    Attributes:
        kind: version, synthesis, answer, protected or delivery.
        name: the dataset and its version or partition.
        manifest: path within the lake and SHA-256.
        check: whether that is what was found.
        facts: what it says, JSON-ready: rows, contract, code, run and the like.
        parents: what it was made from.
    """

    kind: str
    name: str
    manifest: ManifestRef
    check: Check
    facts: Mapping[str, Any] = field(default_factory=dict)
    parents: tuple[Node, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the tree as JSON-ready values."""
        return {
            "kind": self.kind,
            "name": self.name,
            "manifest": self.manifest.as_dict(),
            "check": self.check.value,
            **self.facts,
            "parents": [parent.as_dict() for parent in self.parents],
        }

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """Yield every node below its child, with its depth."""
        yield depth, self
        for parent in self.parents:
            yield from parent.walk(depth + 1)


def without_counts(node: Node) -> Node:
    """Return the tree without how many rows and bytes there are of protected data, which no guarantee covers."""
    real = node.kind in ("protected", "delivery")
    facts = {name: value for name, value in node.facts.items() if not (real and name in ("rows", "bytes"))}
    return replace(node, facts=facts, parents=tuple(without_counts(parent) for parent in node.parents))


def lineage_of(store: ObjectStore, release: Release, ref: ManifestRef) -> Node:
    """Return the tree above `release`, which was read and verified by `ref`. A broken manifest is a node that says so.

    Memory and time are those of one manifest per delivery and partition that the version derives from.
    """
    facts = {
        "zone": release.zone,
        "rows": release.rows,
        "contract": dict(release.contract),
        "code": dict(release.code),
        "run": dict(release.run),
        "treatments": dict(release.treatments),
    }
    name = f"{release.dataset}@{release.version}"
    return Node("version", name, ref, Check.SIGNED, facts, (_source(store, release),))


def _source(store: ObjectStore, release: Release) -> Node:
    content, check = _read(store, release.source)
    kind = "answer" if content.get("kind") == "validation" else "synthesis"
    engine = content.get("engine") or content.get("mechanism") or {}
    facts = {
        "rows": content.get("rows"),
        "engine": engine.get("engine") or engine.get("name"),
        "library": engine.get("library"),
        "code": content.get("code"),
    }
    parents = tuple(
        _partition(store, source, partition)
        for source, partitions in sorted(release.parents.items())
        for partition in partitions
    )
    return Node(kind, release.dataset, release.source, check, _known(facts), parents)


def _partition(store: ObjectStore, source: str, partition: Mapping[str, Any]) -> Node:
    ref = ManifestRef.of(partition)
    content, check = _read(store, ref, "protected")
    facts = {"rows": content.get("rows"), "contract": content.get("contract")}
    parents = tuple(_delivery(store, source, content)) if content else ()
    return Node("protected", f"{source} {partition['partition']}", ref, check, _known(facts), parents)


def _delivery(store: ObjectStore, source: str, protected: Mapping[str, Any]) -> Iterator[Node]:
    """Yield the delivery that a protected partition was made from, found through the request of its job."""
    if "request" not in protected:
        return
    request, _ = _read(store, ManifestRef.of(protected["request"]))
    for item in request.get("deliveries", ()):
        if item["partition"] == protected.get("partition"):
            ref = ManifestRef.of(item)
            content, check = _read(store, ref, "delivery")
            if content and content.get("sha256") != protected.get("delivery_sha256"):
                check = Check.BROKEN
            facts = {key: content.get(key) for key in ("revision", "rows", "bytes", "sha256", "contract")}
            yield Node("delivery", f"{source} {item['partition']}", ref, check, _known(facts))


def _read(store: ObjectStore, ref: ManifestRef, kind: str | None = None) -> tuple[dict[str, Any], Check]:
    try:
        return read_manifest(store, ref, kind), Check.VERIFIED
    except IntegrityError:
        return {}, Check.BROKEN
    except CloakhouseError:
        return {}, Check.UNREADABLE


def _known(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if value is not None}
