"""The console in a real Airflow: who sees what is decided by its auth manager, and the pages work in its frame."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import jwt
import pytest
from tests.browser.conftest import Airflow

from cloakhouse.ledger.alerts import AlertRegister

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.airflow]

SEEN = {
    "admin": {"/": 200, "/datasets": 200, "/log": 200, "/keys": 200, "/log.csv": 200},
    "engineer": {"/": 200, "/datasets": 200, "/log": 200, "/keys": 200, "/log.csv": 200},
    "auditor": {"/": 200, "/datasets": 200, "/log": 200, "/keys": 200, "/log.csv": 200},
    "model": {"/": 303, "/datasets": 200, "/log": 403, "/keys": 403, "/log.csv": 403},
}


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def answered(airflow: Airflow, path: str, token: str = "", *, browser: bool = False) -> tuple[int, str]:
    """Return status and, for a redirect, where to; nothing is followed."""
    request = urllib.request.Request(f"{airflow.base}/auditor{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if browser:
        request.add_header("Accept", "text/html")
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=60) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as problem:
        return problem.code, problem.headers.get("location", "")


@pytest.mark.parametrize("user", list(SEEN))
def test_each_user_sees_what_the_role_opens(airflow: Airflow, user: str) -> None:
    token = airflow.token(user)
    assert {path: answered(airflow, path, token)[0] for path in SEEN[user]} == SEEN[user]


def test_without_a_token_programs_get_401_and_browsers_the_login_page(airflow: Airflow) -> None:
    for path in ("/", "/log", "/keys", "/nowhere"):
        assert answered(airflow, path)[0] == 401
        status, to = answered(airflow, path, browser=True)
        assert status == 303
        assert to.startswith("/auth/login?next=")
        assert "%2Fauditor" in to


def test_forged_and_expired_tokens_are_refused(airflow: Airflow) -> None:
    good = airflow.token("auditor")
    head, body, signature = good.split(".")
    claims = jwt.decode(good, options={"verify_signature": False})
    forged = jwt.encode({**claims, "role": "admin", "sub": "admin"}, "another secret of thirty-two bytes", "HS512")
    unsigned = jwt.encode({**claims, "sub": "admin"}, None, "none")
    for token in (
        forged,
        unsigned,
        f"{head}.{body}.",
        f"{head}.{body}.{signature[::-1]}",
        "x",
        "a.b.c",
        "é"[:0] or "-" * 9_000,
    ):
        assert answered(airflow, "/log", token)[0] in (401, 403, 431), token[:20]
    secret = next(
        line.partition("=")[2].strip()
        for line in (airflow.settings.home / "airflow" / "airflow.cfg").read_text().splitlines()
        if line.startswith("jwt_secret")
    )
    algorithm = jwt.get_unverified_header(good)["alg"]
    stale = jwt.encode(
        {**claims, "exp": claims["iat"] - 10, "nbf": claims["iat"] - 90, "iat": claims["iat"] - 90}, secret, algorithm
    )
    assert answered(airflow, "/log", stale)[0] == 401
    assert answered(airflow, "/log", good)[0] == 200


def test_a_person_signs_in_and_works_within_airflows_frame(airflow: Airflow, chromium: Browser) -> None:
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    page.goto(f"{airflow.base}/auditor/log")
    assert "/auth/login" in page.url
    page.fill('input[name="username"]', "auditor")
    page.fill('input[name="password"]', airflow.password("auditor"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/auditor/log*")
    assert page.inner_text("h1") == "Audit log"
    page.goto(f"{airflow.base}/plugin/auditor")
    frame = page.frame_locator("iframe[title='Auditor']")
    assert "wrong today" in frame.locator("h1").inner_text()
    frame.get_by_role("link", name="Audit log").click()
    with page.expect_download() as taken:
        frame.get_by_role("link", name="These as CSV").click()
    assert taken.value.suggested_filename == "audit-log.csv"
    frame.locator("tbody a").last.click()
    frame.locator("#check").click()
    frame.locator(".verdict-line").wait_for()
    assert "This entry is in the" in frame.locator(".verdict-line").inner_text()
    frame.get_by_role("link", name="Alerts", exact=True).click()
    frame.locator("tbody a").last.click()
    frame.locator("#note").fill("case 4711: looked at with the service desk")
    frame.get_by_role("button", name="Acknowledge").click()
    frame.locator("h2", has_text="Acknowledged").wait_for()
    context.close()
    seen = AlertRegister(airflow.settings.database).get(1).acknowledged
    assert seen is not None
    assert (seen.actor, seen.note) == ("auditor", "case 4711: looked at with the service desk")


def test_airflow_names_the_console_in_its_navigation(airflow: Airflow) -> None:
    request = urllib.request.Request(
        f"{airflow.base}/api/v2/plugins", headers={"Authorization": f"Bearer {airflow.token('admin')}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        plugins = {plugin["name"]: plugin for plugin in json.loads(answer.read())["plugins"]}
    assert plugins["auditor_console"]["external_views"][0]["href"] == "/auditor/"
    assert plugins["auditor_console"]["fastapi_apps"][0]["url_prefix"] == "/auditor"
