"""What time a key service tells: by the Date of any answer, without a token; never a guess."""

from __future__ import annotations

import datetime as dt
import email.utils
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.support.service_bao import shared

from cloakhouse.errors import KeyServiceError
from cloakhouse.keys.clock import time_at


class Answering(BaseHTTPRequestHandler):
    """Refuses every request, with the Date of the server that has it."""

    date: str | None = None

    def do_GET(self) -> None:
        assert "Authorization" not in self.headers
        self.send_response_only(403)
        if self.date is not None:
            self.send_header("Date", self.date)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def uri() -> Iterator[str]:
    """The URI of a key service on loopback."""
    server = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"aws-kms:alias/house?region=eu-west-1&endpoint=http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.mark.parametrize("minutes", [0, 16, -200])
def test_a_refusal_tells_the_time_too(uri: str, monkeypatch: pytest.MonkeyPatch, minutes: int) -> None:
    skew = dt.timedelta(minutes=minutes)
    told = email.utils.format_datetime(dt.datetime.now(dt.UTC) + skew, usegmt=True)
    monkeypatch.setattr(Answering, "date", told)
    found = time_at(uri)
    assert found is not None
    theirs, ours = found
    assert abs(theirs - ours - skew) < dt.timedelta(seconds=3)


@pytest.mark.parametrize("date", [None, "", "yesterday", "Mon, 99 Nov 2026 05:00:00 GMT"])
def test_an_answer_without_a_time_is_none(uri: str, monkeypatch: pytest.MonkeyPatch, date: str | None) -> None:
    monkeypatch.setattr(Answering, "date", date)
    with pytest.raises(KeyServiceError) as refusal:
        time_at(uri)
    assert refusal.value.code == "key.damaged"


def test_a_service_that_is_away_is_unreachable() -> None:
    with pytest.raises(KeyServiceError) as refusal:
        time_at("bao:https://127.0.0.1:9/transit")
    assert refusal.value.code == "key.unreachable"


def test_a_service_in_this_process_has_no_clock_of_its_own() -> None:
    assert time_at("age:/srv/keystore") is None
    assert time_at("pkcs11:token=house") is None


def test_a_real_service_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = shared().uri("clock")
    for name in ("BAO_TOKEN", "VAULT_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    found = time_at(uri)
    assert found is not None
    assert abs(found[0] - found[1]) < dt.timedelta(seconds=3)
