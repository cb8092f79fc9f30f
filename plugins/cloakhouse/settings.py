"""Where an installation keeps things. Read from the environment by a `main()` or a constructor, never at import."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cloakhouse.errors import ConfigurationError

CACHE, IDENTITY = "CLOAKHOUSE_CACHE", "CLOAKHOUSE_IDENTITY"
LIMIT = "CLOAKHOUSE_DETOKENIZE_LIMIT"
EXPORT_LIMIT = "CLOAKHOUSE_SUBJECT_EXPORT_LIMIT"
CACHE_LIMIT = "CLOAKHOUSE_CACHE_BYTES"
REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
VARIABLES = {"store": "LAKE"}  # where the name of the variable is not that of the attribute
ADVICE = {"CLOAKHOUSE_ROTATION_DAYS": "; NIST SP 800-57 Part 1 Rev. 5, section 5.3.6, tells how to choose it"}


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
        policy: the access policy (CLOAKHOUSE_POLICY, default `dags/access.yaml`).
        detokenize_limit: values an hour that one principal may detokenize (CLOAKHOUSE_DETOKENIZE_LIMIT, default 1000).
        subject_export_limit: persons a day whose data one principal may have copied (CLOAKHOUSE_SUBJECT_EXPORT_LIMIT,
            default 50).
        database: SQLAlchemy URL of the control database (CLOAKHOUSE_DATABASE, default SQLite in `home`).
        store: where the lake's objects are (CLOAKHOUSE_LAKE): empty is the folder `lake` in `home`; or `s3://...`.
        cache: folder of copies from an S3 server, encrypted as there (CLOAKHOUSE_CACHE); None is `cache` in `home`.
        cache_bytes: what these copies may take together (CLOAKHOUSE_CACHE_BYTES, default 10 GiB).
        region: where this machine is, for contracts that pin data to regions (CLOAKHOUSE_REGION); empty: not told.
        airflow_database: URL of the metadata database of the Airflow that the platform starts
            (CLOAKHOUSE_AIRFLOW_DATABASE); empty is SQLite in `home`. Not shown, not given to workers.
        project: the checkout: holds dags, plugins, spark_jobs, infra.
    """

    home: Path
    contracts: Path
    expectations: Path
    keys: str
    database: str = field(repr=False)
    project: Path
    policy: Path
    identity: Path | None = None
    purpose: str = "operations"
    rotation_days: int = 90
    detokenize_limit: int = 1_000
    subject_export_limit: int = 50
    store: str = ""
    cache: Path | None = None
    cache_bytes: int = 10 << 30
    region: str = ""
    airflow_database: str = field(default="", repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Return the settings of `environment` (default: the process's). Raises ConfigurationError."""
        env = os.environ if environment is None else environment
        project = Path(env.get("CLOAKHOUSE_PROJECT") or Path(__file__).resolve().parents[2])

        def place(name: str, default: Path) -> Path:
            return _place(name, env.get(name) or default)

        home = place("CLOAKHOUSE_HOME", project / "var")
        return cls(
            home=home,
            contracts=place("CLOAKHOUSE_CONTRACTS", project / "dags" / "contracts"),
            expectations=place("CLOAKHOUSE_EXPECTATIONS", project / "expectations"),
            keys=absolute_keys(env.get("CLOAKHOUSE_KEYS") or _default_keys(home)),
            database=env.get("CLOAKHOUSE_DATABASE") or _default_database(home),
            project=project,
            policy=place("CLOAKHOUSE_POLICY", project / "dags" / "access.yaml"),
            identity=_place(IDENTITY, identity) if (identity := env.get(IDENTITY)) else None,
            purpose=env.get("CLOAKHOUSE_PURPOSE") or "operations",
            rotation_days=_whole("CLOAKHOUSE_ROTATION_DAYS", env.get("CLOAKHOUSE_ROTATION_DAYS") or "90", 1, 3_650),
            detokenize_limit=_whole(LIMIT, env.get(LIMIT) or "1000", 0, 10_000_000),
            subject_export_limit=_whole(EXPORT_LIMIT, env.get(EXPORT_LIMIT) or "50", 0, 1_000_000),
            store=env.get("CLOAKHOUSE_LAKE") or "",
            cache=_place(CACHE, cache) if (cache := env.get(CACHE)) else None,
            cache_bytes=_whole(CACHE_LIMIT, env.get(CACHE_LIMIT) or str(10 << 30), 0, 1 << 50),
            region=_region(env.get("CLOAKHOUSE_REGION") or ""),
            airflow_database=env.get("CLOAKHOUSE_AIRFLOW_DATABASE") or "",
        )

    def with_home(self, home: Path) -> Settings:
        """Return the same settings for another home, with its own keystore, databases, lake and cache."""
        keys, database = _default_keys(home), _default_database(home)
        return replace(self, home=home, keys=keys, database=database, airflow_database="", store="", cache=None)

    def as_dict(self) -> dict[str, str]:
        """Return the settings as texts; `from_dict` reads them back."""
        return {key: "" if value is None else str(value) for key, value in asdict(self).items()}

    def for_workers(self) -> dict[str, str]:
        """Return the settings for workers: a database's URL may hold a password, and they don't need it."""
        return {**self.as_dict(), "database": "", "airflow_database": ""}

    @classmethod
    def from_dict(cls, fields: Mapping[str, str]) -> Settings:
        """Return the settings that `as_dict` gave."""
        paths = {k: Path(fields[k]) for k in ("home", "contracts", "expectations", "project", "policy")}
        paths |= {k: Path(fields[k]) for k in ("identity", "cache") if fields[k]}
        return cls(
            keys=fields["keys"],
            database=fields["database"],
            purpose=fields["purpose"],
            rotation_days=int(fields["rotation_days"]),
            detokenize_limit=int(fields["detokenize_limit"]),
            subject_export_limit=int(fields["subject_export_limit"]),
            store=fields["store"],
            cache_bytes=int(fields["cache_bytes"]),
            region=fields["region"],
            airflow_database=fields["airflow_database"],
            **paths,
        )

    def environment(self) -> dict[str, str]:
        """Return the environment variables from which a child process reads the same settings."""
        return {f"CLOAKHOUSE_{VARIABLES.get(key, key.upper())}": value for key, value in self.as_dict().items()}

    def environment_of_airflow(self) -> dict[str, str]:
        """Return `environment`, with empty variables for defaults: a default is no choice, and a connection may be."""
        defaults = {"CLOAKHOUSE_KEYS": _default_keys(self.home), "CLOAKHOUSE_DATABASE": _default_database(self.home)}
        return {name: "" if value == defaults.get(name) else value for name, value in self.environment().items()}

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
    def copies(self) -> Path:
        """Folder of the copies from an S3 server."""
        return self.cache or self.home / "cache"

    @property
    def locks(self) -> Path:
        """Folder of the locks that processes of this home take."""
        return self.home / "locks"

    @property
    def token_roots(self) -> Path:
        """Folder of the wrapped roots of the token keys."""
        return self.home / "token-roots"

    @property
    def signing_keys(self) -> Path:
        """Folder of the wrapped signing keys and their public halves."""
        return self.home / "signing-keys"

    @property
    def dataset_keys(self) -> Path:
        """Folder of the wrapped dataset keys."""
        return self.home / "dataset-keys"

    @property
    def key_shares(self) -> Path:
        """Folder of the dataset keys that are shared with roles."""
        return self.home / "key-shares"

    def temporary(self) -> Path:
        """Return the folder for temporary files: TMPDIR where set, else `tmp` in home; made if need be."""
        chosen = os.environ.get("TMPDIR")
        folder = Path(chosen) if chosen else self.home / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def scratch(self) -> str:
        """How the names of this home's temporary folders begin, by which a search finds those that were left over."""
        return f"cloakhouse-{hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]}-"


def _default_keys(home: Path) -> str:
    return f"age:{home / 'keystore'}"


def _default_database(home: Path) -> str:
    return f"sqlite:///{home / 'control.db'}"


def absolute_keys(keys: str) -> str:
    """Return a key service URI that means the same in every working folder. Raises ConfigurationError."""
    scheme, _, rest = keys.partition(":")
    return f"age:{_place('CLOAKHOUSE_KEYS', rest)}" if scheme == "age" and rest else keys


def _place(name: str, given: str | Path) -> Path:
    """Return the path that the variable `name` gives, from the root on and without `~`. Raises ConfigurationError."""
    try:
        return Path(given).expanduser().resolve()
    except (
        OSError,
        RuntimeError,
        ValueError,
    ) as fault:  # no such user, links in a circle, a working folder that is gone
        raise ConfigurationError(
            where=name,
            expected="a path; `~` and `~user` where there is such a user with a home",
            found=f"one that leads nowhere ({type(fault).__name__})",
            not_done="nothing was started",
            remedy="write the whole path, and see that the working folder is there and no link leads to itself",
        ) from None


def _region(text: str) -> str:
    if text and not REGION.fullmatch(text):
        raise ConfigurationError(
            where="CLOAKHOUSE_REGION",
            expected="the name of a region, such as eu-central-1, as contracts write it",
            found="another text",
            not_done="nothing was started",
            remedy="correct the setting",
        )
    return text


def _whole(name: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 20) or not low <= int(text) <= high:
        raise ConfigurationError(
            where=name,
            expected=f"a whole number, {low} to {high}",
            found="another text",
            not_done="nothing was started",
            remedy="correct the setting" + ADVICE.get(name, ""),
        )
    return int(text)
