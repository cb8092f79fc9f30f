from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloakhouse.errors import ConfigurationError
from cloakhouse.settings import Settings


def test_the_defaults_hang_below_the_project(tmp_path: Path) -> None:
    settings = Settings.from_environment({"CLOAKHOUSE_PROJECT": str(tmp_path)})
    assert settings.home == tmp_path / "var"
    assert settings.contracts == tmp_path / "dags" / "contracts"
    assert settings.expectations == tmp_path / "expectations"
    assert settings.keys == f"age:{tmp_path}/var/keystore"
    assert settings.database == f"sqlite:///{tmp_path}/var/control.db"
    assert settings.inbox == tmp_path / "var" / "inbox"
    assert settings.lake == tmp_path / "var" / "lake"


def test_the_checkout_is_the_project_by_default() -> None:
    settings = Settings.from_environment({})
    assert (settings.project / "plugins" / "cloakhouse" / "settings.py").is_file()
    assert settings.contracts.is_dir()


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    names = ("HOME", "CONTRACTS", "EXPECTATIONS", "KEYS", "DATABASE")
    empty = {f"CLOAKHOUSE_{name}": "" for name in names}
    project = {"CLOAKHOUSE_PROJECT": str(tmp_path)}
    assert Settings.from_environment({**project, **empty}) == Settings.from_environment(project)


def test_settings_travel_as_texts_and_as_environment(tmp_path: Path) -> None:
    settings = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path), "CLOAKHOUSE_KEYS": "age:/keys"})
    assert settings.keys == "age:/keys"
    assert Settings.from_dict(json.loads(json.dumps(settings.as_dict()))) == settings
    assert Settings.from_environment(settings.environment()) == settings


def test_another_home_has_its_own_keys_and_database(tmp_path: Path) -> None:
    base = Settings.from_environment({})
    moved = base.with_home(tmp_path)
    assert (moved.home, moved.contracts) == (tmp_path, base.contracts)
    assert str(tmp_path) in moved.keys
    assert str(tmp_path) in moved.database
    assert moved.token_roots.parent == tmp_path


def test_temporary_files_go_where_they_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.from_environment({}).with_home(tmp_path / "home")
    monkeypatch.delenv("TMPDIR", raising=False)
    assert settings.temporary() == tmp_path / "home" / "tmp"
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    assert settings.temporary() == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere").is_dir()
    assert settings.scratch != settings.with_home(tmp_path / "other").scratch


def test_the_limit_of_detokenization(tmp_path: Path) -> None:
    name = "CLOAKHOUSE_DETOKENIZE_LIMIT"
    assert Settings.from_environment({}).detokenize_limit == 1_000
    for text in ("0", "250", "10000000"):
        settings = Settings.from_environment({name: text, "CLOAKHOUSE_HOME": str(tmp_path)})
        assert settings.detokenize_limit == int(text)
        assert settings.environment()[name] == text
        assert Settings.from_dict(settings.as_dict()) == settings
    for text in ("-1", "10000001", "many", "1e3", "1_000", " 5", "\u0665"):
        with pytest.raises(ConfigurationError) as refusal:
            Settings.from_environment({name: text})
        assert (refusal.value.where, refusal.value.found) == (name, "another text")
        assert refusal.value.remedy == "correct the setting"


@pytest.mark.parametrize("name", ["HOME", "CONTRACTS", "EXPECTATIONS", "POLICY", "IDENTITY", "CACHE", "KEYS"])
def test_a_path_that_leads_nowhere_is_told_by_its_variable(name: str) -> None:
    given = "age:~nobody-of-this-name/x" if name == "KEYS" else "~nobody-of-this-name/x"
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment({f"CLOAKHOUSE_{name}": given})
    assert refused.value.where == f"CLOAKHOUSE_{name}"
    assert "nobody-of" not in str(refused.value)


def test_a_working_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigurationError, match="CLOAKHOUSE_CONTRACTS"):
        Settings.from_environment({"CLOAKHOUSE_CONTRACTS": "mine"})


def test_a_number_of_thousands_of_digits_is_told() -> None:
    with pytest.raises(ConfigurationError, match="CLOAKHOUSE_ROTATION_DAYS"):
        Settings.from_environment({"CLOAKHOUSE_ROTATION_DAYS": "9" * 5_000})
