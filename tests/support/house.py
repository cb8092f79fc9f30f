"""A real installation with the sample feed's first two weeks, protected and validated, copied for each test.

The feed is landed and treated by the stages' own code in this process; only Spark's scheduling is left out, which
the tests in `tests/spark` are about.

Its contracts aren't the shipped ones: `consent` is cut out of copies of them (`without_consent`), so that tests count
the feed's rows and not those of who agreed. Tombstones hold all the same. `consenting` has the contracts as they ship.
"""

from __future__ import annotations

import atexit
import functools
import gc
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.support.databases import copy_of_home
from tests.support.elsewhere import copied

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.releases import Release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef
from cloakhouse.ledger.versions import Selector, VersionRegister
from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings
from cloakhouse.stages import pseudonymize
from cloakhouse.stages.consent_feed import feed_register
from cloakhouse.stages.land import land
from cloakhouse.stages.pinning import Pinned
from cloakhouse.stages.publish import publish
from cloakhouse.stages.sieve_lists import listed
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.spark_tasks import together
from cloakhouse.stages.synthesize import synthesize
from cloakhouse.stages.token_roots import ensure_roots, roots_of
from cloakhouse.stages.treating import DeliveryTask, Treater
from cloakhouse.stages.validate import validate_protected
from cloakhouse.stages.validate_release import validate_synthetic
from cloakhouse.stages.version_checks import open_release

SUBJECT = re.compile(r"  - property: subject\n(?:    .*\n)+")
CONSENT = re.compile(r"  - property: consent\n    value: \{[^}]*\}\n")
WEEKS = ("2016-12-26", "2017-01-02")
SYNTHETIC = "households_synthetic"
PRIVATE = "baskets_private"


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
        return TableStore(open_store(self.settings), open_ring(self.settings))

    @property
    def register(self) -> VersionRegister:
        return VersionRegister(self.settings.database)

    def release(self, name: str = SYNTHETIC) -> Release:
        """Return the release of the version that `name` stands for."""
        return open_release(self.settings, self.register.resolve(Selector(name)))

    def released(self, name: str = SYNTHETIC) -> tuple[FileEntry, ...]:
        """Return the files of the version that `name` stands for."""
        return self.release(name).files

    def copy(self, home: Path) -> House:
        """Return this installation as it is now, copied to `home`, with contracts and suites of its own."""
        gc.collect()  # an engine that is let go while files are copied takes its -shm file along
        copied(self.settings.home, home)
        for name in ("contracts", "expectations"):
            if not (home / name).exists():
                shutil.copytree(getattr(self.settings, name), home / name)
        moved = replace(self.settings.with_home(home), database=copy_of_home(self.settings.home, home))
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
        request, deliveries, treater = planned(settings, contract, partitions, reprocess=reprocess)
        folder = f"{name}/{{}}/{request.sha256[:12]}"
        outcomes = [
            treater.run(DeliveryTask(d["partition"], d["object"], d["rows"], folder.format(d["partition"])))
            for d in deliveries
        ]
        pinned = Pinned.of(read_manifest(open_store(settings), request))
        pseudonymize._commit(settings, contract, request, pinned, deliveries, together(outcomes))


def planned(
    settings: Settings, contract: Contract, partitions: Sequence[str] | None = None, *, reprocess: bool = False
) -> tuple[ManifestRef, list[dict[str, Any]], Treater]:
    """Return the request for what waits, its deliveries, and who treats them in this process."""
    request = pseudonymize.plan(settings, contract, partitions, reprocess=reprocess)
    assert request is not None
    content = read_manifest(open_store(settings), request)
    references = {
        column: tuple(e for r in refs for e in partition_files(settings, ManifestRef.of(r)))
        for column, refs in content["references"].items()
    }
    ensure_roots(settings, roots_of(contract))
    deliveries = [read_manifest(open_store(settings), ManifestRef.of(d)) for d in content["deliveries"]]
    with listed(settings, contract, Pinned.of(content)) as persons:
        return request, deliveries, Treater(settings, contract, references, persons)


def without_consent(settings: Settings) -> Settings:
    """Return `settings` with copies of their contracts, in the home, that ask for no consent."""
    folder = settings.home / "contracts"
    shutil.copytree(settings.contracts, folder)
    for path in folder.glob("*.yaml"):
        path.write_text(CONSENT.sub("", path.read_text()))
    return replace(settings, contracts=folder)


@functools.cache
def protected() -> House:
    """Return the installation with customers and two weeks of transactions landed and protected, none validated."""
    house = House(without_consent(Settings.from_environment({}).with_home(_folder())))
    write_feed(house.settings.inbox, weeks=range(1, 3), wanted=lambda name: not name.startswith("products"))
    for name in ("customers", "transactions"):
        land(house.settings, house.contracts[name])
        house.protect(name)
    return house


@functools.cache
def consenting() -> House:
    """Return the installation with the shipped contracts: the same feeds landed, the consent register fed, and the rows
    of persons who allow analytics protected, none validated."""
    house = House(Settings.from_environment({}).with_home(_folder()))
    write_feed(house.settings.inbox, weeks=range(1, 3), wanted=lambda name: not name.startswith("products"))
    for name in ("customers", "transactions"):
        land(house.settings, house.contracts[name])
        feed_register(house.settings)
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


@functools.cache
def stocked() -> House:
    """Return `validated` with validated products, too, so that baskets can be told from lines."""
    house = validated().copy(_folder())
    write_feed(house.settings.inbox, weeks=range(1, 2), wanted=lambda name: name.startswith("products"))
    land(house.settings, house.contracts["products"])
    house.protect("products")
    validate_protected(house.settings, house.contracts["products"])
    return house


@functools.cache
def private() -> tuple[House, ManifestRef]:
    """Return `stocked` with private synthetic baskets that wait for their validation."""
    house = stocked().copy(_folder())
    manifest = synthesize(house.settings, house.contracts[PRIVATE])
    assert manifest is not None
    return house, manifest


@functools.cache
def published_private() -> House:
    """Return an installation whose private synthetic baskets are published."""
    source, manifest = private()
    house = source.copy(_folder())
    evidence = validate_synthetic(house.settings, house.contracts[PRIVATE], manifest)
    publish(house.settings, house.contracts[PRIVATE], evidence)
    return house


def _folder() -> Path:
    home = Path(tempfile.mkdtemp(prefix="cloakhouse-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return home
