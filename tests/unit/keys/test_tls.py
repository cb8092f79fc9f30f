from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from tests.support.certificates import Authority, Pair

from cloakhouse.errors import ConfigurationError, KeyServiceError
from cloakhouse.keys.tls import client_context, connection_error, http_adapter, negotiated


class _Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def _listening(pair: Pair | None, highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Iterator[int]:
    """Yield the port of a real HTTPS server with `pair`, or of a plain HTTP one."""
    server = _Quiet(("127.0.0.1", 0), _Hello)
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = highest
        context.load_cert_chain(pair.certificate, pair.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def port(authority: Authority) -> Iterator[int]:
    with _listening(authority.server()) as port:
        yield port


def _get(port: int, context: ssl.SSLContext, host: str = "127.0.0.1", *, verify: bool | str = True) -> str:
    with requests.Session() as session:
        session.mount("https://", http_adapter(context))
        return session.get(f"https://{host}:{port}/", timeout=5, verify=verify).text


def _by_socket(port: int, context: ssl.SSLContext) -> KeyServiceError:
    with pytest.raises(KeyServiceError) as refusal:
        negotiated("127.0.0.1", port, context, 2)
    return refusal.value


def _by_requests(port: int, context: ssl.SSLContext) -> KeyServiceError:
    with pytest.raises(requests.RequestException) as refusal:
        _get(port, context)
    return connection_error(f"127.0.0.1:{port}", refusal.value, "nothing was done")


BOTH = pytest.mark.parametrize("refusal_at", [_by_socket, _by_requests])
RefusalAt = Callable[[int, ssl.SSLContext], KeyServiceError]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_trusted_server_is_reached_over_tls_1_3(authority: Authority, port: int, host: str) -> None:
    protocol, cipher = negotiated(host, port, client_context(authority.ca))
    assert protocol == "TLSv1.3"
    assert cipher.startswith("TLS_")
    assert _get(port, client_context(authority.ca), host) == "hello"


@BOTH
def test_a_server_that_knows_only_tls_1_2_is_refused(authority: Authority, refusal_at: RefusalAt) -> None:
    with _listening(authority.server(stem="older"), ssl.TLSVersion.TLSv1_2) as port:
        error = refusal_at(port, client_context(authority.ca))
    assert (error.code, error.found) == ("key.tls", "the server offers no TLS 1.3")
    assert str(port) in error.where


def test_a_context_that_was_loosened_is_found_out(authority: Authority) -> None:
    context = client_context(authority.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with _listening(authority.server(stem="loosened"), ssl.TLSVersion.TLSv1_2) as port:
        assert _by_socket(port, context).found == "the server chose TLSv1.2"


@BOTH
def test_an_authority_that_is_not_named_is_not_trusted(tmp_path: Path, port: int, refusal_at: RefusalAt) -> None:
    for context in (client_context(Authority(tmp_path).ca), client_context()):
        error = refusal_at(port, context)
        assert error.code == "key.tls"
        assert "not trusted" in error.found


@BOTH
def test_a_certificate_of_another_host_is_refused(authority: Authority, refusal_at: RefusalAt) -> None:
    for name in ("keys.example.org", "127.0.0.2"):
        with _listening(authority.server(name, stem="other")) as port:
            error = refusal_at(port, client_context(authority.ca))
        assert (error.code, error.found) == ("key.tls", "a certificate for another host name")


@BOTH
def test_an_expired_certificate_is_refused(authority: Authority, refusal_at: RefusalAt) -> None:
    with _listening(authority.server(stem="expired", expired=True)) as port:
        error = refusal_at(port, client_context(authority.ca))
    assert (error.code, error.expected) == ("key.tls", "a certificate that is valid today")


@BOTH
def test_a_server_without_tls_is_refused(authority: Authority, refusal_at: RefusalAt) -> None:
    with _listening(None) as port:
        assert refusal_at(port, client_context(authority.ca)).code in ("key.tls", "key.unreachable")


@BOTH
def test_where_nobody_listens_is_unreachable(authority: Authority, refusal_at: RefusalAt) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        error = refusal_at(taken.getsockname()[1], client_context(authority.ca))
    assert error.code == "key.unreachable"
    assert "refused" in error.found


def test_a_server_that_never_answers_is_left(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(KeyServiceError) as refusal:
        negotiated("127.0.0.1", silent.getsockname()[1], client_context(authority.ca), 0.2)
    assert (refusal.value.code, refusal.value.found) == ("key.unreachable", "no answer in time")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 300, "a..b", ""])
def test_a_host_that_does_not_resolve_is_unreachable(authority: Authority, host: str) -> None:
    with pytest.raises(KeyServiceError) as refusal:
        negotiated(host, 1, client_context(authority.ca), 1)
    assert refusal.value.code == "key.unreachable"


def test_verification_can_not_be_switched_off(
    tmp_path: Path, authority: Authority, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = client_context(Authority(tmp_path).ca)
    with pytest.raises(requests.exceptions.SSLError):
        _get(port, stranger, verify=False)
    with pytest.raises(requests.exceptions.SSLError):
        _get(port, stranger, verify=str(authority.ca))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca))
    with pytest.raises(requests.exceptions.SSLError):
        _get(port, stranger)
    assert stranger.verify_mode == ssl.CERT_REQUIRED
    assert stranger.check_hostname


def test_only_the_named_authority_is_trusted(authority: Authority, port: int) -> None:
    context = client_context(authority.ca)
    _get(port, context)
    assert context.cert_store_stats()["x509"] == 1


def test_session_keys_are_never_written_down(
    tmp_path: Path, authority: Authority, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys.log"))
    negotiated("127.0.0.1", port, client_context(authority.ca))
    _get(port, client_context(authority.ca))
    assert not (tmp_path / "keys.log").exists()


def test_an_authority_file_that_can_not_be_used_is_told(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")
    (tmp_path / "text.pem").write_text("no certificate")
    leaf = authority.server(stem="leaf").certificate.read_text().split("-----END CERTIFICATE-----")[0]
    (tmp_path / "leaf.pem").write_text(f"{leaf}-----END CERTIFICATE-----\n")
    for file in ("missing.pem", "empty.pem", "text.pem", "leaf.pem", "."):
        with pytest.raises(ConfigurationError) as refusal:
            client_context(tmp_path / file)
        assert str(tmp_path) in refusal.value.where
