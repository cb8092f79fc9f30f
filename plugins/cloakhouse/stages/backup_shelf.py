"""Where a shelf of backups may be: not in the home, and not in the lake, with which it would be lost or erased."""

from __future__ import annotations

from pathlib import Path

from cloakhouse.errors import ConfigurationError
from cloakhouse.lake.store.opening import is_folder
from cloakhouse.lake.store.s3_uri import Place
from cloakhouse.settings import Settings


def check_apart(settings: Settings, place: str) -> None:
    """Return if a shelf at `place` and the installation are apart.

    Raises ConfigurationError: `configuration.shelf`, and for a URI that names no bucket.
    """
    if "://" not in place:
        shelf, home = Path(place).expanduser().resolve(), settings.home.resolve()
        if shelf.is_relative_to(home):
            raise _refused("a folder in CLOAKHOUSE_HOME")
    elif not is_folder(settings):
        shelves, lake = Place.parse(place), Place.parse(settings.store)
        one, other = shelves.prefix, lake.prefix
        same = (shelves.bucket, shelves.endpoint) == (lake.bucket, lake.endpoint)
        if same and (one.startswith(other) or other.startswith(one)):
            raise _refused("a bucket's prefix in that of the lake, or around it")


def _refused(found: str) -> ConfigurationError:
    return ConfigurationError(
        where="the shelf of backups",
        expected="a place beside home and lake: what is lost or erased there must not take the backups with it",
        found=found,
        not_done="no backup was made",
        remedy="name a folder on another disk, or a bucket of its own",
        code="shelf",
    )
