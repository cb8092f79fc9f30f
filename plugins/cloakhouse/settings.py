"""Where an installation keeps things. Read from the environment by a `main()` or a constructor, never at import."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cloakhouse.errors import ConfigurationError


@dataclass(frozen=True)
class Settings:
    """The settings of one installation. The database URL may hold a password: it is not shown, and stays off workers.

    Attributes:
        home: folder of everything the platform writes (CLOAKHOUSE_HOME, default `./var`).
        contracts: folder of the data contracts (CLOAKHOUSE_CONTRACTS, default `dags/contracts`).
        expectations: folder of the Great Expectations suites (CLOAKHOUSE_EXPECTATIONS).
        keys: URI of the key service (CLOAKHOUSE_KEYS, default the age keystore in `home`).
        identity: identity file of whoever asks (CLOAKHOUSE_IDENTITY); None is the platform's own.
        purpose: what keys are asked for (CLOAKHOUSE_PURPOSE, default `operations`); grants name it.
        rotation_days: age at which master keys are rotated (CLOAKHOUSE_ROTATION_DAYS, default 90).
        database: SQLAlchemy URL of the control database (CLOAKHOUSE_DATABASE, default SQLite in `home`).
        project: the checkout: holds dags, plugins, spark_jobs, infra.
    """

    home: Path
    contracts: Path
    expectations: Path
    keys: str
    database: str = field(repr=False)
    project: Path
    identity: Path | None = None
    purpose: str = "operations"
    rotation_days: int = 90

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Return the settings of `environment` (default: the process's)."""
        env = os.environ if environment is None else environment
        project = Path(env.get("CLOAKHOUSE_PROJECT") or Path(__file__).resolve().parents[2])
        home = Path(env.get("CLOAKHOUSE_HOME") or project / "var").expanduser().resolve()
        return cls(
            home=home,
            contracts=Path(env.get("CLOAKHOUSE_CONTRACTS") or project / "dags" / "contracts").resolve(),
            expectations=Path(env.get("CLOAKHOUSE_EXPECTATIONS") or project / "expectations").resolve(),
            keys=_absolute(env.get("CLOAKHOUSE_KEYS") or f"age:{home / 'keystore'}"),
            database=env.get("CLOAKHOUSE_DATABASE") or f"sqlite:///{home / 'control.db'}",
            project=project,
            identity=Path(identity).expanduser().resolve() if (identity := env.get("CLOAKHOUSE_IDENTITY")) else None,
            purpose=env.get("CLOAKHOUSE_PURPOSE") or "operations",
            rotation_days=_days(env.get("CLOAKHOUSE_ROTATION_DAYS") or "90"),
        )

    def with_home(self, home: Path) -> Settings:
        """Return the same settings for another home, with its own keystore and control database."""
        return replace(self, home=home, keys=f"age:{home / 'keystore'}", database=f"sqlite:///{home / 'control.db'}")

    def as_dict(self) -> dict[str, str]:
        """Return the settings as texts; `from_dict` reads them back."""
        return {key: "" if value is None else str(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, str]) -> Settings:
        """Return the settings that `as_dict` gave."""
        paths = {k: Path(fields[k]) for k in ("home", "contracts", "expectations", "project")}
        identity = Path(fields["identity"]) if fields["identity"] else None
        return cls(
            keys=fields["keys"],
            database=fields["database"],
            identity=identity,
            purpose=fields["purpose"],
            rotation_days=int(fields["rotation_days"]),
            **paths,
        )

    def environment(self) -> dict[str, str]:
        """Return the environment variables from which a child process reads the same settings."""
        return {f"CLOAKHOUSE_{key.upper()}": value for key, value in self.as_dict().items()}

    @property
    def rotation_period(self) -> dt.timedelta:
        """Age at which a master key is due for rotation."""
        return dt.timedelta(days=self.rotation_days)

    @property
    def inbox(self) -> Path:
        """Where feeds are delivered."""
        return self.home / "inbox"

    @property
    def lake(self) -> Path:
        """Root of the lake's zones."""
        return self.home / "lake"

    @property
    def token_root(self) -> Path:
        """File of the wrapped root of the token keys."""
        return self.home / "token-root.json"

    @property
    def dataset_keys(self) -> Path:
        """Folder of the wrapped dataset keys."""
        return self.home / "dataset-keys"

    def temporary(self) -> Path:
        """Return the folder for temporary files: TMPDIR where set, else `tmp` in home; made if need be."""
        chosen = os.environ.get("TMPDIR")
        folder = Path(chosen) if chosen else self.home / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _absolute(keys: str) -> str:
    """Return a key service URI that means the same in every working folder."""
    scheme, _, rest = keys.partition(":")
    return f"age:{Path(rest).expanduser().resolve()}" if scheme == "age" and rest else keys


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 3_650:
        raise ConfigurationError(
            where="CLOAKHOUSE_ROTATION_DAYS",
            expected="a whole number of days, 1 to 3650",
            found="another text",
            not_done="nothing was started",
            remedy="correct the setting; NIST SP 800-57 Part 1 Rev. 5, section 5.3.6, tells how to choose it",
        )
    return int(text)
