"""Versions of datasets as the control database knows them: their states, and how one is named.

States of a version, which change in this order and never back:

    published -> withdrawn   nobody may read it any more, for a reason that every later reader is told
    published -> expired     it is no longer kept
    withdrawn, expired -> collected   its files are gone; an expired version may still be withdrawn before or after

The number was reserved before the release was written, and is never given again.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from cloakhouse.ledger.catalogue import ManifestRef


class VersionState(StrEnum):
    """What became of a version."""

    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    COLLECTED = "collected"


@dataclass(frozen=True)
class DatasetVersion:
    """One version of a dataset.

    Attributes:
        version: counts from 1, with gaps where a publication did not come to its end.
        fingerprint: of what it was made from; the same is published once.
        rows: of all its files.
        manifest: its signed release.
        published_at: UTC.
        state / reason: what became of it, and why it was withdrawn or expired.
        tags: in alphabetical order.
        head: whether the bare name stands for it.
    """

    dataset: str
    version: int
    fingerprint: str
    zone: str
    rows: int
    manifest: ManifestRef
    published_at: dt.datetime
    state: VersionState = VersionState.PUBLISHED
    reason: str = ""
    tags: tuple[str, ...] = ()
    head: bool = False

    @property
    def name(self) -> str:
        """`dataset@version`."""
        return f"{self.dataset}@{self.version}"


@dataclass(frozen=True)
class Selector:
    """Which version is asked for: by number, by the last moment of a day (UTC), by tag, or what the name stands for."""

    name: str
    version: int | None = None
    day: dt.date | None = None
    tag: str | None = None

    def __post_init__(self) -> None:
        if sum(part is not None for part in (self.version, self.day, self.tag)) > 1:
            raise ValueError("a version is asked for by its number, a day or a tag: by one of them")

    def __str__(self) -> str:
        wanted = self.version or self.day or self.tag
        return self.name if wanted is None else f"{self.name}@{wanted}"


@dataclass(frozen=True)
class VersionEvent:
    """What somebody did to a version. `at` is UTC; `detail` is `head 3` where the bare name stands for 3 since then,
    `head none` where for none, and the tag of `tag` and `untag`."""

    at: dt.datetime
    dataset: str
    version: int
    action: str
    actor: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Hold:
    """Somebody's wish that the files of a version stay, whatever becomes of it. `placed_at` is UTC."""

    dataset: str
    version: int
    reason: str
    placed_at: dt.datetime
