"""Who gets the audit log live: the file CLOAKHOUSE_RECEIVERS (YAML, default `dags/receivers.yaml`; no file: nobody).

    apiVersion: cloakhouse.receivers/v1
    receivers:
      archive: {kind: file, path: /var/log/cloakhouse/audit.jsonl}
      siem: {kind: syslog, host: siem.example.org, port: 6514, ca: /etc/ssl/siem.pem}
      collector: {kind: http, url: "https://collector.example.org/audit", tokenFile: /run/secrets/collector}

`format` is `ocsf` (default) or `jsonl`. A token is in a file of its own, never in this one. No receiver is reached
without TLS and a verified certificate.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cloakhouse.contracts.source import parse_yaml
from cloakhouse.errors import ConfigurationError, ContractError
from cloakhouse.ledger.ocsf import FORMATS
from cloakhouse.settings import Settings

VARIABLE = "CLOAKHOUSE_RECEIVERS"
VERSION = "cloakhouse.receivers/v1"
DEFAULT_PORT = 6514  # RFC 5425, section 4.1
MAX_BYTES = 1 << 20
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_TLS = {"ca", "certificate", "key"}
_KEYS = {
    "file": {"path"},
    "syslog": {"host", "port", "enterprise", "farewell"} | _TLS,
    "http": {"url", "tokenFile", "body"} | _TLS,
}
_REQUIRED = {"file": "path", "syslog": "host", "http": "url"}
_CHOICES = {"format": tuple(FORMATS), "body": ("lines", "array"), "farewell": ("required", "optional")}
_NUMBERS = {"port": (1, 65_535), "batch": (1, 10_000), "enterprise": (1, 2**31 - 1)}


@dataclass(frozen=True)
class Receiver:
    """One receiver of the audit log.

    Attributes:
        name: as in the file; its position is kept under it.
        kind: `file`, `syslog` or `http`.
        format: of an entry: `ocsf` or `jsonl`.
        batch: entries sent before an acknowledgement is waited for.
        path: of kind file: what lines are added to.
        host, port: of kind syslog.
        farewell: of kind syslog: whether the receiver must answer the end of a connection (`required`, `optional`).
        enterprise: of kind syslog: the private enterprise number (IANA) in the name of our structured data.
        url, body, token_file: of kind http: where to, JSON lines or an array, and the file of the bearer token.
        ca, certificate, key: PEM files: authorities to trust (None: the system's), and the client's own.
    """

    name: str
    kind: str
    format: str = "ocsf"
    batch: int = 500
    path: Path | None = None
    host: str = ""
    port: int = DEFAULT_PORT
    farewell: str = "required"
    enterprise: int = 32473  # for examples (RFC 5612)
    url: str = ""
    body: str = "lines"
    token_file: Path | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def receivers_of(settings: Settings, environment: Mapping[str, str] | None = None) -> tuple[Receiver, ...]:
    """Return the receivers of an installation in order of their names; none where there is no file.

    Raises ConfigurationError (`configuration.receivers`) for a file that can't be read or used, and when the variable
    names a file that isn't there.
    """
    env = os.environ if environment is None else environment
    named = env.get(VARIABLE) or ""
    path = Path(named or settings.project / "dags" / "receivers.yaml").expanduser()
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise _refused(path.name, f"at most {MAX_BYTES} bytes", "more")
        return parse_receivers(raw.decode("utf-8"), path.name)
    except FileNotFoundError:
        if not named:
            return ()
        raise _refused(path.name, "a readable file", "no such file") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise _refused(path.name, "a readable file in UTF-8", type(fault).__name__) from None


def parse_receivers(text: str, name: str) -> tuple[Receiver, ...]:
    """Return the receivers that `text` describes; `name` is the file's. Raises ConfigurationError."""
    try:
        source = parse_yaml(text, name)
    except ContractError as fault:
        raise _refused(fault.where, fault.expected, fault.found) from None
    data = source.data
    if not isinstance(data, dict) or data.get("apiVersion") != VERSION or set(data) != {"apiVersion", "receivers"}:
        raise _refused(source.where(()), f"apiVersion: {VERSION}, and receivers", "something else")
    receivers = data["receivers"] if data["receivers"] is not None else {}
    if not isinstance(receivers, dict):
        raise _refused(source.where(("receivers",)), "receivers by their names", type(receivers).__name__)
    return tuple(
        _receiver(name, receivers[name], source.where(("receivers", name))) for name in sorted(receivers, key=str)
    )


def _receiver(name: str, fields: Any, where: str) -> Receiver:
    if not _NAME.fullmatch(name):
        raise _refused(where, "a name of lower-case letters, digits and -, at most 63", "another")
    kind = fields.get("kind") if isinstance(fields, dict) else None
    if kind not in _KEYS:
        raise _refused(where, "kind: one of " + ", ".join(_KEYS), "none of them")
    if unknown := set(fields) - _KEYS[kind] - {"kind", "format", "batch"}:
        raise _refused(where, f"keys of a receiver of kind {kind}", f"{len(unknown)} others")
    if _REQUIRED[kind] not in fields:
        raise _refused(where, f"`{_REQUIRED[kind]}`", "none")
    values = {_attribute(key): _value(key, value, f"{where} ({key})") for key, value in fields.items()}
    if ("certificate" in fields) != ("key" in fields):
        raise _refused(where, "`certificate` and `key` together", "one of them")
    return Receiver(name=name, **values)


def _value(key: str, value: Any, where: str) -> Any:
    if key in _NUMBERS:
        low, high = _NUMBERS[key]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _refused(where, f"a whole number, {low} to {high}", "something else")
        return value
    if not isinstance(value, str) or not value or not value.isprintable():
        raise _refused(where, "a printable text", "something else")
    if key in _CHOICES and value not in _CHOICES[key]:
        raise _refused(where, "one of: " + ", ".join(_CHOICES[key]), "another text")
    if key == "host" and not _HOST.fullmatch(value):
        raise _refused(where, "a host name or address", "another text")
    if key == "url" and not _is_https(value):
        raise _refused(where, "an https:// address without user and fragment", "another text")
    if key in _TLS | {"path", "tokenFile"}:
        if not Path(value).is_absolute():
            raise _refused(where, "an absolute path", "another")
        return Path(value)
    return value


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        whole = parts.scheme == "https" and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return bool(whole) and "@" not in parts.netloc and not parts.fragment and url.isascii() and " " not in url


def _attribute(key: str) -> str:
    return "token_file" if key == "tokenFile" else key


def _refused(where: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        where=where,
        expected=expected,
        found=found,
        not_done="nothing was forwarded; every receiver's position stays",
        remedy=f"correct the file of receivers ({VARIABLE}); docs/siem.md describes it",
        code="receivers",
    )
