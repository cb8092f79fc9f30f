"""In a copy of a folder of keys every key opens, and none is made or changed: it would be lost with the copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.copied import NAME, mark, refuse_in_copy
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.derive import KeyUse, TokenKeys
from cloakhouse.keys.protocol import TOKENS, KeyName, new_data_key
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.signing import SigningKeys

KEY, OTHER = DatasetKey("protected", "direct", "customers"), DatasetKey("protected", "direct", "products")
CONTEXT = {"a": "b"}


@dataclass(frozen=True)
class Keys:
    """Every kind of wrapped keys in one folder."""

    folder: Path

    @property
    def ring(self) -> KeyRing:
        return KeyRing(AgeKeyService(self.folder / "keystore"), self.folder / "dataset-keys")

    @property
    def tokens(self) -> TokenKeys:
        return TokenKeys(AgeKeyService(self.folder / "keystore"), self.folder / "token-roots")

    @property
    def signing(self) -> SigningKeys:
        return SigningKeys(AgeKeyService(self.folder / "keystore"), self.folder / "signing-keys")


CHANGES: dict[str, Callable[[Keys], object]] = {
    "a dataset key is made by wrapping": lambda keys: keys.ring.wrap(OTHER, new_data_key(), CONTEXT),
    "a dataset key is made": lambda keys: keys.ring.ensure([KEY, OTHER]),
    "rotate": lambda keys: keys.ring.rotate(KEY),
    "rewrap": lambda keys: keys.ring.rewrap(KEY),
    "retire": lambda keys: keys.ring.retire(KEY, 9),
    "destroy": lambda keys: keys.ring.destroy(KEY),
    "announce": lambda keys: keys.ring.announce(),
    "a root is made": lambda keys: keys.tokens.create(KeyName("purposes/analytics")),
    "a root is rewrapped": lambda keys: keys.tokens.rewrap(TOKENS),
    "a signing key is made": lambda keys: keys.signing.ensure("releases"),
    "a signing key is rewrapped": lambda keys: keys.signing.rewrap("artifacts"),
}


@pytest.fixture
def home(tmp_path: Path) -> Keys:
    keys = Keys(tmp_path / "home")
    keys.ring.ensure([KEY])
    keys.tokens.create(TOKENS)
    keys.signing.ensure("artifacts")
    return keys


@pytest.fixture
def copy(home: Keys, tmp_path: Path) -> Keys:
    keys = Keys(tmp_path / "copy")
    shutil.copytree(home.folder, keys.folder)
    for name in ("dataset-keys", "token-roots", "signing-keys"):
        mark(keys.folder / name)
    return keys


def files(keys: Keys) -> dict[str, bytes]:
    return {str(path.relative_to(keys.folder)): path.read_bytes() for path in keys.folder.rglob("*.json")}


@pytest.mark.parametrize("change", CHANGES)
def test_no_key_is_made_or_changed_in_a_copy(copy: Keys, change: str) -> None:
    before = files(copy)
    with pytest.raises(KeyServiceError) as refused:
        CHANGES[change](copy)
    assert refused.value.code == "key.copy"
    assert files(copy) == before


@pytest.mark.parametrize("change", CHANGES)
def test_at_home_each_of_them_is_done(home: Keys, change: str) -> None:
    CHANGES[change](home)


def test_a_copy_opens_what_home_wrapped_and_home_what_the_copy_wrapped(home: Keys, copy: Keys) -> None:
    key = new_data_key()
    assert copy.ring.unwrap(KEY, home.ring.wrap(KEY, key, CONTEXT), CONTEXT).reveal() == key.reveal()
    assert home.ring.unwrap(KEY, copy.ring.wrap(KEY, key, CONTEXT), CONTEXT).reveal() == key.reveal()
    use = KeyUse.pseudonym("customer")
    assert copy.tokens.key(use).reveal() == home.tokens.key(use).reveal()
    copy.tokens.create(TOKENS)  # it is there: nothing to make
    assert copy.signing.ensure("artifacts") == home.signing.public("artifacts")
    assert copy.tokens.names() == [TOKENS]
    assert [file.key for file in copy.ring.all()] == [KEY]


def test_ensuring_makes_what_is_missing_and_leaves_the_rest(home: Keys) -> None:
    before = files(home)
    home.ring.ensure([KEY, OTHER])
    after = files(home)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1


def test_a_folder_that_cannot_be_looked_into_counts_as_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    refuse_in_copy(tmp_path, "a key")
    refuse_in_copy(tmp_path / "none", "a key")
    monkeypatch.setattr(Path, "lstat", refuse)
    with pytest.raises(KeyServiceError):
        refuse_in_copy(tmp_path, "a key")
    assert NAME not in files(Keys(tmp_path))
