"""Every key of an installation, opened, so that tests can search for them."""

from __future__ import annotations

import base64
from pathlib import Path

from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.identity import read_identity
from cloakhouse.keys.keystore import parse
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.settings import Settings


def keys_of(home: Path) -> dict[str, bytes]:
    """Return every key of the installation that cryptography is done with, by name."""
    settings, found = Settings.from_environment({}).with_home(home), {}
    me = read_identity(home / "keystore" / "identities" / "platform.txt")
    keystore = parse((home / "keystore" / "keystore.json").read_bytes(), me.keystore)
    assert keystore is not None
    for name, master in keystore.masters.items():
        for version in master.versions:
            found[f"master {name} {version.version}"] = me.open(version.sealed)
    ring = open_ring(settings)
    for file in ring.all():
        for record in file.versions:
            opened = ring.service.unwrap(file.key.master, record.wrapped, file.key.context(record.version))
            found[f"dataset key {file.key.name} {record.version}"] = opened.reveal()
    tokens = TokenKeys(service_of(settings), settings.token_root)
    for algorithm in ("aes-256-cmac", "cmac", "ff1"):
        found[f"token key {algorithm}"] = tokens.key(algorithm, "customer", "analytics").reveal()
    return found


def forms(key: bytes) -> dict[str, bytes]:
    """Return the forms in which software writes a key, by name."""
    return {
        "raw": key,
        "hex": key.hex().encode(),
        "base64": base64.b64encode(key)[:-1],
        "base64url": base64.urlsafe_b64encode(key)[:-1],
    }
