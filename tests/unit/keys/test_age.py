"""The embedded keystore: who can open what, and what becomes of a file that somebody else has touched."""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
from tests.support.crash import Crash, quick_crashes
from tests.support.processes import in_fork, race

from cloakhouse.errors import AccessRefused, CloakhouseError, KeyServiceError, StorageError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.identity import read_identity
from cloakhouse.keys.protocol import Grant, KeyName, KeyState, new_data_key
from cloakhouse.keys.secret import SecretKey

NAME = KeyName("synthetic/plain")
SECRET = KeyName("protected/direct")
CONTEXT = {"a": "b"}
TRAINING = Grant("model-team", NAME, "model-training")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    platform = AgeKeyService(tmp_path / "keystore")
    for name in (NAME, SECRET):
        platform.wrap(name, new_data_key(), CONTEXT)
    platform.enrol("model-team", identity=tmp_path / "model-team.txt")
    return tmp_path / "keystore"


def platform(store: Path) -> AgeKeyService:
    return AgeKeyService(store)


def team(store: Path, purpose: str = "model-training") -> AgeKeyService:
    return AgeKeyService(store, store.parent / "model-team.txt", purpose)


def refusal_of(call: Callable[[], object], kind: type[CloakhouseError] = KeyServiceError) -> CloakhouseError:
    with pytest.raises(kind) as refusal:
        call()
    return refusal.value


def use(store: Path) -> object:
    return platform(store).wrap(NAME, new_data_key(), CONTEXT)


def test_the_files_are_for_their_owner_alone(store: Path) -> None:
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    modes = {str(p.relative_to(store)): stat.S_IMODE(p.stat().st_mode) for p in store.rglob("*") if p.is_file()}
    assert modes == dict.fromkeys(["keystore.json", "administration.pem", "identities/platform.txt", ".lock"], 0o600)
    assert stat.S_IMODE((store.parent / "model-team.txt").stat().st_mode) == 0o600


def test_no_file_holds_a_master_key_in_the_clear(store: Path) -> None:
    document = json.loads((store / "keystore.json").read_text())["keystore"]
    me = read_identity(store / "identities" / "platform.txt")
    every = b"".join(p.read_bytes() for p in store.parent.rglob("*") if p.is_file())
    for master in document["masters"].values():
        for version in master["versions"]:
            key = me.open(base64.b64decode(version["sealed"]))
            assert len(key) == 32
            for form in (key, key.hex().encode(), base64.b64encode(key)):
                assert form not in every


def test_the_age_tool_s_library_opens_the_identity_and_the_sealed_keys(store: Path) -> None:
    lines = (store / "identities" / "platform.txt").read_text().splitlines()
    identity = pyrage.x25519.Identity.from_str(lines[-1])
    assert lines[1] == f"# recipient: {identity.to_public()}"
    master = json.loads((store / "keystore.json").read_text())["keystore"]["masters"][NAME]
    assert len(pyrage.decrypt(base64.b64decode(master["versions"][0]["sealed"]), [identity])) == 32


# --- who can open what ---------------------------------------------------------------------------------------------


def test_without_a_grant_a_principal_opens_nothing(store: Path) -> None:
    wrapped = platform(store).wrap(NAME, new_data_key(), CONTEXT)
    error = refusal_of(lambda: team(store).unwrap(NAME, wrapped, CONTEXT), AccessRefused)
    assert (error.code, error.exit_code) == ("access.key", 3)
    assert "model-team" in error.expected
    assert not _sealed_to(store, "model-team")


