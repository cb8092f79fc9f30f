"""The configuration URI of an OpenBao or HashiCorp Vault server, and where its token comes from.

    bao:https://HOST:8200/transit?ca=/path/ca.pem&prefix=cloakhouse&token-file=/path/token&region=eu-central-1

The path is the mount of the transit engine (`transit` if none), `ca` the authorities to trust instead of the system's,
`prefix` what the platform's keys and policies start with there, `region` where the server is (none tells). Values are
percent-encoded (RFC 3986). `vault:` is another name of the scheme. A URI travels to workers and into logs: a token in
it is refused, and so is plain http.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from cloakhouse.errors import ConfigurationError, KeyServiceError
from cloakhouse.keys.secret_files import read_secret_file

PORT = 8200
MOUNT, PREFIX = "transit", "cloakhouse"
PARAMETERS = ("ca", "prefix", "token-file", "region")
VARIABLES = ("BAO_TOKEN", "VAULT_TOKEN")
SEGMENTS = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
WORD = re.compile(r"[a-z0-9_]{1,64}")  # no `-` and no `.`: they end the prefix in names of keys and policies
REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")  # what a header takes, without spaces


@dataclass(frozen=True)
class Place:
    """Where the keys are: server, mount of the engine, authorities, prefix of our names, the token's file, and the
    region that is declared (empty: none)."""

    uri: str
    host: str
    port: int
    mount: str
    ca: Path | None
    prefix: str
    token_file: Path | None
    region: str = ""

    @property
    def endpoint(self) -> str:
        """The server's address, `https://host:port`."""
        return f"https://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse(uri: str) -> Place:
    """Return what `uri` names. Raises ConfigurationError, which never quotes the URI: it might hold a secret."""
    scheme, _, address = uri.partition(":")
    if scheme not in ("bao", "vault"):
        raise _unusable("another scheme")
    try:
        parts = urlsplit(address)
        port = parts.port or PORT
    except ValueError:
        raise _unusable("an address that can't be read") from None
    if parts.scheme != "https":
        raise _unusable("a server without https; plain http is refused on loopback too")
    if "@" in parts.netloc:
        raise _unusable("user info, a secret, which must stand in a file instead")
    if not parts.hostname or parts.fragment or any(not "!" <= letter <= "~" for letter in address):
        raise _unusable("no host, a fragment, or characters that must be percent-encoded")
    mount, given = parts.path.strip("/") or MOUNT, _parameters(parts)
    if not SEGMENTS.fullmatch(mount):
        raise _unusable("a mount with other characters than letters, digits, `-`, `_` and `/`")
    prefix = given.get("prefix", PREFIX)
    if not WORD.fullmatch(prefix):
        raise _unusable("a `prefix` that is not 1 to 64 small letters, digits and `_`")
    region = given.get("region", "")
    if region and not REGION.fullmatch(region):
        raise _unusable("a `region` that is not small letters, digits and `-`")
    return Place(uri, parts.hostname, port, mount, _path(given, "ca"), prefix, _path(given, "token-file"), region)


def read_token(place: Place) -> str:
    """Return the token in the file of `place`, or else in BAO_TOKEN or VAULT_TOKEN.

    Raises KeyServiceError: `key.mode` for a file that others may read, `key.identity` when there is no token.
    """
    if place.token_file is not None:
        found = _of_file(place.token_file)
    else:
        found = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "")
    if not TOKEN.fullmatch(found):
        where = f"the token file {place.token_file}" if place.token_file else " or ".join(VARIABLES)
        raise _no_token(where, "a token of the key service", "none, or no token" if found else "none", "identity")
    return found


def _of_file(path: Path) -> str:
    raw = read_secret_file(path, "a file with the token", lambda *why: _no_token(f"the token file {path}", *why), 8192)
    return raw.decode("ascii", "replace").strip()


def _parameters(parts: SplitResult) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in parts.query.split("&") if parts.query else []:
        name, _, value = part.partition("=")
        if name == "token":
            raise _unusable("`token`, a secret, which must stand in a file instead")
        if name not in PARAMETERS or name in found or not value:
            raise _unusable(f"a parameter that is unknown, empty or there twice; known are {', '.join(PARAMETERS)}")
        found[name] = unquote(value)
    return found


def _path(given: dict[str, str], name: str) -> Path | None:
    value = given.get(name)
    if value is not None and (not value.startswith("/") or "\0" in value):
        raise _unusable(f"a `{name}` that is not an absolute path")
    return Path(value) if value is not None else None


def _unusable(found: str) -> ConfigurationError:
    return ConfigurationError(
        where="CLOAKHOUSE_KEYS",
        expected="bao:https://HOST:8200/transit?ca=FILE&prefix=cloakhouse&token-file=FILE",
        found=found,
        not_done="no key was opened",
        remedy="correct CLOAKHOUSE_KEYS",
    )


def _no_token(where: str, expected: str, found: str, code: str) -> KeyServiceError:
    return KeyServiceError(
        where=where,
        expected=expected,
        found=found,
        not_done="the key service was not asked, and nothing was decrypted",
        remedy="write the token to a file that only its owner may read (mode 0600) and name it by `token-file`",
        code=code,
    )
