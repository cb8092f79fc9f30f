"""Bad input has a defined answer: no traceback, no internals, and nothing repeated that was typed."""

from __future__ import annotations

import pytest
from tests.support.console import Asked

from cloakhouse.console import inputs
from cloakhouse.errors import ConfigurationError, NotFound

BAD = (
    "/log?since=yesterday",
    "/log?since=2026-13-01",
    "/log?until=2026-11-22T25:00",
    "/log?since=0001-01-01T00:00%2B14:00",
    "/log?before=-1",
    "/log?before=1e9",
    "/log?before=" + "9" * 30,
    "/log?actor=" + "a" * 201,
    "/log?actor=%00",
    "/log?actor=a%0d%0aSet-Cookie:x",
    "/log?action=drop%20table",
    "/log?decision=perhaps",
    "/log?run=%1b[2J",
    "/datasets?page=none",
    "/datasets?page=" + "9" * 12,
    "/datasets?name=%E2%80%AE",
    "/alerts?show=some",
    "/approvals?before=x",
)
NOWHERE = (
    "/log/-1",
    "/log/999999",
    "/log/1.0",
    "/log/%31%30%30%30%30%30%30%30%30%30%30%30%30%30%30%30%30%30%30",
    "/log/99999999999999999",
    "/datasets/..%2f..%2fetc%2fpasswd",
    "/datasets/../../etc/passwd",
    "/datasets/Nothing",
    "/datasets/people_synthetic/2",
    "/datasets/people_synthetic/99999999999",
    "/datasets/people_synthetic/x",
    "/datasets/nobody_knows",
    "/evidence/" + "0" * 64,
    "/evidence/..%2f",
    "/public-keys/..%2f..%2fcontrol.pem",
    "/static/..%2fapp.py",
    "/static/../app.py",
    "/budgets/%2e%2e",
    "/documents/other.html",
    "/alerts/1",
    "/alerts/99999999999",
    "/log/",
    "/.git/config",
)


@pytest.mark.parametrize("path", BAD)
def test_what_cannot_be_looked_up_is_a_page_that_says_so(shared: Asked, path: str) -> None:
    answer = shared.get(path)
    assert answer.status_code == 400
    assert "configuration.input" in answer.text
    assert "Traceback" not in answer.text
    assert "aaaa" not in answer.text


@pytest.mark.parametrize("path", NOWHERE)
def test_what_is_not_there_is_a_page_that_says_so(shared: Asked, path: str) -> None:
    answer = shared.get(path)
    assert answer.status_code == 404
    assert "There is no such page" in answer.text or answer.json()["code"].startswith("not-found")
    assert "passwd" not in answer.text
    assert "evil" not in answer.text


def test_a_huge_query_is_refused_before_anything_else(shared: Asked) -> None:
    answer = shared.get("/log?" + "&".join(f"x{i}=1" for i in range(2_000)))
    assert answer.status_code == 400
    assert shared.get("/log?" + "a" * 9_000, "").status_code == 400


def test_other_methods_are_refused(shared: Asked) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert shared.client.request(method, "/log", headers={"x-role": "admin"}).status_code == 405


def test_hosts_and_forwarded_headers_reach_no_link(shared: Asked) -> None:
    given = {"host": "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-prefix": "/evil"}
    for page in ("/", "/datasets", "/alerts", "/log/0"):
        assert "evil" not in shared.get(page, **given).text


def test_times_are_days_or_moments() -> None:
    given = {"since": "2026-11-22", "until": "2026-11-22 15:30", "z": "2026-11-22T15:30:01Z"}
    assert str(inputs.moment(given, "since")) == "2026-11-22 00:00:00+00:00"
    assert str(inputs.moment(given, "since", end=True)) == "2026-11-22 23:59:59.999999+00:00"
    assert str(inputs.moment(given, "until", end=True)) == "2026-11-22 15:30:00+00:00"
    assert str(inputs.moment(given, "z")) == "2026-11-22 15:30:01+00:00"
    assert inputs.moment(given, "none") is None
    assert str(inputs.moment({"until": "9999-12-31"}, "until", end=True)) == "9999-12-31 23:59:59.999999+00:00"


@pytest.mark.parametrize("body", [b"\xff\xfe", b"x" * 8_193, b"&".join(b"a=b" for _ in range(9)), b"noequals"])
def test_a_form_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"configuration\.input"):
        inputs.form(body)


def test_addresses_hold_numbers_digests_and_names() -> None:
    assert inputs.number("17") == 17
    assert inputs.digest("a" * 64) == "a" * 64
    assert inputs.dataset_name("a_b") == "a_b"
    for refused, text in ((inputs.number, "٣"), (inputs.digest, "A" * 64), (inputs.dataset_name, "a" * 64)):
        with pytest.raises(NotFound):
            refused(text)
