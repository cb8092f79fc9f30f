"""A whole erasure with the control database on a PostgreSQL and the lake on an S3 server over TLS that keeps versions.

Killed on the way, resumed, swept on the server's side, too: every version that the bucket has of anything, and every
table of the database. moto is the server, with TLS in front of it: rclone's keeps no versions (`tests.support.stores`).
"""

from __future__ import annotations

import random
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support import databases, stores
from tests.support.certificates import Authority
from tests.support.erased import BOUNDARIES, NAMING, REASON, Installation, Persons, killed_after, persons_of
from tests.support.house import SYNTHETIC, without_consent
from tests.support.planted import write_planted_feed
from tests.support.sweep import Sweep
from tests.support.tls_of_http import tls_of_http

from cloakhouse.ledger.erasure_model import ErasureState
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.versions import VersionState
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land
from cloakhouse.stages.publish import publish
from cloakhouse.stages.synthesize import synthesize
from cloakhouse.stages.token_roots import ensure_roots
from cloakhouse.stages.validate import validate_protected
from cloakhouse.stages.validate_release import validate_synthetic
from cloakhouse.tokens.subjects import rights_uses

pytestmark = [pytest.mark.stores, pytest.mark.spark]

PREFIX = "retail/lake/"
PUBLIC = ("releases.pem", "audit.pem")


