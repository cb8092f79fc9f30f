"""Jobs of EMR Serverless, by boto3 and a stub of its API that runs spark-submit (`tests.support.emr`).

The lake is in rclone's S3 server over TLS, master keys and secrets are at moto's server, the control database is a
PostgreSQL. Away from home everything is what a job there has: the request, a role's credentials, an empty folder.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.support import databases, service_aws, stores
from tests.support.emr import APPLICATION, ENDED, ROLE, Emr, emr
from tests.support.house import SYNTHETIC, House, validated, without_consent
from tests.support.processes import start
from tests.support.waiting import until

from cloakhouse.errors import StageError
from cloakhouse.flow.submit import Cluster, cluster_at, end_running_jobs, run_job
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings
from cloakhouse.stages import carried_needs, lease, pseudonymize
from cloakhouse.stages.land import land
from cloakhouse.stages.leftovers import remove_others
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.synthesize import plan, synthesize
from cloakhouse.stages.validate import validate_protected

pytestmark = [pytest.mark.spark, pytest.mark.stores]
WITHIN_S = 600.0  # a bound; it takes some two minutes where nothing else runs
WEEKS = range(1, 3)
SUBMIT = """
import json, sys
from cloakhouse.flow.submit import cluster_at, run_job
from cloakhouse.settings import Settings
fields, extra, arguments = (json.loads(text) for text in sys.argv[1:])
job = cluster_at("emr-serverless", None, extra).job("pseudonymize", tuple(arguments), 600.0)
run_job(job, Settings.from_dict(fields))
"""


@dataclass(frozen=True)
class There:
    """An installation whose Spark jobs run elsewhere."""

    house: House
    stub: Emr
    extra: dict[str, str]
    secrets: tuple[str, ...]

    @property
    def cluster(self) -> Cluster:
        return cluster_at("emr-serverless", None, self.extra)

    @property
    def bags(self) -> list[str]:
        return [info.path for info in open_store(self.house.settings).list("jobs")]

    def run(self, job: str, request: ManifestRef) -> ManifestRef:
        arguments = ("--request", request.path, "--sha256", request.sha256)
        try:
            return ManifestRef.of(run_job(self.cluster.job(job, arguments, WITHIN_S), self.house.settings))
        except StageError:
            print(self.stub.runs[-1].output[-6000:])
            raise

    def running(self, number: int) -> None:
        """Wait until the job run `number` has begun to work with its bag."""

        def begun() -> bool:
            return len(self.stub.runs) > number and self.stub.runs[number].state == "RUNNING"

        until(begun, "a job that runs", WITHIN_S)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[There]:
    moto, server = service_aws.moto(), databases.shared()
    name = server.create(template=server.template)
    url, spark_secret = server.url(name, tcp=True), uuid.uuid4().hex * 2
    client = boto3.client("secretsmanager", endpoint_url=moto, region_name=service_aws.REGION)
    arns = [
        client.create_secret(Name=f"cloakhouse/{uuid.uuid4().hex}", SecretString=text)["ARN"]
        for text in (url, spark_secret)
    ]
    base = Settings.from_environment({}).with_home(tmp_path / "home")
    base = replace(base, store=stores.rclone().uri(f"emr/{uuid.uuid4().hex[:12]}"), keys=service_aws.new_uri())
    house = House(without_consent(replace(base, database=server.url(name))))
    with emr(tmp_path / "emr", moto) as stub:
        extra = {
            "application": APPLICATION,
            "role": ROLE,
            "region": service_aws.REGION,
            "database_secret": arns[0],
            "spark_secret": arns[1],
            "endpoint": stub.endpoint,
            "secrets_endpoint": moto,
            "package": str(base.project / "plugins"),
            "python": sys.executable,
        }
        yield There(house, stub, extra, (server.password, spark_secret))
    server.drop(name)


def request_of(there: There, name: str) -> ManifestRef:
    found = pseudonymize.plan(there.house.settings, there.house.contracts[name])
    assert found is not None
    return found


def counts(house: House, name: str) -> dict[str, tuple[int, int, int]]:
    return {
        partition: (done.rows, done.quarantined, done.withheld)
        for partition, done in house.catalogue.protected(name).items()
    }


def submitter(there: There, request: ManifestRef) -> subprocess.Popen[str]:
    """Start a process that submits the pseudonymization of `request`."""
    arguments = ["--request", request.path, "--sha256", request.sha256]
    fields = there.house.settings.as_dict()
    return start(SUBMIT, json.dumps(fields), json.dumps(there.extra), json.dumps(arguments))


def key_files(settings: Settings) -> set[str]:
    folders = (settings.dataset_keys, settings.token_roots, settings.signing_keys)
    return {str(path.relative_to(settings.home)) for folder in folders for path in folder.rglob("*.json")}


def told(run: Any) -> str:
    return json.dumps(run.request)


def test_no_version_of_a_bag_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a bucket that keeps versions, which only moto's server does here."""
    client, bucket = stores.moto_client(), f"versions-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    base = Settings.from_environment({}).with_home(tmp_path / "home")
    store = open_store(replace(base, store=stores.moto_uri("lake", bucket)))
    folder = "jobs/pseudonymize/customers"
    monkeypatch.setattr(lease, "RENEW_S", 0.0)
    mine = lease.Lease(store, f"{folder}/0a")
    for name in ("home.zip", "result.json"):
        store.create(f"{folder}/0a/{name}", b"x")
    for _ in range(3):
        mine.renew()
    client.delete_object(Bucket=bucket, Key=f"lake/{folder}/0a/result.json")  # by somebody's tool: a marker
    store.create(f"{folder}/0a/result.json", b"y")
    remove_others(store, folder, ())
    left = client.list_object_versions(Bucket=bucket)
    assert not left.get("Versions")
    assert not left.get("DeleteMarkers")


