"""A scalar decryptor of Tink's AES-GCM-HKDF streaming format, written from the format's description alone.

https://developers.google.com/tink/streaming-aead/aes_gcm_hkdf_streaming. GCM is built here from single AES blocks
and GHASH (SP 800-38D, sections 6 and 7), HKDF from HMAC (RFC 5869), so that it shares no mode with the platform.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class Refused(Exception):
    """A tag did not match, or the file has no such form."""


def hkdf_sha256(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    secret = hmac.digest(salt or bytes(32), key, hashlib.sha256)
    block, out, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(secret, block + info + bytes([counter]), hashlib.sha256)
        out, counter = out + block, counter + 1
    return out[:length]


def _multiply(x: int, y: int) -> int:
    """Return x times y in GF(2^128), bits numbered as GCM does (SP 800-38D, algorithm 1)."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def gcm_decrypt(key: bytes, nonce: bytes, sealed: bytes) -> bytes:
    """Return the plaintext of AES-GCM without associated data; `sealed` ends in a tag of 16 bytes."""
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # the block cipher itself

    def aes(data: bytes) -> bytes:
        return block.update(data)

    ciphertext, tag = sealed[:-16], sealed[-16:]
    h = int.from_bytes(aes(bytes(16)))
    y = 0
    for at in range(0, len(ciphertext), 16):
        y = _multiply(y ^ int.from_bytes(ciphertext[at : at + 16].ljust(16, b"\0")), h)
    y = _multiply(y ^ 8 * len(ciphertext), h)
    expected = y ^ int.from_bytes(aes(nonce + (1).to_bytes(4)))
    if len(sealed) < 16 or expected.to_bytes(16) != tag:
        raise Refused
    stream = b"".join(aes(nonce + (2 + i).to_bytes(4)) for i in range((len(ciphertext) + 15) // 16))
    return bytes(a ^ b for a, b in zip(ciphertext, stream, strict=False))


def decrypt(key: bytes, associated_data: bytes, ciphertext: bytes, segment_bytes: int) -> bytes:
    """Return the plaintext of a whole file. Raises Refused."""
    if len(ciphertext) < 40 + 16 or ciphertext[0] != 40:
        raise Refused
    salt, prefix = ciphertext[1:33], ciphertext[33:40]
    file_key = hkdf_sha256(key, salt, associated_data, 32)
    segments = [ciphertext[40:segment_bytes]]
    segments += [ciphertext[at : at + segment_bytes] for at in range(segment_bytes, len(ciphertext), segment_bytes)]
    plain = b""
    for number, segment in enumerate(segments):
        last = b"\1" if number == len(segments) - 1 else b"\0"
        plain += gcm_decrypt(file_key, prefix + number.to_bytes(4) + last, segment)
    return plain
