"""The tokenization key file: what a till or gateway needs to make the lake's tokens itself, sealed to one recipient.

An age file (https://age-encryption.org/v1, binary, one X25519 recipient) of this JSON text, UTF-8, one object:

| member | what |
| --- | --- |
| `format` | 1 |
| `dataset` | name of the dataset |
| `contract` | `{"version": MAJOR.MINOR.PATCH, "digest": SHA-256 in hexadecimal}` |
| `normalisation`, `treatments`, `substitution` | those versions of the program that wrote it |
| `columns` | objects with the members of `edge_columns`, in the order asked for |
| `keys` | objects with `root`, `algorithm`, `domain`, `purpose`, `period`, `key`: base64 of 32 bytes (AES-SIV: 64) |

age tells who can open the file, not who wrote it: take it from the platform only. Whoever opens it can try values
against tokens (a dictionary) in the domains, purposes and periods that it names, and detokenize reversible ones.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import pyrage

from cloakhouse.contracts.model import Column, Contract
from cloakhouse.errors import AccessRefused, CloakhouseError, IntegrityError, KeyServiceError
from cloakhouse.keys.derive import KeyUse
from cloakhouse.keys.files import storage_error
from cloakhouse.keys.identity import check_recipient, seal
from cloakhouse.keys.protocol import KeyName
from cloakhouse.keys.secret import SecretKey
from cloakhouse.keys.secret_files import open_regular, read_secret_file
from cloakhouse.tokens.apply import TREATMENTS_VERSION
from cloakhouse.tokens.canonical import NORMALISATION_VERSION
from cloakhouse.tokens.edge_columns import column_from, column_out
from cloakhouse.tokens.fictional import SUBSTITUTION_VERSION

FORMAT = 1
LIMIT = 64 << 20  # bytes; hierarchies travel in the file, up to 1 MiB each
_VERSIONS = {
    "format": FORMAT,
    "normalisation": NORMALISATION_VERSION,
    "treatments": TREATMENTS_VERSION,
    "substitution": SUBSTITUTION_VERSION,
}
_USE = ("root", "algorithm", "domain", "purpose", "period")


class EdgeKeys:
    """The keys of one file, as a KeySource: these and no others. Can't be printed, pickled or copied."""

    def __init__(self, keys: Mapping[KeyUse, SecretKey]) -> None:
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"EdgeKeys({len(self._keys)} keys)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("token keys can't be pickled or copied; pass the file's path instead")

    @property
    def uses(self) -> tuple[KeyUse, ...]:
        """What the keys are for, in order."""
        return tuple(sorted(self._keys))

    def key(self, use: KeyUse) -> SecretKey:
        """Return the key for `use`. Raises AccessRefused (`access.edge`) where the file has none."""
        held = self._keys.get(use)
        if held is None:
            raise AccessRefused(
                where="the tokenization key file",
                expected=f"a key for {_told(use)}",
                found="keys for: " + ("; ".join(map(_told, self.uses)) or "nothing"),
                not_done="no row was tokenized with it",
                remedy="have a new file exported for that day (`cloakhouse keys edge-key`)",
                code="edge",
            )
        return held


@dataclass(frozen=True)
class EdgeFile:
    """An opened key file.

    Attributes:
        dataset, version, digest: the dataset, and the version and digest of its contract when the file was written.
        columns: the columns that it can treat.
        keys: their keys.
    """

    dataset: str
    version: str
    digest: str
    columns: tuple[Column, ...]
    keys: EdgeKeys


def seal_edge_keys(
    contract: Contract, columns: Iterable[Column], keys: Mapping[KeyUse, SecretKey], recipient: str
) -> bytes:
    """Return the key file for `columns` of `contract`, which only `recipient` (age1...) can open.

    Raises KeyServiceError (`key.identity`) for another text as recipient.
    """
    content = {
        **_VERSIONS,
        "dataset": contract.name,
        "contract": {"version": contract.version, "digest": contract.digest},
        "columns": [column_out(column) for column in columns],
        "keys": [{**asdict(use), "key": base64.b64encode(keys[use].reveal()).decode()} for use in sorted(keys)],
    }
    return seal(json.dumps(content, allow_nan=False).encode(), [check_recipient(recipient)])


