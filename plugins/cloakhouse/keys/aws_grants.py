"""Grants of AWS KMS as the platform's grants: who (an ARN), for which master key, for what purpose.

A purpose is kept in the grant's Name, after `cloakhouse:`. KMS takes letters, digits and `:/_-` there; each other
byte of the purpose's UTF-8, and `:` itself, is written as `:` and two hexadecimal digits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.protocol import Grant, KeyName

OPERATIONS = ("Decrypt", "Encrypt", "GenerateDataKey", "DescribeKey")
MARK = "cloakhouse:"
LABEL_LIMIT = 256  # characters
ARN = re.compile(r"arn:aws[a-z-]*:(iam|sts)::\d{12}:[\w+=,.@/-]+")
PLAIN = re.compile(rb"[A-Za-z0-9/_-]")


def label(purpose: str) -> str:
    """Return the Name of a grant for `purpose`."""
    octets = purpose.encode()
    return MARK + "".join(chr(o) if PLAIN.match(bytes([o])) else f":{o:02x}" for o in octets)


def purpose_of(name: str) -> str:
    """Return the purpose in a grant's Name. A grant that the platform did not make has `not ours: NAME`."""
    if not name.startswith(MARK):
        return f"not ours: {name or 'unnamed'}"
    octets = re.sub(rb":([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), name[len(MARK) :].encode())
    return octets.decode(errors="replace")


def read(name: KeyName, entry: Mapping[str, Any]) -> Grant:
    """Return one entry of ListGrants as a grant of master key `name`."""
    principal = entry.get("GranteePrincipal") or entry.get("GranteeServicePrincipal") or "unknown"
    return Grant(str(principal), name, purpose_of(str(entry.get("Name") or "")))


def gives(entry: Mapping[str, Any], grant: Grant) -> bool:
    """Return whether an entry of ListGrants already gives all that `grant` does, under no further condition."""
    return (
        read(grant.name, entry) == grant
        and set(OPERATIONS) <= set(entry.get("Operations", ()))
        and not entry.get("Constraints")
    )


def request(grant: Grant) -> dict[str, Any]:
    """Return what CreateGrant needs to give `grant`, but for the key."""
    return {"GranteePrincipal": grant.principal, "Operations": list(OPERATIONS), "Name": label(grant.purpose)}


def check(grant: Grant) -> None:
    """Raise ConfigurationError if KMS can't hold `grant`: the principal is no ARN, or the purpose is too long."""
    if not ARN.fullmatch(grant.principal):
        expected, found = "the ARN of a role or user (arn:aws:iam::ACCOUNT:role/NAME)", "a name of another form"
    elif not grant.purpose or len(label(grant.purpose)) > LABEL_LIMIT:
        expected, found = f"a purpose that fits {LABEL_LIMIT} characters", f"{len(label(grant.purpose))} with its mark"
    else:
        return
    raise ConfigurationError(
        where=f"grant of {grant.name}",
        expected=expected,
        found=found,
        not_done="no grant was changed",
        remedy="name the principal as AWS does; `aws sts get-caller-identity` shows the ARN of a session's role",
        code="principal",
    )
