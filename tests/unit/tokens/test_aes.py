"""The batched permutation against FIPS 197 and OpenSSL, and its refusal of odd keys."""

from __future__ import annotations

import numpy as np
import pytest

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import AesPermutation, Blocks


def test_fips_197_appendix_c3() -> None:
    aes = AesPermutation(SecretKey(bytes(range(32))))
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert aes.one(plain).hex() == "8ea2b7ca516745bfeafc49904b496089"


def test_a_batch_is_the_permutation_of_every_block_and_no_more() -> None:
    aes, source, target = AesPermutation(SecretKey(bytes(16))), Blocks(5), Blocks(5)
    source.raw[:80] = np.arange(80)
    aes.apply(source, target, 3)
    for row in range(3):
        assert target.cells[row].tobytes() == aes.one(bytes(range(16 * row, 16 * row + 16)))
    assert not target.raw[48:].any()


def test_a_target_may_lie_anywhere_in_longer_memory() -> None:
    aes, target = AesPermutation(SecretKey(bytes(16))), np.zeros(100, np.uint8)
    aes.into(np.arange(32, dtype=np.uint8), target[5:])
    assert target[5:37].tobytes() == aes.one(bytes(range(16))) + aes.one(bytes(range(16, 32)))
    assert not target[:5].any()
    assert not target[37:].any()


def test_the_inverse_leads_back() -> None:
    aes, source, target, back = AesPermutation(SecretKey(bytes(24))), Blocks(4), Blocks(4), Blocks(4)
    source.raw[:64] = np.arange(64)
    aes.apply(source, target, 4)
    aes.invert_into(target.raw[:48], back.raw)
    assert back.raw[:48].tolist() == list(range(48))
    assert not back.raw[48:].any()


def test_views_share_one_memory() -> None:
    blocks = Blocks(2)
    blocks.big[1, 0] = 0x0102030405060708
    assert blocks.raw[16:24].tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert blocks.cells[1].tobytes() == blocks.words[1].tobytes()


@pytest.mark.parametrize("size", [48, 64])
def test_keys_of_other_lengths_are_refused(size: int) -> None:
    with pytest.raises(KeyServiceError, match=f"{size} bytes"):
        AesPermutation(SecretKey(bytes(size)))
