from __future__ import annotations

import base64
import contextlib
import json
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.support.certificates import Authority, Pair
from tests.support.processes import in_fork, race
from tests.support.service_bao import Bao, open_service, prefix_of, shared

from cloakhouse.errors import AccessRefused, CloakhouseError, ConfigurationError
from cloakhouse.keys import openbao_wire
from cloakhouse.keys.openbao import OpenBaoService
from cloakhouse.keys.protocol import Grant, KeyName, KeyService, KeyState, new_data_key
from cloakhouse.keys.secret import SecretKey

NAME = KeyName("protected/direct")
OTHER = KeyName("landing/file")
CONTEXT = {"zone": "protected", "dataset": "people"}
GRANT = Grant("ana-2", NAME, "training")


@pytest.fixture
def service(tmp_path: Path) -> KeyService:
    return open_service(tmp_path)()


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return prefix_of(tmp_path)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    """A server to seal and to kill."""
    server = Bao(tmp_path_factory.mktemp("own"), lasting=True)
    yield server
    server.kill()


def refusal(code: str, call: Callable[[], object]) -> CloakhouseError:
    with pytest.raises(CloakhouseError) as refused:
        call()
    assert refused.value.code == code, refused.value.explain()
    return refused.value


def with_token(prefix: str, tmp_path: Path, *policies: str, ttl: str = "1h") -> OpenBaoService:
    """Return the service as a holder of `policies` sees it."""
    server = shared()
    file = server.keep(server.token(*policies or ("default",), ttl=ttl), f"token-{tmp_path.name}-{time.monotonic_ns()}")
    return OpenBaoService.from_uri(server.uri(prefix, file))


# --- the URI


@pytest.mark.parametrize("scheme", ["bao", "vault"])
def test_a_uri_says_where_the_keys_are(scheme: str) -> None:
    uri = f"{scheme}:https://keys.example.org/a/transit?prefix=lake&token-file=/run/a%20token"
    service = OpenBaoService.from_uri(uri)
    assert service.uri == uri
    place = service._place
    assert (place.endpoint, place.mount, place.prefix, place.ca) == (
        "https://keys.example.org:8200",
        "a/transit",
        "lake",
        None,
    )
    assert place.token_file == Path("/run/a token")
    plain = OpenBaoService.from_uri("bao:https://[::1]:1")._place
    assert (plain.endpoint, plain.mount, plain.prefix) == ("https://[::1]:1", "transit", "cloakhouse")


@pytest.mark.parametrize(
    "uri",
    [
        "bao:",
        "bao:http://127.0.0.1:8200/transit",
        "bao:127.0.0.1:8200",
        "bao:https://",
        "bao:https://host:port",
        "bao:https://host:99999",
        "bao:https://[::1",
        "bao:https://hvs.secret@host",
        "bao:https://user:hvs.secret@host",
        "bao:https://host/transit?token=hvs.secret",
        "bao:https://host/transit#hvs.secret",
        "bao:https://host/a b",
        "bao:https://host/../sys",
        "bao:https://host/%2e%2e/sys",
        "bao:https://host/transit?prefix=a-b",
        "bao:https://host/transit?prefix=a.b",
        "bao:https://host/transit?prefix=",
        "bao:https://host/transit?prefix=a&prefix=b",
        "bao:https://host/transit?ca=relative.pem",
        "bao:https://host/transit?token-file=relative",
        "bao:https://host/transit?verify=false",
        "bao:https://host/transit?&",
        "bao:https://host/transit?ca=/no/such/file.pem",
        "other:https://host/transit",
    ],
)
def test_a_uri_that_can_not_be_used_is_refused_without_quoting_it(uri: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        OpenBaoService.from_uri(uri)
    assert "hvs.secret" not in refused.value.explain()


# --- keys at the server


def test_a_master_key_is_derived_and_can_not_leave_the_server(service: KeyService, prefix: str) -> None:
    service.generate(NAME, CONTEXT)
    made = shared().call("GET", f"transit/keys/{prefix}-protected-direct")["data"]
    assert (made["type"], made["derived"], made["exportable"]) == ("aes256-gcm96", True, False)
    assert (made["allow_plaintext_backup"], made["deletion_allowed"]) == (False, False)


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "aes256-gcm96", "derived": False},
        {"type": "aes256-gcm96", "derived": True, "exportable": True},
        {"type": "aes256-gcm96", "derived": True, "convergent_encryption": True},
        {"type": "aes256-gcm96", "derived": True, "allow_plaintext_backup": True},
        {"type": "chacha20-poly1305", "derived": True},
        {"type": "rsa-2048"},
    ],
    ids=lambda parameters: "-".join(map(str, parameters.values())),
)
def test_a_key_that_others_made_differently_is_not_used(
    service: KeyService, prefix: str, parameters: dict[str, object]
) -> None:
    shared().call("POST", f"transit/keys/{prefix}-protected-direct", parameters)
    refusal("key.unsupported", lambda: service.wrap(NAME, new_data_key(), CONTEXT))
    refusal("key.unsupported", lambda: service.generate(NAME, CONTEXT))