def test_a_grant_opens_one_key_for_one_purpose(store: Path) -> None:
    key = new_data_key()
    wrapped = {name: platform(store).wrap(name, key, CONTEXT) for name in (NAME, SECRET)}
    platform(store).grant(TRAINING)
    platform(store).grant(TRAINING)
    assert platform(store).grants() == (TRAINING,)
    assert team(store).unwrap(NAME, wrapped[NAME], CONTEXT).reveal() == key.reveal()
    assert team(store).wrap(NAME, key, CONTEXT)
    refusal_of(lambda: team(store).unwrap(SECRET, wrapped[SECRET], CONTEXT), AccessRefused)
    error = refusal_of(lambda: team(store, "marketing").unwrap(NAME, wrapped[NAME], CONTEXT), AccessRefused)
    assert "model-training" in error.found
    assert _sealed_to(store, "model-team") == {NAME}


def test_what_is_not_granted_can_not_be_opened_by_cryptography_either(store: Path) -> None:
    """Whatever code asks: there is no copy of the other master keys that the principal's identity opens."""
    platform(store).grant(TRAINING)
    assert _sealed_to(store, "model-team") == {NAME}
    assert _sealed_to(store, "platform") == {NAME, SECRET}


def test_a_revoked_grant_is_refused_at_the_next_call_and_never_sees_the_new_version(store: Path) -> None:
    key = new_data_key()
    platform(store).grant(TRAINING)
    reader = team(store)
    wrapped = platform(store).wrap(NAME, key, CONTEXT)
    assert reader.unwrap(NAME, wrapped, CONTEXT).reveal() == key.reveal()
    platform(store).revoke(TRAINING)
    refusal_of(lambda: reader.unwrap(NAME, wrapped, CONTEXT), AccessRefused)
    assert _sealed_to(store, "model-team") == set()
    assert [v.version for v in platform(store).describe(NAME).versions] == [1, 2]
    assert platform(store).unwrap(NAME, wrapped, CONTEXT).reveal() == key.reveal()
    assert refusal_of(lambda: platform(store).revoke(TRAINING)).code == "key.missing"


def test_of_two_purposes_one_can_be_revoked(store: Path) -> None:
    other = Grant("model-team", NAME, "reporting")
    for grant in (TRAINING, other):
        platform(store).grant(grant)
    wrapped = platform(store).wrap(NAME, new_data_key(), CONTEXT)
    platform(store).revoke(TRAINING)
    refusal_of(lambda: team(store).unwrap(NAME, wrapped, CONTEXT), AccessRefused)
    assert team(store, "reporting").unwrap(NAME, wrapped, CONTEXT)
    assert len(platform(store).describe(NAME).versions) == 1


def test_a_new_version_is_sealed_to_those_who_hold_a_grant(store: Path) -> None:
    platform(store).grant(TRAINING)
    platform(store).rotate(NAME)
    assert team(store).unwrap(NAME, platform(store).wrap(NAME, new_data_key(), CONTEXT), CONTEXT)


def test_a_disabled_key_is_sealed_to_the_platform_alone_until_it_is_enabled(store: Path) -> None:
    platform(store).grant(TRAINING)
    wrapped = platform(store).wrap(NAME, new_data_key(), CONTEXT)
    platform(store).disable(NAME)
    assert _sealed_to(store, "model-team") == set()
    assert refusal_of(lambda: team(store).unwrap(NAME, wrapped, CONTEXT)).code == "key.disabled"
    assert refusal_of(lambda: platform(store).rotate(NAME)).code == "key.disabled"
    platform(store).enable(NAME)
    assert team(store).unwrap(NAME, wrapped, CONTEXT)


def test_who_lost_a_grant_while_the_key_was_disabled_never_has_the_version_that_wraps_next(store: Path) -> None:
    platform(store).grant(TRAINING)
    platform(store).disable(NAME)
    platform(store).revoke(TRAINING)
    assert platform(store).describe(NAME).state is KeyState.DISABLED
    platform(store).enable(NAME)
    assert [v.version for v in platform(store).describe(NAME).versions] == [1, 2]
    assert _sealed_to(store, "model-team") == set()


