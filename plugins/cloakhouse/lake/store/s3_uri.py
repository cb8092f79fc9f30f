"""Where the lake is at an S3 server: the URI, its parts and how long an answer may take.

s3://BUCKET[/PREFIX][?region=eu-west-1][&endpoint=https://HOST[:PORT]][&kms_key=alias/lake][&ca=FILE]

`endpoint` is a server that is compatible with S3, or a VPC endpoint; without it, AWS's own of the region. `kms_key` is
the key by which the server encrypts objects beside our own encryption (SSE-KMS), `ca` a PEM file with the authorities
to trust in place of the usual ones. Plain http is for tests: on this machine's loopback, with `insecure=loopback`.
Credentials are never part of it: boto3 looks for them in the environment, the profile and the role of the machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlsplit

from cloakhouse.errors import ConfigurationError, IntegrityError
from cloakhouse.keys.aws_place import REGION, Patience, is_loopback
from cloakhouse.lake.store.protocol import checked_path

SCHEME = "s3://"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
KMS_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:/_-]{0,2047}")
PARAMETERS = ("region", "endpoint", "kms_key", "ca", "insecure")
PATIENCE = Patience(connect_s=10.0, read_s=60.0, attempts=5, begin_s=120.0)


@dataclass(frozen=True)
class Place:
    """A parsed URI. `prefix` is empty, or ends with a slash; `endpoint` has none at its end."""

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None
    kms_key: str | None = None
    ca: Path | None = None

    @classmethod
    def parse(cls, uri: str) -> Place:
        """Return the parts of `uri`. Raises ConfigurationError if one can't be used; no value is quoted."""
        if not uri.startswith(SCHEME):
            raise misconfigured("empty for the folder `lake` in CLOAKHOUSE_HOME, or s3://BUCKET/PREFIX", "another form")
        named, _, query = uri[len(SCHEME) :].partition("?")
        if "@" in named:
            raise misconfigured("s3://BUCKET/PREFIX", "one with a user or a password, which has no place in a URI")
        bucket, _, prefix = named.partition("/")
        if not BUCKET.fullmatch(bucket) or ".." in bucket:
            raise misconfigured("the name of a bucket after s3://", "another text")
        given = _parameters(query)
        if "region" in given and not REGION.fullmatch(given["region"]):
            raise misconfigured("a region like eu-west-1", "another form")
        if "kms_key" in given and not KMS_KEY.fullmatch(given["kms_key"]):
            raise misconfigured("the id, the ARN or the alias of a KMS key", "another form")
        endpoint = _checked_endpoint(given["endpoint"], given.get("insecure")) if "endpoint" in given else None
        ca = Path(given["ca"]) if "ca" in given else None
        return cls(bucket, _checked_prefix(prefix), given.get("region"), endpoint, given.get("kms_key"), ca)

    @property
    def uri(self) -> str:
        """What tells this place from others: bucket, prefix and endpoint."""
        at = f"?endpoint={self.endpoint}" if self.endpoint else ""
        return f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/") + at

    @property
    def encrypted_at_rest(self) -> dict[str, str | bool]:
        """The encryption that every write asks the server for; empty where the bucket's default decides."""
        if self.kms_key is None:
            return {}
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key, "BucketKeyEnabled": True}


def misconfigured(expected: str, found: str, code: str = "") -> ConfigurationError:
    """Return the error about a URI that can't be used."""
    return ConfigurationError(
        where="CLOAKHOUSE_LAKE",
        expected=expected,
        found=found,
        not_done="nothing of the lake was read or written",
        remedy="correct CLOAKHOUSE_LAKE, e.g. s3://retail-lake/cloakhouse?region=eu-west-1&kms_key=alias/lake",
        code=code,
    )


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError:
        raise misconfigured("parameters of the form name=value", "others") from None
    given = dict(pairs)
    unknown = [name for name in given if name not in PARAMETERS]
    if unknown or len(given) != len(pairs) or not all(given.values()):
        found = "one twice, or without a value" if not unknown else f"{len(unknown)} unknown"
        raise misconfigured(f"the parameters {', '.join(PARAMETERS)}, each at most once", found)
    if given.get("insecure", "loopback") != "loopback":
        raise misconfigured("insecure=loopback, or no such parameter", "another value")
    return given


def _checked_prefix(prefix: str) -> str:
    prefix = prefix.removesuffix("/")
    if not prefix:
        return ""
    try:
        return checked_path(prefix) + "/"
    except IntegrityError as fault:
        raise misconfigured(f"a prefix of {fault.expected}", "another text") from None


def _checked_endpoint(endpoint: str, insecure: str | None) -> str:
    expected = "an endpoint https://HOST[:PORT]; http only on this machine's loopback, with insecure=loopback"
    try:
        parts = urlsplit(endpoint)
        port_is_sound = parts.port != 0
    except ValueError:
        raise misconfigured(expected, "one that is no URL") from None
    if "@" in parts.netloc:
        raise misconfigured(expected, "one with a user or a password, which has no place in a URI")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_sound:
        raise misconfigured(expected, "another form")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise misconfigured(expected, "one with a path")
    if parts.scheme == "http" and not _allowed_plain(parts, insecure):
        raise misconfigured(expected, "http, by which credentials and names would travel in the clear")
    return endpoint.rstrip("/")


def _allowed_plain(parts: SplitResult, insecure: str | None) -> bool:
    return insecure == "loopback" and is_loopback(parts.hostname or "")