def test_encrypting_never_makes_a_key_behind_our_back(service: KeyService, prefix: str) -> None:
    service.wrap(NAME, new_data_key(), CONTEXT)
    key = f"transit/keys/{prefix}-protected-direct"
    shared().call("POST", f"{key}/config", {"deletion_allowed": True})
    shared().call("DELETE", key)
    again = service.wrap(NAME, new_data_key(), CONTEXT)  # the service still believes that the key stands
    assert shared().call("GET", key)["data"]["exportable"] is False
    assert service.unwrap(NAME, again, CONTEXT)


def test_many_processes_make_one_master_key(prefix: str, service: KeyService) -> None:
    code = """
        import base64, sys
        from cloakhouse.keys.openbao import OpenBaoService
        from cloakhouse.keys.protocol import KeyName, SecretKey
        service = OpenBaoService.from_uri(sys.argv[1])
        ready()
        print(service.wrap(KeyName("protected/direct"), SecretKey(bytes(32)), {}).decode())
        print(open("/proc/self/cmdline").read())
    """
    outputs = race(code, [[service.uri]] * 3)
    for output in outputs:
        wrapped, _, arguments = output.partition("\n")
        assert service.unwrap(NAME, wrapped.encode(), {}).reveal() == bytes(32)
        assert shared().root not in arguments
    assert [v.version for v in service.describe(NAME).versions] == [1]


@pytest.mark.parametrize("name", ["", "a-b", "a/", "/a", "a//b", "A/b", "a.b", "a/../b", "ä", "a b", "a" * 300, "a\n"])
def test_a_name_that_would_be_another_s_is_refused(service: KeyService, name: str) -> None:
    refusal("key.unsupported", lambda: service.wrap(KeyName(name), new_data_key(), CONTEXT))


def test_keys_of_another_prefix_are_not_ours(service: KeyService, prefix: str) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    other = OpenBaoService.from_uri(shared().uri(f"{prefix}x"))
    assert other.names() == ()
    refusal("key.missing", lambda: other.unwrap(NAME, wrapped, CONTEXT))


def test_only_the_canonical_spelling_of_a_wrapped_key_opens(service: KeyService) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    body = wrapped.removeprefix(b"vault:v1:")
    spellings = [b"vault:v01:" + body, b"vault:v+1:" + body, b"vault:1:" + body, b"VAULT:v1:" + body, wrapped + b"\n"]
    spellings += [wrapped + b"=", wrapped.replace(b"v1:", b"v1: "), b"vault:v1:" + body.replace(b"/", b"_") + b"!"]
    for spelling in spellings:
        refusal("key.format", lambda spelling=spelling: service.unwrap(NAME, spelling, CONTEXT))
    raw = base64.b64decode(body)
    longer = b"vault:v1:" + base64.b64encode(raw + b"\0")
    refusal("key.format", lambda: service.unwrap(NAME, longer, CONTEXT))
    for length in (16, 64):  # with padding: its last character has bits that say nothing
        text = service.wrap(NAME, SecretKey(bytes(length)), CONTEXT).decode()
        assert text[-1] == "="
        stray = text[:-2] + chr(ord(text[-2]) + 1) + "="
        assert base64.b64decode(stray[9:]) == base64.b64decode(text[9:])
        refusal("key.format", lambda stray=stray: service.unwrap(NAME, stray.encode(), CONTEXT))


