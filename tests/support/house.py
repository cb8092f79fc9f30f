"""A real installation with the sample feed's first two weeks, protected and validated, copied for each test.

The feed is landed and treated by the stages' own code in this process; only Spark's scheduling is left out, which
the tests in `tests/spark` are about.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.derive import TokenKeys
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef
from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings
from cloakhouse.stages import pseudonymize
from cloakhouse.stages.land import land
from cloakhouse.stages.publish import publish
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.synthesize import synthesize
from cloakhouse.stages.treating import DeliveryTask, Treater
from cloakhouse.stages.validate import validate_protected, validate_synthetic

WEEKS = ("2016-12-26", "2017-01-02")
SYNTHETIC = "households_synthetic"


@dataclass(frozen=True)
class House:
    """One installation, the tests' to damage."""

    settings: Settings

    @property
    def contracts(self) -> dict[str, Contract]:
        return load_contracts(self.settings.contracts)

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.settings.database)

    @property
    def store(self) -> TableStore:
        return TableStore(self.settings.lake, open_ring(self.settings))

    def released(self, name: str = SYNTHETIC) -> tuple[FileEntry, ...]:
        """Return the files of the newest published version."""
        manifest = read_manifest(self.settings.lake, self.catalogue.version(name).manifest)
        return tuple(FileEntry(**item) for item in manifest["files"])

    def copy(self, home: Path) -> House:
        """Return this installation as it is now, copied to `home`, with contracts and suites of its own."""
        shutil.copytree(self.settings.home, home, dirs_exist_ok=True)
        for name in ("contracts", "expectations"):
            if not (home / name).exists():
                shutil.copytree(getattr(self.settings, name), home / name)
        moved = self.settings.with_home(home)
        return House(replace(moved, contracts=home / "contracts", expectations=home / "expectations"))

    def edit_contract(self, name: str, old: str, new: str) -> Contract:
        """Replace `old`, which must stand once in the contract `name`, and return the contract."""
        path = self.settings.contracts / f"{name}.odcs.yaml"
        text = path.read_text()
        assert text.count(old) == 1, text.count(old)
        path.write_text(text.replace(old, new))
        return self.contracts[name]

    def protect(self, name: str, partitions: Sequence[str] | None = None, *, reprocess: bool = False) -> None:
        """Pseudonymize what waits, in this process."""
        contract, settings = self.contracts[name], self.settings
        request = pseudonymize.plan(settings, contract, partitions, reprocess=reprocess)
        assert request is not None
        content = read_manifest(settings.lake, request)
        deliveries = [read_manifest(settings.lake, ManifestRef.of(d)) for d in content["deliveries"]]
        references = {
            column: tuple(e for r in refs for e in partition_files(settings, ManifestRef.of(r)))
            for column, refs in content["references"].items()
        }
        TokenKeys(service_of(settings), settings.token_root).ensure_root()
        treater = Treater(settings, contract, references)
        folder = f"{name}/{{}}/{request.sha256[:12]}"
        outcomes = [
            treater.run(DeliveryTask(d["partition"], d["object"], d["rows"], folder.format(d["partition"])))
            for d in deliveries
        ]
        pseudonymize._commit(settings, contract, request, deliveries, outcomes)


@functools.cache
def protected() -> House:
    """Return the installation with customers and two weeks of transactions landed and protected, none validated."""
    home = Path(tempfile.mkdtemp(prefix="cloakhouse-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    house = House(Settings.from_environment({}).with_home(home))
    write_feed(house.settings.inbox, weeks=range(1, 3), wanted=lambda name: not name.startswith("products"))
    for name in ("customers", "transactions"):
        land(house.settings, house.contracts[name])
        house.protect(name)
    return house


@functools.cache
def validated() -> House:
    """Return `protected`, validated."""
    house = protected().copy(_folder())
    for name in ("customers", "transactions"):
        validate_protected(house.settings, house.contracts[name])
    return house


@functools.cache
def synthesized() -> tuple[House, ManifestRef]:
    """Return `validated` with synthetic households that wait for their validation."""
    house = validated().copy(_folder())
    manifest = synthesize(house.settings, house.contracts[SYNTHETIC])
    assert manifest is not None
    return house, manifest


@functools.cache
def published() -> House:
    """Return an installation whose synthetic households are published."""
    source, manifest = synthesized()
    house = source.copy(_folder())
    evidence = validate_synthetic(house.settings, house.contracts[SYNTHETIC], manifest)
    publish(house.settings, house.contracts[SYNTHETIC], evidence)
    return house


def _folder() -> Path:
    home = Path(tempfile.mkdtemp(prefix="cloakhouse-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home
