"""What is particular to the PKCS#11 service, on real SoftHSM2 tokens; see test_service_behaviour for the rest."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, ObjectClass, TokenFlag
from tests.support.processes import in_fork, race, run, start
from tests.support.service_pkcs11 import MODULE, PIN, configure, new_token

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.pkcs11 import Pkcs11Service
from cloakhouse.keys.pkcs11_token import Token
from cloakhouse.keys.pkcs11_uri import parse
from cloakhouse.keys.protocol import Grant, KeyName, KeyState
from cloakhouse.keys.secret import SecretKey

pytestmark = pytest.mark.hsm

NAME = KeyName("protected/direct")
CONTEXT = {"zone": "protected", "dataset": "people"}
KEY = SecretKey(bytes(range(32)))


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return new_token(tmp_path)


@pytest.fixture
def service(uri: str) -> Pkcs11Service:
    return Pkcs11Service(uri)


def raw(uri: str) -> Any:
    """A session of python-pkcs11 beside the service's own; this process is logged in already."""
    return pkcs11.lib(MODULE).get_token(token_label=parse(uri).token).open(rw=True)


def objects(uri: str, kind: ObjectClass) -> list[Any]:
    return list(raw(uri).get_objects({Attribute.CLASS: kind, Attribute.TOKEN: True}))


def refusal(code: str, call: Callable[[], object]) -> KeyServiceError:
    with pytest.raises(KeyServiceError) as refused:
        call()
    assert refused.value.code == f"key.{code}", refused.value
    assert PIN not in str(refused.value)
    return refused.value


# --- what is in the token, and the bytes


def test_a_master_key_is_made_in_the_token_and_can_not_leave_it(uri: str, service: Pkcs11Service) -> None:
    before = time.time()
    service.wrap(NAME, KEY, CONTEXT)
    (master,) = objects(uri, ObjectClass.SECRET_KEY)
    assert master[Attribute.LABEL] == "cloakhouse/protected/direct"
    assert (master[Attribute.KEY_TYPE], master[Attribute.VALUE_LEN]) == (pkcs11.KeyType.AES, 32)
    for yes in (
        "TOKEN",
        "PRIVATE",
        "SENSITIVE",
        "ALWAYS_SENSITIVE",
        "NEVER_EXTRACTABLE",
        "LOCAL",
        "ENCRYPT",
        "DECRYPT",
    ):
        assert master[Attribute[yes]] is True, yes
    for no in ("EXTRACTABLE", "WRAP", "UNWRAP", "SIGN", "VERIFY", "DERIVE"):
        assert master[Attribute[no]] is False, no
    with pytest.raises(pkcs11.AttributeSensitive):
        master[Attribute.VALUE]
    assert master[Attribute.ID][:4] == b"\0\0\0\1"
    (version,) = service.describe(NAME).versions
    assert before - 0.002 < version.created.timestamp() < time.time() + 0.002


def test_the_bytes_of_a_wrapped_key_are_as_documented(uri: str, service: Pkcs11Service) -> None:
    wrapped = service.wrap(NAME, KEY, {"b": "é", "a": "1"})
    (master,) = objects(uri, ObjectClass.SECRET_KEY)
    assert wrapped[:4] == b"CHP1"
    assert wrapped[4:20] == master[Attribute.ID]
    aad = b"CHP1" + wrapped[4:20] + b'protected/direct\0{"a":"1","b":"\\u00e9"}'
    parameters = pkcs11.GCMParams(wrapped[20:32], aad, 128)
    plain = master.decrypt(wrapped[32:], mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=parameters)
    assert plain == KEY.reveal()
    assert len(wrapped) == 4 + 16 + 12 + 32 + 16