def test_a_version_that_is_not_there_or_no_longer_used_is_told(service: KeyService, prefix: str) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    refusal("key.missing", lambda: service.unwrap(NAME, wrapped.replace(b":v1:", b":v7:"), CONTEXT))
    service.rotate(NAME)
    refusal("key.context", lambda: service.unwrap(NAME, wrapped.replace(b":v1:", b":v2:"), CONTEXT))
    shared().call("POST", f"transit/keys/{prefix}-protected-direct/config", {"min_decryption_version": 2})
    refusal("key.disabled", lambda: service.unwrap(NAME, wrapped, CONTEXT))


def test_a_disabled_key_can_not_be_rotated(service: KeyService) -> None:
    service.wrap(NAME, new_data_key(), CONTEXT)
    service.disable(NAME)
    refusal("key.disabled", lambda: service.rotate(NAME))
    service.destroy(NAME)
    assert service.describe(NAME).state is KeyState.DESTROYED


def test_an_interrupted_destruction_is_ended_by_the_next(service: KeyService, prefix: str) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    shared().call("POST", f"transit/keys/{prefix}.destroyed-protected-direct", {"derived": True})
    assert service.describe(NAME).state is KeyState.ENABLED
    assert service.names() == (NAME,)
    service.destroy(NAME)
    assert service.describe(NAME).state is KeyState.DESTROYED
    refusal("key.destroyed", lambda: service.unwrap(NAME, wrapped, CONTEXT))


def test_a_key_that_another_destroyed_is_not_made_again_by_wrapping(tmp_path: Path, prefix: str) -> None:
    one, other = open_service(tmp_path)(), open_service(tmp_path)()
    other.wrap(NAME, new_data_key(), CONTEXT)
    one.destroy(NAME)
    refusal("key.destroyed", lambda: other.wrap(NAME, new_data_key(), CONTEXT))
    refusal("key.destroyed", lambda: other.generate(NAME, CONTEXT))
    assert f"{prefix}-protected-direct" not in shared().call("LIST", "transit/keys")["data"]["keys"]


