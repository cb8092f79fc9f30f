"""Airflow's own database: SQLite of the home, or a PostgreSQL whose URL lies in a file that only its owner reads."""

from __future__ import annotations

import configparser
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from cloakhouse.errors import ConfigurationError
from cloakhouse.flow.environment import airflow_home, prepare
from cloakhouse.flow.submit import driver_environment
from cloakhouse.settings import Settings

PASSWORD = "a%40b%2Fc"  # a@b/c
CONNECTION = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"
ARGUMENTS = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path / "home")})


def test_sqlite_is_the_default(settings: Settings) -> None:
    environment = prepare(settings)
    assert environment[CONNECTION] == f"sqlite:///{airflow_home(settings) / 'airflow.db'}"
    assert "[database]" not in (airflow_home(settings) / "airflow.cfg").read_text()


def test_the_url_of_postgresql_is_in_a_private_file_alone(settings: Settings) -> None:
    url = f"postgresql://airflow:{PASSWORD}@localhost:5433/airflow?application_name=it"
    environment = prepare(replace(settings, airflow_database=url))
    assert CONNECTION not in environment
    assert environment[ARGUMENTS] == "cloakhouse.flow.environment.BOUNDS_OF_POSTGRESQL"
    file = airflow_home(settings) / "airflow.cfg"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    parsed = configparser.ConfigParser()
    parsed.read(file)
    for name in ("sql_alchemy_conn", "sql_alchemy_conn_async"):
        found = sa.make_url(parsed["database"][name])
        assert (found.drivername, found.password, found.port) == ("postgresql+psycopg", "a@b/c", 5433)
    assert environment["CLOAKHOUSE_AIRFLOW_DATABASE"] == url
    assert [name for name, value in environment.items() if PASSWORD in value] == ["CLOAKHOUSE_AIRFLOW_DATABASE"]


def test_a_metadata_database_elsewhere_is_reached_by_verified_tls(settings: Settings) -> None:
    prepare(replace(settings, airflow_database="postgresql://airflow@db.example/airflow"))
    text = (airflow_home(settings) / "airflow.cfg").read_text()
    assert "sslmode=verify-full" in text
    assert "ssl_min_protocol_version=TLSv1.3" in text
    with pytest.raises(ConfigurationError) as refused:
        prepare(
            replace(settings, airflow_database=f"postgresql://airflow:{PASSWORD}@db.example/airflow?sslmode=prefer")
        )
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["sqlite:////x/airflow.db", "mysql://airflow@localhost/airflow", "postgresql://other@localhost/control"]
)
def test_another_kind_or_the_control_database_is_refused(settings: Settings, url: str) -> None:
    both = replace(settings, database="postgresql://cloakhouse@localhost/control", airflow_database=url)
    with pytest.raises(ConfigurationError) as refused:
        prepare(both)
    assert refused.value.code == "configuration.database"
    assert not airflow_home(settings).exists()


@pytest.mark.parametrize(
    ("control", "same"),
    [
        ("postgresql://a@db.example/control?sslrootcert=/x.pem", True),
        ("postgresql://a@DB.example:5432/control?application_name=it", True),
        ("postgresql://a@/control?host=db.example", True),
        ("postgresql://a@db.example:5433/control", False),
        ("postgresql://a@db.example/other", False),
    ],
)
def test_the_control_database_is_known_however_it_is_written(settings: Settings, control: str, same: bool) -> None:
    both = replace(settings, database=control, airflow_database="postgresql://airflow@db.example/control")
    if same:
        with pytest.raises(ConfigurationError):
            prepare(both)
    else:
        prepare(both)


def test_another_home_and_workers_have_none_of_it(settings: Settings, tmp_path: Path) -> None:
    both = replace(settings, airflow_database=f"postgresql://airflow:{PASSWORD}@localhost/airflow")
    assert both.with_home(tmp_path).airflow_database == ""
    assert PASSWORD not in repr(both) + str(both.for_workers())
    assert Settings.from_dict(both.as_dict()) == both
    assert Settings.from_environment(both.environment()) == both


def test_a_spark_driver_has_none_of_airflows_secrets(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "Zwetschgenhuber"
    own = ("DATABASE__SQL_ALCHEMY_CONN", "API__SECRET_KEY", "SECRETS__BACKEND_KWARGS", "CELERY__BROKER_URL")
    for name in ("AIRFLOW_CONN_CLOAKHOUSE_CONTROL", "AIRFLOW_VAR_X", *(f"AIRFLOW__{option}" for option in own)):
        monkeypatch.setenv(name, secret)
    monkeypatch.setenv("CLOAKHOUSE_AIRFLOW_DATABASE", f"postgresql://airflow:{secret}@localhost/airflow")
    monkeypatch.setenv("AWS_PROFILE", "kept")
    both = replace(settings, airflow_database=f"postgresql://airflow:{secret}@localhost/airflow")
    found = driver_environment(both, tmp_path)
    assert [name for name, value in found.items() if secret in value] == []
    assert (found["AWS_PROFILE"], found["CLOAKHOUSE_HOME"], found["TMPDIR"]) == ("kept", str(both.home), str(tmp_path))
