"""Key files for the edge, made without an installation: keys that are drawn from their use, and one recipient."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyrage

from cloakhouse.contracts.model import Contract
from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.apply import uses
from cloakhouse.tokens.edge_keys import EdgeFile, EdgeKeys, seal_edge_keys


class DrawnKeys:
    """A KeySource without a key service: each key follows from its use."""

    def key(self, use: KeyUse) -> SecretKey:
        return SecretKey(hashlib.shake_256(repr(use).encode()).digest(use.length))


def keys_for(contract: Contract, names: Sequence[str], periods: Sequence[str] = ("",)) -> dict[KeyUse, SecretKey]:
    """Return the keys of columns for `periods`."""
    wanted = {use for name in names for period in periods for use in uses(contract.column(name), period)}
    return {use: DrawnKeys().key(use) for use in sorted(wanted)}


def edge_file(contract: Contract, names: Sequence[str], periods: Sequence[str] = ("",)) -> EdgeFile:
    """Return what an opened key file gives."""
    columns = tuple(contract.column(name) for name in names)
    keys = EdgeKeys(keys_for(contract, names, periods))
    return EdgeFile(contract.name, contract.version, contract.digest, columns, keys)


def new_till(folder: Path) -> tuple[Path, str]:
    """Make an identity file as `age-keygen` writes it; return it and its recipient."""
    secret = pyrage.x25519.Identity.generate()
    path = folder / "till.txt"
    path.touch(0o600)
    path.write_text(f"# created: today\n# public key: {secret.to_public()}\n{secret}\n")
    return path, str(secret.to_public())


def sealed_file(
    folder: Path, contract: Contract, names: Sequence[str], periods: Sequence[str] = ("",)
) -> tuple[Path, Path]:
    """Write a key file; return it and the identity file that opens it."""
    identity, recipient = new_till(folder)
    path = folder / "till.key"
    columns = [contract.column(name) for name in names]
    path.write_bytes(seal_edge_keys(contract, columns, keys_for(contract, names, periods), recipient))
    return path, identity
