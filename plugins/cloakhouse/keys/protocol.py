"""What the platform asks of a key service, and the names of master keys.

Master keys (KEKs) stay with the service. The platform has data keys wrapped under a master key together with an
encryption context, and stores only the wrapped form. A wrapped key opens only under the same master key and the
same context (NIST SP 800-57 Part 1 Rev. 5, section 5.6; the context is the additional authenticated data of
SP 800-38D, or what the service has in its place).

States of a master key: enabled <-> disabled, and from either to destroyed. Only an enabled key wraps or unwraps. A
destroyed key never opens anything again, which is what crypto-shredding means (AWS KMS: for good after seven days).
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NewType, Protocol, runtime_checkable

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.keys.secret import SecretKey

KeyName = NewType("KeyName", str)
Context = Mapping[str, str]

FOOTER = "footer"
FILE = "file"
TOKENS = KeyName("tokens/root")


class KeyState(Enum):
    """Whether a master key may be used."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    DESTROYED = "destroyed"


@dataclass(frozen=True)
class KeyVersion:
    """One version of a master key: `version` counts from 1, `created` is UTC."""

    version: int
    created: dt.datetime


@dataclass(frozen=True)
class KeyDescription:
    """What a service tells of a master key. `versions` is in ascending order; a destroyed key has none."""

    name: KeyName
    state: KeyState
    versions: tuple[KeyVersion, ...]


@dataclass(frozen=True, order=True)
class Grant:
    """`principal` may use master key `name` for `purpose`: wrap and unwrap."""

    principal: str
    name: KeyName
    purpose: str

    def as_dict(self) -> dict[str, str]:
        """Return the grant as tables and JSON show it."""
        return {"principal": self.principal, "key": self.name, "purpose": self.purpose}


@dataclass(frozen=True)
class Connection:
    """How a service is reached. `protocol` is the negotiated one (`TLSv1.3`), or `in process`."""

    endpoint: str
    protocol: str
    cipher: str
    leaves_process: bool


def master_key(zone: str, column_class: ColumnClass) -> KeyName:
    """Return the name of the master key of a column class in a zone, e.g. `protected/direct`."""
    return KeyName(f"{zone}/{column_class.key_name}")


def zone_key(zone: str, use: str) -> KeyName:
    """Return the name of a zone's key for whole files (`file`) or Parquet footers (`footer`)."""
    return KeyName(f"{zone}/{use}")


@runtime_checkable
class KeyService(Protocol):
    """A service that wraps and unwraps data keys under named master keys. Safe to use from many processes.

    Every call ends within a bound: a service that doesn't answer is a KeyServiceError (`key.unreachable`), one that
    asks to slow down is tried again with back-off and then refused (`key.throttled`). AccessRefused means that the
    service, or the grants, forbid this principal what it asked.
    """

    @property
    def uri(self) -> str:
        """The configuration URI of the service; holds no secret, so it may travel to workers."""

    def wrap(self, name: KeyName, key: SecretKey, context: Context) -> bytes:
        """Return `key` wrapped under the newest version of master key `name`, bound to `context`.

        A master key that never existed is made. Raises KeyServiceError when it can't be used, AccessRefused.
        """

    def unwrap(self, name: KeyName, wrapped: bytes, context: Context) -> SecretKey:
        """Return the data key in `wrapped`.

        Raises KeyServiceError when the master key or version is missing, disabled or destroyed, the context differs,
        or a bit changed; AccessRefused.
        """

    def generate(self, name: KeyName, context: Context) -> tuple[SecretKey, bytes]:
        """Return a fresh 256-bit data key and its wrapped form. Raises as `wrap`."""

    def names(self) -> tuple[KeyName, ...]:
        """Return the names of the platform's master keys at the service, in order. Raises KeyServiceError."""

    def describe(self, name: KeyName) -> KeyDescription:
        """Return state and versions of a master key. Raises KeyServiceError (`key.missing`) for an unknown one."""

    def rotate(self, name: KeyName) -> KeyDescription:
        """Add a version, which wraps from now on; older ones go on unwrapping. Raises KeyServiceError."""

    def disable(self, name: KeyName) -> None:
        """Stop all use of the master key, for everyone, until `enable`. Raises KeyServiceError."""

    def enable(self, name: KeyName) -> None:
        """Allow use of a disabled master key again. Raises KeyServiceError."""

    def destroy(self, name: KeyName) -> None:
        """Destroy every version of the master key for good. What it wrapped can't be opened. Raises KeyServiceError."""

    def grants(self) -> tuple[Grant, ...]:
        """Return the grants that the service knows of, in order. Raises KeyServiceError."""

    def grant(self, grant: Grant) -> None:
        """Record a grant and make it effective. Granting twice changes nothing. Raises KeyServiceError."""

    def revoke(self, grant: Grant) -> None:
        """Withdraw a grant, effective for every later call (AWS KMS: within five minutes).

        Raises KeyServiceError (`key.missing`) if there is none.
        """

    def connection(self) -> Connection:
        """Connect and return what was negotiated. Raises KeyServiceError."""


def new_data_key() -> SecretKey:
    """Return a fresh random 256-bit data key from the operating system's generator."""
    return SecretKey(os.urandom(32))