def open_edge_keys(path: Path, identity_file: Path) -> EdgeFile:
    """Return the key file at `path`, opened with the age identity in `identity_file` (mode 0600).

    Raises KeyServiceError (`key.identity`, `key.mode`) for an identity that can't be used or isn't the recipient,
    IntegrityError (`integrity.edge`) for a damaged file or one of another form, IntegrityError (`integrity.version`)
    for one of another version than this program's, StorageError.
    """
    secret = _identity(identity_file)
    try:
        with open_regular(path) as stream:
            sealed = stream.read(LIMIT + 1)
    except OSError as fault:
        raise storage_error(fault, path, "nothing was tokenized") from None
    if len(sealed) > LIMIT:
        raise _damaged(path, f"more than {LIMIT} bytes")
    try:
        content = json.loads(pyrage.decrypt(sealed, [secret]))
    except pyrage.DecryptError as fault:
        if str(fault) == "No matching keys found":
            raise _identity_refused(path, "a file sealed to this identity", "one for others", "identity") from None
        raise _damaged(path, "another file, or one with changed bytes") from None
    except (ValueError, RecursionError):
        raise _damaged(path, "an age file of something else") from None
    return _read(content, path)


def _read(content: Any, path: Path) -> EdgeFile:
    _check_versions(content, path)
    try:
        columns = tuple(column_from(item) for item in content["columns"])
        keys = {_use(item): _key(item) for item in content["keys"]}
        facts = (content["dataset"], content["contract"]["version"], content["contract"]["digest"])
        if not columns or not all(isinstance(fact, str) for fact in facts):
            raise ValueError
        if len({column.name for column in columns}) != len(columns) or len(keys) != len(content["keys"]):
            raise ValueError
        if any(len(key) != use.length for use, key in keys.items()):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(path, "an age file of something else") from None
    return EdgeFile(*facts, columns, EdgeKeys(keys))


def _check_versions(content: Any, path: Path) -> None:
    found = {name: content.get(name) for name in _VERSIONS} if isinstance(content, dict) else {}
    if not found or not all(type(number) is int for number in found.values()):
        raise _damaged(path, "an age file of something else")
    if found != _VERSIONS:
        raise IntegrityError(
            where=path.name,
            expected=", ".join(f"{name} {number}" for name, number in _VERSIONS.items()) + ", as this program has",
            found=", ".join(f"{name} {number}" for name, number in found.items()),
            not_done="nothing was tokenized: tokens could differ from the lake's",
            remedy="use the program's version that the platform runs, or have the file exported again with it",
            code="version",
        )


def _use(item: Mapping[str, Any]) -> KeyUse:
    root, *others = (item[name] for name in _USE)
    if not all(isinstance(text, str) for text in (root, *others)):
        raise TypeError
    return KeyUse(KeyName(root), *others)


def _key(item: Mapping[str, Any]) -> SecretKey:
    return SecretKey(base64.b64decode(item["key"], validate=True))


def _told(use: KeyUse) -> str:
    parts = {"domain": use.domain, "purpose": use.purpose, "period": use.period}
    return use.algorithm + "".join(f", {name} {text}" for name, text in parts.items() if text)


def _identity(path: Path) -> pyrage.x25519.Identity:
    """Return the secret of an identity file, of this platform's or of `age-keygen`."""
    raw = read_secret_file(
        path, "an identity file", lambda expected, found, code: _identity_refused(path, expected, found, code)
    )
    lines = [line.strip() for line in raw.decode("utf-8", "replace").splitlines()]
    secrets = [line for line in lines if line and not line.startswith("#")]
    try:
        if len(secrets) != 1:
            raise ValueError
        return pyrage.x25519.Identity.from_str(secrets[0])
    except (ValueError, pyrage.IdentityError):
        raise _identity_refused(path, "one age identity", "a file of another form", "identity") from None


def _identity_refused(path: Path, expected: str, found: str, code: str) -> CloakhouseError:
    return KeyServiceError(
        where=path.name,
        expected=expected,
        found=found,
        not_done="the tokenization key file was not opened, and nothing was tokenized",
        remedy="give the identity file whose recipient the key file was exported for, mode 0600",
        code=code,
    )


def _damaged(path: Path, found: str) -> IntegrityError:
    return IntegrityError(
        where=path.name,
        expected="a tokenization key file, as it was exported",
        found=found,
        not_done="nothing was tokenized",
        remedy="copy the file again, or have a new one exported (`cloakhouse keys edge-key`)",
        code="edge",
    )
