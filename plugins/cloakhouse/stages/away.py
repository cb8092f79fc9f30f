"""A job's driver away from the installation's home, as a service starts it: EMR Serverless.

1. the bag is read from the lake and compared with the digest in the arguments, then unpacked into a folder of this
   process; it holds wrapped keys and contracts, and is marked as a copy in which no key is made;
2. the control database's URL is read from Secrets Manager: neither arguments nor configuration hold it, which the
   service keeps;
3. the package must be of the version of the submitting task, and the database that of its installation;
4. workers get the bag from this driver;
5. the driver ends itself when nobody changes the lease (`cloakhouse.stages.lease`);
6. the result goes into the bag.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.aws_services import Service
from cloakhouse.lake.store.opening import open_store
from cloakhouse.settings import Settings
from cloakhouse.stages import carried
from cloakhouse.stages.carried_needs import identity_of
from cloakhouse.stages.lease import held

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NOT_DONE = "no row was read"


@dataclass(frozen=True)
class Away:
    """Where the bag is, its digest, and the secret with the control database's URL."""

    bag: str
    sha256: str
    secret: str
    secrets: Service

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser, where: argparse._ActionsContainer) -> None:
        """Add the arguments that `arguments` composes; `--bag` to `where`, among those that exclude each other."""
        where.add_argument("--bag", help="folder of the job's bag within the lake")
        parser.add_argument("--bag-sha256", help="digest of its archive")
        parser.add_argument("--database-secret", help="id or ARN of the secret with the control database's URL")
        parser.add_argument("--secrets-region", help="region of Secrets Manager")
        parser.add_argument("--secrets-endpoint", default="", help="its endpoint, where it isn't the region's own")

    def arguments(self) -> list[str]:
        """Return the arguments that say this; nothing secret."""
        given = {
            "--bag": self.bag,
            "--bag-sha256": self.sha256,
            "--database-secret": self.secret,
            "--secrets-region": self.secrets.region,
            "--secrets-endpoint": self.secrets.endpoint,
        }
        return [part for name, value in given.items() if value for part in (name, value)]

    @classmethod
    def of(cls, options: argparse.Namespace) -> Away:
        """Return what the parsed arguments say."""
        service = Service("secretsmanager", options.secrets_region, options.secrets_endpoint)
        return cls(options.bag, options.bag_sha256, options.database_secret, service)

    @contextlib.contextmanager
    def settings(self, spark: SparkSession) -> Iterator[Settings]:
        """Yield the settings of the job, whose home is the unpacked bag; it is gone after the block.

        Raises IntegrityError (`integrity.bag`), ConfigurationError (`configuration.image`, `configuration.database`),
        StorageError, AccessRefused, StageError.
        """
        with tempfile.TemporaryDirectory(prefix="cloakhouse-") as name:
            folder = Path(name)
            told = replace(Settings.from_environment(), home=folder, cache=None)
            raw = self._archive(told)  # 1
            home = carried.unpack(raw, folder)
            settings = replace(carried.settings_in(told, home), database=self._database())  # 2
            _compare(settings)  # 3
            carried.send(spark, raw, home)  # 4
            with held(open_store(settings), self.bag):  # 5
                yield settings

    def tell(self, outcome: bytes) -> None:
        """Write the result into the bag. Raises StorageError."""
        with tempfile.TemporaryDirectory(prefix="cloakhouse-") as name:
            settings = replace(Settings.from_environment(), home=Path(name), cache=None)
            open_store(settings).create(f"{self.bag}/{carried.RESULT}", outcome)  # 6

    def _archive(self, settings: Settings) -> bytes:
        try:
            raw = open_store(settings).read(f"{self.bag}/{carried.ARCHIVE}", carried.LIMIT)
        except FileNotFoundError:
            raise carried.damaged("none") from None
        if carried.digest_of(raw) != self.sha256:
            raise carried.damaged("another one, by its digest")
        return raw

    def _database(self) -> str:
        found = self.secrets.call("get_secret_value", NOT_DONE, SecretId=self.secret).get("SecretString")
        if not isinstance(found, str) or not found.startswith("postgres"):
            raise _unfit(
                "database", "a secret whose text is the URL of the control database, postgresql://...", "another"
            )
        return found.strip()


def _compare(settings: Settings) -> None:
    facts = carried.facts_of(settings.home)
    if facts.get("format") != carried.FORMAT or facts.get("package") != version("cloakhouse"):
        raise _unfit("image", "an image with the package's version of the submitting task", "another version")
    if not facts.get("control") or identity_of(settings) != facts["control"]:
        raise _unfit("database", "the control database of the submitting task's installation", "another one")


def _unfit(code: str, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        where="Spark away from home",
        expected=expected,
        found=found,
        not_done=NOT_DONE,
        remedy="correct the image of the application, or the secret that Airflow's connection spark names",
        code=code,
    )