def test_the_path_elsewhere_leaves_rows_and_nothing_else(there: There) -> None:
    house, settings = there.house, there.house.settings
    write_feed(settings.inbox, weeks=WEEKS, wanted=lambda name: not name.startswith("products"))
    for name in ("customers", "transactions"):
        land(settings, house.contracts[name])
    house.protect("customers")

    # killed without a word: the job goes on; the next submission ends it, and takes its bag away
    request = request_of(there, "transactions")
    child = submitter(there, request)
    there.running(0)
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    left = there.bags
    assert left, "a bag that nobody removed"
    assert there.stub.runs[0].state == "RUNNING"

    there.run("pseudonymize", request)
    assert [run.state for run in there.stub.runs] == ["CANCELLED", "SUCCESS"]
    assert there.bags == []
    embedded = validated()
    assert counts(house, "transactions") == counts(embedded, "transactions")
    assert counts(house, "customers") == counts(embedded, "customers")
    for name in ("customers", "transactions"):
        validate_protected(settings, house.contracts[name])

    # a signal: the job is cancelled, and the task ends soon
    wanted = plan(settings, house.contracts[SYNTHETIC])
    assert wanted is not None
    ender = threading.Thread(target=lambda: (there.running(2), end_running_jobs()), daemon=True)
    ender.start()
    with pytest.raises(StageError) as ended:
        there.run("synthesize", wanted)
    ender.join(30)
    assert ended.value.code == "stage.spark"
    assert there.stub.runs[2].state == "CANCELLED"
    assert there.bags == []

    made = read_manifest(open_store(settings), there.run("synthesize", wanted), "synthesis")
    here = synthesize(embedded.settings, embedded.contracts[SYNTHETIC])
    assert here is not None
    like = read_manifest(open_store(embedded.settings), here, "synthesis")
    for one in (made, like):  # which households are held out follows from their pseudonyms, so from keys
        assert one["rows"] == one["training"]["rows"] == one["training"]["units"]
    assert made["rows"] + made["holdout"]["rows"] == like["rows"] + like["holdout"]["rows"]
    assert there.bags == []

    # no key was made elsewhere: what is at home opens every row
    assert sum(house.store.read(entry).num_rows for entry in file_entries(made["files"])) == made["rows"]
    needs = carried_needs.needs_of(settings, "synthesize", wanted)
    assert {f"dataset-keys/{key.name}.json" for key in needs.makes} <= key_files(settings)
    for run in there.stub.runs:
        assert run.state in ENDED
        assert not [path for path in run.folder.rglob("cloakhouse-*") if run.state == "SUCCESS"]
        assert not [secret for secret in there.secrets if secret in told(run)], "AWS keeps requests"
        assert not [secret for secret in there.secrets if secret in run.output]
        assert str(settings.home) not in told(run)
