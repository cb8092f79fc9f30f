"""The closing search of an erasure, over every byte that the platform holds.

1. Every file below the home (lake, control database and its journals, keys, locks, Airflow's logs and database,
   temporary files, copies from a server), of the lake, the control database, the cache, Airflow's home and this
   installation's temporary folders where these lie elsewhere, and every object of a lake on a server: its bytes as they
   lie, and what they hold (`cloakhouse.stages.sweep_readers`). The database's journal is emptied before.
2. Of what was landed the rows, for their subjects by rights token: this needs no value and no worklist, and recognises
   an identifier as short as `7`.
3. Every text and binary column of every table of the control database. Rights tokens may stand in two tables:
   tombstones and holds. Whether the database's file holds one elsewhere its bytes can't tell; the tables do.

Left out, and counted: deliveries that wait in the inbox, which aren't landed and which landing filters by tombstones;
the lists of erasures that are open, which go when these are closed; links, which lead to files that are searched where
they lie if they are the installation's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.lake.store.opening import is_folder, open_store
from cloakhouse.ledger import database as db
from cloakhouse.ledger.database_engine import emptied
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages.erasure_batch import still
from cloakhouse.stages.erasure_worklist import Wanted, wanted
from cloakhouse.stages.sweep_findings import Findings, Hit, require_clean
from cloakhouse.stages.sweep_search import Search
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.stages.worklist_values import RIGHTS, deliveries, feeds, parsed, persons_of

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

__all__ = ["Findings", "Hit", "require_clean", "sweep"]

NAMED = ("tombstone", "subject_hold")  # tables whose business it is to name persons by rights token
INBOX, LISTS, LINKS = "inbox", "lists of open erasures", "links"
DATABASE, SQLITE = "database", "sqlite:///"


def sweep(settings: Settings, batch: Batch) -> Findings:
    """Search everything for the persons of `batch` who are erased, and return what was found; raises nothing for it.

    `require_clean` raises for findings that don't let the erasure close. To be called after `collect` of
    `cloakhouse.stages.erasure_worklist`, and before its `drop`. Raises StageError (`stage.worklist`) without one,
    KeyServiceError, StorageError.
    """
    looked_for = wanted(settings, batch, still(settings, batch))
    search = Search(settings, looked_for)
    lists = {
        f"rights/{name}/" for name in {batch.name, *(e.batch for e in Erasures(settings.database).all(open_only=True))}
    }
    emptied(db.open_database(settings.database))
    roots = _roots(settings)
    for root in roots:
        for path in _files(root, search):
            _file(settings, search, root, path, lists)
    for path in _database_files(settings):
        if not any(path.is_relative_to(root) for root in roots):
            search.file(f"{DATABASE}/{path.name}", path)
    store = open_store(settings)
    if not isinstance(store, FolderStore):
        for info in store.list():
            if any(info.path.startswith(mine) for mine in lists):
                search.left_out[LISTS] += 1
            else:
                search.object(info.path, lambda path=info.path: store.fetched(path))  # type: ignore[misc]
    _subjects(settings, search, looked_for)
    _tables(settings, search)
    return search.findings()


def _roots(settings: Settings) -> list[Path]:
    """Return the folders that hold something of this installation, none below another."""
    chosen = [settings.home, settings.copies, *settings.temporary().glob(f"{settings.scratch}*")]
    if is_folder(settings):
        chosen.append(settings.lake)  # which may be a link to another disk
    if airflow := os.environ.get("AIRFLOW_HOME"):
        chosen.append(Path(airflow))
    found: list[Path] = []
    for path in (one.resolve() for one in chosen):
        if path.is_dir() and not any(path.is_relative_to(root) for root in found):
            found.append(path)
    return found


def _database_files(settings: Settings) -> list[Path]:
    """Return SQLite's file and its journals; nothing for a database on a server."""
    if not settings.database.startswith(SQLITE):
        return []
    path = Path(settings.database.removeprefix(SQLITE)).resolve()
    return [one for one in (path.with_name(path.name + end) for end in ("", "-wal", "-journal")) if one.is_file()]


def _files(root: Path, search: Search) -> Iterator[Path]:
    for folder, folders, names in os.walk(root, onerror=lambda fault: search.unread(root, fault)):
        folders.sort()
        search.left_out[LINKS] += sum(Path(folder, name).is_symlink() for name in folders)
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink():
                search.left_out[LINKS] += 1
            elif path.is_file():
                yield path


def _file(settings: Settings, search: Search, root: Path, path: Path, lists: set[str]) -> None:
    lake = settings.lake.resolve()
    if path.is_relative_to(lake) and isinstance(open_store(settings), FolderStore):
        within = path.relative_to(lake).as_posix()
        if any(within.startswith(mine) for mine in lists):
            search.left_out[LISTS] += 1
        else:
            search.object(within, lambda: path)
    elif path.is_relative_to(settings.inbox.resolve()):
        search.left_out[INBOX] += 1
    else:
        search.file(path.relative_to(root).as_posix(), path)


def _subjects(settings: Settings, search: Search, looked_for: Wanted) -> None:
    """Count the landed rows of the persons, recognised by rights token."""
    keys = token_keys(settings)
    for contract in feeds(load_contracts(settings.contracts)):
        subject = contract.rights.subject
        assert subject is not None
        for delivery in deliveries(settings, contract):
            place = ("landing", contract.name, subject.column, delivery.sha256)
            try:
                for block in parsed(settings, contract, delivery):
                    owners = persons_of(block.table, contract, keys)
                    search.hit(place, int(pa.compute.is_in(owners, value_set=looked_for.persons).true_count))
                    search.records(contract, place, pa.array(block.bad.records, pa.binary()))
            except CloakhouseError as fault:
                search.not_opened(place, fault)


def _tables(settings: Settings, search: Search) -> None:
    """Search every text and binary column of every table of the control database."""
    with db.open_database(settings.database).connect() as connection:
        for table in db.METADATA.sorted_tables:
            columns = [c for c in table.columns if isinstance(c.type, sa.String | sa.LargeBinary)]
            without = frozenset({RIGHTS} if table.name in NAMED else ())
            rows = connection.execution_options(yield_per=10_000).execute(sa.select(*(columns or table.columns)))
            count = 0
            for part in rows.partitions():
                count += len(part)
                for at, column in enumerate(columns):
                    values = pa.array([_bytes(row[at]) for row in part], pa.binary())
                    search.column((DATABASE, table.name, column.name, ""), values, without)
            search.tables[table.name] = count


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else None if value is None else bytes(value)
