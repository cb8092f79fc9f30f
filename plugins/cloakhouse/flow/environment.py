"""The environment that Airflow runs in: fixed settings of infra/, this installation's paths, its own secrets.

Secrets (fernet key, JWT secret, passwords of the simple auth manager) are made once, kept under
`$CLOAKHOUSE_HOME/airflow` with mode 0600, and reach Airflow through a configuration file of mode 0600. So does the URL
of a metadata database on PostgreSQL (CLOAKHOUSE_AIRFLOW_DATABASE), which may hold a password.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import sqlalchemy as sa

from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.files import create_once, locked, replacing
from cloakhouse.ledger.database_url import database_url
from cloakhouse.settings import Settings

WAIT_FOR_SQLITE = {"timeout": 60}  # seconds; Airflow's components and its command line share one SQLite file
BOUNDS_OF_POSTGRESQL = {  # libpq: connecting, and a network that is dead (seconds; tcp_user_timeout milliseconds)
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
USERS = ("admin", "engineer", "model", "auditor", "approver")
LOCK_WAIT_S = 60.0


def airflow_home(settings: Settings) -> Path:
    """Return the folder of Airflow's database, logs and secrets."""
    return settings.home / "airflow"


def passwords_file(settings: Settings) -> Path:
    """Return the file with the passwords of the embedded users (JSON, mode 0600)."""
    return airflow_home(settings) / "passwords.json"


def prepare(settings: Settings, port: int = 8080) -> dict[str, str]:
    """Make Airflow's folder with secrets and configuration where missing; return the variables it runs with.

    `port` is that of the API server on 127.0.0.1. Raises StorageError; ConfigurationError for a metadata database that
    is no PostgreSQL, is reached with less than verified TLS, or is the control database.
    """
    metadata = _metadata(settings)
    home = airflow_home(settings)
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.chmod(0o700)
    _passwords(settings)
    create_once(home / "secrets.json", json.dumps(_new_secrets()).encode())
    kept = json.loads((home / "secrets.json").read_text())
    with replacing(home / "airflow.cfg") as stream:
        stream.write(_configuration(kept, passwords_file(settings), metadata).encode())
    fixed = _fixed(settings.project / "infra" / "airflow" / "airflow.env")
    if metadata:
        fixed["AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS"] = f"{__name__}.BOUNDS_OF_POSTGRESQL"
    else:
        fixed["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{home / 'airflow.db'}"
    return {
        **fixed,
        **settings.environment_of_airflow(),
        "DEV": "",  # where it is set, Airflow logs tracebacks with local variables
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.project / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(settings.project / "plugins"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "TMPDIR": str(settings.temporary()),
        "PATH": os.environ.get("PATH", os.defpath),
    }


def _passwords(settings: Settings) -> None:
    """Give each user who has none a password: Airflow would make what is missing, and print it into its log."""
    file = passwords_file(settings)
    with locked(settings.locks / "airflow.lock", LOCK_WAIT_S, "Airflow's passwords"):
        kept = json.loads(file.read_text()) if file.exists() else {}
        missing = {user: secrets.token_urlsafe(18) for user in USERS if user not in kept}
        if missing:
            with replacing(file) as stream:
                stream.write(json.dumps({**kept, **missing}).encode())


def _new_secrets() -> dict[str, str]:
    from cryptography.fernet import Fernet

    return {
        "fernet": Fernet.generate_key().decode(),
        "jwt": secrets.token_urlsafe(48),
        "api": secrets.token_urlsafe(48),
    }


def _metadata(settings: Settings) -> str:
    """Return the URL of Airflow's metadata database for SQLAlchemy, empty for SQLite in Airflow's folder."""
    if not settings.airflow_database:
        return ""
    url, control = database_url(settings.airflow_database), database_url(settings.database)
    if url.get_backend_name() != "postgresql" or _is_same(url, control):
        raise ConfigurationError(
            where="CLOAKHOUSE_AIRFLOW_DATABASE",
            expected="postgresql://USER@HOST/NAME, a database of Airflow's own",
            found="another kind of database, or the control database",
            not_done="Airflow was not started",
            remedy="make a database for Airflow and name it there; or leave it empty for SQLite",
            code="database",
        )
    return url.render_as_string(hide_password=False)


def _is_same(one: sa.URL, other: sa.URL) -> bool:
    """Return whether both may be one database: of one name, at one server however it is written. Parameters that don't
    say where it is (`sslrootcert`, `application_name`) make it no other one."""
    return one.get_backend_name() == other.get_backend_name() and _place(one) == _place(other)


def _place(url: sa.URL) -> tuple[object, ...]:
    def told(name: str, own: object, default: str) -> str:
        return str(url.query.get(name) or own or default).lower()

    host = told("host", url.host, told("hostaddr", None, ""))
    here = host.startswith(("/", "@")) or host.strip("[]") in ("", "localhost", "127.0.0.1", "::1")
    database = url.query.get("dbname") or url.database or url.username
    return "" if here else host, told("port", url.port, "5432"), told("service", None, ""), database


def _configuration(kept: dict[str, str], passwords: Path, metadata: str) -> str:
    database = metadata.replace("%", "%%")  # psycopg 3 is both: Airflow would take asyncpg for the second
    own = f"[database]\nsql_alchemy_conn = {database}\nsql_alchemy_conn_async = {database}\n\n" if metadata else ""
    escaped = {name: value.replace("%", "%%") for name, value in kept.items()}
    return (
        f"{own}[core]\nfernet_key = {escaped['fernet']}\nsimple_auth_manager_passwords_file = {passwords}\n\n"
        f"[api_auth]\njwt_secret = {escaped['jwt']}\n\n[api]\nsecret_key = {escaped['api']}\n"
    )


def _fixed(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