def test_a_key_made_while_it_is_destroyed_does_not_stay(
    service: OpenBaoService, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = service._create

    def create_and_bury(name: KeyName, key: str) -> None:
        create(name, key)
        create(name, f"{prefix}.destroyed-protected-direct")

    monkeypatch.setattr(service, "_create", create_and_bury)
    refusal("key.destroyed", lambda: service.wrap(NAME, new_data_key(), CONTEXT))
    assert service.describe(NAME).state is KeyState.DESTROYED


def test_a_mount_that_is_not_there_is_told(tmp_path: Path) -> None:
    service = OpenBaoService.from_uri(shared().uri().replace("/transit?", "/elsewhere?"))
    assert "transit engine" in refusal("key.missing", lambda: service.describe(NAME)).expected


# --- who may


def test_a_grant_lets_its_holder_use_that_key_and_no_other(service: KeyService, prefix: str, tmp_path: Path) -> None:
    wrapped = {name: service.wrap(name, new_data_key(), CONTEXT) for name in (NAME, OTHER)}
    holder = with_token(prefix, tmp_path, f"{prefix}.ana-2.training")
    assert "at https://" in refusal("access.key", lambda: holder.unwrap(NAME, wrapped[NAME], CONTEXT)).where
    service.grant(GRANT)
    service.grant(GRANT)
    assert service.grants() == (GRANT,)
    assert holder.unwrap(NAME, wrapped[NAME], CONTEXT)
    assert holder.unwrap(NAME, holder.wrap(NAME, new_data_key(), CONTEXT), CONTEXT)
    assert holder.unwrap(NAME, holder.generate(NAME, CONTEXT)[1], CONTEXT)
    refusal("access.key", lambda: holder.unwrap(OTHER, wrapped[OTHER], CONTEXT))
    for forbidden in (holder.rotate, holder.disable, holder.destroy):
        refusal("access.key", lambda forbidden=forbidden: forbidden(NAME))
    refusal("access.key", holder.grants)
    refusal("access.key", lambda: holder.grant(Grant("ana-2", OTHER, "training")))
    service.revoke(GRANT)
    for use in (lambda: holder.unwrap(NAME, wrapped[NAME], CONTEXT), lambda: holder.generate(NAME, CONTEXT)):
        refusal("access.key", use)
    assert service.grants() == ()
    refusal("key.missing", lambda: service.revoke(GRANT))


def test_a_holder_can_not_make_a_master_key(service: KeyService, prefix: str, tmp_path: Path) -> None:
    service.grant(GRANT)
    holder = with_token(prefix, tmp_path, f"{prefix}.ana-2.training")
    refusal("access.key", lambda: holder.wrap(NAME, new_data_key(), CONTEXT))
    assert service.names() == ()


def test_a_holder_is_told_that_a_key_was_destroyed(service: KeyService, prefix: str, tmp_path: Path) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    service.grant(GRANT)
    service.destroy(NAME)
    holder = with_token(prefix, tmp_path, f"{prefix}.ana-2.training")
    refusal("key.destroyed", lambda: holder.unwrap(NAME, wrapped, CONTEXT))


def test_grants_made_at_once_are_all_kept(tmp_path: Path) -> None:
    names = [KeyName(f"zone/use{number}") for number in range(4)]
    services = [open_service(tmp_path)() for _ in names]
    with ThreadPoolExecutor(len(names)) as pool:
        for done in [pool.submit(s.grant, Grant("ana", n, "all")) for s, n in zip(services, names, strict=True)]:
            done.result(60)
    assert services[0].grants() == tuple(Grant("ana", name, "all") for name in names)
    services[0].revoke(Grant("ana", names[1], "all"))
    assert [grant.name for grant in services[1].grants()] == [names[0], *names[2:]]


@pytest.mark.parametrize("word", ["", "Ana", "a.b", "a/b", "a_b", "a*", "a" * 65, "ana\n"])
def test_principals_and_purposes_have_plain_names(service: KeyService, word: str) -> None:
    for grant in (Grant(word, NAME, "training"), Grant("ana", NAME, word)):
        refusal("key.unsupported", lambda grant=grant: service.grant(grant))
        refusal("key.unsupported", lambda grant=grant: service.revoke(grant))


def test_a_policy_that_others_wrote_is_not_touched(service: KeyService, prefix: str) -> None:
    policy = f"sys/policies/acl/{prefix}.ana-2.training"
    text = 'path "transit/*" { capabilities = ["update"] }'
    shared().call("PUT", policy, {"policy": text})
    refusal("key.format", lambda: service.grant(GRANT))
    refusal("key.format", service.grants)
    assert shared().call("GET", policy)["data"]["policy"] == text


def test_what_else_a_policy_allows_stays(service: KeyService, prefix: str) -> None:
    policy = f"sys/policies/acl/{prefix}.ana-2.training"
    shared().call("PUT", policy, {"policy": json.dumps({"path": {"kv/mine": {"capabilities": ["read"]}}})})
    service.grant(GRANT)
    service.revoke(GRANT)
    kept = json.loads(shared().call("GET", policy)["data"]["policy"])
    assert kept == {"path": {"kv/mine": {"capabilities": ["read"]}}}


# --- tokens


def test_a_token_that_others_may_read_is_refused(prefix: str) -> None:
    for mode in (0o644, 0o640, 0o604, 0o601):
        file = shared().keep(shared().root, "open-token", mode)
        error = refusal("key.mode", OpenBaoService.from_uri(shared().uri(prefix, file)).names)
        assert error.found == f"mode {mode:04o}"


def test_a_token_file_that_holds_no_token_is_told(prefix: str, tmp_path: Path) -> None:
    for content in ("", "\n", "two words", "hvs.\x01", "ünïcode", "x" * 5000):
        file = shared().keep(content, f"no-token-{tmp_path.name}")
        service = OpenBaoService.from_uri(shared().uri(prefix, file))
        assert not content.strip() or content not in refusal("key.identity", service.names).explain()
    for path in (tmp_path, tmp_path / "missing"):
        refusal("key.identity", OpenBaoService.from_uri(shared().uri(prefix, path)).names)


@pytest.mark.parametrize("variable", ["BAO_TOKEN", "VAULT_TOKEN"])
def test_without_a_file_the_token_comes_from_the_environment(
    prefix: str, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("BAO_TOKEN", "VAULT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    uri = shared().uri(prefix).partition("&token-file")[0]
    refusal("key.identity", OpenBaoService.from_uri(uri).names)
    monkeypatch.setenv(variable, shared().root)
    assert OpenBaoService.from_uri(uri).names() == ()


def test_an_expired_token_is_told_and_a_renewed_file_is_read_again(
    service: KeyService, prefix: str, tmp_path: Path
) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    service.grant(GRANT)
    policy = f"{prefix}.ana-2.training"
    holder = with_token(prefix, tmp_path, policy, ttl="1s")
    assert holder.unwrap(NAME, wrapped, CONTEXT)
    file = Path(holder.uri.rpartition("token-file=")[2])
    expired = file.read_text().strip()
    time.sleep(1.2)
    assert expired not in refusal("key.identity", lambda: holder.unwrap(NAME, wrapped, CONTEXT)).explain()
    shared().keep(shared().token(policy), file.name)
    assert holder.unwrap(NAME, wrapped, CONTEXT)


def test_no_error_and_no_repr_holds_a_secret(service: KeyService, prefix: str, tmp_path: Path) -> None:
    key = new_data_key()
    wrapped = service.wrap(NAME, key, CONTEXT)
    holder = with_token(prefix, tmp_path)
    token = Path(holder.uri.rpartition("token-file=")[2]).read_text().strip()
    errors = [refusal("key.context", lambda: service.unwrap(NAME, wrapped, {}))]
    errors.append(refusal("access.key", lambda: holder.wrap(NAME, key, CONTEXT)))
    texts = [*(str(error) for error in errors), repr(service), repr(holder._wire), holder.uri]
    secrets = [token, shared().root, wrapped.decode(), base64.b64encode(key.reveal()).decode(), key.reveal().hex()]
    assert not [secret for secret in secrets for text in texts if secret in text]


# --- servers in trouble


def test_forks_and_threads_never_share_a_connection(service: KeyService) -> None:
    key = new_data_key()
    wrapped = {n: service.wrap(NAME, key, {"n": str(n)}) for n in range(3)}

    def work(number: int) -> None:
        for _ in range(15):
            assert service.unwrap(NAME, wrapped[number], {"n": str(number)}).reveal() == key.reveal()

    with ThreadPoolExecutor(2) as pool:
        threads = [pool.submit(work, number) for number in (0, 1)]
        assert in_fork(lambda: work(2)) == 0
        work(2)  # over the connection that the child inherited
        for thread in threads:
            thread.result(60)


def test_a_sealed_a_killed_and_a_restarted_server(own: Bao) -> None:
    service = OpenBaoService.from_uri(own.uri())
    key = new_data_key()
    wrapped = service.wrap(NAME, key, CONTEXT)
    own.seal()
    error = refusal("key.unreachable", lambda: service.unwrap(NAME, wrapped, CONTEXT))
    assert (error.found, error.remedy) == ("the server is sealed", "unseal it, then run again")
    own.kill()
    for call in (lambda: service.wrap(NAME, key, CONTEXT), service.connection, service.grants):
        assert "refused" in refusal("key.unreachable", call).found
    own.start()
    refusal("key.unreachable", lambda: service.unwrap(NAME, wrapped, CONTEXT))
    own.unseal()
    assert service.unwrap(NAME, wrapped, CONTEXT).reveal() == key.reveal()


def test_the_server_must_be_who_it_says(tmp_path: Path) -> None:
    service = OpenBaoService.from_uri(shared().uri().replace(str(shared().ca), str(Authority(tmp_path).ca)))
    for call in (service.names, service.connection):
        assert "not trusted" in refusal("key.tls", call).found


Reply = tuple[int, dict[str, str], object]
bodies: list[bytes] = []  # what the calls of the last stub carried


@contextlib.contextmanager
def stub(
    tmp_path: Path,
    reply: Callable[[str, str], Reply],
    *,
    host: str = "127.0.0.1",
    older: bool = False,
    renew: bool = True,
) -> Iterator[tuple[OpenBaoService, list[str]]]:
    """Yield a service at a real HTTPS server that answers `reply(method, path)`, and the calls it got.

    For what OpenBao can't be made to answer at will, and for HashiCorp Vault.
    """
    calls: list[str] = []
    bodies.clear()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            calls.append(f"{self.command} {self.path}")
            status, headers, body = reply(self.command, self.path)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    folder = tmp_path / "stub"
    if renew:
        Authority(folder).server(host)
    pair, ca = Pair(folder / "server.pem", folder / "server.key"), folder / "ca.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    if older:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("hvs.stub")
    uri = f"bao:https://127.0.0.1:{server.server_address[1]}/transit?ca={ca}&token-file={token}"
    try:
        yield OpenBaoService.from_uri(uri), calls
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def test_a_server_of_tls_1_2_is_refused_before_the_token_is_sent(tmp_path: Path) -> None:
    with stub(tmp_path, lambda *_: (200, {}, {"data": {}}), older=True) as (service, calls):
        for call in (service.names, service.connection):
            assert refusal("key.tls", call).found == "the server offers no TLS 1.3"
    assert calls == []


def test_a_server_of_another_name_is_refused_before_the_token_is_sent(tmp_path: Path) -> None:
    with stub(tmp_path, lambda *_: (200, {}, {"data": {}}), host="keys.example.org") as (service, calls):
        assert refusal("key.tls", service.names).found == "a certificate for another host name"
    assert calls == []


def test_a_server_that_accepts_and_never_answers_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openbao_wire, "READ_TIMEOUT_S", 0.3)
    waiting = threading.Event()

    def never(*_: str) -> Reply:
        waiting.wait(5)
        return 200, {}, {"data": {}}

    with stub(tmp_path, never) as (service, calls):
        begun = time.monotonic()
        assert refusal("key.unreachable", service.names).found == "no answer in time"
        assert time.monotonic() - begun < 4
        waiting.set()
    assert len(calls) == 1
    monkeypatch.setattr(openbao_wire, "CONNECT_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # not even a handshake
        uri = f"bao:https://127.0.0.1:{silent.getsockname()[1]}/transit?token-file={shared().token_file}"
        assert refusal("key.unreachable", OpenBaoService.from_uri(uri).names).found == "no answer in time"


def test_a_server_that_asks_to_slow_down_is_asked_again(tmp_path: Path) -> None:
    replies: list[Reply] = [(429, {"Retry-After": "1"}, {}), (429, {}, {}), (200, {}, {"data": {"keys": []}})]
    with stub(tmp_path, lambda *_: replies.pop(0)) as (service, calls):
        begun = time.monotonic()
        assert service.names() == ()
        assert 1 < time.monotonic() - begun < 5
        assert calls == ["GET /v1/transit/keys?list=true"] * 3


@pytest.mark.parametrize(("header", "calls_made"), [("0", 4), ("3600", 1), ("soon", 4), ("9" * 400, 1)])
def test_a_server_that_stays_throttled_is_left(tmp_path: Path, header: str, calls_made: int) -> None:
    with stub(tmp_path, lambda *_: (429, {"Retry-After": header}, {})) as (service, calls):
        begun = time.monotonic()
        refusal("key.throttled", service.names)
        assert time.monotonic() - begun < 5
    assert len(calls) == calls_made


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ((307, {"Location": "https://127.0.0.1:1/steal"}, {}), "key.unreachable"),
        ((473, {}, {}), "key.unreachable"),
        ((500, {}, {"errors": ["internal"]}), "key.unreachable"),
        ((502, {}, b"<html>"), "key.unreachable"),
        ((503, {}, {"errors": ["Vault is sealed"]}), "key.unreachable"),
        ((200, {}, b"<html>hello</html>"), "key.damaged"),
        ((200, {}, b"[" * 100_000), "key.damaged"),
        ((200, {}, {"data": 7}), "key.damaged"),
        ((200, {}, {"data": {"plaintext": "AAAA"}}), "key.damaged"),
        ((200, {}, {"data": {"plaintext": 7}}), "key.damaged"),
        ((400, {}, {"errors": 7}), "key.unsupported"),
        ((403, {}, {"errors": ["permission denied"]}), "key.identity"),
        ((404, {}, {"errors": ["no handler for route"]}), "key.missing"),
    ],
    ids=lambda given: str(given[0]) if isinstance(given, tuple) else str(given),
)
def test_answers_that_are_no_keys(tmp_path: Path, service: KeyService, reply: Reply, code: str) -> None:
    wrapped = service.wrap(NAME, new_data_key(), CONTEXT)
    with stub(tmp_path, lambda *_: reply) as (stubbed, calls):
        error = refusal(code, lambda: stubbed.unwrap(NAME, wrapped, CONTEXT))
    assert "hvs.stub" not in error.explain()
    assert len(calls) <= 2


def test_a_redirection_is_not_followed_since_the_token_would_go_along(tmp_path: Path) -> None:
    with stub(tmp_path / "thief", lambda *_: (200, {}, {"data": {"keys": []}})) as (thief, stolen):
        elsewhere = f"{thief._place.endpoint}/v1/transit/keys"
        # the thief's certificate is trusted, so that only the refusal to follow protects
        with stub(tmp_path / "thief", lambda *_: (307, {"Location": elsewhere}, {}), renew=False) as (service, calls):
            assert "redirection" in refusal("key.unreachable", service.names).found
    assert (len(calls), stolen) == (1, [])


def test_the_environment_changes_nothing(prefix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Authority(tmp_path).ca))
    for name in ("VAULT_ADDR", "BAO_ADDR", "VAULT_NAMESPACE"):
        monkeypatch.setenv(name, "https://127.0.0.1:1")
    assert OpenBaoService.from_uri(shared().uri(prefix)).names() == ()


