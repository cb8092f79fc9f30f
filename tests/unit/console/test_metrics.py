"""/metrics: for whoever holds its token, and nobody else; in the two forms that Prometheus reads."""

from __future__ import annotations

import httpx
import pytest
from click.testing import CliRunner
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from starlette.testclient import TestClient
from tests.support.console import BASE, HeaderGate, asked

from cloakhouse.client.cli import cli
from cloakhouse.console.app import create_app
from cloakhouse.console.metrics_token import drop_token, holds, make_token
from cloakhouse.settings import Settings
from cloakhouse.stages.metrics import Metrics
from cloakhouse.stages.metrics_model import FAMILIES, Kind


def scrape(
    settings: Settings, token: str = "", host: str = "127.0.0.1", base: str = BASE, **headers: str
) -> httpx.Response:
    client = TestClient(
        create_app(settings, HeaderGate()), base_url=base, client=(host, 50_000), raise_server_exceptions=False
    )
    return client.get("/metrics", headers={**({"authorization": f"Bearer {token}"} if token else {}), **headers})


def test_the_token_opens_the_metrics_and_nothing_else(settings: Settings) -> None:
    token = make_token(settings)
    answer = scrape(settings, token)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    for page in ("/", "/keys", "/log"):
        client = asked(settings).client
        assert client.get(page, headers={"authorization": f"Bearer {token}"}).status_code == 401


def test_without_a_token_that_holds_nobody_is_answered(settings: Settings) -> None:
    assert scrape(settings, "x" * 43).status_code == 401  # none was made
    old = make_token(settings)
    new = make_token(settings)
    assert [scrape(settings, token).status_code for token in ("", "x", old, new)] == [401, 401, 401, 200]
    assert scrape(settings, **{"x-role": "admin"}).status_code == 401
    assert scrape(settings, authorization=f"Basic {new}").status_code == 401
    assert drop_token(settings)
    assert not drop_token(settings)
    assert scrape(settings, new).status_code == 401


def test_the_installation_keeps_no_token(settings: Settings) -> None:
    token = make_token(settings)
    kept = settings.home / "metrics-token"
    assert token not in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert holds(settings, token)
    kept.write_text("")
    assert not holds(settings, token)
    assert not holds(settings, "")


@pytest.mark.parametrize(
    ("host", "base", "status"),
    [
        ("127.0.0.1", "http://127.0.0.1:8090", 200),
        ("::1", "http://[::1]:8090", 200),
        ("10.0.0.7", "http://10.0.0.1:8090", 403),
        ("10.0.0.7", "https://metrics.example", 200),
        ("a-name", "http://127.0.0.1:8090", 403),
    ],
)
def test_plain_http_from_another_machine_is_refused(settings: Settings, host: str, base: str, status: int) -> None:
    answer = scrape(settings, make_token(settings), host, base)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "access.plain"


def test_both_forms_are_read_by_the_library_and_name_known_metrics_only(settings: Settings) -> None:
    token = make_token(settings)
    plain = list(prometheus(scrape(settings, token).text))
    answer = scrape(settings, token, accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    opened = list(openmetrics(answer.text))
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    for families in (plain, opened):
        names = {sample.name for family in families for sample in family.samples}
        assert names <= FAMILIES.keys()
        assert {"cloakhouse_log_entries", "cloakhouse_key_enabled", "cloakhouse_events_total"} <= names
        for family in families:
            known = FAMILIES[family.samples[0].name]
            assert (family.type, family.documentation) == (known.kind.value, known.help)
            assert all(set(sample.labels) == set(known.labels) for sample in family.samples)
    assert any(family.kind is Kind.COUNTER for family in FAMILIES.values())


def test_it_is_computed_once_for_all_who_ask(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    whole = Metrics.collect
    monkeypatch.setattr(Metrics, "collect", lambda self: calls.append(1) or whole(self))
    token, app = make_token(settings), create_app(settings, HeaderGate())
    client = TestClient(app, base_url=BASE, client=("127.0.0.1", 50_000))
    texts = {client.get("/metrics", headers={"authorization": f"Bearer {token}"}).text for _ in range(5)}
    assert (len(texts), len(calls)) == (1, 1)


def test_no_database_is_503(settings: Settings) -> None:
    token = make_token(settings)
    (settings.home / "control.db").unlink()
    assert scrape(settings, token).status_code == 503


def test_on_the_command_line(settings: Settings) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        env = {**settings.environment(), "CLOAKHOUSE_IDENTITY": None, "CLOAKHOUSE_CACHE": None}
        result = CliRunner().invoke(cli, ["metrics", *arguments], env=env, prog_name="cloakhouse")
        return result.exit_code, result.stdout

    code, token = run("token")
    assert code == 0
    assert scrape(settings, token.strip()).status_code == 200
    assert run("token", "--drop") == (0, "")
    assert scrape(settings, token.strip()).status_code == 401
    code, text = run("show")
    assert code == 0
    assert {s.name for family in prometheus(text) for s in family.samples} <= FAMILIES.keys()
