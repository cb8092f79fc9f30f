"""The console standing alone: a token that works once, a session of one browser, this machine's name only."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient
from tests.support.console import BASE, BROWSER

from cloakhouse.console import session
from cloakhouse.console.session import COOKIE, standing_alone
from cloakhouse.errors import ConfigurationError
from cloakhouse.settings import Settings


@pytest.fixture
def alone(settings: Settings) -> tuple[TestClient, str]:
    app, address = standing_alone(settings, "ann", 8090)
    assert address.startswith(f"{BASE}/enter?token=")
    return TestClient(app, base_url=BASE, headers=BROWSER), urlsplit(address)._replace(scheme="", netloc="").geturl()


def test_the_address_opens_once_and_the_cookie_stays(alone: tuple[TestClient, str]) -> None:
    client, address = alone
    assert client.get("/log").status_code == 401
    answer = client.get(address, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/log").status_code == 200
    assert "ann" in client.get("/log").text
    client.cookies.clear()
    assert client.get(address, follow_redirects=False).status_code == 401
    assert client.get("/log").status_code == 401


def test_other_tokens_and_cookies_open_nothing(alone: tuple[TestClient, str]) -> None:
    client, address = alone
    for token in ("", "x", address[-10:], "é"):
        assert client.get("/enter", params={"token": token}).status_code == 401
    for cookie in ("x", address.partition("=")[2]):
        client.cookies.set(COOKIE, cookie)
        assert client.get("/log").status_code == 401
        client.cookies.clear()
    assert client.get(address, follow_redirects=False).status_code == 303


def test_a_page_that_resolves_to_this_machine_gets_nothing(alone: tuple[TestClient, str]) -> None:
    client, address = alone
    for host in ("evil.example", "127.0.0.1", "127.0.0.1:8091", "127.0.0.1.evil.example:8090"):
        assert client.get(address, headers={"host": host}, follow_redirects=False).status_code == 400
    client.get(address)
    assert client.get("/log", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/log", headers={"host": "localhost:8090"}).status_code == 200


def test_a_session_ends_after_twelve_hours(alone: tuple[TestClient, str], monkeypatch: pytest.MonkeyPatch) -> None:
    client, address = alone
    client.get(address)
    now = session.time.monotonic()
    monkeypatch.setattr(session.time, "monotonic", lambda: now + session.LONGEST_S + 1)
    assert client.get("/log").status_code == 401


def test_a_port_that_is_taken_is_refused(settings: Settings) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigurationError, match="port"):
            session.serve(settings, "ann", taken.getsockname()[1])
