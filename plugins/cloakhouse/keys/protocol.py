"""What the platform asks of a key service, and the names of master keys.

Master keys (KEKs) never leave the service. The platform generates data keys (DEKs), has them wrapped under a
master key together with an encryption context, and stores only the wrapped form. A wrapped key opens only
under the same master key and the same context (NIST SP 800-57 Part 1 Rev. 5, section 5.6; the context is
the additional authenticated data of SP 800-38D).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NewType, Protocol, runtime_checkable

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.keys.secret import SecretKey

KeyName = NewType("KeyName", str)
Context = Mapping[str, str]

FOOTER = "footer"
FILE = "file"
TOKENS = KeyName("tokens/root")


def master_key(zone: str, column_class: ColumnClass) -> KeyName:
    """Return the name of the master key of a column class in a zone, e.g. `protected/direct`."""
    return KeyName(f"{zone}/{column_class.key_name}")


def zone_key(zone: str, use: str) -> KeyName:
    """Return the name of a zone's key for whole files (`file`) or Parquet footers (`footer`)."""
    return KeyName(f"{zone}/{use}")


@runtime_checkable
class KeyService(Protocol):
    """A service that wraps and unwraps data keys under named master keys. Safe to use from many processes."""

    @property
    def uri(self) -> str:
        """The configuration URI of the service; holds no secret, so it may travel to workers."""

    def wrap(self, name: KeyName, key: SecretKey, context: Context) -> bytes:
        """Return `key` wrapped under the newest version of master key `name`, bound to `context`.

        Raises KeyServiceError when the master key can't be used.
        """

    def unwrap(self, name: KeyName, wrapped: bytes, context: Context) -> SecretKey:
        """Return the data key in `wrapped`.

        Raises KeyServiceError when the master key or version is missing, the context differs, or a bit changed.
        """


def new_data_key() -> SecretKey:
    """Return a fresh random 256-bit data key from the operating system's generator."""
    return SecretKey(os.urandom(32))
