"""What an installation must be before its jobs may run on EMR Serverless; pure.

Nothing of the submitting machine is there: no file system, no local database. So everything has to be reached by
network, and by the role of the job alone.
"""

from __future__ import annotations

from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.aws_place import SCHEME as KMS
from cloakhouse.keys.aws_place import Place as KmsPlace
from cloakhouse.keys.aws_services import is_endpoint
from cloakhouse.lake.store.opening import is_folder
from cloakhouse.ledger.database_url import database_url
from cloakhouse.settings import Settings

ENDPOINTS = ("endpoint", "secrets_endpoint")


def check_reachable(settings: Settings) -> None:
    """Return if jobs elsewhere reach all that they need. Raises ConfigurationError (`configuration.away`)."""
    if database_url(settings.database).get_backend_name() == "sqlite":
        raise _refused("CLOAKHOUSE_DATABASE", "PostgreSQL that the application's network reaches", "a SQLite file here")
    if is_folder(settings):
        raise _refused("CLOAKHOUSE_LAKE", "a bucket, s3://...", "a folder of this machine")
    if not settings.keys.startswith(KMS):
        found = "a service whose keys or tokens are files of this machine"
        raise _refused("CLOAKHOUSE_KEYS", "aws-kms:..., which the job's role opens", found)
    if KmsPlace.parse(settings.keys).ca is not None:
        raise _refused("CLOAKHOUSE_KEYS", "aws-kms:... without `ca`", "one that names a file of this machine")


def check_endpoints(fields: dict[str, str]) -> None:
    """Return if the endpoints in the connection's fields are https. Raises ConfigurationError."""
    if not all(is_endpoint(fields[name]) for name in ENDPOINTS):
        expected = "https://HOST[:PORT] as endpoint, or none; http only on this machine's loopback"
        raise _refused("Airflow's connection spark", expected, "another form", "master")


def _refused(where: str, expected: str, found: str, code: str = "away") -> ConfigurationError:
    return ConfigurationError(
        where=f"{where}, for Spark on EMR Serverless",
        expected=expected,
        found=found,
        not_done="no key was sent, and no job was submitted",
        remedy="choose engines that jobs elsewhere can reach, or another Spark master; see docs/engines.md",
        code=code,
    )
