"""What the transit engine refuses, in the platform's words. The server's own text is never quoted."""

from __future__ import annotations

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.openbao_wire import NOTHING, Answer
from cloakhouse.keys.protocol import KeyName

# How the server says that there is no such key: to most calls, to `rotate`, and to an `encrypt` that would make one.
ABSENT = ("key not found", "no existing key named", "unknown key type")

# code: expected, found, what to do
REFUSALS = {
    "missing": (
        "a master key at the key service",
        "none of that name",
        "check `prefix` and server in CLOAKHOUSE_KEYS; only wrapping makes a master key",
    ),
    "version": (
        "the version of the master key that wrapped it",
        "no such version",
        "check that CLOAKHOUSE_KEYS names the server that the lake was written with, or restore it",
    ),
    "mount": (
        "a transit engine at that mount",
        "none",
        "correct the path in CLOAKHOUSE_KEYS, or enable the engine: `bao secrets enable transit`",
    ),
    "disabled": (
        "an enabled master key",
        "one that is disabled (soft-deleted)",
        "if it may be used again: `cloakhouse keys enable`",
    ),
    "retired": (
        "a version that the server still uses",
        "one below the key's `min_decryption_version`",
        "if it may be used again: lower that number at the server",
    ),
    "destroyed": (
        "a master key",
        "one that was destroyed",
        "what it wrapped can't be read any more; to use the name again, delete its grave at the server",
    ),
    "context": (
        "the wrapped key and context as written",
        "another",
        "check that the lake's keys and CLOAKHOUSE_KEYS belong together, or restore the wrapped key",
    ),
    "format": (
        "a key wrapped by this service, `vault:v1:...`",
        "bytes of another form",
        "check that CLOAKHOUSE_KEYS names the service that the lake was written with, or restore it",
    ),
    "damaged": (
        "an answer of the transit engine",
        "one of another form",
        "check that CLOAKHOUSE_KEYS names such a server and that nothing in between changes answers",
    ),
    "unsupported": (
        "a key of type aes256-gcm96, derived, not convergent, not exportable, without plain backup",
        "a key with other parameters",
        "have the server's administrator look at who made it, and use another `prefix`",
    ),
    "no-switch": (
        "a server that can disable keys (OpenBao)",
        "one that can't (HashiCorp Vault)",
        "withdraw the grants of the key instead (`cloakhouse keys revoke`)",
    ),
}
CODES = {"version": "missing", "mount": "missing", "retired": "disabled", "no-switch": "unsupported"}

# Text of the server (in small letters), and which refusal it is
TOLD = {
    "soft-deleted": "disabled",
    "version is too new": "version",
    "too old": "retired",
    "no handler": "mount",
    "authentication failed": "context",
    "ciphertext": "context",
}


def refuse(name: KeyName, refusal: str) -> KeyServiceError:
    """Return the error for a use of master key `name`."""
    expected, found, remedy = REFUSALS[refusal]
    return KeyServiceError(
        where=f"master key {name}",
        expected=expected,
        found=found,
        not_done=NOTHING,
        remedy=remedy,
        code=CODES.get(refusal, refusal),
    )


def explain(name: KeyName, answer: Answer) -> KeyServiceError:
    """Return the error for an answer that is a refusal, by the server's text."""
    for text, refusal in TOLD.items():
        if text in answer.told:
            return refuse(name, refusal)
    return KeyServiceError(
        where=f"master key {name}",
        expected="a transit engine that does this",
        found=f"a refusal (status {answer.status})",
        not_done=NOTHING,
        remedy="look at the server's log",
        code="unsupported",
    )
