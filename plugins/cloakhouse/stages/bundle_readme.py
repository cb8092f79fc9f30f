"""The text that tells a reader of a bundle how to verify it, also without the platform's software."""

from __future__ import annotations

_TEXT = """Offline bundle of {name}
{line}

It holds records about one published version: its signed release, the contract, the evidence that admitted it, the
validation report, and entries of the platform's audit log with proofs. It holds no row of data and no secret key.

The key that signed it has the SHA-256
  {key}
Compare it with what the platform told you by another way. A bundle that verifies under a key that you did not compare
shows only that it is consistent in itself.

With the software (no access to the platform is needed):
  cloakhouse audit verify-bundle FILE --key {key}
  ... --checkpoint NOTE    a checkpoint of the log that you kept earlier

By hand, with unzip, openssl, sha256sum and python3:

1. The key:     openssl pkey -pubin -in keys/releases.pem -outform DER | tail -c 32 | sha256sum
2. A signature of bundle.json, release.json or report.json (DSSE v1.0: PAYLOAD and SIG are base64):
     python3 -c "import base64,json,sys; e=json.load(open(sys.argv[1])); p=base64.b64decode(e['payload']); \\
       t=e['payloadType'].encode(); open('signed','wb').write(b'DSSEv1 %d %b %d %b' % (len(t),t,len(p),p)); \\
       open('payload','wb').write(p); open('sig','wb').write(base64.b64decode(e['signatures'][0]['sig']))" bundle.json
     openssl pkeyutl -verify -pubin -inkey keys/releases.pem -rawin -in signed -sigfile sig
3. Every other member: its SHA-256 stands in the payload of bundle.json.
4. release.json (payload): `evidence.sha256` is the SHA-256 of evidence/validation.json, `source.sha256` that of
   evidence/synthesis.json, which evidence/validation.json names as its `subject`.
5. The gate: evidence/validation.json lists each figure with value and threshold; the thresholds stand in the contract
   under `gate`, and where it names none, in the documentation of the platform. Every figure must meet its threshold.
6. The audit log: the leaf hash of an entry is the SHA-256 of a byte 00 and its line of audit/entries.jsonl (without the
   line end); audit/proofs.json gives each entry's path to the root (RFC 9162, section 2.1.3.2). The root and size are
   those of audit/checkpoint.txt, a signed note (c2sp.org/tlog-checkpoint) under keys/audit.pem. audit/earlier.json
   proves that the log has only grown since earlier checkpoints (RFC 9162, section 2.1.4.2).
"""


def readme(name: str, key: str) -> bytes:
    """Return the text for the version `name`, signed by the key with the SHA-256 `key` (hex)."""
    title = f"Offline bundle of {name}"
    return _TEXT.format(name=name, key=key, line="=" * len(title)).encode()
