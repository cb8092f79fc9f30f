from __future__ import annotations

import itertools
import json
import pickle
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from tests.support.processes import race

from cloakhouse.errors import IntegrityError, KeyServiceError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.derive import CONTEXT, TokenKeys
from cloakhouse.keys.protocol import TOKENS
from cloakhouse.keys.secret import SecretKey


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keys(tmp_path).ensure_root()
    return tmp_path


def keys(home: Path) -> TokenKeys:
    return TokenKeys(AgeKeyService(home / "keystore"), home / "token-root.json")


def test_every_triple_has_its_own_key(home: Path) -> None:
    token_keys = keys(home)
    names = ["cmac", "ff1", "customer", "card", "analytics", "marketing", "a", "ab", "b", ""]
    triples = list(itertools.product(names, repeat=3))
    material = {token_keys.key(*triple).reveal() for triple in triples}
    assert len(material) == len(triples)
    assert {len(k) for k in material} == {32}


def test_the_key_is_hkdf_of_the_root_as_documented(home: Path) -> None:
    """RFC 5869, written out: PRK = HMAC(zeros, IKM); OKM = HMAC(PRK, info | 0x01)."""
    service = AgeKeyService(home / "keystore")
    root = bytes(range(32))
    wrapped = service.wrap(TOKENS, SecretKey(root), CONTEXT)
    import base64

    document = {"format": 1, "key": TOKENS, "wrapped": base64.b64encode(wrapped).decode()}
    (home / "token-root.json").write_text(json.dumps(document))

    def mac(key: bytes, message: bytes) -> bytes:
        h = hmac.HMAC(key, hashes.SHA256())
        h.update(message)
        return h.finalize()

    expected = mac(mac(bytes(32), root), b"cloakhouse/token/1\0cmac\0customer\0analytics\x01")
    assert keys(home).key("cmac", "customer", "analytics").reveal() == expected


def test_the_same_triple_gives_the_same_key_in_every_process(home: Path) -> None:
    first = keys(home).key("cmac", "customer", "analytics").reveal()
    again = keys(home)
    again.ensure_root()
    assert again.key("cmac", "customer", "analytics").reveal() == first


def test_a_lost_root_is_an_error_and_no_new_one_is_made(home: Path) -> None:
    (home / "token-root.json").unlink()
    with pytest.raises(IntegrityError) as refusal:
        keys(home).key("cmac", "customer", "analytics")
    assert refusal.value.where == "token-root.json"
    assert "another token" in refusal.value.not_done
    assert "backup" in refusal.value.remedy
    assert not (home / "token-root.json").exists()


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"wrapped": 7}', b'{"wrapped": "*"}', b"\xff\xfe", b"null"]
)
def test_a_damaged_root_is_an_error(home: Path, content: bytes) -> None:
    (home / "token-root.json").write_bytes(content)
    token_keys = keys(home)
    token_keys.ensure_root()
    with pytest.raises(IntegrityError):
        token_keys.key("cmac", "customer", "analytics")
    assert (home / "token-root.json").read_bytes() == content


def test_the_root_of_another_installation_does_not_open(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    keys(other).ensure_root()
    shutil.copy(other / "token-root.json", home / "token-root.json")
    with pytest.raises(KeyServiceError):
        keys(home).key("cmac", "customer", "analytics")


def test_token_keys_hide_and_stay(home: Path) -> None:
    token_keys = keys(home)
    token_keys.key("cmac", "customer", "analytics")
    assert repr(token_keys) == "TokenKeys()"
    with pytest.raises(TypeError):
        pickle.dumps(token_keys)


def test_racing_processes_get_one_root(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from cloakhouse.keys.derive import TokenKeys
    from cloakhouse.keys.age import AgeKeyService
    home = Path(sys.argv[1])
    token_keys = TokenKeys(AgeKeyService(home / "keystore"), home / "token-root.json")
    ready()
    token_keys.ensure_root()
    print(token_keys.key("cmac", "customer", "analytics").reveal().hex())
    """
    found = set(race(code, [[tmp_path]] * 8))
    assert found == {keys(tmp_path).key("cmac", "customer", "analytics").reveal().hex() + "\n"}
    assert {p.name for p in tmp_path.iterdir()} == {"keystore", "token-root.json"}


def test_a_root_whose_key_was_disabled_is_refused_after_its_lifetime(home: Path) -> None:
    service = AgeKeyService(home / "keystore")
    short = TokenKeys(service, home / "token-root.json", lifetime_s=-1)
    long = TokenKeys(service, home / "token-root.json")
    keys_ = [tokens.key("cmac", "customer", "p").reveal() for tokens in (short, long)]
    assert keys_[0] == keys_[1]
    service.disable(TOKENS)
    with pytest.raises(KeyServiceError) as refusal:
        short.key("cmac", "customer", "p")
    assert refusal.value.code == "key.disabled"
    assert long.key("cmac", "customer", "p").reveal() == keys_[0]