def test_one_token_serves_many_prefixes_and_leaves_other_keys_alone(uri: str, service: Pkcs11Service) -> None:
    other = Pkcs11Service(uri.replace("?", ";object=other?"))
    wrapped = service.wrap(NAME, KEY, CONTEXT)
    refusal("missing", lambda: other.unwrap(NAME, wrapped, CONTEXT))
    other.wrap(KeyName("x"), KEY, {})
    foreign = raw(uri).generate_key(pkcs11.KeyType.AES, 256, id=b"1", label="cloakhouse/protected/direct", store=True)
    assert [v.version for v in service.describe(NAME).versions] == [1]
    service.destroy(NAME)
    assert (service.names(), other.names()) == ((NAME,), (KeyName("x"),))
    assert foreign[Attribute.ID] == b"1"


def test_of_two_keys_of_one_version_the_older_wraps_and_both_open(uri: str, service: Pkcs11Service) -> None:
    first = service.wrap(NAME, KEY, CONTEXT)
    created = service.describe(NAME).versions
    (master,) = objects(uri, ObjectClass.SECRET_KEY)
    for shift in (b"\0", b"\xff"):  # one that is older and one that is younger, as a race would leave them
        twin = b"\0\0\0\1" + shift + os.urandom(11)
        raw(uri).generate_key(pkcs11.KeyType.AES, 256, id=twin, label=master[Attribute.LABEL], store=True)
    second = service.wrap(NAME, KEY, CONTEXT)
    assert second[8:9] == b"\0"
    assert second[4:20] != first[4:20]
    for wrapped in (first, second):
        assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == KEY.reveal()
    described = service.describe(NAME).versions
    assert [v.version for v in described] == [1]
    assert described[0].created < created[0].created


def test_processes_that_make_a_key_at_once_open_each_others(uri: str, service: Pkcs11Service) -> None:
    code = """
    from cloakhouse.keys.pkcs11 import Pkcs11Service
    from cloakhouse.keys.secret import SecretKey
    service = Pkcs11Service(sys.argv[1])
    service.connection()
    ready()
    print(service.wrap("protected/direct", SecretKey(bytes(range(32))), {"n": sys.argv[2]}).hex())
    """
    outputs = race(code, [[uri, number] for number in range(6)])
    for number, wrapped in enumerate(outputs):
        assert service.unwrap(NAME, bytes.fromhex(wrapped), {"n": str(number)}).reveal() == KEY.reveal()
    assert [v.version for v in service.describe(NAME).versions] == [1]


# --- states


def test_another_process_feels_a_change_of_state_at_once(uri: str, service: Pkcs11Service) -> None:
    code = """
    import sys
    from cloakhouse.keys.pkcs11 import Pkcs11Service
    for change in sys.argv[2:]:
        getattr(Pkcs11Service(sys.argv[1]), change)("protected/direct")
    """
    wrapped = service.wrap(NAME, KEY, CONTEXT)
    for changes, code_here in ((["rotate", "disable"], "disabled"), (["enable", "destroy"], "destroyed")):
        assert run(code, uri, *changes)[0] == 0
        refusal(code_here, lambda: service.unwrap(NAME, wrapped, CONTEXT))
        refusal(code_here, lambda: service.rotate(NAME))


def test_a_disabling_that_was_cut_short_stops_all_use(uri: str, service: Pkcs11Service) -> None:
    wrapped = service.wrap(NAME, KEY, CONTEXT)
    service.rotate(NAME)
    oldest = min(objects(uri, ObjectClass.SECRET_KEY), key=lambda found: found[Attribute.ID])
    oldest[Attribute.ENCRYPT] = False
    assert service.describe(NAME).state is KeyState.DISABLED
    refusal("disabled", lambda: service.wrap(NAME, KEY, CONTEXT))
    refusal("disabled", lambda: service.unwrap(NAME, wrapped, CONTEXT))
    service.enable(NAME)
    assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == KEY.reveal()


def test_a_disabled_key_is_refused_by_the_token_itself(uri: str, service: Pkcs11Service) -> None:
    service.wrap(NAME, KEY, CONTEXT)
    (before,) = objects(uri, ObjectClass.SECRET_KEY)
    service.disable(NAME)
    parameters = pkcs11.GCMParams(bytes(12), b"", 128)
    with pytest.raises(pkcs11.PKCS11Error, match="0x68"):  # CKR_KEY_FUNCTION_NOT_PERMITTED
        before.encrypt(b"x", mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=parameters)


