"""Verifies a certificate of an erasure, offline: nothing of the platform is asked but its public keys.

1. The file is canonical JSON of an envelope and an entry of the audit log, and nothing else.
2. The envelope is signed by the platform's key of releases; its payload is a statement in canonical form.
3. The entry, an event in canonical form, tells that this very statement was certified.
4. With the key of the log: a checkpoint that it signed covers the entry.

Every byte of the file counts for one of these, so that a changed byte fails. Without the key of the log, the proof of
step 4 isn't believed, and `logged` is False.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.signing import PublicKey
from cloakhouse.lake.dsse import opened_envelope
from cloakhouse.ledger.audit_event import Action, decode
from cloakhouse.ledger.checkpoints import opened
from cloakhouse.ledger.merkle import leaf_hash, verify_inclusion

FORMAT = 1
KIND = "erasure certificate"
PAYLOAD_TYPE = "application/vnd.cloakhouse.erasure+json"
WHERE = "certificate of an erasure"
LIMIT = 1 << 26  # bytes
_LOG = {"number", "content", "path", "checkpoint"}


@dataclass(frozen=True)
class VerifiedCertificate:
    """What a verified certificate says (JSON-ready), and whether the audit log is proved to have it."""

    content: dict[str, Any]
    logged: bool


def canonical(content: Mapping[str, Any]) -> bytes:
    """Return `content` as JSON with sorted keys and no spaces, UTF-8."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def verify(text: bytes, key: PublicKey, log_key: PublicKey | None = None) -> VerifiedCertificate:
    """Return the certificate in `text`, which `key`, the platform's key of releases, signed; see the module.

    `log_key` is the key of the audit log. Raises IntegrityError: `integrity.certificate` for another text,
    `integrity.signature`, `integrity.envelope` and `integrity.checkpoint` for signatures and forms that aren't right.
    """
    outer = _parsed(text)  # 1
    if set(outer) != {"certificate", "log"} or set(outer["log"]) != _LOG:
        raise _broken("an envelope and an entry of the log", "others")
    payload = opened_envelope(key, PAYLOAD_TYPE, canonical(outer["certificate"]), WHERE)  # 2
    content = _parsed(payload)
    if (content.get("format"), content.get("kind")) != (FORMAT, KIND):
        raise _broken(f"a {KIND} of format {FORMAT}", "another statement")
    entry = _entry(outer["log"], hashlib.sha256(payload).hexdigest())  # 3
    if log_key is not None:
        _require_logged(outer["log"], entry, log_key)  # 4
    return VerifiedCertificate(content, log_key is not None)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        content: dict[str, Any] = dict(json.loads(text)) if len(text) <= LIMIT else {}
        sound = canonical(content) == text
        sound = sound and all(isinstance(content.get(name, {}), dict) for name in ("certificate", "log"))
    except (ValueError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise _broken("canonical JSON", "another text")
    return content


def _entry(log: Mapping[str, Any], digest: str) -> bytes:
    try:
        entry = base64.b64decode(log["content"], validate=True)
        found = decode(entry)
        sound = base64.b64encode(entry).decode() == log["content"]
    except (ValueError, TypeError):
        sound = False
    if not sound or found.action != Action.CERTIFY_ERASURE or found.facts.get("sha256") != digest:
        raise _broken("the entry of the log for this statement", "another")
    return entry


def _require_logged(log: Mapping[str, Any], entry: bytes, key: PublicKey) -> None:
    checkpoint = opened(str(log["checkpoint"]), key, f"{WHERE}, checkpoint")
    number = log["number"]
    try:
        path = [bytes.fromhex(one) for one in log["path"]]
        sound = [one.hex() for one in path] == log["path"] and isinstance(number, int) and not isinstance(number, bool)
        sound = sound and verify_inclusion(leaf_hash(entry), number, checkpoint.size, path, checkpoint.root)
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise _broken("a proof that the log holds the entry", "one that doesn't hold")


def _broken(expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        where=WHERE,
        expected=expected,
        found=found,
        not_done="nothing that it says was believed",
        remedy="ask the platform for the certificate again, and compare the key with the one that the platform tells",
        code="certificate",
    )
