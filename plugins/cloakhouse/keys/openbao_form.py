"""What is sent to a transit engine and what comes back: the context, and the one spelling of a wrapped key.

Our context holds the master key's name and the encryption context, so what was wrapped for one purpose does not open
for another, whatever the server's policies say. It is sent readable, which lets an administrator show it in the
server's audit log; it holds no secret.

    context = base64(["cloakhouse/1", "protected/direct", {"dataset": "people", ...}])

A wrapped key is the server's text in ASCII, `vault:v1:` and base64 of nonce (12) | ciphertext | tag (16). Only its
canonical spelling is accepted, which is checked here: the server would take `v01`, and base64 with stray last bits.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from cloakhouse.keys.openbao_refusals import refuse
from cloakhouse.keys.protocol import Context, KeyName
from cloakhouse.keys.secret import SecretKey

WRAPPED = re.compile(rb"vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/]+={0,2})")
OVERHEAD = 12 + 16  # bytes of nonce and tag
LENGTHS = (16, 24, 32, 48, 64)  # bytes of a SecretKey


def context_text(name: KeyName, context: Context) -> str:
    """Return the context that the server derives the key from, whatever the order of `context`."""
    text = json.dumps(["cloakhouse/1", name, dict(context)], sort_keys=True, separators=(",", ":"))
    return base64.b64encode(text.encode()).decode()


def length_of(wrapped: bytes) -> int | None:
    """Return the length (bytes) of the key in `wrapped`, or None for bytes that are not the one spelling of any."""
    found = WRAPPED.fullmatch(wrapped)
    if found is None:
        return None
    try:
        sealed = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        return None
    length = len(sealed) - OVERHEAD
    return length if length in LENGTHS and base64.b64encode(sealed) == found[2] else None


def opened(name: KeyName, data: dict[str, Any], length: int) -> SecretKey:
    """Return the key of `length` bytes that the server opened or made. Raises KeyServiceError (`key.damaged`)."""
    try:
        material = base64.b64decode(data["plaintext"], validate=True)
    except (KeyError, TypeError, ValueError):
        material = b""
    if len(material) != length:
        raise refuse(name, "damaged")
    return SecretKey(material)


def wrapped_of(name: KeyName, data: dict[str, Any]) -> bytes:
    """Return the wrapped key that the server made. Raises KeyServiceError (`key.damaged`) for another form."""
    wrapped = str(data.get("ciphertext", "")).encode()
    if length_of(wrapped) is None:
        raise refuse(name, "damaged")
    return wrapped
