"""Every connection that the platform makes, and what each one negotiated: TLS 1.3, or it leaves no process."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.s3 import S3Store
from cloakhouse.lake.store.s3_bucket import examined
from cloakhouse.ledger.audited_keys import service_of
from cloakhouse.ledger.standing import standing
from cloakhouse.settings import Settings
from cloakhouse.stages.residency import check_residency, pinned

FLOOR = "TLSv1.3"
IN_PROCESS = "in process"


@dataclass(frozen=True)
class Finding:
    """One check. `ok` is False for what has to be put right; `remedy` tells how."""

    what: str
    endpoint: str
    protocol: str
    detail: str
    ok: bool
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, JSON-ready."""
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """Connect to everything that is configured and return what was found."""
    checks: list[tuple[str, Callable[[Settings], Finding]]] = [
        ("key service", _key_service),
        ("token root", _token_root),
        ("control database", _database),
        ("lake", _lake),
        ("residency", _residency),
        ("console", _console),
        ("file modes", _modes),
    ]
    return [_checked(what, check, settings) for what, check in checks]


def _checked(what: str, check: Callable[[Settings], Finding], settings: Settings) -> Finding:
    try:
        return check(settings)
    except CloakhouseError as problem:
        return Finding(what, problem.where, problem.code, problem.found, False, problem.remedy)


def _key_service(settings: Settings) -> Finding:
    if _keystore_to_come(settings):
        return Finding("key service", "age:keystore", IN_PROCESS, "none yet: the first run makes it", True)
    found = service_of(settings).connection()
    loopback = found.protocol == "HTTP (loopback)"
    ok = not found.leaves_process or found.protocol == FLOOR
    remedy = "" if ok else "reach it by https, with TLS 1.3" + (" (plain HTTP is for tests)" if loopback else "")
    return Finding("key service", found.endpoint, found.protocol, found.cipher, ok, remedy)


def _keystore_to_come(settings: Settings) -> bool:
    """Return whether the platform has no age keystore yet, and nothing that one which was lost would have wrapped."""
    scheme, _, folder = settings.keys.partition(":")
    made = [Path(folder), settings.dataset_keys, settings.token_roots]
    return scheme == "age" and settings.identity is None and not any(path.exists() for path in made)


def _token_root(settings: Settings) -> Finding:
    if settings.identity is not None:
        return Finding("token root", settings.token_roots.name, IN_PROCESS, "for the platform alone; not opened", True)
    if not settings.token_roots.exists():
        return Finding("token root", settings.token_roots.name, IN_PROCESS, "none yet: the first run makes it", True)
    TokenKeys(service_of(settings), settings.token_roots).verify()
    return Finding("token root", settings.token_roots.name, IN_PROCESS, "opens", True)


def _database(settings: Settings) -> Finding:
    found = standing(settings.database)
    safe = found.protocol in (IN_PROCESS, "local", FLOOR)
    detail = f"{found.kind}, {found.state}" + (f", revision {found.revision}" if found.revision else "")
    tables = "see `cloakhouse database status`; its operator runs `cloakhouse database upgrade`"
    older = f"add ssl_min_protocol_version={FLOOR} to CLOAKHOUSE_DATABASE: TLS of any version is taken on this machine"
    remedy = "; ".join(text for text, fine in ((tables, found.usable), (older, safe)) if not fine)
    return Finding("control database", found.place, found.protocol, detail, not remedy, remedy)


def _lake(settings: Settings) -> Finding:
    store = open_store(settings)
    if isinstance(store, S3Store):
        return _server(store)
    usable = settings.lake.is_dir() and os.access(settings.lake, os.R_OK | os.W_OK | os.X_OK)
    if settings.lake.exists() and not usable:
        remedy = "check that the lake is a folder of the user who runs the platform"
        return Finding("lake", settings.lake.name, IN_PROCESS, "no folder to read and write", False, remedy)
    there = "local folder" if settings.lake.exists() else "none yet: the first run makes it"
    return Finding("lake", settings.lake.name, IN_PROCESS, there, True)


def _server(store: S3Store) -> Finding:
    """Look at the S3 server: how it is reached, what encryption it is asked for, whether the bucket is public."""
    place = store.calls.place
    protocol, cipher = store.calls.negotiated()
    bucket = examined(store.calls)
    asked = f"SSE-KMS asked for ({place.kms_key})" if place.kms_key else "no SSE-KMS asked for"
    kept = "; old versions are kept until they are deleted one by one" if bucket.versioned else ""
    remedy = "" if protocol == FLOOR else "reach it by https, with TLS 1.3 (plain HTTP is for tests)"
    return Finding("lake", place.uri, protocol, f"{cipher}; {asked}; {bucket.told}{kept}", not remedy, remedy)


def _residency(settings: Settings) -> Finding:
    """Compare where store, keys and this machine are with the regions that contracts pin zones to."""
    contracts = load_contracts(settings.contracts) if settings.contracts.is_dir() else {}
    zones = list(pinned(contracts))
    for contract, zone in zones:
        check_residency(settings, contract, zone)
    told = f"{len(zones)} zones are where their contracts keep them" if zones else "no contract pins a zone to regions"
    return Finding("residency", settings.region or "region not told", IN_PROCESS, told, True)


def _console(settings: Settings) -> Finding:
    return Finding("console", "127.0.0.1", "HTTP (loopback)", "listens on this machine only", True)


def _modes(settings: Settings) -> Finding:
    """Look for what the platform wrote and others may read or change; what lies in the inbox is the senders'."""
    found, total = [], 0
    for path in settings.home.rglob("*") if settings.home.is_dir() else ():
        if settings.inbox in path.parents:
            continue
        try:
            mode = path.lstat().st_mode
        except OSError:
            continue  # gone since it was listed: a temporary file
        if stat.S_ISREG(mode):
            total += 1
            is_public = path.parent == settings.signing_keys and path.suffix == ".pem"  # for anyone to verify with
            if stat.S_IMODE(mode) & (0o033 if is_public else 0o077):
                found.append(path.relative_to(settings.home))
    remedy = "" if not found else "chmod -R go-rwx CLOAKHOUSE_HOME"
    detail = f"{len(found)} of {total} files open to others" + (f", e.g. {min(found)}" if found else "")
    return Finding("file modes", settings.home.name, IN_PROCESS, detail, not found, remedy)
