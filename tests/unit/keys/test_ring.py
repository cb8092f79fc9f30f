"""Dataset keys between master keys and data: one call of the service each, versions, shredding, revocation at once."""

from __future__ import annotations

import json
import pickle
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.crash import crash_everywhere
from tests.support.processes import race

from cloakhouse.errors import AccessRefused, CloakhouseError, IntegrityError, KeyServiceError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.dataset_keys import DatasetKey, DatasetKeyFile
from cloakhouse.keys.protocol import Context, Grant, KeyName, KeyState, new_data_key
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.secret import SecretKey

KEY = DatasetKey("protected", "direct", "transactions")
OTHER = DatasetKey("protected", "direct", "customers")
CONTEXT = {"a": "b"}


class Counting(AgeKeyService):
    """Counts what reaches the service."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.calls: list[str] = []

    def unwrap(self, name: KeyName, wrapped: bytes, context: Context) -> SecretKey:
        self.calls.append(f"unwrap {name}")
        return super().unwrap(name, wrapped, context)

    def wrap(self, name: KeyName, key: SecretKey, context: Context) -> bytes:
        self.calls.append(f"wrap {name}")
        return super().wrap(name, key, context)


@pytest.fixture
def service(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "keystore")


@pytest.fixture
def ring(service: Counting, tmp_path: Path) -> KeyRing:
    return KeyRing(service, tmp_path / "dataset-keys")


def again(ring: KeyRing, tmp_path: Path, **settings: float) -> KeyRing:
    """Return the ring as another process would open it."""
    return KeyRing(Counting(tmp_path / "keystore"), tmp_path / "dataset-keys", **settings)


def refusal_of(call: Callable[[], object], kind: type[CloakhouseError] = KeyServiceError) -> CloakhouseError:
    with pytest.raises(kind) as refusal:
        call()
    return refusal.value


def test_a_wrapped_key_opens_in_every_process(ring: KeyRing, tmp_path: Path) -> None:
    key = new_data_key()
    wrapped = ring.wrap(KEY, key, CONTEXT)
    assert (wrapped[:4], len(wrapped)) == (b"CHD1", 68)
    for opener in (ring, again(ring, tmp_path)):
        assert opener.unwrap(KEY, wrapped, CONTEXT).reveal() == key.reveal()


def test_context_and_dataset_and_zone_are_bound(ring: KeyRing) -> None:
    wrapped = ring.wrap(KEY, new_data_key(), CONTEXT)
    ring.wrap(OTHER, new_data_key(), CONTEXT)
    assert refusal_of(lambda: ring.unwrap(KEY, wrapped, {})).code == "key.context"
    assert refusal_of(lambda: ring.unwrap(OTHER, wrapped, CONTEXT)).code == "key.context"


def test_every_flipped_byte_and_every_other_length_is_refused(ring: KeyRing) -> None:
    wrapped = ring.wrap(KEY, new_data_key(), CONTEXT)
    flipped = [bytes(b ^ (1 if i == at else 0) for i, b in enumerate(wrapped)) for at in range(len(wrapped))]
    for broken in (*flipped, *(wrapped[:n] for n in range(len(wrapped))), wrapped + b"\0"):
        refusal_of(lambda broken=broken: ring.unwrap(KEY, broken, CONTEXT))


def test_however_many_files_the_service_is_asked_once_a_dataset_key(ring: KeyRing, service: Counting) -> None:
    for number in range(1_000):
        ring.unwrap(KEY, ring.wrap(KEY, new_data_key(), {"file": str(number)}), {"file": str(number)})
        ring.require([KEY])
    assert service.calls == ["wrap protected/direct", "unwrap protected/direct"]


def test_opened_keys_are_asked_for_again_after_their_lifetime(service: Counting, tmp_path: Path) -> None:
    ring = KeyRing(service, tmp_path / "dataset-keys", lifetime_s=-1)
    wrapped = ring.wrap(KEY, new_data_key(), CONTEXT)
    before = len(service.calls)
    ring.unwrap(KEY, wrapped, CONTEXT)
    ring.unwrap(KEY, wrapped, CONTEXT)
    assert len(service.calls) == before + 2


def test_requiring_makes_no_key(ring: KeyRing, tmp_path: Path) -> None:
    assert refusal_of(lambda: ring.require([KEY])).code == "key.missing"
    assert not list((tmp_path / "dataset-keys").rglob("*.json"))


def test_a_rotated_dataset_key_wraps_anew_and_opens_what_it_wrapped(ring: KeyRing, tmp_path: Path) -> None:
    other = again(ring, tmp_path)
    key = new_data_key()
    first = ring.wrap(KEY, key, CONTEXT)
    assert other.unwrap(KEY, first, CONTEXT)
    assert ring.rotate(KEY) == 2
    second = other.wrap(KEY, key, CONTEXT)
    assert [ring.version_of(blob) for blob in (first, second)] == [1, 2]
    assert [opener.newest(KEY) for opener in (ring, other)] == [2, 2]
    for blob in (first, second):
        for opener in (ring, other, again(ring, tmp_path)):
            assert opener.unwrap(KEY, blob, CONTEXT).reveal() == key.reveal()


def test_after_a_new_master_version_dataset_keys_are_wrapped_again_and_no_file_changes(
    ring: KeyRing, service: Counting, tmp_path: Path
) -> None:
    key = new_data_key()
    wrapped = ring.wrap(KEY, key, CONTEXT)
    assert not ring.rewrap(KEY)
    service.rotate(KEY.master)
    assert ring.rewrap(KEY)
    assert not ring.rewrap(KEY)
    [file] = ring.all()
    assert [(r.version, r.master_version) for r in file.versions] == [(1, 2)]
    assert again(ring, tmp_path).unwrap(KEY, wrapped, CONTEXT).reveal() == key.reveal()


def test_a_rotation_while_a_dataset_key_is_made_leaves_it_to_be_wrapped_again(tmp_path: Path) -> None:
    """Else it would count as wrapped by a version that never did, and be lost with the one that did."""

    class Rotating(Counting):
        def generate(self, name: KeyName, context: Context) -> tuple[SecretKey, bytes]:
            made = super().generate(name, context)
            AgeKeyService(tmp_path / "keystore").rotate(name)
            return made

    ring = KeyRing(Rotating(tmp_path / "keystore"), tmp_path / "dataset-keys")
    wrapped = ring.wrap(KEY, new_data_key(), CONTEXT)
    ring.rotate(KEY)
    newest = ring.service.describe(KEY.master).versions[-1].version
    [file] = ring.all()
    assert [record.master_version for record in file.versions] == [1, newest - 1]
    assert ring.rewrap(KEY)
    assert ring.unwrap(KEY, wrapped, CONTEXT)


def test_a_dataset_key_under_a_destroyed_master_key_is_refused(ring: KeyRing, service: Counting) -> None:
    ring.wrap(KEY, new_data_key(), CONTEXT)
    service.destroy(KEY.master)
    for change in (ring.rotate, ring.rewrap):
        assert refusal_of(lambda change=change: change(KEY)).code == "key.destroyed"


def test_making_a_key_never_replaces_a_file(ring: KeyRing, tmp_path: Path) -> None:
    ring.wrap(KEY, new_data_key(), CONTEXT)
    path = tmp_path / "dataset-keys" / "protected" / "direct" / "transactions.json"
    before = path.read_bytes()
    DatasetKeyFile(KEY, KeyState.DESTROYED, ()).create(tmp_path / "dataset-keys")
    assert path.read_bytes() == before


def test_reading_writes_nothing(ring: KeyRing, service: Counting, tmp_path: Path) -> None:
    """The model teams' processes have no permission to write in the platform's folders."""
    service.enrol("model-team", identity=tmp_path / "team.txt")
    service.grant(Grant("model-team", KEY.master, "training"))
    wrapped = ring.wrap(KEY, new_data_key(), CONTEXT)
    team = KeyRing(AgeKeyService(tmp_path / "keystore", tmp_path / "team.txt", "training"), tmp_path / "dataset-keys")

    def seen() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    before = seen()
    assert team.unwrap(KEY, wrapped, CONTEXT)
    team.require([KEY])
    assert (team.epoch(), team.newest(KEY), len(team.all())) == (0, 1, 1)
    assert refusal_of(lambda: team.require([OTHER])).code == "key.missing"
    assert seen() == before


def test_a_retired_version_opens_nothing_and_the_newest_stays(ring: KeyRing, tmp_path: Path) -> None:
    blobs = [ring.wrap(KEY, new_data_key(), CONTEXT)]
    for _ in range(2):
        ring.rotate(KEY)
        blobs.append(ring.wrap(KEY, new_data_key(), CONTEXT))
    reader = again(ring, tmp_path)
    assert reader.unwrap(KEY, blobs[0], CONTEXT)
    assert ring.retire(KEY, 3) == 2
    for opener in (ring, reader, again(ring, tmp_path)):
        assert opener.unwrap(KEY, blobs[2], CONTEXT)
        for blob in blobs[:2]:
            assert refusal_of(lambda o=opener, b=blob: o.unwrap(KEY, b, CONTEXT)).code == "key.missing"
    assert ring.retire(KEY, 99) == 0


def test_a_shredded_dataset_opens_nowhere_and_its_name_stays_taken(ring: KeyRing, tmp_path: Path) -> None:
    wrapped, kept = ring.wrap(KEY, new_data_key(), CONTEXT), ring.wrap(OTHER, new_data_key(), CONTEXT)
    reader = again(ring, tmp_path)
    assert reader.unwrap(KEY, wrapped, CONTEXT)
    ring.destroy(KEY)
    ring.destroy(KEY)
    for opener in (ring, reader, again(ring, tmp_path)):
        for use in (lambda o: o.unwrap(KEY, wrapped, CONTEXT), lambda o: o.wrap(KEY, new_data_key(), CONTEXT)):
            assert refusal_of(lambda o=opener, u=use: u(o)).code == "key.destroyed"
        assert opener.unwrap(OTHER, kept, CONTEXT)
    for change in (ring.rotate, ring.rewrap):
        assert refusal_of(lambda change=change: change(KEY)).code == "key.destroyed"
    assert [(file.key, file.state) for file in ring.all()] == [(OTHER, KeyState.ENABLED), (KEY, KeyState.DESTROYED)]
    assert refusal_of(lambda: ring.destroy(DatasetKey("a", "b", "c"))).code == "key.missing"


def test_a_key_disabled_or_revoked_elsewhere_is_refused_at_the_next_use(
    ring: KeyRing, service: Counting, tmp_path: Path
) -> None:
    service.enrol("model-team", identity=tmp_path / "team.txt")
    grant = Grant("model-team", KEY.master, "training")
    service.grant(grant)
    wrapped = ring.wrap(KEY, new_data_key(), CONTEXT)
    team = AgeKeyService(tmp_path / "keystore", tmp_path / "team.txt", "training")
    reader = KeyRing(team, tmp_path / "dataset-keys")
    assert reader.unwrap(KEY, wrapped, CONTEXT)
    service.revoke(grant)
    ring.announce()
    refusal_of(lambda: reader.unwrap(KEY, wrapped, CONTEXT), AccessRefused)
    assert ring.unwrap(KEY, wrapped, CONTEXT)
    service.disable(KEY.master)
    ring.announce()
    assert refusal_of(lambda: ring.unwrap(KEY, wrapped, CONTEXT)).code == "key.disabled"


def test_forgetting_asks_the_service_again(ring: KeyRing, service: Counting) -> None:
    wrapped = ring.wrap(KEY, new_data_key(), CONTEXT)
    ring.forget()
    ring.unwrap(KEY, wrapped, CONTEXT)
    assert service.calls.count("unwrap protected/direct") == 2


def test_the_epoch_changes_with_every_announcement_and_survives_a_damaged_file(ring: KeyRing, tmp_path: Path) -> None:
    seen = [ring.epoch()]
    for _ in range(3):
        ring.announce()
        seen.append(ring.epoch())
    assert len(set(seen)) == 4
    (tmp_path / "dataset-keys" / "epoch").write_bytes(b"zz")
    assert ring.epoch() == 0


def test_files_are_for_their_owner_and_hold_no_key(ring: KeyRing, tmp_path: Path) -> None:
    ring.wrap(KEY, new_data_key(), CONTEXT)
    path = tmp_path / "dataset-keys" / "protected" / "direct" / "transactions.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert set(document["versions"][0]) == {"version", "created", "master_version", "wrapped"}
    with pytest.raises(TypeError):
        pickle.dumps(ring)
    assert repr(ring) == "KeyRing()"


def test_every_flipped_byte_of_a_key_file_is_found(ring: KeyRing, tmp_path: Path) -> None:
    key = new_data_key()
    wrapped = ring.wrap(KEY, key, CONTEXT)
    path = tmp_path / "dataset-keys" / "protected" / "direct" / "transactions.json"
    raw = path.read_bytes()
    for at in range(len(raw)):
        path.write_bytes(bytes(b ^ (1 if i == at else 0) for i, b in enumerate(raw)))
        ring.forget()
        try:
            assert ring.unwrap(KEY, wrapped, CONTEXT).reveal() == key.reveal(), at
        except KeyServiceError:
            continue
        # what can differ unseen is a time or a counter that protects nothing
        assert b'"created"' in raw[:at].rsplit(b"\n", 1)[-1] or b'"master_version"' in raw[:at].rsplit(b"\n", 1)[-1]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b'{"format": 1}', b"\xff"])
def test_a_damaged_key_file_is_refused(ring: KeyRing, tmp_path: Path, content: bytes) -> None:
    wrapped = ring.wrap(KEY, new_data_key(), CONTEXT)
    path = tmp_path / "dataset-keys" / "protected" / "direct" / "transactions.json"
    path.write_bytes(content)
    ring.forget()
    assert refusal_of(lambda: ring.unwrap(KEY, wrapped, CONTEXT)).code == "key.damaged"
    assert refusal_of(lambda: ring.wrap(KEY, new_data_key(), CONTEXT)).code == "key.damaged"
    assert path.read_bytes() == content


def test_the_key_file_of_another_dataset_is_refused(ring: KeyRing, tmp_path: Path) -> None:
    for key in (KEY, OTHER):
        ring.wrap(key, new_data_key(), CONTEXT)
    folder = tmp_path / "dataset-keys" / "protected" / "direct"
    (folder / "transactions.json").write_bytes((folder / "customers.json").read_bytes())
    ring.forget()
    assert refusal_of(lambda: ring.require([KEY])).code == "key.damaged"


@pytest.mark.parametrize("name", ["", "a/b", "a/b/c/d", "a/../c", "/b/c", "a/b/C", "a/b/c d", "a/b/" + "c" * 64])
def test_other_names_are_no_dataset_keys(name: str) -> None:
    refusal_of(lambda: DatasetKey.parse(name), IntegrityError)
    assert DatasetKey.parse("protected/direct/transactions") == KEY


def test_killed_at_every_step_a_key_is_made_rotated_rewrapped_or_destroyed_or_not(
    ring: KeyRing, service: Counting, tmp_path: Path
) -> None:
    key = new_data_key()
    wrapped = ring.wrap(KEY, key, CONTEXT)
    service.rotate(KEY.master)
    path = tmp_path / "dataset-keys" / "protected" / "direct" / "transactions.json"
    other = path.with_name("customers.json")
    whole = path.read_bytes()

    def check(finished: bool) -> None:
        fresh = again(ring, tmp_path)
        destroyed = {file.key: file.state for file in fresh.all()}[KEY] is KeyState.DESTROYED
        if destroyed:
            assert refusal_of(lambda: fresh.unwrap(KEY, wrapped, CONTEXT)).code == "key.destroyed"
        else:
            assert fresh.unwrap(KEY, wrapped, CONTEXT).reveal() == key.reveal()
        path.write_bytes(whole)

    works: list[Callable[[KeyRing], object]] = [
        lambda r: r.rotate(KEY),
        lambda r: r.rewrap(KEY),
        lambda r: r.destroy(KEY),
        lambda r: r.wrap(OTHER, new_data_key(), CONTEXT),
    ]
    for work in works:
        steps = crash_everywhere(
            lambda: other.unlink(missing_ok=True), lambda w=work: w(again(ring, tmp_path)) and None, check
        )
        assert steps > 3


def test_processes_that_make_and_rotate_one_key_at_once_agree(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from cloakhouse.keys.age import AgeKeyService
    from cloakhouse.keys.dataset_keys import DatasetKey
    from cloakhouse.keys.ring import KeyRing
    from cloakhouse.keys.secret import SecretKey
    home = Path(sys.argv[1])
    key = DatasetKey("protected", "direct", "transactions")
    ring = KeyRing(AgeKeyService(home / "keystore"), home / "dataset-keys")
    ready()
    for number in range(20):
        wrapped = ring.wrap(key, SecretKey(bytes(32)), {})
        assert ring.unwrap(key, wrapped, {}).reveal() == bytes(32)
        if number % 5 == int(sys.argv[2]):
            ring.rotate(key)
        print(wrapped.hex())
    """
    outputs = race(code, [[tmp_path, number] for number in range(4)])
    ring = KeyRing(AgeKeyService(tmp_path / "keystore"), tmp_path / "dataset-keys")
    assert ring.newest(KEY) == 17
    for line in "".join(outputs).split():
        assert ring.unwrap(KEY, bytes.fromhex(line), {}).reveal() == bytes(32)
