"""Sampling a sealed model: chunks of roots, each sampled and written by whichever worker takes it."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field

from cloakhouse.contracts.model import Contract, Level
from cloakhouse.lake.parquet import FileEntry, TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.carried import worker_settings
from cloakhouse.stages.fitting import Fitted, SealedModel, open_sealed
from cloakhouse.stages.leftovers import remove_others
from cloakhouse.stages.workers import Workers
from cloakhouse.synthesis.protocol import Chunk, Model, Plan

CHUNK_ROWS = 250_000
CHUNK_UNITS = 2_500  # a unit may have hundreds of rows


@dataclass(frozen=True)
class Sampled:
    """A sampled dataset: its files in order, the chunk that each holds, and its rows."""

    files: tuple[FileEntry, ...]
    chunks: list[dict[str, int]]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(entry.rows for entry in self.files)


def chunks_of(plan: Plan, roots: int) -> list[Chunk]:
    """Return the chunks that `roots` roots are sampled in: of whole units where a column is of the unit."""
    size = CHUNK_UNITS if any(column.level is not Level.ROW for column in plan.columns) else CHUNK_ROWS
    return [Chunk(start, min(size, roots - start), plan.seed) for start in range(0, roots, size)]


def sampled(
    settings: Settings, contract: Contract, plan: Plan, fit: Fitted, folder: str, workers: Workers, progress: Progress
) -> Sampled:
    """Sample the dataset of `contract` into encrypted files below `folder` of the lake and return what was written.

    Files are named by attempt, so that a repeated one can't replace what was listed; those that no answer lists are
    removed. Raises StageError.
    """
    assert contract.synthesis is not None
    chunks = chunks_of(plan, contract.synthesis.rows or fit.model.roots)
    fields, sampler = settings.for_workers(), _Sampler(fit.sealed)
    classes = {column.name: column.column_class for column in contract.columns}

    def work(number: int) -> bytes:
        inner = worker_settings(fields)
        table = sampler.model(inner).sample(chunks[number])
        store = TableStore(open_store(inner), open_ring(inner))
        path = f"{folder}/part-{number:05}-{secrets.token_hex(4)}.parquet"
        return json.dumps(store.write(path, table, classes).as_dict()).encode()

    answers = workers.run("synthesize", work, len(chunks), "chunks", progress.step)
    entries = tuple(FileEntry(**json.loads(answer)) for answer in answers)
    remove_others(open_store(settings), folder, {entry.path for entry in entries})
    return Sampled(entries, [{"start": chunk.start, "size": chunk.size} for chunk in chunks])


@dataclass
class _Sampler:
    """Opens the sealed model once in each process that samples."""

    sealed: SealedModel
    _opened: list[Model] = field(default_factory=list)

    def model(self, settings: Settings) -> Model:
        if not self._opened:
            self._opened.append(open_sealed(settings, self.sealed))
        return self._opened[0]