def test_a_token_that_fixes_what_keys_may_do_says_so(uri: str, service: Pkcs11Service) -> None:
    service.connection()
    fixed = b"\0\0\0\1" + os.urandom(12)
    raw(uri).generate_key(
        pkcs11.KeyType.AES,
        256,
        id=fixed,
        label=f"cloakhouse/{NAME}",
        store=True,
        template={Attribute.MODIFIABLE: False},
    )
    error = refusal("unsupported", lambda: service.disable(NAME))
    assert "PIN" in error.remedy
    assert service.describe(NAME).state is KeyState.ENABLED


def test_a_destroyed_key_leaves_its_marker_and_nothing_else(uri: str, service: Pkcs11Service) -> None:
    service.wrap(NAME, KEY, CONTEXT)
    service.rotate(NAME)
    service.destroy(NAME)
    assert objects(uri, ObjectClass.SECRET_KEY) == []
    (marker,) = objects(uri, ObjectClass.DATA)
    assert marker[Attribute.LABEL] == "cloakhouse/destroyed/protected/direct"
    assert marker[Attribute.PRIVATE] is True
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(marker[Attribute.VALUE].decode())
    assert age < dt.timedelta(seconds=60)


def test_a_destruction_that_was_cut_short_holds_and_can_be_finished(uri: str, service: Pkcs11Service) -> None:
    wrapped = service.wrap(NAME, KEY, CONTEXT)
    label = f"cloakhouse/destroyed/{NAME}"
    raw(uri).create_object({Attribute.CLASS: ObjectClass.DATA, Attribute.TOKEN: True, Attribute.LABEL: label})
    for call in (lambda: service.unwrap(NAME, wrapped, CONTEXT), lambda: service.wrap(NAME, KEY, CONTEXT)):
        refusal("destroyed", call)
    assert service.describe(NAME).versions == ()
    service.destroy(NAME)
    assert objects(uri, ObjectClass.SECRET_KEY) == []
    assert len(objects(uri, ObjectClass.DATA)) == 1


def test_grants_are_not_the_tokens_business(service: Pkcs11Service) -> None:
    assert service.grants() == ()
    for change in (service.grant, service.revoke):
        error = refusal("unsupported", lambda change=change: change(Grant("ana", NAME, "model")))
        assert "PIN" in error.remedy


# --- who may: the PIN


def test_a_wrong_pin_is_tried_once_until_its_file_changes(tmp_path: Path, uri: str) -> None:
    file = tmp_path / "pin"
    file.write_text("000000\n")
    service = Pkcs11Service(uri)
    assert refusal("identity", service.connection).found == "a PIN that the token refuses"
    # from here on the file's PIN would be the right one: a second try would succeed
    officer = pkcs11.lib(MODULE).get_token(token_label=parse(uri).token).open(rw=True, so_pin="73519246")
    officer.init_pin("000000")
    officer.close()
    for again in (service, Pkcs11Service(uri)):
        assert "not tried again" in refusal("identity", again.connection).found
    assert in_fork(lambda: refusal("identity", service.connection)) == 0
    file.write_text("000000")
    assert service.wrap(NAME, KEY, CONTEXT)


def test_a_service_with_another_pin_does_not_ride_on_the_login_of_the_process(
    tmp_path: Path, uri: str, service: Pkcs11Service
) -> None:
    wrapped = service.wrap(NAME, KEY, CONTEXT)
    file = tmp_path / "other"
    file.touch(mode=0o600)
    other = Pkcs11Service(uri.replace(f"{tmp_path}/pin", str(file)))
    file.write_text("000000")
    assert "another PIN" in refusal("identity", lambda: other.unwrap(NAME, wrapped, CONTEXT)).found
    file.write_text(PIN)
    assert other.unwrap(NAME, wrapped, CONTEXT).reveal() == KEY.reveal()
    assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == KEY.reveal()


