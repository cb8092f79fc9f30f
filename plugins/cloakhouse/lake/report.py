"""What is told of one file of the lake: how many of its bytes are encrypted, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cloakhouse.lake.footer import Protection


class Kind(StrEnum):
    """What is wrong with a file."""

    PLAINTEXT = "not encrypted"
    PARTLY = "encrypted in part"
    OTHERWISE = "encrypted, but not as agreed"
    DAMAGED = "damaged"
    UNREADABLE = "not looked at"
    UNCHECKED = "not checked with its keys"


@dataclass(frozen=True)
class Finding:
    """One file that is not as it should be, by its path within the lake, and why; never a value."""

    path: str
    kind: Kind
    detail: str


@dataclass(frozen=True)
class Report:
    """What one file is made of (bytes), and its columns by Protection. `place`: parquet, landed, record or other."""

    place: str
    encrypted: int = 0
    plaintext: int = 0
    structure: int = 0
    columns: Mapping[Protection, int] = field(default_factory=dict)
    unopened: int = 0
    checked: int = 0
    findings: tuple[Finding, ...] = ()
