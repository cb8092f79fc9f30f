"""Entry of the airflow image: secrets become files that only this process may read, then the command takes over.

Compose and Kubernetes mount secrets as files that a group may read; libpq, the key services and Airflow want them
private. This program copies them into memory (/run/cloakhouse/private, mode 0600 in a folder of 0700), writes Airflow's
configuration there, sets the variables that lead to them, and is replaced by the command. No secret is in a variable,
in an argument or in the image. It runs again at each start, so a restart takes up secrets that changed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SECRETS = Path("/run/secrets")
PRIVATE = Path("/run/cloakhouse/private")  # a folder of our own: the one above belongs to root where it is a volume
PROJECT = Path("/opt/cloakhouse")
REQUIRED = ("airflow-fernet", "airflow-jwt", "airflow-api", "airflow-passwords", "pgpass")
PLACES = {  # secret: the variable that names its copy
    "pgpass": "PGPASSFILE",
    "airflow-passwords": "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
    "aws-credentials": "AWS_SHARED_CREDENTIALS_FILE",
}


class Refused(Exception):
    """What is missing or wrong, and what to do; never a value."""


def copied(secrets: Path, private: Path) -> dict[str, Path]:
    """Copy every file of `secrets` into `private` (mode 0600), and return where each one is.

    Raises Refused when a secret is missing or empty.
    """
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    private.chmod(0o700)
    found = {path.name: path for path in sorted(secrets.glob("*")) if path.is_file()}
    for name in REQUIRED:
        if name not in found or not found[name].stat().st_size:
            raise Refused(f"the secret {name} is missing or empty below {secrets}; nothing was started")
    return {name: _kept(path.read_bytes(), private / name) for name, path in found.items()}


def configuration(copies: Mapping[str, Path], database: str) -> str:
    """Return Airflow's configuration with its secrets; `database` is the SQLAlchemy URL of its metadata."""
    fernet, jwt, api = (
        _line(copies[name]).replace("%", "%%") for name in ("airflow-fernet", "airflow-jwt", "airflow-api")
    )
    url = database.replace("%", "%%")
    return (
        f"[core]\nfernet_key = {fernet}\n\n[api_auth]\njwt_secret = {jwt}\n\n[api]\nsecret_key = {api}\n\n"
        f"[database]\nsql_alchemy_conn = {url}\nsql_alchemy_conn_async = {url}\n"
    )


def metadata(url: str) -> str:
    """Return the URL of Airflow's metadata for SQLAlchemy, over TLS 1.3 and verified. Raises Refused."""
    from cloakhouse.errors import ConfigurationError
    from cloakhouse.ledger.database_url import database_url

    try:
        checked = database_url(url)
    except ConfigurationError as error:
        raise Refused(error.explain()) from None
    if checked.get_backend_name() != "postgresql" or checked.password:
        raise Refused("CLOAKHOUSE_AIRFLOW_DATABASE: expected postgresql://USER@HOST/NAME, the password in `pgpass`")
    return checked.render_as_string(hide_password=False)


def variables(copies: Mapping[str, Path], private: Path, project: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return what the command runs with: infra/airflow/airflow.env, these folders, and over both what was `given`."""
    fixed = dict(
        line.split("=", 1)
        for line in (project / "infra" / "airflow" / "airflow.env").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    )
    fixed.pop("AIRFLOW__DATABASE__SQL_ALCHEMY_CONNECT_ARGS", None)  # SQLite's
    home = given["CLOAKHOUSE_HOME"]
    return {
        **fixed,
        "AIRFLOW__CORE__DAGS_FOLDER": str(project / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(project / "plugins"),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": f"{home}/airflow/logs",
        **given,
        "DEV": "",  # where it is set, Airflow logs tracebacks with local variables
        "AIRFLOW_HOME": str(private / "airflow"),
        "AIRFLOW_CONFIG": str(private / "airflow.cfg"),
        **{variable: str(copies[name]) for name, variable in PLACES.items() if name in copies},
    }


def spark_properties(plain: Path, copies: Mapping[str, Path]) -> str:
    """Return the cluster's properties: those of `plain`, and the secret `spark` where there is one.

    A standalone cluster has one; on Kubernetes Spark makes its own for each job. They are what the connection `spark`
    of Airflow names as its `properties`.
    """
    secret = f"spark.authenticate.secret {_line(copies['spark'])}\n" if "spark" in copies else ""
    return f"{plain.read_text()}\n{secret}"


def prepare(secrets: Path, private: Path, project: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Copy the secrets, write the configuration, and return the command's variables. Raises Refused."""
    url = metadata(given.get("CLOAKHOUSE_AIRFLOW_DATABASE", ""))
    copies = copied(secrets, private)
    _users(copies["airflow-passwords"])
    (private / "airflow").mkdir(mode=0o700, exist_ok=True)
    _kept(configuration(copies, url).encode(), private / "airflow.cfg")
    if "CLOAKHOUSE_SPARK_CONF" in given:
        text = spark_properties(Path(given["CLOAKHOUSE_SPARK_CONF"]), copies)
        _kept(text.encode(), private / "spark.properties")
    return variables(copies, private, project, given)


def main(arguments: Sequence[str]) -> int:
    """Prepare, and become the command; return 2 when that is refused."""
    os.umask(0o077)
    try:
        secrets = Path(os.environ.get("CLOAKHOUSE_SECRETS") or SECRETS)
        environment = prepare(secrets, PRIVATE, PROJECT, os.environ)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    return os.execvpe(arguments[0], list(arguments), environment)  # noqa: S606 - no shell


def _kept(content: bytes, target: Path) -> Path:
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)  # of a start that was killed
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
    new.replace(target)
    return target


def _line(path: Path) -> str:
    text = path.read_text().strip()
    if not text or "\n" in text:
        raise Refused(f"the secret {path.name} has to be one line of text; nothing was started")
    return text


def _users(path: Path) -> None:
    """Refuse a file without a password for each user: Airflow would invent one and print it into its log."""
    try:
        known = json.loads(path.read_text())
        complete = all(known[user] for user in ("admin", "engineer", "model", "auditor", "approver"))
    except (ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise Refused("the secret airflow-passwords has to be a JSON object with a password for each user")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
