"""Sealed synthesizers: encrypted, signed, bound to their name, and never unpickled before the signature is verified."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.sdv_tables import module, plan

from cloakhouse.errors import CloakhouseError, IntegrityError, KeyServiceError, StorageError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.signing import SIGNATURE, SigningKeys
from cloakhouse.lake import sealed as artifacts
from cloakhouse.lake.sealed import DOMAIN, LENGTH, MAGIC, Synthesizer, opened, sealed
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import ManifestRef

TARGET = Synthesizer("models/baskets_synthetic/0123456789abcdef-0.model", "ctgan", "0123456789abcdef" * 4)
CONTENT = b"a fitted synthesizer of Zwetschgenhuber" * 9


@dataclass(frozen=True)
class House:
    """An installation."""

    ring: KeyRing
    keys: SigningKeys
    lake: Path

    def sealed(self, content: bytes = CONTENT, signer: str = "artifacts", target: Synthesizer = TARGET) -> bytes:
        return sealed(self.ring, self.keys.private(signer), target, content)

    def opened(self, found: bytes, target: Synthesizer = TARGET) -> bytes:
        return opened(self.ring, self.keys.public("artifacts"), target, found)

    def unsealed(self, file: ManifestRef, engine: str = "ctgan", fingerprint: str = TARGET.fingerprint) -> bytes:
        return artifacts.unseal(
            self.ring, self.keys.public("artifacts"), FolderStore(self.lake), file, engine, fingerprint
        )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    home = tmp_path_factory.mktemp("home")
    service = AgeKeyService(home / "keystore")
    keys = SigningKeys(service, home / "signing")
    keys.ensure("artifacts")
    keys.ensure("another")
    return House(KeyRing(service, home / "dataset-keys"), keys, home / "lake")


def refused(call: Callable[[], object], kind: type[CloakhouseError] = IntegrityError) -> CloakhouseError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_what_was_sealed_comes_back(house: House, size: int) -> None:
    content = b"\x5a" * size
    found = house.sealed(content)
    assert house.opened(found) == content
    assert found[:4] == MAGIC
    assert content[:64] not in found or size < 2


def test_nothing_can_be_read_of_it(house: House) -> None:
    found = house.sealed()
    assert b"Zwetschgenhuber" not in found
    assert house.sealed() != found


def test_every_flipped_byte_and_every_other_length_is_refused_before_any_key_is_asked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = house.sealed()

    def asked(*_: object) -> None:
        raise AssertionError("a key was asked for")

    monkeypatch.setattr(KeyRing, "unwrap", asked)
    flipped = (bytes(b ^ (1 if i == at else 0) for i, b in enumerate(found)) for at in range(len(found)))
    shorter = (found[:size] for size in range(0, len(found), 7))
    for broken in (*flipped, *shorter, found + b"\0", b""):
        assert refused(lambda broken=broken: house.opened(broken)).code == "integrity.signature"


def test_another_key_s_signature_is_refused(house: House) -> None:
    found = house.sealed(signer="another")
    assert refused(lambda: house.opened(found)).code == "integrity.signature"
    resigned = found[:-SIGNATURE] + house.keys.private("artifacts").sign(found[:-SIGNATURE])
    assert refused(lambda: house.opened(resigned)).code == "integrity.signature"  # signed for another use


def test_a_bomb_signed_by_another_key_is_never_loaded(house: House, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    bomb = pickle.dumps(Bomb(str(flag)))

    def open_model(found: bytes) -> object:
        return module("ctgan").open_model(plan("ctgan"), house.opened(found))

    assert refused(lambda: open_model(house.sealed(bomb, signer="another"))).code == "integrity.signature"
    assert refused(lambda: open_model(house.sealed(bomb))).code == "integrity.artifact"  # the second lock
    assert not flag.exists()
    pickle.loads(bomb)
    assert flag.exists()  # it would have gone off


class Bomb:
    """A pickle that writes a file when it is read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return Path.touch, (Path(self.path),)


