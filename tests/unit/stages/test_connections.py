"""What `doctor` finds: each check with what it is there for, on real services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.service_bao import Bao, shared

from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.protocol import TOKENS, KeyName, new_data_key
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.ledger.standing import Standing
from cloakhouse.settings import Settings
from cloakhouse.stages import connections
from cloakhouse.stages.connections import Finding, examine

SECRET = "sekret-424242"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({}).with_home(tmp_path / "home")


@pytest.fixture
def used(settings: Settings) -> Settings:
    """An installation whose keystore, token root and a dataset key are made."""
    TokenKeys(service_of(settings), settings.token_roots).create(TOKENS)
    open_ring(settings).service.wrap(KeyName("protected/direct"), new_data_key(), {})
    settings.lake.mkdir()
    return settings


def found(settings: Settings, what: str) -> Finding:
    (finding,) = (f for f in examine(settings) if f.what == what)
    return finding


def wrong(settings: Settings) -> list[str]:
    return [f.what for f in examine(settings) if not f.ok]


def test_an_installation_in_order(used: Settings) -> None:
    findings = examine(used)
    assert [f.what for f in findings if not f.ok] == []
    service = findings[0]
    assert (service.what, service.protocol, service.detail) == ("key service", "in process", "age X25519, AES-256-GCM")
    assert found(used, "token root").detail == "opens"
    assert not any(f.remedy for f in findings)


def test_looking_makes_nothing(settings: Settings) -> None:
    assert wrong(settings) == []
    assert "none yet" in found(settings, "key service").detail
    assert not settings.home.exists()


def test_a_lost_keystore_is_told_and_not_replaced(used: Settings) -> None:
    (used.home / "keystore" / "keystore.json").unlink()
    assert wrong(used) == ["key service", "token root"]
    assert not (used.home / "keystore" / "keystore.json").exists()


def test_a_keystore_of_another_installation_does_not_open_the_token_root(used: Settings, tmp_path: Path) -> None:
    other = AgeKeyService(tmp_path / "other")
    other.wrap(KeyName("tokens/root"), new_data_key(), {})
    assert wrong(replace(used, keys=f"age:{tmp_path / 'other'}")) == ["token root"]


def test_another_principal_is_not_asked_for_the_token_root(used: Settings, tmp_path: Path) -> None:
    service = service_of(used)
    assert isinstance(service, AgeKeyService)
    service.enrol("model-team", identity=tmp_path / "model.txt")
    theirs = replace(used, identity=tmp_path / "model.txt", purpose="model-training")
    assert wrong(theirs) == []
    assert "platform alone" in found(theirs, "token root").detail


@pytest.mark.parametrize("name", ["keystore/identities/platform.txt", "token-roots/tokens-root.json"])
def test_a_file_of_the_home_that_others_may_read(used: Settings, name: str) -> None:
    (used.home / name).chmod(0o640)
    finding = found(used, "file modes")
    assert not finding.ok
    assert finding.detail.startswith("1 of ")
    assert finding.detail.endswith(name)
    assert "chmod" in finding.remedy


def test_public_keys_are_anybodys_to_read_and_nobodys_to_change(used: Settings) -> None:
    public = used.signing_keys / "releases.pem"
    public.parent.mkdir(exist_ok=True)
    public.touch()
    for mode, ok in ((0o644, True), (0o664, False), (0o645, False)):
        public.chmod(mode)
        assert found(used, "file modes").ok is ok


def test_a_file_that_vanishes_during_the_look_is_no_fault(used: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = used.home / "tmp" / "gone"
    gone.parent.mkdir()
    gone.touch(0o600)
    real = Path.rglob

    def rglob(self: Path, pattern: str) -> Iterator[Path]:
        for path in list(real(self, pattern)):
            if path == gone:
                gone.unlink()
            yield path

    monkeypatch.setattr(Path, "rglob", rglob)
    assert found(used, "file modes").ok
    assert not gone.exists()


@pytest.mark.parametrize("url", [f"postgresql://me:{SECRET}@db.example.com/x", f"nonsense {SECRET}"])
def test_a_database_that_nobody_verified_is_a_finding_without_its_password(used: Settings, url: str) -> None:
    findings = examine(replace(used, database=url))
    assert [f.what for f in findings if not f.ok] == ["token root", "control database"]  # its use can't be recorded
    assert SECRET not in json.dumps([f.as_dict() for f in findings])


def test_a_database_here_whose_tls_may_be_older_is_a_finding_that_says_how_to_ask_for_more(
    used: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Standing("PostgreSQL", "127.0.0.1", "TLS", "0003", "0003", "current")
    monkeypatch.setattr(connections, "standing", lambda url: older)
    finding = found(used, "control database")
    assert not finding.ok
    assert "ssl_min_protocol_version=TLSv1.3" in finding.remedy
    assert "database upgrade" not in finding.remedy  # its tables are as they should be


def test_a_database_whose_tables_are_older_is_a_finding_that_names_the_upgrade(
    used: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        connections, "standing", lambda url: Standing("PostgreSQL", "db", "TLSv1.3", "0002", "0003", "older")
    )
    finding = found(used, "control database")
    assert not finding.ok
    assert "database upgrade" in finding.remedy


def test_a_lake_that_is_no_folder(used: Settings) -> None:
    used.lake.rmdir()
    used.lake.touch(0o600)
    assert wrong(used) == ["lake"]


@pytest.mark.parametrize("keys", ["nonsense", "age", "bao:http://example.com/transit", "pkcs11:"])
def test_a_key_service_that_no_uri_names(used: Settings, keys: str) -> None:
    finding = found(replace(used, keys=keys), "key service")
    assert not finding.ok
    assert finding.remedy


def test_a_service_over_tls_shows_what_was_negotiated(settings: Settings) -> None:
    there = replace(settings, keys=shared().uri("doctor"))
    finding = found(there, "key service")
    assert finding == Finding("key service", f"https://127.0.0.1:{shared().port}", "TLSv1.3", finding.detail, True)
    assert finding.detail in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
    assert shared().root not in json.dumps([f.as_dict() for f in examine(there)])


def test_a_token_that_the_service_refuses_is_found_where_the_token_root_is_opened(settings: Settings) -> None:
    there = replace(settings, keys=shared().uri("doctortoken"))
    TokenKeys(service_of(there), there.token_roots).create(TOKENS)
    assert wrong(there) == []
    bad = shared().keep("no-such-token", "bad-token")
    assert wrong(replace(there, keys=shared().uri("doctortoken", bad))) == ["token root"]


def test_a_server_of_tls_1_2_is_a_finding(settings: Settings, tmp_path: Path) -> None:
    server = Bao(tmp_path / "bao")
    try:
        server.kill()
        file = tmp_path / "bao" / "server.json"
        configuration = json.loads(file.read_text())
        configuration["listener"][0]["tcp"].update(tls_min_version="tls12", tls_max_version="tls12")
        file.write_text(json.dumps(configuration))
        server.start()
        finding = found(replace(settings, keys=server.uri()), "key service")
        assert not finding.ok
        assert finding.protocol != "TLSv1.3"
        assert "1.3" in f"{finding.detail} {finding.remedy}"
    finally:
        server.kill()


def test_a_service_that_does_not_answer_is_a_finding(settings: Settings) -> None:
    uri = shared().uri().replace(f":{shared().port}/", ":9/")
    finding = found(replace(settings, keys=uri), "key service")
    assert (finding.ok, finding.protocol, finding.endpoint) == (False, "key.unreachable", "127.0.0.1:9")


def test_a_token_file_open_to_others_is_a_finding(settings: Settings) -> None:
    there = replace(settings, keys=shared().uri("doctormode"))
    TokenKeys(service_of(there), there.token_roots).create(TOKENS)
    loose = shared().keep(shared().root, "loose-token", mode=0o644)
    finding = found(replace(there, keys=shared().uri("doctormode", loose)), "token root")
    assert (finding.ok, finding.protocol) == (False, "key.mode")