@pytest.mark.parametrize("flag", [TokenFlag.USER_PIN_LOCKED, TokenFlag.USER_PIN_FINAL_TRY])
def test_a_locked_pin_and_the_last_try_are_left_alone(uri: str, flag: TokenFlag) -> None:
    # SoftHSM2 never locks a PIN: the flags are those of PKCS#11's CK_TOKEN_INFO
    token = Token(parse(uri), 20)
    refusal("identity", lambda: token.check_flags(flag | TokenFlag.TOKEN_INITIALIZED))
    token.check_flags(TokenFlag.TOKEN_INITIALIZED | TokenFlag.USER_PIN_COUNT_LOW)


def test_a_pin_file_that_others_may_read_opens_nothing(tmp_path: Path, service: Pkcs11Service) -> None:
    (tmp_path / "pin").chmod(0o644)
    refusal("mode", service.connection)


# --- what may be missing


def test_a_token_that_is_not_there(uri: str) -> None:
    error = refusal("unreachable", Pkcs11Service(uri.replace("token=", "token=not%20")).names)
    assert error.found == "no token of that label"


@pytest.mark.parametrize("path", ["/nonexistent/module.so", "/etc/passwd", "/tmp"])
def test_a_module_that_does_not_load(uri: str, path: str) -> None:
    error = refusal("unreachable", Pkcs11Service(uri.replace(MODULE, path)).names)
    assert (error.expected, error.found) == (f"the module {path}", "none that loads")


IN_A_PROCESS = """
import os, sys
from pathlib import Path
from tests.support.service_pkcs11 import configure
from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.pkcs11 import Pkcs11Service
configuration = Path(sys.argv[1]) / "own.conf"
configuration.write_text(Path(os.environ["SOFTHSM2_CONF"]).read_text() + sys.argv[3])
os.environ["SOFTHSM2_CONF"] = str(configuration)
service = Pkcs11Service(sys.argv[2])
"""


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("slots.mechanisms = CKM_AES_KEY_GEN\n", "key.unsupported"),
        ("directories.tokendir = /nonexistent\n", "key.unreachable"),
    ],
)
def test_a_module_that_can_not_serve(tmp_path: Path, uri: str, setting: str, code: str) -> None:
    program = IN_A_PROCESS + "try: service.names()\nexcept KeyServiceError as refused: print(refused.code)"
    status, out, err = run(program, tmp_path, uri, setting)
    assert (status, out.strip()) == (0, code), err


# --- sessions, threads, forks, hangs


def test_a_session_that_the_token_dropped_is_opened_anew(service: Pkcs11Service) -> None:
    wrapped = service.wrap(NAME, KEY, CONTEXT)
    pkcs11.lib(MODULE).reinitialize()
    assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == KEY.reveal()
    pkcs11.lib(MODULE).finalize()
    assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == KEY.reveal()


def test_forks_while_other_threads_use_the_token(service: Pkcs11Service) -> None:
    wrapped = service.wrap(NAME, KEY, CONTEXT)
    stop = threading.Event()
    faults: list[BaseException] = []

    def use() -> None:
        while not stop.is_set():
            try:
                assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == KEY.reveal()
            except BaseException as fault:  # noqa: BLE001  # told below
                faults.append(fault)

    def child() -> None:
        assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == KEY.reveal()
        grandchild = in_fork(lambda: service.wrap(NAME, KEY, CONTEXT))
        assert grandchild == 0
        assert service.unwrap(NAME, service.wrap(NAME, KEY, CONTEXT), CONTEXT).reveal() == KEY.reveal()

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            assert in_fork(child) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert faults == []


def test_a_fork_with_a_module_that_notices_it_itself(tmp_path: Path, uri: str) -> None:
    program = IN_A_PROCESS + (
        "from tests.support.processes import in_fork\n"
        "service.rotate if service.generate('a', {}) else None\n"
        "print(in_fork(lambda: service.generate('a', {})), len(service.generate('a', {})[0]))"
    )
    status, out, err = run(program, tmp_path, uri, "library.reset_on_fork = true\n")
    assert (status, out.strip()) == (0, "0 32"), err


