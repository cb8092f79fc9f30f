"""Which version an auditor means: unlike a reader, he may ask for one that was withdrawn or has expired."""

from __future__ import annotations

from cloakhouse.ledger.versions import DatasetVersion, Selector, VersionRegister
from cloakhouse.settings import Settings


def version_asked(settings: Settings, selector: Selector) -> DatasetVersion:
    """Return the version that `selector` names; by its number in whatever state it is.

    Raises NotFound, and for a name, day or tag VersionWithdrawn and VersionGone; StorageError.
    """
    register = VersionRegister(settings.database)
    if selector.version is not None:
        for version in register.versions(selector.name):
            if version.version == selector.version:
                return version
    return register.resolve(selector)
