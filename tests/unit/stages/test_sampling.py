"""Sampling: chunks that cover the roots once, files that are listed or removed, a model opened once a process."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support import house
from tests.support.house import PRIVATE, House

from cloakhouse.errors import StageError
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.progress import Progress
from cloakhouse.stages import sampling
from cloakhouse.stages.fitting import Fitted, SealedModel, open_sealed
from cloakhouse.stages.sampling import CHUNK_ROWS, CHUNK_UNITS, Sampled, chunks_of, sampled
from cloakhouse.stages.signing import trusted_key
from cloakhouse.stages.synthesize import plan_of
from cloakhouse.stages.workers import LocalWorkers, Report, Work
from cloakhouse.synthesis.protocol import Chunk

FOLDER = f"synthetic/{PRIVATE}/test"


@pytest.fixture
def place(tmp_path: Path) -> House:
    return house.private()[0].copy(tmp_path / "home")


def fit_of(place: House) -> Fitted:
    content = read_manifest(FolderStore(place.settings.lake), house.private()[1])
    plan, file = plan_of(place.contracts[PRIVATE]), ManifestRef.of(content["model"])
    sealed = SealedModel("dp-marginals", plan, file, content["fingerprint"], trusted_key(place.settings))
    return Fitted(open_sealed(place.settings, sealed), sealed, content["spend"])


def sample(place: House, workers: Any = None) -> Sampled:
    contract = place.contracts[PRIVATE]
    fit, progress = fit_of(place), Progress.of("synthesize", PRIVATE)
    return sampled(place.settings, contract, fit.sealed.plan, fit, FOLDER, workers or LocalWorkers(), progress)


def rows_of(place: House, found: Sampled) -> pa.Table:
    return pa.concat_tables([place.store.read(entry) for entry in found.files])


@dataclass
class Repeating:
    """Workers that do every part twice, as speculation does, list the second answer, and pickle what they are sent."""

    def run(self, stage: str, work: Work, parts: int, unit: str, report: Report) -> list[bytes]:
        for number in reversed(range(parts)):
            work(number)
        return LocalWorkers().run(stage, work, parts, unit, report)


def test_chunks_cover_every_root_once() -> None:
    plan = plan_of(house.private()[0].contracts[PRIVATE])
    for roots in (1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 1, 3 * CHUNK_ROWS):
        chunks = chunks_of(plan, roots)
        assert [chunk.start for chunk in chunks] == list(range(0, roots, CHUNK_ROWS))
        assert sum(chunk.size for chunk in chunks) == roots
        assert all(0 < chunk.size <= CHUNK_ROWS for chunk in chunks)
        assert {chunk.seed for chunk in chunks} == {plan.seed}
    leveled = replace(plan, columns=(replace(plan.columns[0], level=plan.columns[0].level.__class__.UNIT),))
    assert chunks_of(leveled, CHUNK_UNITS + 1) == [
        Chunk(0, CHUNK_UNITS, plan.seed),
        Chunk(CHUNK_UNITS, 1, plan.seed),
    ]


def test_chunks_are_files_in_order_and_what_no_answer_lists_is_removed(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "CHUNK_ROWS", 700)
    once, twice = sample(place), sample(place, Repeating())
    assert rows_of(place, twice).equals(pa.concat_tables([fit_of(place).model.sample(c) for c in chunks(place)]))
    assert [chunk["start"] for chunk in twice.chunks] == list(range(0, twice.rows, 700))
    assert len(twice.files) == len(twice.chunks) > 2
    standing = {path.name for path in (place.settings.lake / FOLDER).iterdir()}
    assert standing == {Path(entry.path).name for entry in twice.files}  # the first run's are gone, too
    assert {e.sha256 for e in once.files}.isdisjoint({e.sha256 for e in twice.files})


def chunks(place: House) -> list[Chunk]:
    fit = fit_of(place)
    return chunks_of(fit.sealed.plan, fit.model.roots)


def test_the_model_is_opened_once_a_process_and_nothing_of_it_is_sent(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "CHUNK_ROWS", 700)
    opened: list[SealedModel] = []

    def counting(settings: Any, sealed: SealedModel) -> Any:
        opened.append(sealed)
        return open_sealed(settings, sealed)

    monkeypatch.setattr(sampling, "open_sealed", counting)
    sample(place)
    assert len(opened) == 1
    sent = pickle.dumps(sampling._Sampler(opened[0]))
    assert len(sent) < 20_000


def test_a_worker_that_fails_quotes_nothing(place: House, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def sample(self, chunk: Chunk) -> pa.Table:
            raise ValueError("4111111111111111")

    monkeypatch.setattr(sampling, "open_sealed", lambda *_: Failing())
    with pytest.raises(StageError) as caught:
        sample(place)
    assert caught.value.code == "stage.task"
    assert "4111" not in caught.value.explain()


def test_a_sealed_model_that_is_altered_between_fit_and_sample_gives_no_row(place: House) -> None:
    fit = fit_of(place)
    path = place.settings.lake / fit.file.path
    found = path.read_bytes()
    path.write_bytes(found[:-1] + bytes([found[-1] ^ 1]))
    contract = place.contracts[PRIVATE]
    with pytest.raises(StageError) as caught:
        sampled(
            place.settings, contract, fit.sealed.plan, fit, FOLDER, LocalWorkers(), Progress.of("synthesize", PRIVATE)
        )
    assert "integrity.artifact" in caught.value.where
    assert not list((place.settings.lake / FOLDER).glob("*")) if (place.settings.lake / FOLDER).exists() else True
