"""Published vectors: CMAC (RFC 4493 section 4; SP 800-38B appendix D and its updated examples), FF1 (NIST's samples 1
to 9), SIV (RFC 5297 appendix A)."""

from __future__ import annotations

import pyarrow as pa
import pytest

from cloakhouse.keys.secret import SecretKey
from cloakhouse.tokens.aes import AesPermutation
from cloakhouse.tokens.arrays import byte_column
from cloakhouse.tokens.cmac import cmac_tokens
from cloakhouse.tokens.ff1 import ff1_decrypt, ff1_encrypt
from cloakhouse.tokens.ff1_reference import ff1_one
from cloakhouse.tokens.siv import ColumnSiv

MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
CMAC_KEYS = {
    128: "2b7e151628aed2a6abf7158809cf4f3c",
    192: "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
    256: "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
}
CMAC_VECTORS = [
    (128, 0, "bb1d6929e95937287fa37d129b756746"),
    (128, 16, "070a16b46b4d4144f79bdd9dd04a287c"),
    (128, 40, "dfa66747de9ae63030ca32611497c827"),
    (128, 64, "51f0bebf7e3b9d92fc49741779363cfe"),
    (192, 0, "d17ddf46adaacde531cac483de7a9367"),
    (192, 16, "9e99a7bf31e710900662f65e617c5184"),
    (192, 20, "3d75c194ed96070444a9fa7ec740ecf8"),
    (192, 40, "8a1de5be2eb31aad089a82e6ee908b0e"),
    (192, 64, "a1d5df0eed790f794d77589659f39a11"),
    (256, 0, "028962f61b7bf89efc6b551f4667d983"),
    (256, 16, "28a7023f452e8f82bd4bf28d8c37c35c"),
    (256, 40, "aaf3d8f1de5640c232f5b169b9c911e6"),
    (256, 64, "e1992190549f6ed5696a2c056c315410"),
]
FF1_KEY = "2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94"
DIGITS = "0123456789"
BASE36 = DIGITS + "abcdefghijklmnopqrstuvwxyz"
FF1_SAMPLES = [  # key bytes, alphabet, tweak, plaintext, ciphertext
    (16, DIGITS, "", "0123456789", "2433477484"),
    (16, DIGITS, "9876543210", "0123456789", "6124200773"),
    (16, BASE36, "7777pqrs777", "0123456789abcdefghi", "a9tv40mll9kdu509eum"),
    (24, DIGITS, "", "0123456789", "2830668132"),
    (24, DIGITS, "9876543210", "0123456789", "2496655549"),
    (24, BASE36, "7777pqrs777", "0123456789abcdefghi", "xbj3kv35jrawxv32ysr"),
    (32, DIGITS, "", "0123456789", "6657667009"),
    (32, DIGITS, "9876543210", "0123456789", "1001623463"),
    (32, BASE36, "7777pqrs777", "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
]

SIV_VECTORS = [  # key, associated data, plaintext, V and ciphertext
    (
        "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
        ["101112131415161718191a1b1c1d1e1f2021222324252627"],
        "112233445566778899aabbccddee",
        "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c",
    ),
    (
        "7f7e7d7c7b7a79787776757473727170404142434445464748494a4b4c4d4e4f",
        [
            "00112233445566778899aabbccddeeffdeaddadadeaddadaffeeddccbbaa99887766554433221100",
            "102030405060708090a0",
            "09f911029d74e35bd84156c5635688c0",
        ],
        "7468697320697320736f6d6520706c61696e7465787420746f20656e6372797074207573696e67205349562d414553",
        "7bdb6e3b432667eb06f4d14bff2fbd0fcb900f2fddbe404326601965c889bf17"
        "dba77ceb094fa663b7a3f748ba8af829ea64ad544a272e9c485b62a3fd5c0d",
    ),
]


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_cmac_examples_alone_and_in_one_column(bits: int) -> None:
    key = SecretKey(bytes.fromhex(CMAC_KEYS[bits]))
    messages = [MESSAGE[:size] for vector_bits, size, _ in CMAC_VECTORS if vector_bits == bits]
    expected = [bytes.fromhex(mac) for vector_bits, _, mac in CMAC_VECTORS if vector_bits == bits]
    assert cmac_tokens(pa.array(messages, pa.binary()), key).to_pylist() == expected
    alone = [cmac_tokens(pa.array([message], pa.binary()), key)[0].as_py() for message in messages]
    assert alone == expected


@pytest.mark.parametrize(("size", "alphabet", "tweak", "plain", "cipher"), FF1_SAMPLES)
def test_ff1_samples_by_column(size: int, alphabet: str, tweak: str, plain: str, cipher: str) -> None:
    """The sample's tweak is what stands in clear before, or after, the encrypted part."""
    key = SecretKey(bytes.fromhex(FF1_KEY)[:size])
    for text, sealed, kept in [
        (tweak + plain, tweak + cipher, {"keep_prefix": len(tweak)}),
        (plain + tweak, cipher + tweak, {"keep_suffix": len(tweak)}),
    ]:
        column = pa.array([text, None, text])
        treated = ff1_encrypt(column, key, alphabet=alphabet, **kept)
        assert treated.to_pylist() == [sealed, None, sealed]
        assert ff1_decrypt(treated, key, alphabet=alphabet, **kept).equals(column)


@pytest.mark.parametrize(("size", "alphabet", "tweak", "plain", "cipher"), FF1_SAMPLES)
def test_ff1_samples_one_by_one(size: int, alphabet: str, tweak: str, plain: str, cipher: str) -> None:
    aes = AesPermutation(SecretKey(bytes.fromhex(FF1_KEY)[:size]))
    numerals, sealed = [[alphabet.index(letter) for letter in text] for text in (plain, cipher)]
    assert ff1_one(numerals, len(alphabet), tweak.encode(), aes) == sealed
    assert ff1_one(sealed, len(alphabet), tweak.encode(), aes, decrypt=True) == numerals


@pytest.mark.parametrize(("key", "associated", "plain", "sealed"), SIV_VECTORS)
def test_siv_examples_by_column(key: str, associated: list[str], plain: str, sealed: str) -> None:
    """Both examples have associated data; the column kernel starts from the S2V state that it leaves."""
    siv = ColumnSiv(SecretKey(bytes.fromhex(key)), 3, [bytes.fromhex(component) for component in associated])
    column = byte_column(pa.array([bytes.fromhex(plain), None, bytes.fromhex(plain)], pa.binary()))
    tokens = siv.encrypt(column, "example")
    assert tokens.to_pylist() == [bytes.fromhex(sealed), None, bytes.fromhex(sealed)]
    forms = siv.decrypt(byte_column(tokens), "example")
    assert forms.data.tobytes().hex() == plain + plain
