"""The bag of a job that runs without the installation's home: `jobs/<job>/<dataset>/<random>/` in the lake.

    home.zip     wrapped keys that the job may open, contracts, access policy, and `job.json`; its digest travels with
                 the job's arguments
    lease        a number that the submitting task changes as long as it lives (`cloakhouse.stages.lease`)
    result.json  the job's result

`home.zip` holds no plain key, no secret and nothing of a person: keys as they lie in the home, wrapped by the key
service, each folder of them marked as a copy (`cloakhouse.keys.copied`). It is unpacked on the machine of the driver,
and of each worker, which gets it from the driver by Spark's own encrypted channel.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import secrets
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloakhouse.errors import IntegrityError
from cloakhouse.keys import copied
from cloakhouse.keys.files import new_file, storage_error
from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER, ARCHIVE, RESULT = "jobs", "home.zip", "result.json"
HOME = "cloakhouse-carried-"  # so a bag's home begins, and goes on with the archive's digest; workers know it by that
SENT = ".zip"  # and so does the name under which workers get the archive end
FACTS, POLICY = "job.json", "access.yaml"
KEYS = ("dataset-keys", "token-roots", "signing-keys")
FORMAT = 1
LIMIT = 64 << 20  # bytes of an archive, and of what it holds
MEMBER = re.compile(rf"({'|'.join(KEYS)}|contracts)(/[A-Za-z0-9_-][A-Za-z0-9._-]{{0,120}}){{1,3}}|{FACTS}|{POLICY}")


@dataclass(frozen=True)
class Contents:
    """What goes into a bag: files of the home by their path in it, and facts that the driver compares."""

    files: Mapping[str, Path]
    facts: Mapping[str, Any]

    def pack(self) -> bytes:
        """Return the archive. Raises StorageError for a file that can't be read."""
        body = io.BytesIO()
        with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, path in sorted(self.files.items()):
                try:
                    archive.writestr(zipfile.ZipInfo(name), path.read_bytes())
                except OSError as fault:
                    raise storage_error(fault, path, "no job was submitted") from None
            facts = {"format": FORMAT, "package": version("cloakhouse"), **self.facts}
            archive.writestr(zipfile.ZipInfo(FACTS), json.dumps(facts, sort_keys=True))
        return body.getvalue()


def digest_of(raw: bytes) -> str:
    """Return the SHA-256 (hex) of an archive."""
    return hashlib.sha256(raw).hexdigest()


def unpack(raw: bytes, folder: Path) -> Path:
    """Make a home of the archive `raw` in `folder`, all of it or nothing, and return it; one that is there stays. Its
    name tells which archive it is of, so that what another job left is never taken for it.

    Raises IntegrityError (`integrity.bag`) for an archive of another form, StorageError.
    """
    home = folder / f"{HOME}{digest_of(raw)[:16]}"
    if home.exists():
        return home
    beside = home.with_name(f".{home.name}.{secrets.token_hex(6)}")
    try:
        beside.mkdir(mode=0o700)
        for name, content in _members(raw).items():
            (beside / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with new_file(beside / name) as stream:
                stream.write(content)
        for name in KEYS:
            copied.mark(beside / name)
        with contextlib.suppress(OSError):  # another process was first; anything else leaves no home, and is told below
            beside.rename(home)
        home.stat()
    except OSError as fault:
        raise storage_error(fault, home, "no job was begun") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return home


def facts_of(home: Path) -> dict[str, Any]:
    """Return the facts of an unpacked bag."""
    found: dict[str, Any] = json.loads((home / FACTS).read_bytes())
    return found


def settings_in(settings: Settings, home: Path) -> Settings:
    """Return `settings` for work in the unpacked bag `home`."""
    return replace(settings, home=home, contracts=home / "contracts", policy=home / POLICY, cache=None)


def send(spark: SparkSession, raw: bytes, home: Path) -> None:
    """Have every worker of `spark`, also a later one, get the archive `raw`; `home` is what it unpacked to."""
    archive = home.with_suffix(SENT)
    with new_file(archive) as stream:
        stream.write(raw)
    spark.sparkContext.addFile(str(archive))


def worker_settings(fields: Mapping[str, str]) -> Settings:
    """Return the settings of a worker from `Settings.for_workers`; where the driver works in a bag, in one of its own.

    Raises IntegrityError, StorageError.
    """
    settings = Settings.from_dict(fields)
    if not settings.home.name.startswith(HOME):
        return settings
    from pyspark import SparkFiles

    archive = Path(SparkFiles.get(f"{settings.home.name}{SENT}"))
    home = archive.with_suffix("")
    if not home.exists():
        try:
            if unpack(archive.read_bytes(), archive.parent) != home:
                raise damaged("another one, by its digest")
        except OSError as fault:
            raise storage_error(fault, archive, "nothing was read by this worker") from None
    return settings_in(settings, home)


def _members(raw: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            infos = archive.infolist()
            small = sum(info.file_size for info in infos) <= LIMIT
            known = all(MEMBER.fullmatch(info.filename) for info in infos)
            found = {info.filename: archive.read(info) for info in infos if small and known}
    except (zipfile.BadZipFile, ValueError, EOFError, RuntimeError):
        found = {}
    if FACTS not in found:
        raise damaged("an archive of another form")
    return found


def damaged(found: str) -> IntegrityError:
    """Return the error for a bag that isn't the one that was packed."""
    return IntegrityError(
        where=f"{ARCHIVE} of a job",
        expected="the archive that the submitting task packed",
        found=found,
        not_done="no key was opened and no row was read",
        remedy="run again; if it stays, look who else may write below jobs/ in the lake",
        code="bag",
    )