def test_a_destroyed_key_leaves_no_copy_and_no_grant(store: Path) -> None:
    platform(store).grant(TRAINING)
    platform(store).destroy(NAME)
    assert platform(store).grants() == ()
    assert json.loads((store / "keystore.json").read_text())["keystore"]["masters"][NAME]["versions"] == []
    assert platform(store).describe(NAME).state is KeyState.DESTROYED
    assert refusal_of(lambda: platform(store).grant(TRAINING)).code == "key.destroyed"


def test_a_grant_may_come_before_the_first_use_of_a_key(store: Path) -> None:
    fresh = Grant("model-team", KeyName("synthetic/footer"), "model-training")
    platform(store).grant(fresh)
    assert team(store).unwrap(fresh.name, platform(store).wrap(fresh.name, new_data_key(), CONTEXT), CONTEXT)


@pytest.mark.parametrize("principal", ["nobody", "platform"])
def test_a_grant_needs_an_enrolled_principal(store: Path, principal: str) -> None:
    error = refusal_of(lambda: platform(store).grant(Grant(principal, NAME, "p")))
    assert error.code == "key.identity"
    assert "model-team" in error.expected


def test_a_principal_can_keep_its_secret_to_itself(store: Path) -> None:
    own = pyrage.x25519.Identity.generate()
    recipient = platform(store).enrol("auditor", recipient=str(own.to_public()))
    assert recipient == str(own.to_public())
    assert platform(store).enrol("auditor", recipient=recipient) == recipient
    for name, other in (("auditor", str(pyrage.x25519.Identity.generate().to_public())), ("second", recipient)):
        assert refusal_of(lambda n=name, o=other: platform(store).enrol(n, recipient=o)).code == "key.identity"
    for name, other in (("../x", recipient), ("UPPER", recipient), ("fine", "age1nonsense")):
        assert refusal_of(lambda n=name, o=other: platform(store).enrol(n, recipient=o)).code == "key.identity"


def test_who_has_no_administrator_s_key_changes_nothing(store: Path) -> None:
    platform(store).grant(TRAINING)
    (store / "administration.pem").rename(store.parent / "kept.pem")
    before = (store / "keystore.json").read_bytes()
    reader = team(store)
    for change in (
        lambda: reader.grant(Grant("model-team", SECRET, "model-training")),
        lambda: reader.rotate(NAME),
        lambda: reader.disable(NAME),
        lambda: reader.destroy(NAME),
        lambda: reader.wrap(KeyName("synthetic/new"), new_data_key(), CONTEXT),
    ):
        assert "administrator" in refusal_of(change, AccessRefused).expected
    assert (store / "keystore.json").read_bytes() == before
    assert reader.wrap(NAME, new_data_key(), CONTEXT)


def test_a_principal_of_another_keystore_is_refused(store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    AgeKeyService(other).enrol("model-team", identity=tmp_path / "stranger.txt")
    stranger = AgeKeyService(store, tmp_path / "stranger.txt", "model-training")
    assert refusal_of(lambda: stranger.wrap(NAME, new_data_key(), CONTEXT)).code == "key.damaged"


def test_an_identity_that_was_never_enrolled_is_refused(store: Path) -> None:
    pin = read_identity(store / "identities" / "platform.txt").keystore
    path = store.parent / "stranger.txt"
    path.write_text(f"# keystore: {pin}\n{pyrage.x25519.Identity.generate()}\n")
    path.chmod(0o600)
    error = refusal_of(lambda: AgeKeyService(store, path).wrap(NAME, new_data_key(), CONTEXT), AccessRefused)
    assert "this identity" in error.expected


def _sealed_to(store: Path, principal: str) -> set[str]:
    """Return the master keys of which at least one version opens with the principal's identity."""
    folder = {"platform": store / "identities" / "platform.txt", "model-team": store.parent / "model-team.txt"}
    secret = pyrage.x25519.Identity.from_str(folder[principal].read_text().splitlines()[-1])
    masters = json.loads((store / "keystore.json").read_text())["keystore"]["masters"]
    found = set()
    for name, master in masters.items():
        for version in master["versions"]:
            try:
                pyrage.decrypt(base64.b64decode(version["sealed"]), [secret])
                found.add(name)
            except pyrage.DecryptError:
                pass
    return found


# --- files that somebody else has touched --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o777])
def test_a_keystore_that_others_may_write_is_refused(store: Path, mode: int) -> None:
    (store / "keystore.json").chmod(mode)
    error = refusal_of(lambda: use(store))
    assert (error.code, error.found) == ("key.mode", f"mode {mode:04o}")


@pytest.mark.parametrize("name", ["identities/platform.txt", "administration.pem"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o601])
def test_a_secret_that_others_may_read_is_refused(store: Path, name: str, mode: int) -> None:
    (store / name).chmod(mode)
    assert refusal_of(lambda: platform(store).rotate(NAME)).code == "key.mode"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"keystore": {}}', b"[" * 100_000, b"{}"])
