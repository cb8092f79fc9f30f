"""Signed envelopes: DSSE v1.0 with one Ed25519 signature, as the one text that stands for it.

    {"payload":"<base64>","payloadType":"<type>","signatures":[{"keyid":"<fingerprint>","sig":"<base64>"}]}

Canonical JSON: sorted keys, no spaces, no line end; base64 of RFC 4648 section 4, padded. What is signed is the
pre-authentication encoding `DSSEv1 <length of the type> <type> <length of the payload> <payload>`, lengths in decimal
bytes, one space between. An envelope of another form is refused, however its signature stands, so that every byte of a
file counts.

Source: https://github.com/secure-systems-lab/dsse (protocol.md, envelope.md, v1.0.0); RFC 8032 (Ed25519).
"""

from __future__ import annotations

import base64
import json

from cloakhouse.errors import IntegrityError
from cloakhouse.keys.signing import PublicKey, SigningKey, verify


def sealed_envelope(signer: SigningKey, payload_type: str, payload: bytes) -> bytes:
    """Return the envelope that holds `payload`, signed."""
    return _text(payload_type, payload, signer.public, signer.sign(pre_authentication(payload_type, payload)))


def opened_envelope(trusted: PublicKey, payload_type: str, text: bytes, where: str) -> bytes:
    """Return the payload of an envelope that `trusted` signed.

    Raises IntegrityError: `integrity.signature` for the signature of another key or of other bytes, or none;
    `integrity.envelope` for any text that `sealed_envelope` wouldn't have written.
    """
    try:
        content = json.loads(text)
        [signature] = content["signatures"]
        payload = base64.b64decode(content["payload"], validate=True)
        signed = base64.b64decode(signature["sig"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _malformed(where, "another text, or more or fewer signatures") from None
    verify(trusted, pre_authentication(payload_type, payload), signed, where)
    if text != _text(payload_type, payload, trusted, signed):
        raise _malformed(where, "the same payload in another form, of another type or with the name of another key")
    return payload


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _text(payload_type: str, payload: bytes, key: PublicKey, signature: bytes) -> bytes:
    content = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": key.fingerprint, "sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _malformed(where: str, found: str) -> IntegrityError:
    return IntegrityError(
        where=where,
        expected="a DSSE envelope with one signature, in canonical form",
        found=found,
        not_done="nothing that it lists was read",
        remedy="restore the file from a backup of the lake; releases are never edited",
        code="envelope",
    )