def test_where_keys_can_not_be_disabled_that_is_said(tmp_path: Path) -> None:
    """HashiCorp Vault: a path that it doesn't know, and no `soft_deleted` in what it tells of a key."""
    known = {"data": {"type": "aes256-gcm96", "keys": {"1": 1_700_000_000}}}

    def vault(_: str, path: str) -> Reply:
        return (404, {}, {"errors": ["unsupported path"]}) if "soft-delete" in path else (200, {}, known)

    with stub(tmp_path, vault) as (service, _):
        error = refusal("key.unsupported", lambda: service.disable(NAME))
        assert "HashiCorp Vault" in error.found
        service.enable(NAME)
        assert service.describe(NAME).state is KeyState.ENABLED


def test_access_and_identity_are_told_apart(prefix: str, tmp_path: Path) -> None:
    with pytest.raises(AccessRefused):
        with_token(prefix, tmp_path).names()
    file = shared().keep("s.unknown", f"unknown-{tmp_path.name}")
    refusal("key.identity", OpenBaoService.from_uri(shared().uri(prefix, file)).names)


def test_a_grant_that_another_overwrites_is_made_again(tmp_path: Path) -> None:
    """HashiCorp Vault: no versions of policies, and no check-and-set."""
    theirs = json.dumps({"path": {"transit/decrypt/cloakhouse-landing-file": {"capabilities": ["update"]}}})
    kept: list[str] = []
    writes: list[str] = []

    def vault(method: str, _: str) -> Reply:
        if method == "PUT":
            writes.append(json.loads(bodies[-1])["policy"])
            kept[:] = [theirs if len(writes) == 1 else writes[-1]]
            return 204, {}, b""
        return (200, {}, {"data": {"policy": kept[0]}}) if kept else (404, {}, {"errors": []})

    with stub(tmp_path, vault) as (service, _):
        service.grant(GRANT)
        assert len(writes) == 2
        assert set(json.loads(theirs)["path"]) < set(json.loads(kept[0])["path"])


def test_without_hvac_the_remedy_is_told(service: KeyService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac.adapters", None)
    assert "hvac" in refusal("missing", service.names).expected