def test_a_damaged_keystore_is_refused_and_left_alone(store: Path, content: bytes) -> None:
    (store / "keystore.json").write_bytes(content)
    assert refusal_of(lambda: use(store)).code == "key.damaged"
    assert (store / "keystore.json").read_bytes() == content


def test_every_flipped_byte_of_the_keystore_is_found(store: Path) -> None:
    raw = (store / "keystore.json").read_bytes()
    for at in range(len(raw)):
        broken = bytearray(raw)
        broken[at] ^= 1 + at % 7
        (store / "keystore.json").write_bytes(broken)
        assert refusal_of(lambda: use(store)).code == "key.damaged", at


def test_a_grant_written_in_by_hand_is_refused(store: Path) -> None:
    document = json.loads((store / "keystore.json").read_text())
    document["keystore"]["grants"].append(["model-team", SECRET, "model-training"])
    (store / "keystore.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    assert refusal_of(lambda: team(store).wrap(NAME, new_data_key(), CONTEXT)).code == "key.damaged"


def test_a_master_key_that_an_intruder_chose_is_refused(store: Path) -> None:
    """Anyone can seal to the platform's public recipient: without the signature data would go out under a known key."""
    document = json.loads((store / "keystore.json").read_text())
    recipient = document["keystore"]["principals"]["platform"]
    sealed = pyrage.encrypt(bytes(32), [pyrage.x25519.Recipient.from_str(recipient)])
    document["keystore"]["masters"][NAME]["versions"][0]["sealed"] = base64.b64encode(sealed).decode()
    (store / "keystore.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    assert refusal_of(lambda: use(store)).code == "key.damaged"


def test_an_older_keystore_is_refused_by_who_has_seen_a_newer_one(store: Path) -> None:
    older = (store / "keystore.json").read_bytes()
    service = platform(store)
    service.rotate(NAME)
    (store / "keystore.json").write_bytes(older)
    error = refusal_of(lambda: service.wrap(NAME, new_data_key(), CONTEXT))
    assert (error.code, "older serial" in error.found) == ("key.damaged", True)


BROKEN_IDENTITIES = {
    "empty": "",
    "no_secret": "# keystore: {pin}\n",
    "no_pin": "{secret}\n",
    "two_secrets": "# keystore: {pin}\n{secret}\n{secret}\n",
    "another_pin": "# keystore: ed25519:AAAA\n{secret}\n",
    "rsa_pin": "# keystore: rsa:AAAA\n{secret}\n",
    "cut": "# keystore: {pin}\nAGE-SECRET-KEY-1\n",
}


@pytest.mark.parametrize("fault", BROKEN_IDENTITIES)
def test_a_broken_identity_file_is_refused_without_its_text(store: Path, fault: str) -> None:
    path = store / "identities" / "platform.txt"
    secret = path.read_text().splitlines()[-1]
    path.write_text(BROKEN_IDENTITIES[fault].format(secret=secret, pin=read_identity(path).keystore))
    error = refusal_of(lambda: use(store))
    assert error.code == "key.identity"
    assert secret not in str(error)


def test_a_missing_identity_is_refused(store: Path) -> None:
    absent = AgeKeyService(store, store / "nowhere.txt")
    assert refusal_of(lambda: absent.wrap(NAME, new_data_key(), CONTEXT)).code == "key.identity"
    assert not (store / "nowhere.txt").exists()


def test_another_file_in_place_of_the_administrator_s_key(store: Path) -> None:
    (store / "administration.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    assert refusal_of(lambda: platform(store).rotate(NAME)).code == "key.damaged"


def test_the_signing_key_of_another_keystore_changes_nothing(store: Path, tmp_path: Path) -> None:
    """What it signed would be refused by everyone from then on."""
    AgeKeyService(tmp_path / "other").wrap(NAME, new_data_key(), CONTEXT)
    shutil.copy(tmp_path / "other" / "administration.pem", store / "administration.pem")
    before = (store / "keystore.json").read_bytes()
    assert refusal_of(lambda: platform(store).rotate(NAME)).code == "key.damaged"
    assert (store / "keystore.json").read_bytes() == before
    assert use(store)


@pytest.mark.parametrize("name", ["identities/platform.txt", "keystore.json"])
def test_a_pipe_is_refused_and_not_waited_for(store: Path, name: str) -> None:
    (store / name).unlink()
    os.mkfifo(store / name, 0o600)
    assert in_fork(lambda: refusal_of(lambda: use(store)) and None, timeout_s=20) == 0


def test_an_identity_that_another_user_put_there_is_refused(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a keystore of his own beside it, he would open whatever is written from then on."""
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    error = refusal_of(lambda: use(store))
    assert (error.code, error.found) == ("key.mode", "a file of another user")


def test_a_link_is_no_way_around_the_mode(store: Path) -> None:
    path = store / "identities" / "platform.txt"
    path.rename(store / "kept.txt")
    (store / "kept.txt").chmod(0o644)
    path.symlink_to(store / "kept.txt")
    assert refusal_of(lambda: use(store)).code == "key.mode"


def test_a_lost_document_is_not_replaced_for_another_principal(store: Path) -> None:
    (store / "keystore.json").unlink()
    assert refusal_of(lambda: team(store).wrap(NAME, new_data_key(), CONTEXT)).code == "key.missing"
    assert not (store / "keystore.json").exists()


@pytest.mark.parametrize(
    ("name", "code"), [("keystore.json", "key.missing"), ("identities/platform.txt", "key.identity")]
)
def test_a_keystore_that_was_in_use_is_not_made_anew_for_the_platform(store: Path, name: str, code: str) -> None:
    """New data would be wrapped under keys that the backup, once restored, doesn't have."""
    (store / name).rename(store.parent / "backup")
    assert refusal_of(lambda: use(store)).code == code
    assert not (store / name).exists()
    (store.parent / "backup").rename(store / name)
    assert use(store)


def test_a_folder_in_place_of_the_keystore(store: Path) -> None:
    (store / "keystore.json").unlink()
    (store / "keystore.json").mkdir()
    assert refusal_of(lambda: use(store)).code == "key.damaged"


def test_a_place_where_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "keystore").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError):
        use(tmp_path / "keystore")


def test_keystores_are_not_exchangeable(tmp_path: Path) -> None:
    a, b = AgeKeyService(tmp_path / "a"), AgeKeyService(tmp_path / "b")
    wrapped = a.wrap(NAME, new_data_key(), CONTEXT)
    b.wrap(NAME, new_data_key(), CONTEXT)
    assert refusal_of(lambda: b.unwrap(NAME, wrapped, CONTEXT)).code == "key.context"


def test_secrets_refuse_pickling_and_printing(store: Path) -> None:
    service = platform(store)
    service.wrap(NAME, new_data_key(), CONTEXT)
    me = read_identity(store / "identities" / "platform.txt")
    for holder in (service, me):
        with pytest.raises(TypeError):
            pickle.dumps(holder)
        assert "SECRET" not in repr(holder)
        assert "AGE" not in repr(holder)


# --- crashes and crowds --------------------------------------------------------------------------------------------


@quick_crashes
def test_killed_at_every_step_the_keystore_is_made_or_can_be_made(tmp_path: Path, crash: Crash) -> None:
    store = tmp_path / "keystore"

    def check(finished: bool) -> None:
        assert use(store)

    crash(lambda: shutil.rmtree(store, ignore_errors=True), lambda: use(store) and None, check)


@quick_crashes
@pytest.mark.parametrize("change", ["rotate", "disable", "destroy", "grant", "revoke"])
def test_killed_at_every_step_a_change_is_made_or_not(store: Path, change: str, crash: Crash) -> None:
    platform(store).grant(TRAINING)
    whole = (store / "keystore.json").read_bytes()
    other = Grant("model-team", SECRET, "model-training")
    works: dict[str, Callable[[], object]] = {
        "rotate": lambda: platform(store).rotate(NAME),
        "disable": lambda: platform(store).disable(NAME),
        "destroy": lambda: platform(store).destroy(NAME),
        "grant": lambda: platform(store).grant(other),
        "revoke": lambda: platform(store).revoke(TRAINING),
    }

    def check(finished: bool) -> None:
        assert platform(store).wrap(SECRET, new_data_key(), CONTEXT)
        assert ((store / "keystore.json").read_bytes() != whole) or not finished
        (store / "keystore.json").write_bytes(whole)

    assert crash(lambda: None, lambda: works[change]() and None, check) > 3


def test_eight_processes_make_one_key_each_name_and_lose_none(tmp_path: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from cloakhouse.keys.age import AgeKeyService
    from cloakhouse.keys.secret import SecretKey
    service = AgeKeyService(Path(sys.argv[1]))
    ready()
    for name in ("shared/a", "own/" + sys.argv[2], "shared/b"):
        print(name, service.wrap(name, SecretKey(bytes(32)), {}).hex())
    """
    outputs = race(code, [[tmp_path / "keystore", number] for number in range(8)])
    service = AgeKeyService(tmp_path / "keystore")
    for line in "".join(outputs).splitlines():
        name, wrapped = line.split()
        assert service.unwrap(KeyName(name), bytes.fromhex(wrapped), {}).reveal() == bytes(32)
    assert set(service.names()) == {"shared/a", "shared/b", *(f"own/{n}" for n in range(8))}
    assert all(len(service.describe(name).versions) == 1 for name in service.names())
    names = {p.name for p in (tmp_path / "keystore").iterdir()}
    assert names == {"keystore.json", "administration.pem", "identities", ".lock"}


def test_processes_that_rotate_and_use_a_key_at_once_never_fail(store: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from cloakhouse.keys.age import AgeKeyService
    from cloakhouse.keys.secret import SecretKey
    service = AgeKeyService(Path(sys.argv[1]))
    ready()
    for _ in range(30):
        if sys.argv[2] == "rotate":
            service.rotate("synthetic/plain")
        else:
            assert service.unwrap("synthetic/plain", service.wrap("synthetic/plain", SecretKey(bytes(32)), {}), {})
    """
    race(code, [[store, "rotate"], [store, "use"], [store, "use"]])
    assert len(platform(store).describe(NAME).versions) == 31
    assert platform(store).wrap(NAME, SecretKey(bytes(32)), CONTEXT)


def test_a_keystore_whose_folder_may_not_be_looked_into_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exists(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", exists)
    with pytest.raises(StorageError) as refused:
        AgeKeyService(tmp_path / "keystore").names()
    assert refused.value.code == "storage.refused"
