"""An installation whose persons are erased: what is known of them before, by kill, and after, read as its owner may."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from tests.support.house import House
from tests.support.planted import HOUSEHOLD, MARKERS
from tests.support.sweep import Sweep

from cloakhouse.keys.service import open_ring
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.stages.derived_runs import runs_of
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.tokens.subjects import rights_tokens, tokens_of_rights

CLI = str(Path(sys.executable).with_name("cloakhouse"))
REASON = "request of the household, DPO-17"
OF_OTHERS = ("unknown household", "timestamp", "basket", "other card", "cashier")  # in a line of another household
NAMING = {label: value for label, value in MARKERS.items() if label not in OF_OTHERS}
BOUNDARIES = ("worklist", "register", "landed", "protected", "quarantine", "strays", "derived", "late", "sweep")
FEEDS = ("customers", "transactions")
WAIT_S = 600.0

Needles = dict[str, list[bytes]]


@dataclass(frozen=True)
class Persons:
    """Who is erased, what names them, and the token of the second."""

    households: list[str]
    needles: Needles
    token: str


class Installation(House):
    """A home that is read as its owner may: decrypted."""

    def cloakhouse(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command line to its end."""
        return subprocess.run(
            [CLI, *arguments], env=self.environment, capture_output=True, text=True, timeout=WAIT_S, check=False
        )

    @property
    def environment(self) -> dict[str, str]:
        folder = self.settings.home.parent / "tmp"
        folder.mkdir(exist_ok=True)
        return {**os.environ, **self.settings.environment(), "TMPDIR": str(folder)}

    def landed(self) -> Iterator[bytes]:
        """Yield every landed file, as it was delivered or is now."""
        store = open_store(self.settings)
        for name in FEEDS:
            for deliveries in self.catalogue.deliveries(name).values():
                for delivery in deliveries:
                    where = read_manifest(store, delivery.manifest)["object"]
                    target = LandedObject(name, delivery.partition, where)
                    with opened(store, target, open_ring(self.settings)) as stream:
                        content = stream.read()
                    yield gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content

    def tables(self) -> Iterator[pa.Table]:
        """Yield every table of the protected zone, the quarantine, the views and the syntheses."""
        store = open_store(self.settings)
        for name in FEEDS:
            for partition in self.catalogue.protected(name).values():
                content = read_manifest(store, partition.manifest)
                yield from map(self.store.read, file_entries([*content["files"], *content["quarantine"]]))
        for name in self.register.datasets():
            for run in runs_of(store, name):
                sides = [
                    item for side in ("training", "holdout") for item in run.content.get(side, {}).get("files", ())
                ]
                yield from map(self.store.read, file_entries([*sides, *run.content["files"]]))

    def token(self, household: str) -> bytes:
        """Return a household's token, the same in all feeds."""
        column = self.contracts["transactions"].column("household_id")
        rights = rights_tokens(pa.array([int(household)]), column, token_keys(self.settings))
        [token] = tokens_of_rights(rights, column, token_keys(self.settings)).to_pylist()
        return bytes(token)

    def naming(self, needles: Needles) -> dict[str, int]:
        """Return how many landed files and tables hold each of `needles`, in any of its forms."""
        found = dict.fromkeys(needles, 0)
        for content in (*self.landed(), *(_bytes(table) for table in self.tables())):
            for label, forms in needles.items():
                found[label] += any(form in content for form in forms)
        return found


def _bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def persons_of(installation: Installation) -> Persons:
    """Return the planted household, of which one line is in quarantine, and one that a synthesizer was fitted on."""
    [run] = runs_of(open_store(installation.settings), "households_synthetic")
    training = file_entries(run.content["training"]["files"])
    units = set(pa.concat_tables(map(installation.store.read, training)).column("__unit").to_pylist())
    master = next(content for content in installation.landed() if content.startswith(b"{"))
    for line in master.splitlines():
        with contextlib.suppress(ValueError):
            person = json.loads(line)
            household = str(person["household_id"])
            if household.isdigit() and installation.token(household) in units:
                break
    needles = {f"planted {label}": [value.encode()] for label, value in NAMING.items()}
    needles |= {name: [str(person[name]).encode()] for name in ("email", "loyalty_card", "card_number")}
    token = installation.token(household)
    return Persons([HOUSEHOLD, household], needles | {"token": [token, token.hex().encode()]}, token.hex())


def killed_after(installation: Installation, file: Path, boundary: str) -> str:
    """Start an erasure and kill -9 it as soon as it has recorded the step `boundary`; return its batch's name."""
    command = [CLI, "erase", "--subject-file", str(file), "--reason", REASON]
    process = subprocess.Popen(
        command,
        env=installation.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    erasures, deadline = Erasures(installation.settings.database), time.monotonic() + WAIT_S
    try:
        while process.poll() is None and time.monotonic() < deadline:
            [erasure] = erasures.all() or [None]
            if erasure is not None and erasures.step(erasure.batch, boundary) is not None:
                break
            time.sleep(0.02)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    [erasure] = erasures.all()
    assert erasure is not None
    return erasure.batch


def swept(home: Path, persons: Persons, output: bytes) -> None:
    """Search every byte as it lies. In a process of its own: closing SQLite's files here would drop its locks."""
    sweep = Sweep({**NAMING, "token": persons.token})
    sweep.folder(home)
    sweep.folder(home.parent / "tmp")
    sweep.data("output", output)
    assert sweep.files > 100
    assert sweep.hits == set()
