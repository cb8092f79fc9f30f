from __future__ import annotations

import base64
import json
import pickle
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from tests.support.processes import race

from cloakhouse.errors import IntegrityError, KeyServiceError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.derive import CMAC, CONTEXT, FF1, SIV, KeyUse, TokenKeys, is_token_root, reversible_root
from cloakhouse.keys.protocol import TOKENS, KeyName
from cloakhouse.keys.secret import SecretKey

USE = KeyUse.pseudonym("customer")
ROOTS = ("purposes/analytics", "purposes/marketing", "reversible/analytics", "reversible/marketing", "tokens/root")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ROOTS:
        keys(tmp_path).create(KeyName(name))
    return tmp_path


def keys(home: Path) -> TokenKeys:
    return TokenKeys(AgeKeyService(home / "keystore"), home / "token-roots")


def uses() -> list[KeyUse]:
    domains, purposes, periods = ("customer", "card", "c"), ("analytics", "marketing"), ("", "2026Q4", "2026")
    scopes = [(d, p, t) for d in domains for p in purposes for t in periods]
    found = [KeyUse.pseudonym(domain) for domain in domains]
    for scope in scopes:
        found += [KeyUse.layer(*scope), KeyUse.reversible(SIV, *scope), KeyUse.reversible(FF1, *scope)]
        found += [KeyUse.one_way("bucket", *scope), KeyUse.one_way("substitute", *scope)]
    return found


def test_every_use_has_its_own_key_of_the_length_of_its_algorithm(home: Path) -> None:
    token_keys = keys(home)
    material = [token_keys.key(use).reveal() for use in uses()]
    assert len(set(material)) == len(material)
    assert {(use.algorithm, len(key)) for use, key in zip(uses(), material, strict=True)} == {
        (CMAC, 32),
        (SIV, 64),
        (FF1, 32),
        ("bucket", 32),
        ("substitute", 32),
    }


def test_what_a_grant_on_a_purpose_opens_is_that_purpose_alone() -> None:
    assert {use.root for use in uses() if use.purpose == "analytics"} == {
        "purposes/analytics",
        "reversible/analytics",
        "tokens/root",
    }
    assert {use.root for use in uses() if use.algorithm in (SIV, FF1)} == {
        "reversible/analytics",
        "reversible/marketing",
    }
    assert [is_token_root(name) for name in (*ROOTS, "protected/direct", "landing/file")] == [True] * 5 + [False] * 2


def test_the_key_is_hkdf_of_the_root_as_documented(home: Path) -> None:
    """RFC 5869, written out: PRK = HMAC(zeros, IKM); OKM = HMAC(PRK, info | 0x01)."""
    service = AgeKeyService(home / "keystore")
    root, name = bytes(range(32)), reversible_root("analytics")
    wrapped = service.wrap(name, SecretKey(root), CONTEXT)
    document = {"format": 2, "key": name, "wrapped": base64.b64encode(wrapped).decode()}
    (home / "token-roots" / "reversible-analytics.json").write_text(json.dumps(document))

    def mac(key: bytes, message: bytes) -> bytes:
        h = hmac.HMAC(key, hashes.SHA256())
        h.update(message)
        return h.finalize()

    info = b"cloakhouse/token/2\0AES-256-SIV\0customer\0analytics\x002026Q4"
    first = mac(mac(bytes(32), root), info + b"\x01")
    second = mac(mac(bytes(32), root), first + info + b"\x02")
    assert keys(home).key(KeyUse.reversible(SIV, "customer", "analytics", "2026Q4")).reveal() == first + second


def test_the_same_use_gives_the_same_key_in_every_process(home: Path) -> None:
    first = keys(home).key(USE).reveal()
    again = keys(home)
    again.create(TOKENS)
    assert again.key(USE).reveal() == first
    assert again.fingerprint(TOKENS) == keys(home).fingerprint(TOKENS)
    assert len({again.fingerprint(KeyName(name)) for name in ROOTS}) == len(ROOTS)


