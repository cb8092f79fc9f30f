"""The store that the settings name."""

from __future__ import annotations

import functools
from pathlib import Path

from cloakhouse.lake.store.cache import Cache
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.lake.store.s3 import S3Store
from cloakhouse.lake.store.s3_calls import Calls
from cloakhouse.lake.store.s3_uri import Place
from cloakhouse.settings import Settings

FOLDER = ("", "file:")


def is_folder(settings: Settings) -> bool:
    """Return whether the lake is the folder `lake` in `home`."""
    return settings.store in FOLDER


def open_store(settings: Settings) -> ObjectStore:
    """Return the store of the lake. Nothing is connected to before it is used. Raises ConfigurationError."""
    if is_folder(settings):
        return FolderStore(settings.lake)
    calls = Calls(Place.parse(settings.store))
    return S3Store(calls, _cache(settings.copies, settings.cache_bytes), settings.temporary(), settings.locks)


@functools.lru_cache(maxsize=16)
def _cache(folder: Path, limit: int) -> Cache:
    """Return the one cache of this folder: it knows which copies this process has compared already."""
    return Cache(folder, limit)
