"""Who the controller is: one YAML file beside the contracts, `dags/organisation.yaml`, the same for all documents.

apiVersion: cloakhouse.organisation/v1
controller: {name: ..., address: ..., country: DE, email: ..., phone: ...}
dataProtectionOfficer: {name: ..., email: ...}
representatives: [{for: pipl, name: ..., address: ..., email: ...}]
supervisoryAuthority: {name: ..., website: ...}
requests: [by e-mail to ..., at the till]
profiles: [gdpr]
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloakhouse.contracts.fields import Fields
from cloakhouse.contracts.processing import LAWS
from cloakhouse.contracts.source import Source, parse_yaml, read_text
from cloakhouse.errors import ContractError
from cloakhouse.settings import Settings

VERSION = "cloakhouse.organisation/v1"
MAX_BYTES = 1 << 18
LONGEST = 300  # characters of a text
MOST = 20
NOT_DONE = "nothing was checked or written"
_COUNTRY = re.compile(r"[A-Z]{2}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_WEBSITE = re.compile(r"https?://[^\s]+")


@dataclass(frozen=True)
class Contact:
    """Somebody who can be reached. Empty: not stated; a country has two letters (ISO 3166-1)."""

    name: str
    address: str = ""
    country: str = ""
    email: str = ""
    phone: str = ""
    website: str = ""

    def facts(self) -> list[tuple[str, str]]:
        """Return what is stated, by name."""
        return [(name, value) for name, value in vars(self).items() if value]


@dataclass(frozen=True)
class Organisation:
    """The controller, and who speaks for it.

    Attributes:
        officer: the data protection officer; None: none is named.
        representatives: by law (`gdpr`, ...), where the controller is elsewhere.
        authority: the supervisory authority; None: not stated.
        requests: ways in which persons ask for their rights.
        profiles: the laws in force for it, of LAWS.
    """

    controller: Contact
    officer: Contact | None
    representatives: Mapping[str, Contact]
    authority: Contact | None
    requests: tuple[str, ...]
    profiles: tuple[str, ...]


def organisation_file(settings: Settings, named: Path | None = None) -> Path:
    """Return the file of the organisation: `named`, or where CLOAKHOUSE_ORGANISATION says, or beside the folder of
    contracts."""
    chosen = named or os.environ.get("CLOAKHOUSE_ORGANISATION")
    return Path(chosen) if chosen else settings.contracts.parent / "organisation.yaml"


def load_organisation(path: Path) -> Organisation:
    """Return the organisation in the file `path`. Raises ContractError (`contract.file` for no such file)."""
    remedy = "write it as docs/governance.md tells, or name another file (--organisation)"
    text = read_text(path, MAX_BYTES, "a readable file in UTF-8", not_done=NOT_DONE, remedy=remedy)
    return parse_organisation(text, path.name)


def parse_organisation(text: str, name: str) -> Organisation:
    """Return the organisation in `text`, of the file `name`. Raises ContractError with line and column."""
    try:
        return _organisation(parse_yaml(text, name))
    except ContractError as fault:
        code = fault.code.partition(".")[2]
        places = {"where": fault.where, "expected": fault.expected, "found": fault.found}
        raise ContractError(**places, not_done=NOT_DONE, remedy=fault.remedy, code=code) from None


def _organisation(source: Source) -> Organisation:
    root = Fields(source, ())
    root.check_value("apiVersion", VERSION)
    profiles = root.names("profiles")
    if not set(profiles) <= set(LAWS):
        raise root.fault("profiles", "of: " + ", ".join(LAWS), "another", "correct `profiles`")
    found = Organisation(
        controller=_contact(root, "controller", needs=("address", "country", "email")),
        officer=_contact(root, "dataProtectionOfficer") if "dataProtectionOfficer" in root.data else None,
        representatives=_representatives(source, root),
        authority=_contact(root, "supervisoryAuthority") if "supervisoryAuthority" in root.data else None,
        requests=_requests(root),
        profiles=profiles,
    )
    root.nothing_else("dataProtectionOfficer", "representatives", "supervisoryAuthority", "requests")
    return found


def _contact(parent: Fields, key: str, needs: tuple[str, ...] = ()) -> Contact:
    return _read(parent.child(key), needs)


def _read(fields: Fields, needs: tuple[str, ...] = ()) -> Contact:
    patterns = {
        "country": (_COUNTRY, "a country by its two letters of ISO 3166-1"),
        "email": (_EMAIL, "an e-mail address"),
        "website": (_WEBSITE, "an address that begins with https:// or http://"),
    }
    texts = {}
    for name in ("name", "address", "country", "email", "phone", "website"):
        if name == "name" or name in needs or name in fields.data:
            value = fields.text(name, *patterns.get(name, ()))
            if not value.isprintable() or len(value) > LONGEST:
                expected = f"one line of at most {LONGEST} printable characters"
                raise fields.fault(name, expected, "another", f"correct `{name}`")
            texts[name] = value
    fields.nothing_else()
    return Contact(**texts)


def _representatives(source: Source, root: Fields) -> dict[str, Contact]:
    items = root.data.get("representatives", [])
    if not isinstance(items, list) or len(items) > MOST:
        raise root.fault("representatives", "a list", type(items).__name__, "e.g. [{for: pipl, name: ...}]")
    found: dict[str, Contact] = {}
    for index in range(len(items)):
        fields = Fields(source, ("representatives", index))
        law = fields.choice("for", LAWS)
        if law in found:
            raise fields.fault("for", "one representative for each law", f"`{law}` again", "remove one of the two")
        found[law] = _read(fields, needs=("address",))
    return found


def _requests(root: Fields) -> tuple[str, ...]:
    if "requests" not in root.data:
        return ()
    ways = root.names("requests")
    if len(ways) > MOST or not all(way.isprintable() and len(way) <= LONGEST for way in ways):
        expected = f"at most {MOST} lines of at most {LONGEST} printable characters"
        raise root.fault("requests", expected, "others", "correct `requests`")
    return ways
