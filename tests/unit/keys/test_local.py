from __future__ import annotations

import base64
import json
import pickle
import stat
from pathlib import Path

import pytest
from tests.support.processes import race

from cloakhouse.errors import KeyServiceError, StorageError
from cloakhouse.keys.local import LocalKeyService
from cloakhouse.keys.protocol import KeyName, new_data_key

NAME = KeyName("protected/direct")
CONTEXT = {"a": "b"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    LocalKeyService(tmp_path / "keystore").wrap(NAME, new_data_key(), CONTEXT)
    return tmp_path / "keystore"


def refusal_of(store: Path) -> KeyServiceError:
    with pytest.raises(KeyServiceError) as refusal:
        LocalKeyService(store).wrap(NAME, new_data_key(), CONTEXT)
    return refusal.value


def test_only_the_owner_can_read_the_keystore(store: Path) -> None:
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    assert {p.name: stat.S_IMODE(p.stat().st_mode) for p in store.iterdir()} == {"masters.json": 0o600, ".lock": 0o600}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o777])
def test_a_keystore_that_others_may_touch_is_refused(store: Path, mode: int) -> None:
    (store / "masters.json").chmod(mode)
    error = refusal_of(store)
    assert (error.code, error.expected, error.found) == ("key.mode", "mode 0600", f"mode {mode:04o}")


GOOD = base64.b64encode(bytes(32)).decode()
SHORT = base64.b64encode(bytes(5)).decode()
DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "not_json": b"{",
    "not_utf8": b'{"format": 1, "keys": {"\xff": []}}',
    "a_list": b"[]",
    "no_keys": b'{"format": 1}',
    "no_format": b'{"keys": {}}',
    "keys_as_list": b'{"format": 1, "keys": []}',
    "another_format": json.dumps({"format": 2, "keys": {NAME: [{"version": 1, "key": GOOD}]}}).encode(),
    "no_versions": json.dumps({"format": 1, "keys": {NAME: []}}).encode(),
    "version_as_text": json.dumps({"format": 1, "keys": {NAME: [{"version": "x", "key": GOOD}]}}).encode(),
    "short_key": json.dumps({"format": 1, "keys": {NAME: [{"version": 1, "key": SHORT}]}}).encode(),
    "key_not_base64": json.dumps({"format": 1, "keys": {NAME: [{"version": 1, "key": "*" + GOOD}]}}).encode(),
    "key_not_a_text": json.dumps({"format": 1, "keys": {NAME: [{"version": 1, "key": 7}]}}).encode(),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_keystore_is_refused_and_left_alone(store: Path, fault: str) -> None:
    (store / "masters.json").write_bytes(DAMAGED[fault])
    error = refusal_of(store)
    assert error.code == "key.damaged"
    assert GOOD not in str(error)
    assert (store / "masters.json").read_bytes() == DAMAGED[fault]


def test_a_folder_in_place_of_the_keystore(tmp_path: Path) -> None:
    (tmp_path / "masters.json").mkdir()
    assert refusal_of(tmp_path).code == "key.unreadable"


def test_a_place_where_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "keystore").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError):
        LocalKeyService(tmp_path / "keystore").wrap(NAME, new_data_key(), CONTEXT)


def test_another_version_of_the_master_key_is_refused(store: Path) -> None:
    service = LocalKeyService(store)
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    document = json.loads((store / "masters.json").read_text())
    document["keys"][NAME][0]["version"] = 2
    (store / "masters.json").write_text(json.dumps(document))
    with pytest.raises(KeyServiceError) as refusal:
        LocalKeyService(store).unwrap(NAME, wrapped, CONTEXT)
    assert refusal.value.code == "key.missing"
    newer = LocalKeyService(store).wrap(NAME, new_data_key(), CONTEXT)
    assert int.from_bytes(newer[4:8]) == 2


def test_keystores_are_not_exchangeable(tmp_path: Path) -> None:
    a, b = LocalKeyService(tmp_path / "a"), LocalKeyService(tmp_path / "b")
    wrapped = a.wrap(NAME, new_data_key(), CONTEXT)
    b.wrap(NAME, new_data_key(), CONTEXT)
    with pytest.raises(KeyServiceError):
        b.unwrap(NAME, wrapped, CONTEXT)


def test_the_service_refuses_pickling(store: Path) -> None:
    service = LocalKeyService(store)
    service.wrap(NAME, new_data_key(), CONTEXT)
    with pytest.raises(TypeError):
        pickle.dumps(service)


def test_eight_processes_make_one_key_each_name_and_lose_none(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from cloakhouse.keys.local import LocalKeyService
    from cloakhouse.keys.secret import SecretKey
    service = LocalKeyService(Path(sys.argv[1]))
    ready()
    for name in ("shared/a", "own/" + sys.argv[2], "shared/b"):
        print(name, service.wrap(name, SecretKey(bytes(32)), {}).hex())
    """
    outputs = race(code, [[tmp_path, number] for number in range(8)])
    service = LocalKeyService(tmp_path)
    for line in "".join(outputs).splitlines():
        name, wrapped = line.split()
        assert service.unwrap(KeyName(name), bytes.fromhex(wrapped), {}).reveal() == bytes(32)
    keys = json.loads((tmp_path / "masters.json").read_text())["keys"]
    assert set(keys) == {"shared/a", "shared/b", *(f"own/{n}" for n in range(8))}
    assert all(len(versions) == 1 for versions in keys.values())
    assert {p.name for p in tmp_path.iterdir()} == {"masters.json", ".lock"}