def test_a_lost_root_is_an_error_and_no_new_one_is_made(home: Path) -> None:
    path = home / "token-roots" / "tokens-root.json"
    path.unlink()
    with pytest.raises(IntegrityError) as refusal:
        keys(home).key(USE)
    assert refusal.value.where == "token-roots/tokens-root.json"
    assert "another token" in refusal.value.not_done
    assert "backup" in refusal.value.remedy
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"key": "tokens/root", "wrapped": 7}', b'{"wrapped": "*"}', b"\xff\xfe", b"null"],
)
def test_a_damaged_root_is_an_error(home: Path, content: bytes) -> None:
    path = home / "token-roots" / "tokens-root.json"
    path.write_bytes(content)
    token_keys = keys(home)
    token_keys.create(TOKENS)
    with pytest.raises(IntegrityError):
        token_keys.key(USE)
    with pytest.raises(IntegrityError):
        token_keys.verify()
    assert path.read_bytes() == content


def test_every_flipped_bit_of_a_root_is_an_error(home: Path) -> None:
    path = home / "token-roots" / "tokens-root.json"
    sound = path.read_bytes()
    key = keys(home).key(USE).reveal()
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 4]) + sound[place + 1 :])
        try:
            found = keys(home).key(USE).reveal()
        except (IntegrityError, KeyServiceError):
            continue
        assert found == key  # a blank, or the number of the format


def test_the_root_of_another_name_or_installation_does_not_open(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = home / "token-roots"
    shutil.copy(folder / "purposes-marketing.json", folder / "purposes-analytics.json")
    with pytest.raises(IntegrityError):
        keys(home).key(KeyUse.layer("customer", "analytics"))
    text = (folder / "purposes-marketing.json").read_text()
    (folder / "purposes-analytics.json").write_text(text.replace("purposes/marketing", "purposes/analytics"))
    with pytest.raises(KeyServiceError):
        keys(home).key(KeyUse.layer("customer", "analytics"))
    other = tmp_path_factory.mktemp("other")
    keys(other).create(TOKENS)
    shutil.copy(other / "token-roots" / "tokens-root.json", folder / "tokens-root.json")
    with pytest.raises(KeyServiceError):
        keys(home).key(USE)


def test_token_keys_hide_and_stay(home: Path) -> None:
    token_keys = keys(home)
    token_keys.key(USE)
    assert repr(token_keys) == "TokenKeys()"
    with pytest.raises(TypeError):
        pickle.dumps(token_keys)


def test_racing_processes_get_one_root(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from cloakhouse.keys.derive import KeyUse, TokenKeys
    from cloakhouse.keys.age import AgeKeyService
    home = Path(sys.argv[1])
    use = KeyUse.pseudonym("customer")
    token_keys = TokenKeys(AgeKeyService(home / "keystore"), home / "token-roots")
    ready()
    token_keys.create(use.root)
    print(token_keys.key(use).reveal().hex())
    """
    found = set(race(code, [[tmp_path]] * 8))
    assert found == {keys(tmp_path).key(USE).reveal().hex() + "\n"}
    assert {p.name for p in tmp_path.iterdir()} == {"keystore", "token-roots"}
    assert [p.name for p in (tmp_path / "token-roots").iterdir()] == ["tokens-root.json"]


def test_a_root_whose_key_was_disabled_is_refused_after_its_lifetime(home: Path) -> None:
    service = AgeKeyService(home / "keystore")
    short = TokenKeys(service, home / "token-roots", lifetime_s=-1)
    long = TokenKeys(service, home / "token-roots")
    found = [tokens.key(USE).reveal() for tokens in (short, long)]
    assert found[0] == found[1]
    service.disable(TOKENS)
    with pytest.raises(KeyServiceError) as refusal:
        short.key(USE)
    assert refusal.value.code == "key.disabled"
    assert long.key(USE).reveal() == found[0]


def test_a_rotated_root_gives_the_same_keys(home: Path) -> None:
    service = AgeKeyService(home / "keystore")
    before = [keys(home).key(use).reveal() for use in uses()]
    for name in ROOTS:
        service.rotate(KeyName(name))
        assert keys(home).rewrap(KeyName(name))
    assert not keys(home).rewrap(reversible_root("unknown"))
    assert [keys(home).key(use).reveal() for use in uses()] == before
    assert keys(home).names() == sorted(ROOTS)
