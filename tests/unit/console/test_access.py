"""Every route asks who it is; what isn't declared is refused; each role sees what its row of the table says."""

from __future__ import annotations

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from tests.support.console import BASE, BROWSER, PAGES, Asked, asked

from cloakhouse.console.access import ROLES, Need, Person, may, require
from cloakhouse.errors import AccessRefused
from cloakhouse.settings import Settings

EVIDENCE = [page for page in PAGES if not page.startswith("/datasets") and page != "/"]


def flat(routes: list[BaseRoute]) -> list[APIRoute]:
    """Return all routes, those of included routers as well."""
    found: list[APIRoute] = []
    for route in routes:
        if isinstance(route, APIRoute):
            found.append(route)
        elif isinstance(inner := getattr(route, "original_router", None), APIRouter):
            found += flat(inner.routes)
    return found


def test_every_route_but_static_files_answers_401_without_a_token(shared: Asked) -> None:
    routes = flat(shared.app.router.routes)
    assert len(routes) > 25
    for route in routes:
        path = route.path.replace("{name}", "people_synthetic").replace("{number}", "1").replace("{form}", "html")
        path = path.replace("{sha256}", "0" * 64).replace("{dataset}", "transactions").replace("{kind}", "record")
        path = path.replace("{path:path}", "anywhere/else").replace("{batch}", "er-20261101-0badcafe")
        assert "{" not in path
        for method in route.methods:
            answer = shared.client.request(method, path, follow_redirects=False)
            assert answer.status_code == (404 if path.startswith("/static/") else 401), path
            if answer.status_code == 401:
                assert set(answer.json()) == {"code", "expected", "remedy"}
                assert answer.headers["www-authenticate"] == "Bearer"


def test_a_new_route_that_declares_nothing_is_refused_to_everybody() -> None:
    for role in ROLES:
        with pytest.raises(AccessRefused, match=r"access\.console"):
            require(Person("ann", role), lambda: None)


@pytest.mark.parametrize("role", ["admin", "engineer", "auditor", "approver"])
def test_whoever_may_see_evidence_sees_every_page(shared: Asked, role: str) -> None:
    assert {page: shared.get(page, role).status_code for page in PAGES} == dict.fromkeys(PAGES, 200)


def test_a_model_team_sees_datasets_and_cards_and_nothing_else(shared: Asked) -> None:
    assert {page: shared.get(page, "model").status_code for page in EVIDENCE} == dict.fromkeys(EVIDENCE, 403)
    assert shared.get("/", "model").headers["location"] == "/datasets"
    for page in ("/datasets", "/datasets/people_synthetic", "/datasets/people_synthetic/1"):
        text = shared.get(page, "model").text
        assert "people_synthetic" in text
        for hidden in ("/log", "/keys", "/evidence/", "Approvals", "report.pdf"):
            assert hidden not in text
    assert shared.get("/datasets/people_synthetic/1/card.json", "model").json()["rows"] == 6
    assert shared.get("/datasets/transactions", "model").status_code == 404
    for path in ("/datasets/people_synthetic/1/bundle", "/datasets/people_synthetic/1/report.json", "/log.csv"):
        assert shared.get(path, "model").status_code == 403


@pytest.mark.parametrize("role", ["nobody-knows", "ADMIN", "viewer"])
def test_an_unknown_role_sees_nothing(shared: Asked, role: str) -> None:
    assert {shared.get(page, role).status_code for page in PAGES} == {403}
    assert not any(may(Person("x", role), need) for need in Need)


def test_only_three_roles_write() -> None:
    assert {role for role, opened in ROLES.items() if Need.ACKNOWLEDGE in opened} == {"admin", "engineer", "auditor"}


def test_a_browser_without_a_token_is_sent_to_sign_in_and_a_program_is_not(shared: Asked) -> None:
    sent = shared.client.get("/keys", headers={**BROWSER, "x-login": "1"}, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (303, "/auth/login?next=/keys")
    assert shared.client.get("/keys", headers={"x-login": "1"}, follow_redirects=False).status_code == 401
    assert shared.client.get("/keys", headers=BROWSER).status_code == 401


def test_an_approver_whom_a_contract_names_sees_evidence(settings: Settings) -> None:
    console = asked(settings)
    assert console.get("/log", "model").status_code == 403
    (path,) = settings.contracts.glob("baskets_private*")
    text = path.read_text().replace(
        "  - property: gate\n",
        "  - property: approval\n    value: {approvers: [kim], timeoutHours: 48}\n  - property: gate\n",
    )
    home = settings.home / "contracts"
    home.mkdir()
    for other in settings.contracts.glob("*.odcs.yaml"):
        (home / other.name).write_bytes(other.read_bytes())
    (home / path.name).write_text(text)
    from dataclasses import replace

    console = asked(replace(settings, contracts=home))
    assert console.get("/log", "model", x_name="kim").status_code == 200
    assert console.get("/log", "model", x_name="kimi").status_code == 403
    assert "kim" in console.get("/datasets/baskets_private", x_name="kim").text
    assert console.client.base_url == BASE
