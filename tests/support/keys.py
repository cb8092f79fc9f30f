"""Every key of an installation, opened, so that tests can search for them."""

from __future__ import annotations

import base64
from pathlib import Path

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.identity import read_identity
from cloakhouse.keys.keystore import parse
from cloakhouse.keys.service import open_ring
from cloakhouse.settings import Settings
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.tokens.apply import uses


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
    tokens, contracts = token_keys(settings), load_contracts(settings.contracts).values()
    for use in {use for c in contracts for column in c.kept_columns for use in uses(column, "")}:
        if use.root in tokens.names():
            found[f"token key {use}"] = tokens.key(use).reveal()
    for name in tokens.names():
        found[f"token root {name}"] = tokens._root(name).reveal()
    return found


def forms(key: bytes) -> dict[str, bytes]:
    """Return the forms in which software writes a key, by name."""
    return {
        "raw": key,
        "hex": key.hex().encode(),
        "base64": base64.b64encode(key)[:-1],
        "base64url": base64.urlsafe_b64encode(key)[:-1],
    }