def test_a_signed_file_of_another_path_engine_or_fingerprint_is_refused(house: House) -> None:
    found = house.sealed()
    for other in (
        Synthesizer("models/baskets_synthetic/0123456789abcdef-1.model", TARGET.engine, TARGET.fingerprint),
        Synthesizer("models/households_synthetic/0123456789abcdef-0.model", TARGET.engine, TARGET.fingerprint),
        Synthesizer(TARGET.path, "tvae", TARGET.fingerprint),
        Synthesizer(TARGET.path, TARGET.engine, "f" * 64),
    ):
        assert refused(lambda other=other: house.opened(found, other)).code == "integrity.artifact"
    for path in ("short", "a/B/c", "a/../c", "a/b/c/d"):
        refused(lambda path=path: house.sealed(target=Synthesizer(path, "ctgan", "f")))


def test_signed_bytes_of_another_form_are_refused(house: House) -> None:
    def signed(body: bytes) -> bytes:
        return body + house.keys.private("artifacts").sign(DOMAIN + body)

    good = house.sealed()[:-SIGNATURE]
    size = LENGTH.unpack_from(good)[1]
    header, stream = good[LENGTH.size : LENGTH.size + size], good[LENGTH.size + size :]
    framed = lambda head: LENGTH.pack(MAGIC, len(head)) + head + stream  # noqa: E731
    for body in (b"", b"CHS1", b"CHS2" + good[4:], LENGTH.pack(MAGIC, 1 << 31) + header, framed(b"[" * 99_999)):
        assert refused(lambda body=body: house.opened(signed(body))).code == "integrity.artifact"
    for head in (b"{}", b'{"wrapped":7}', header + b" ", header.replace(b'"format":1', b'"format":2')):
        assert refused(lambda head=head: house.opened(signed(framed(head)))).code == "integrity.artifact"
    assert refused(lambda: house.opened(signed(good[:-1])))


def test_a_destroyed_dataset_key_ends_it(house: House) -> None:
    other = Synthesizer("models/short_lived/a.model", "ctgan", "f")
    found = house.sealed(target=other)
    house.ring.destroy(DatasetKey("synthetic", "file", "short_lived"))
    assert refused(lambda: house.opened(found, other), KeyServiceError).code == "key.destroyed"


def test_files_are_written_once_and_read_by_reference(house: House) -> None:
    signer = house.keys.private("artifacts")

    def seal(content: bytes) -> ManifestRef:
        return artifacts.seal(
            house.ring, signer, FolderStore(house.lake), TARGET.path, content, TARGET.engine, TARGET.fingerprint
        )

    file = seal(CONTENT)
    assert file == seal(b"another") == artifacts.reference(FolderStore(house.lake), TARGET.path)
    assert house.unsealed(file) == CONTENT
    assert [path.name for path in (house.lake / TARGET.path).parent.iterdir()] == [Path(TARGET.path).name]
    assert refused(lambda: house.unsealed(file, engine="tvae")).code == "integrity.artifact"
    assert refused(lambda: house.unsealed(file, fingerprint="f")).code == "integrity.artifact"
    assert refused(lambda: house.unsealed(ManifestRef(file.path, "0" * 64))).code == "integrity.artifact"
    missing = ManifestRef("models/baskets_synthetic/none.model", file.sha256)
    assert refused(lambda: house.unsealed(missing)).code == "integrity.artifact"
    refused(lambda: artifacts.reference(FolderStore(house.lake), "models/baskets_synthetic"), StorageError)


def test_a_file_that_is_too_long_is_not_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "LIMIT", 10)
    (house.lake / "models").mkdir(parents=True, exist_ok=True)
    (house.lake / "models" / "long").write_bytes(b"x" * 11)
    assert refused(lambda: artifacts.reference(FolderStore(house.lake), "models/long")).code == "integrity"
