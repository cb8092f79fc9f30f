from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.derive import KeyUse, TokenKeys
from cloakhouse.keys.protocol import TOKENS, KeyName
from cloakhouse.keys.secret import SecretKey

NAMES = st.text(min_size=1, max_size=12).map(KeyName)
CONTEXTS = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)
Words = tuple[str, str, str, str]
WORDS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)


@settings(max_examples=60)
@given(NAMES, NAMES, CONTEXTS, CONTEXTS, st.binary(min_size=32, max_size=32))
def test_a_key_opens_under_its_name_and_context_and_no_other(
    name: KeyName, other: KeyName, context: dict[str, str], changed: dict[str, str], key: bytes
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        service = AgeKeyService(Path(folder))
        wrapped = service.wrap(name, SecretKey(key), context)
        service.wrap(other, SecretKey(key), context)
        assert service.unwrap(name, wrapped, context).reveal() == key
        for wrong_name, wrong_context in ((other, context), (name, changed)):
            if (wrong_name, wrong_context) != (name, context):
                with pytest.raises(KeyServiceError):
                    service.unwrap(wrong_name, wrapped, wrong_context)


@settings(max_examples=100)
@given(st.binary(max_size=120))
def test_any_bytes_in_place_of_a_wrapped_key_are_refused(junk: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        service = AgeKeyService(Path(folder))
        service.wrap(KeyName("a"), SecretKey(bytes(32)), {})
        for blob in (junk, b"CHW1\0\0\0\1" + junk):
            with pytest.raises(KeyServiceError):
                service.unwrap(KeyName("a"), blob, {})


@pytest.fixture(scope="module")
def token_keys(tmp_path_factory: pytest.TempPathFactory) -> TokenKeys:
    home = tmp_path_factory.mktemp("home")
    keys = TokenKeys(AgeKeyService(home / "keystore"), home / "token-roots")
    keys.create(TOKENS)
    return keys


@settings(max_examples=200)
@given(st.tuples(WORDS, WORDS, WORDS, WORDS), st.tuples(WORDS, WORDS, WORDS, WORDS))
def test_keys_are_equal_only_for_equal_uses(token_keys: TokenKeys, a: Words, b: Words) -> None:
    found = [token_keys.key(KeyUse(TOKENS, *words)).reveal()[:32] for words in (a, b)]
    assert (found[0] == found[1]) == (a == b)
