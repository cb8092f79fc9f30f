"""What every reader of a version checks: its release, and that the control database is as new as the lake."""

from __future__ import annotations

import re

from cloakhouse.errors import CloakhouseError, ConfigurationError, IntegrityError
from cloakhouse.lake.release_checks import NAME, ZONES
from cloakhouse.lake.releases import SIGNER, Release, read_release, releases_folder
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister
from cloakhouse.settings import Settings
from cloakhouse.stages.signing import trusted_key

_RELEASE = re.compile(r"[0-9]{8}.*\.json\Z")


def open_release(settings: Settings, version: DatasetVersion) -> Release:
    """Return the release of `version`, verified; the key service is not asked. Raises IntegrityError, StorageError."""
    trusted = trusted_key(settings, SIGNER)
    named = {"dataset": version.dataset, "version": version.version, "zone": version.zone}
    return read_release(open_store(settings), trusted, version.manifest, **named)  # type: ignore[arg-type]


def check_register(store: ObjectStore, register: VersionRegister, dataset: str) -> None:
    """Return if the control database gave every number that releases of `dataset` in the lake have.

    Numbers are reserved before releases are written, so a higher one means that the database was restored from a backup
    that is older than the lake: what it says of newer versions, a withdrawal perhaps, is lost. One listing per zone.
    Raises ConfigurationError (`configuration.name`) for a text that names no dataset, a path into one above all;
    IntegrityError (`integrity.catalogue-old`), StorageError.
    """
    if not NAME.fullmatch(dataset):
        raise ConfigurationError(
            where="name of a dataset",
            expected="a letter of a-z, then at most 62 of a-z, 0-9 and _; without a version",
            found=f"another text of {len(dataset)} characters",
            not_done="nothing was read, changed or removed",
            remedy="`cloakhouse datasets` lists the names",
            code="name",
        )
    written = max((_highest(store, zone, dataset) for zone in ZONES), default=0)
    reserved = register.reserved(dataset)  # after the listing: whoever publishes meanwhile reserves first
    if written > reserved:
        raise IntegrityError(
            where=f"the control database, {dataset}",
            expected=f"one that knows version {written}, whose release is in the lake",
            found=f"one that is older than the lake: it gave {reserved} numbers",
            not_done="nothing was read or published",
            remedy="restore the newest backup of the control database; what it lacks can't be told from the lake alone",
            code="catalogue-old",
        )


def missing_file(register: VersionRegister, version: DatasetVersion) -> CloakhouseError:
    """Return what a reader of `version` is told when one of its files isn't there.

    VersionWithdrawn or VersionGone where the version was withdrawn or collected, or its files written again, since it
    was opened; IntegrityError (`integrity.missing`) when the file should be there. Raises StorageError.
    """
    return register.refusal(version) or IntegrityError(
        where=version.name,
        expected="every file of a version that is published",
        found="one that is missing",
        not_done="the rows in it were not read",
        remedy="restore the file from a backup of the lake; the release tells what it must be",
        code="missing",
    )


def _highest(store: ObjectStore, zone: str, dataset: str) -> int:
    """Return the highest number of a release, 0 where there is none."""
    names = (info.path.rsplit("/", 1)[1] for info in store.list(releases_folder(zone, dataset)))
    return max((int(name[:8]) for name in names if _RELEASE.match(name)), default=0)
