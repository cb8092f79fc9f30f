"""The key services that one behaviour suite runs over. A new service joins by a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cloakhouse.keys.local import LocalKeyService
from cloakhouse.keys.protocol import KeyService

# name: from an empty folder to a function that opens the same service anew
SERVICES: dict[str, Callable[[Path], Callable[[], KeyService]]] = {
    "local": lambda folder: lambda: LocalKeyService(folder / "keystore"),
}