@contextmanager
def hanging(uri: str) -> Iterator[None]:
    """Have every call into the token wait inside C, as for an HSM that doesn't answer: another process holds the lock
    of SoftHSM2's token files (a lock of fcntl, for which the library waits without a bound)."""
    code = (
        "import fcntl, sys\n"
        "files = [open(path, 'r+b') for path in sys.argv[1:]]\n"
        "for file in files: fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print(flush=True); sys.stdin.read()"
    )
    files = [str(path) for path in (configure() / "tokens").glob("*/generation")]
    command = [sys.executable, "-c", code, *files]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"\n"
        yield
    finally:
        holder.stdin.close()
        holder.wait(timeout=30)
        holder.stdout.close()


def test_a_module_that_hangs_is_given_up_and_used_again_when_it_returns(uri: str) -> None:
    service, patient = Pkcs11Service(uri, timeout_s=0.3), Pkcs11Service(uri)
    wrapped = service.wrap(NAME, KEY, CONTEXT)
    with hanging(uri):
        started = time.monotonic()
        refusal("unreachable", lambda: service.unwrap(NAME, wrapped, CONTEXT))
        assert 0.3 <= time.monotonic() - started < 5
        started = time.monotonic()
        # nobody else waits for a call that hangs; and a child that is forked now doesn't touch the torn module
        error = refusal("unreachable", lambda: patient.unwrap(NAME, wrapped, CONTEXT))
        assert in_fork(lambda: refusal("unreachable", patient.names)) == 0
        assert time.monotonic() - started < 5
        assert "HSM" in error.remedy
    deadline = time.monotonic() + 20
    while service._token.module.hangs and time.monotonic() < deadline:
        time.sleep(0.01)
    assert patient.unwrap(NAME, wrapped, CONTEXT).reveal() == KEY.reveal()


def test_calls_that_wait_behind_another_have_a_bound_too(uri: str) -> None:
    service, patient = Pkcs11Service(uri, timeout_s=0.3), Pkcs11Service(uri, timeout_s=60)
    wrapped = service.wrap(NAME, KEY, CONTEXT)
    opened: list[bytes] = []
    with hanging(uri):
        thread = threading.Thread(target=lambda: opened.append(patient.unwrap(NAME, wrapped, CONTEXT).reveal()))
        thread.start()
        while service._token.module._idle.acquire(blocking=False):  # until the patient's call runs
            service._token.module._idle.release()
            time.sleep(0.01)
        refusal("unreachable", lambda: service.rotate(NAME))
    thread.join(timeout=30)
    assert opened == [KEY.reveal()]
    assert [v.version for v in service.describe(NAME).versions] == [1]  # what was given up unbegun never happened


def test_a_process_ends_although_a_call_hangs(tmp_path: Path, uri: str) -> None:
    program = IN_A_PROCESS + (
        "service = Pkcs11Service(sys.argv[2], timeout_s=0.3)\n"
        "service.connection()\n"
        "print(flush=True); sys.stdin.readline()\n"
        "try: service.names()\nexcept KeyServiceError as refused: print(refused.code)"
    )
    process = start(program, tmp_path, uri, "")
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    with hanging(uri):
        out, err = process.communicate("go\n", timeout=30)
    assert (process.returncode, out.strip()) == (0, "key.unreachable"), err


def test_threads_of_a_process_share_one_thread_of_the_module(uri: str, service: Pkcs11Service) -> None:
    other = Pkcs11Service(uri)
    made: set[int] = set()
    services = (service, other, service, other)
    threads = [
        threading.Thread(target=service._token.run, args=(lambda _: made.add(threading.get_ident()),))
        for service in services
    ]
    for thread in threads:
        thread.start()
    callers = {thread.ident for thread in threads}
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert not callers & made