@dataclass(frozen=True)
class Servers:
    """An installation, its bucket, and the URL of its database."""

    installation: Installation
    bucket: str
    database: str

    def versions(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return every version of every object, and every delete marker."""
        found: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
        for page in stores.moto_client().get_paginator("list_object_versions").paginate(Bucket=self.bucket):
            found[0].extend(page.get("Versions", ()))
            found[1].extend(page.get("DeleteMarkers", ()))
        return found

    def swept(self, persons: Persons, output: str = "") -> Sweep:
        """Search all versions in the bucket, all tables, and what lies in the home and was said."""
        sweep = Sweep({**NAMING, "token": persons.token})
        for one in self.versions()[0]:
            asked = {"Bucket": self.bucket, "Key": one["Key"], "VersionId": one["VersionId"]}
            sweep.data(one["Key"], stores.moto_client().get_object(**asked)["Body"].read())
            sweep.files += 1
        with psycopg.connect(self.database) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            for (table,) in tables:
                with connection.cursor().copy(f'COPY "{table}" TO STDOUT'.encode()) as rows:
                    sweep.data(f"table {table}", b"".join(map(bytes, rows)))
        home = self.installation.settings.home
        sweep.folder(home)
        sweep.folder(home.parent / "tmp")
        sweep.data("output", output.encode())
        return sweep


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Walk the whole path on both servers, with planted values, and leave what other tools leave in such a bucket."""
    folder, bucket = tmp_path_factory.mktemp("servers"), f"versions-{uuid.uuid4().hex[:8]}"
    client = stores.moto_client()
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    port = int(stores.moto_bucket().rpartition(":")[2])
    authority = Authority(folder / "ca")
    with (
        pytest.MonkeyPatch.context() as patch,
        tls_of_http(port, authority.server()) as shown,
        databases.fresh("postgresql", folder) as url,
    ):
        patch.delenv("TMPDIR", raising=False)
        store = f"s3://{bucket}/{PREFIX}?endpoint=https://127.0.0.1:{shown}&ca={authority.ca}"
        settings = replace(Settings.from_environment({}).with_home(folder / "home"), store=store, database=url)
        installation = Installation(without_consent(settings))
        walked(installation)
        yield Servers(installation, bucket, url)


def walked(installation: Installation) -> None:
    settings = installation.settings
    write_planted_feed(settings.inbox)
    for name in ("customers", "transactions"):
        land(settings, installation.contracts[name])
        installation.protect(name)
        validate_protected(settings, installation.contracts[name])
    manifest = synthesize(settings, installation.contracts[SYNTHETIC])
    assert manifest is not None
    evidence = validate_synthetic(settings, installation.contracts[SYNTHETIC], manifest)
    publish(settings, installation.contracts[SYNTHETIC], evidence)
    column = installation.contracts["transactions"].column("household_id")
    ensure_roots(settings, [use.root for use in rights_uses(column)])  # as the first request does


def left_by_other_tools(servers: Servers) -> None:
    """Overwrite and delete objects that name the persons, as a tool does that knows nothing of versions."""
    client, named = stores.moto_client(), NAMING["name"].encode()
    for key in ("landing/customers/kept-by-hand", "overwritten", "evidence/note"):
        client.put_object(Bucket=servers.bucket, Key=PREFIX + key, Body=b"a line of " + named)
    client.put_object(Bucket=servers.bucket, Key=f"{PREFIX}overwritten", Body=b"nobody")
    client.delete_object(Bucket=servers.bucket, Key=f"{PREFIX}landing/customers/kept-by-hand")
    client.delete_object(Bucket=servers.bucket, Key=f"{PREFIX}evidence/note")
    client.put_object(Bucket=servers.bucket, Key="of-another-lake", Body=b"first")
    client.put_object(Bucket=servers.bucket, Key="of-another-lake", Body=b"second")


def test_households_are_erased_on_both_servers_and_that_is_proved(servers: Servers, tmp_path: Path) -> None:
    installation = servers.installation
    settings, persons = installation.settings, persons_of(installation)
    before = installation.naming(persons.needles)
    assert min(before.values()) > 0, before
    left_by_other_tools(servers)
    assert {hit.marker for hit in servers.swept(persons).hits} >= {"name"}  # the search sees old versions
    [version] = installation.register.heads()
    file = tmp_path / "subjects.csv"
    file.write_text("\n".join(["household_id", *persons.households, ""]))

    boundary = random.choice(BOUNDARIES)
    print("killed after", boundary)
    batch = killed_after(installation, file, boundary)
    done = installation.cloakhouse("erase", "resume", batch)
    assert done.returncode == 0, done.stdout + done.stderr

    erasures = Erasures(settings.database)
    assert erasures.get(batch).state is ErasureState.DONE
    assert installation.naming(persons.needles) == dict.fromkeys(before, 0)
    found = servers.swept(persons, done.stdout + done.stderr)
    assert found.hits == set()
    assert found.files > 30
    versions, markers = servers.versions()
    assert [one["Key"] for one in versions if not one["IsLatest"]] == ["of-another-lake"]
    assert markers == []
    steps = {step.step: step.content for step in erasures.steps(batch)}
    assert steps["sweep"]["clean"] is True
    old = steps["sweep"]["old_versions"]
    assert old["told"] == "no old version is left"
    if boundary != "sweep":
        assert old["versions"] >= 3
        assert old["markers"] >= 2

    gone = [v for v in installation.register.versions(SYNTHETIC) if v.version == version.version]
    assert [v.state for v in gone] == [VersionState.COLLECTED]
    anew = steps[f"anew/{SYNTHETIC}"]
    [head] = installation.register.heads()
    assert head.version == anew["version"] > version.version
    assert f"attack/{SYNTHETIC}@{head.version}" in steps
    verified_offline(installation, batch, tmp_path)


def verified_offline(installation: Installation, batch: str, folder: Path) -> None:
    """Verify the certificate with two public keys and nothing of the platform: no database, no lake, no keystore."""
    signed = folder / "certificate.json"
    assert installation.cloakhouse("erase", "certificate", batch, "--out", str(signed)).returncode == 0
    keys = [shutil.copy(installation.settings.home / "signing-keys" / name, folder) for name in PUBLIC]
    elsewhere = Installation(Settings.from_environment({}).with_home(folder / "auditor"))
    verify = ("erase", "verify", str(signed), "--key", str(keys[0]), "--log-key", str(keys[1]))
    verified = elsewhere.cloakhouse(*verify)
    assert verified.returncode == 0, verified.stderr
    assert REASON in verified.stdout
    signed.write_bytes(signed.read_bytes().replace(b'"payload":"', b'"payload":"A', 1))
    assert elsewhere.cloakhouse(*verify).returncode != 0
