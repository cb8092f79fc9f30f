"""The configuration URI of a PKCS#11 token (RFC 7512), and the file that holds its PIN.

    pkcs11:token=cloakhouse;object=PREFIX?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/keys/pin

`token` is the token's label, `object` the prefix of the labels of our keys in it. Values are percent-encoded where
RFC 7512, section 2.3, asks for it. What the RFC knows beyond these four attributes would be ignored silently, so it
is refused instead; `pin-value` is refused since a URI travels to workers and into logs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from cloakhouse.errors import ConfigurationError, KeyServiceError
from cloakhouse.keys.secret_files import read_secret_file

PREFIX = "cloakhouse"
PATH = {"token", "object"}
QUERY = {"module-path", "pin-source"}
PCT = r"%[0-9A-Fa-f]{2}"
PATH_VALUE = re.compile(rf"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|{PCT})*")
QUERY_VALUE = re.compile(rf"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|]|{PCT})*")
PIN_LIMIT = 256  # bytes; CKA PINs are far shorter


@dataclass(frozen=True)
class TokenUri:
    """Where the keys are: the module (shared library), the token's label, our keys' prefix, the PIN's file."""

    module: str
    token: str
    prefix: str
    pin_file: Path


def parse(uri: str) -> TokenUri:
    """Return what `uri` names. Raises ConfigurationError; its message never holds a value of the URI."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "pkcs11":
        raise _unusable("another scheme")
    path, _, query = rest.partition("?")
    given = {**_attributes(path, ";", PATH, PATH_VALUE), **_attributes(query, "&", QUERY, QUERY_VALUE)}
    for name in ("token", "module-path", "pin-source"):
        if not given.get(name):
            raise _unusable(f"no `{name}`")
    prefix = given.get("object", PREFIX)
    if not prefix or "/" in prefix:
        raise _unusable("an `object` that is empty or has a slash")
    if not given["module-path"].startswith("/"):
        raise _unusable("a `module-path` that is not absolute")
    return TokenUri(given["module-path"], given["token"], prefix, _file(given["pin-source"]))


def read_pin(path: Path) -> str:
    """Return the PIN in `path`, without the line's end. Raises KeyServiceError (`key.mode`, `key.identity`)."""
    content = read_secret_file(path, "a file with the PIN", lambda *why: _pin_refused(path, *why), PIN_LIMIT + 1)
    try:
        pin = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _pin_refused(path, "a PIN in UTF-8", "other bytes", "identity") from None
    if not pin or len(content) > PIN_LIMIT:
        raise _pin_refused(path, f"a PIN of 1 to {PIN_LIMIT} bytes", f"{len(content)} bytes or more", "identity")
    return pin


def _attributes(text: str, separator: str, known: set[str], form: re.Pattern[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator) if text else []:
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise _unusable("`pin-value`, a secret, which must stand in a file instead")
        if name not in known:
            raise _unusable("an attribute beyond these four")
        if name in found:
            raise _unusable(f"`{name}` twice")
        if not equals or not form.fullmatch(value):
            raise _unusable(f"a `{name}` with a character that must be percent-encoded")
        try:
            found[name] = unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            raise _unusable(f"a `{name}` that is not UTF-8") from None
        if "\0" in found[name]:
            raise _unusable(f"a `{name}` with a zero byte")
    return found


def _file(source: str) -> Path:
    """`file:/path` or `file:///path`; RFC 7512 also knows commands (`|program`), which we don't run."""
    path = source.removeprefix("file:").removeprefix("//")
    if not source.startswith("file:/") or not path.startswith("/"):
        raise _unusable("a `pin-source` that is no file: URI of an absolute path")
    return Path(path)


def _unusable(found: str) -> ConfigurationError:
    return ConfigurationError(
        where="CLOAKHOUSE_KEYS",
        expected="pkcs11:token=LABEL;object=PREFIX?module-path=/path/module.so&pin-source=file:/path/pin (RFC 7512)",
        found=found,
        not_done="no token was opened",
        remedy="correct CLOAKHOUSE_KEYS",
    )


def _pin_refused(path: Path, expected: str, found: str, code: str) -> KeyServiceError:
    return KeyServiceError(
        where=f"PIN file {path.name}",
        expected=expected,
        found=found,
        not_done="no token was opened, nothing was wrapped and nothing was decrypted",
        remedy="write the PIN to the file that pin-source names, owned by the platform's user, and chmod 600 it",
        code=code,
    )
