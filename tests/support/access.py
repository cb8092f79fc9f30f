"""A small installation with an access policy: three datasets in two zones, written under the platform's keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
from tests.support.elsewhere import copied

from cloakhouse.contracts.model import ColumnClass
from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.lake.encryption import KeyRingClient
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.settings import Settings
from cloakhouse.stages.reading_access import reading_ring

CLASSES = {
    "store": ColumnClass.PLAIN,
    "household": ColumnClass.DIRECT,
    "age": ColumnClass.INDIRECT,
    "note": ColumnClass.SENSITIVE,
    "card": ColumnClass.PAYMENT,
}
TABLE = pa.table({"store": [1, 2], "household": ["a", "b"], "age": [30, None], "note": ["x", "y"], "card": ["1", "2"]})
DATASETS = ("synthetic/baskets", "synthetic/private", "protected/people")
POLICY = """\
apiVersion: cloakhouse.access/v1
roles:
  modeller:
    purposes: [training, evaluation]
    reviewBy: 2027-05-31
    reads: [{zones: [synthetic], datasets: ["*"], classes: [plain, indirect identifier]}]
  desk-staff:
    purposes: [service desk]
    reviewBy: 2027-05-31
    reads:
      - {zones: [synthetic], datasets: [private], classes: [plain, payment]}
      - {zones: [protected], datasets: ["peop*"], classes: [direct identifier]}
principals:
  mia: {roles: [modeller]}
  dan: {roles: [desk-staff]}
"""


@dataclass(frozen=True)
class AccessHouse:
    """One installation, the tests' to change; people's identity files lie beside its home."""

    settings: Settings

    @classmethod
    def make(cls, folder: Path, keys: str = "") -> AccessHouse:
        """Return a new installation below `folder`, with people enrolled and the policy not applied yet."""
        settings = Settings.from_environment({}).with_home(folder / "home")
        settings = replace(settings, policy=folder / "access.yaml", keys=keys or settings.keys)
        house = cls(settings)
        house.say(POLICY)
        for dataset in DATASETS:
            house.write(dataset)
        service = service_of(settings)
        if isinstance(service, AgeKeyService):
            for name in ("mia", "dan", "eve"):
                service.enrol(name, identity=folder / f"{name}.txt")
        return house

    def copy(self, folder: Path) -> AccessHouse:
        """Return a copy of everything below `folder`."""
        copied(self.settings.home.parent, folder)
        moved = self.settings.with_home(folder / "home")
        return AccessHouse(replace(moved, policy=folder / "access.yaml"))

    def say(self, policy: str) -> None:
        """Replace the policy."""
        self.settings.policy.parent.mkdir(parents=True, exist_ok=True)
        self.settings.policy.write_text(policy)

    def edit(self, *changes: tuple[str, str]) -> None:
        """Replace texts, each of which must stand once in the policy."""
        text = self.settings.policy.read_text()
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        self.say(text)

    def seen_by(self, name: str, purpose: str) -> Settings:
        """Return the settings of a principal."""
        return replace(self.settings, identity=self.settings.home.parent / f"{name}.txt", purpose=purpose)

    def write(self, dataset: str, part: str = "part-0") -> FileEntry:
        """Write the table as a file of `dataset` (zone/name), as the platform."""
        store = TableStore(open_store(self.settings), open_ring(self.settings))
        return store.write(f"{dataset}/{part}.parquet", TABLE, CLASSES)

    def entry(self, dataset: str, part: str = "part-0") -> FileEntry:
        """Return the entry of a file that was written."""
        data = (self.settings.lake / f"{dataset}/{part}.parquet").read_bytes()
        return FileEntry(f"{dataset}/{part}.parquet", len(data), TABLE.num_rows, hashlib.sha256(data).hexdigest())

    def opens(self, who: Settings, dataset: str, part: str = "part-0") -> set[str]:
        """Return the columns that `who` opens with TableStore, each by itself; the client and the policy don't help."""
        entry, found = self.entry(dataset, part), set()
        for column in CLASSES:
            store = TableStore(open_store(who), reading_ring(who))
            if _opens(lambda column=column, store=store: store.read(entry, [column]), column):  # type: ignore[misc]
                found.add(column)
        return found

    def opens_with_pyarrow(self, who: Settings, dataset: str, part: str = "part-0") -> set[str]:
        """Return the columns that `who` opens with pyarrow alone, as a program of its own would."""
        path, found = self.settings.lake / f"{dataset}/{part}.parquet", set()
        for column in CLASSES:
            ring = reading_ring(who)
            if _opens(lambda column=column, ring=ring: _plain_read(path, ring, column), column):  # type: ignore[misc]
                found.add(column)
        return found


def _plain_read(path: Path, ring: KeyRing, column: str) -> pa.Table:
    factory = pe.CryptoFactory(lambda _: KeyRingClient(ring))
    properties = factory.file_decryption_properties(pe.KmsConnectionConfig(), pe.DecryptionConfiguration())
    return pq.ParquetFile(path, decryption_properties=properties).read(columns=[column])


def _opens(read: Callable[[], pa.Table], column: str) -> bool:
    table = _table_or_code(read)
    assert table == "access.key" or table.column(column).equals(TABLE.column(column))
    return not isinstance(table, str)


def _table_or_code(read: Callable[[], pa.Table]) -> pa.Table | str:
    try:
        return read()
    except CloakhouseError as refused:
        return refused.code
