"""Erasing persons from the sources of a year, against decrypting and rewriting the affected files once.

The yardstick reads each landed file that holds a line of them, decompresses, compresses and encrypts it again; and each
file of the protected zone and of quarantine with a row of them, decoded and encoded again; nobody is recognised and
nothing is recorded. Reading the other files once, which whoever has no index of persons must, is told beside it.
Erasing is all of it: recognising, files without a hit, manifests, events, and the deletion of the old ones. CPU seconds
of this process; each is done once, on an installation of its own, since nothing is left to cut afterwards.
"""

from __future__ import annotations

import functools
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from tests.support.erasures import requested
from tests.support.house import House, without_consent

from cloakhouse.keys.service import open_ring
from cloakhouse.lake.landed import LandedObject, landing, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.parquet import FileEntry
from cloakhouse.lake.reencryption import reencrypt_table
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.sample import write_feed
from cloakhouse.settings import Settings
from cloakhouse.stages.erase_sources import erase_landed, erase_protected, erase_quarantine
from cloakhouse.stages.erasure_batch import Batch
from cloakhouse.stages.land import land
from cloakhouse.stages.landed_lines import LineWriter, header_of, line_blocks, plaintext
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.tokens.subjects import rights_tokens, rights_uses

WEEKS = range(1, 54)
CASES = {"1 household": 1, "1,000 households of 2,469": 1000}
TARGET = 1.3


def measure(folder: Path, weeks: range = WEEKS) -> str:
    """Return the table of CPU seconds of erasing, and of rewriting the same files once."""
    year = _year(folder / "year", weeks)
    lines = [
        f"| {len(weeks)} weeks | landed, s | protected and quarantine, s | rewriting alone, s | reading the others, s "
        "| ratio to rewriting (target) | to both |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, households in CASES.items():
        house = year.copy(folder / "copy")
        batch = requested(house.settings, _persons(house, range(1, households + 1)))
        yard, affected = year.copy(folder / "yard"), _affected(year, batch)
        reading = _timed(functools.partial(_others_read, yard, affected))
        rewriting = _timed(functools.partial(_rewritten, yard, affected))
        landed = _timed(functools.partial(erase_landed, house.settings, batch))
        rest = _timed(lambda: (erase_protected(house.settings, batch), erase_quarantine(house.settings, batch)))  # noqa: B023
        ratio, whole = (landed + rest) / rewriting, (landed + rest) / (rewriting + reading)
        told = f"{landed:.2f} | {rest:.2f} | {rewriting:.2f} | {reading:.2f} | {ratio:.2f} ({TARGET}) | {whole:.2f}"
        lines.append(f"| {name} | {told} |")
        for used in ("copy", "yard"):
            shutil.rmtree(folder / used)
    return "\n".join([*lines, ""])


def _year(home: Path, weeks: range) -> House:
    house = House(without_consent(Settings.from_environment({}).with_home(home)))
    write_feed(house.settings.inbox, weeks=weeks, wanted=lambda name: not name.startswith("products"))
    for name in ("customers", "transactions"):
        land(house.settings, house.contracts[name])
        house.protect(name)
    column = house.contracts["customers"].column("household_id")
    ensure_roots(house.settings, [use.root for use in rights_uses(column)])  # the same ones in every copy
    return house


def _persons(house: House, households: range) -> pa.Array:
    column = house.contracts["customers"].column("household_id")
    return rights_tokens(pa.array(households, pa.int64()), column, token_keys(house.settings))


def _affected(year: House, batch: Batch) -> set[str]:
    """Return what holds rows of the batch, as erasing a copy tells: `landed <dataset>/<partition>`, and so on."""
    copy = year.copy(year.settings.home.parent / "told")
    again = requested(copy.settings, batch.rights)
    for step in (erase_landed, erase_protected, erase_quarantine):
        step(copy.settings, again)
    steps = Erasures(copy.settings.database).steps(again.name)
    shutil.rmtree(copy.settings.home)
    held = [step.step for step in steps if " " in step.step and (step.content.get("lines") or step.content.get("rows"))]
    return {"/".join(step.split("/")[:2]) for step in held}


def _rewritten(house: House, affected: set[str]) -> None:
    store, ring = open_store(house.settings), open_ring(house.settings)
    for name in ("customers", "transactions"):
        feed = house.contracts[name].feed
        assert feed is not None
        for partition, [delivery] in house.catalogue.deliveries(name).items():
            if f"landed {name}/{partition}" in affected:
                target = LandedObject(name, partition, read_manifest(store, delivery.manifest)["object"])
                with opened(store, target, ring) as stream, landing(store, target, ring) as sink:
                    plain, lines = plaintext(stream, feed), LineWriter(sink, feed)
                    lines.write(header_of(plain, feed))
                    for block in line_blocks(plain):
                        lines.write(block)
                    lines.finish()
        tables = house.store
        for partition, protected in house.catalogue.protected(name).items():
            for entry in _files(house, f"{name}/{partition}", protected.manifest, affected):
                reencrypt_table(entry, tables)
                store.delete(entry.path)


def _files(
    house: House, place: str, manifest: ManifestRef, affected: set[str], *, others: bool = False
) -> list[FileEntry]:
    """Return the files of a partition, in both zones, that hold rows of the batch; or the others."""
    content = read_manifest(open_store(house.settings), manifest)
    zones = {"protected": "files", "quarantine": "quarantine"}
    wanted = [listed for zone, listed in zones.items() if (f"{zone} {place}" in affected) != others]
    return [entry for listed in wanted for entry in file_entries(content[listed])]


def _others_read(house: House, affected: set[str]) -> None:
    store, ring, tables = open_store(house.settings), open_ring(house.settings), house.store
    for name in ("customers", "transactions"):
        feed = house.contracts[name].feed
        assert feed is not None
        for partition, [delivery] in house.catalogue.deliveries(name).items():
            if f"landed {name}/{partition}" not in affected:
                target = LandedObject(name, partition, read_manifest(store, delivery.manifest)["object"])
                with opened(store, target, ring) as stream:
                    for _ in line_blocks(plaintext(stream, feed)):
                        pass
        for partition, protected in house.catalogue.protected(name).items():
            for entry in _files(house, f"{name}/{partition}", protected.manifest, affected, others=True):
                tables.read(entry, ["record" if entry.path.startswith("quarantine/") else "household_id"])


def _timed(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun
