"""Who misses files that an erasure took is told so; who misses others is told of a loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.acting import said
from tests.support.erasures import NAME, SOURCE, Attic, requested

from cloakhouse.errors import CloakhouseError
from cloakhouse.keys.files import locked
from cloakhouse.lake.manifests import read_manifest, write_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.stages import emptying, validate_release
from cloakhouse.stages.derived_runs import runs_of
from cloakhouse.stages.erase_derived import erase_derived, touched_by
from cloakhouse.stages.erasure_batch import Batch
from cloakhouse.stages.publish import publish
from cloakhouse.stages.publish_answer import publish_answer
from cloakhouse.stages.validate_release import validate_synthetic

WEEK, OTHER = "2017-01-02", "2017-01-09"


@pytest.fixture
def attic(tmp_path: Path) -> Attic:
    made = Attic.at(tmp_path / "home")
    made.partition(WEEK)
    made.partition(OTHER)
    return made


def erased(attic: Attic, *households: int) -> Batch:
    """Erase persons from what was made with the week that held them."""
    batch = requested(attic.settings, attic.persons(*households))
    step = f"protected {SOURCE}/{WEEK}/{attic.parents[WEEK]['sha256'][:12]}"
    Erasures(attic.settings.database).done(batch.name, step, {"rows": 3}, Event("ann", Action.ERASE, SOURCE))
    attic.partition(WEEK, "cut")
    erase_derived(attic.settings, batch, touched_by(attic.settings, batch))
    return batch


def refused(call: Callable[[], object]) -> CloakhouseError:
    with pytest.raises(CloakhouseError) as refusal:
        call()
    return refusal.value


def published(attic: Attic, evidence: ManifestRef) -> Callable[[], object]:
    return lambda: publish(attic.settings, attic.contracts[NAME], evidence)


def test_what_an_erasure_took_is_overtaken_and_recorded(attic: Attic) -> None:
    synthesis = attic.synthesize([1, 2], [3])
    evidence = attic.validate(synthesis)
    erased(attic, 1)
    for call in (
        published(attic, evidence),
        lambda: validate_synthetic(attic.settings, attic.contracts[NAME], synthesis),
    ):
        fault = refused(call)
        assert fault.code == "stage.overtaken"
        assert "an erasure took the run" in fault.found
        assert fault.remedy.startswith("run the DAG again")
    [(_, what, decision, _)] = said(attic.settings.database, Action.PUBLISH)
    assert (what, decision) == (NAME, "failed")
    assert attic.register.versions(NAME) == []


def test_an_answer_that_an_erasure_took_is_overtaken(attic: Attic) -> None:
    store, contract = open_store(attic.settings), attic.contracts[NAME]
    content = {
        "dataset": NAME,
        "contract": {"version": contract.version, "digest": contract.digest},
        "fingerprint": "a" * 64,
        "sources": {SOURCE: [attic.parents[WEEK]]},
        "answer": {},
        "files": [],
        "passed": True,
    }
    evidence = write_manifest(store, f"evidence/{NAME}/{'a' * 32}", "validation", content)
    erased(attic, 1)
    assert refused(lambda: publish_answer(attic.settings, contract, evidence)).code == "stage.overtaken"


def test_what_is_lost_is_a_loss_whatever_was_erased_otherwise(attic: Attic) -> None:
    taken = attic.validate(attic.synthesize([1]))
    lost = [attic.synthesize([7], partitions=[OTHER]) for _ in range(3)]
    evidence = [attic.validate(ref) for ref in lost]
    erased(attic, 1)
    store = open_store(attic.settings)
    rows = read_manifest(store, lost[2])["files"][0]["path"]
    for path in (evidence[0].path, lost[1].path, rows):
        store.delete(path)
    pinned_anew(attic, lost[2], evidence)
    assert [refused(published(attic, one)).code for one in evidence] == ["integrity"] * 3
    assert refused(published(attic, taken)).code == "stage.overtaken"
    missing = lost[1]
    assert refused(lambda: validate_synthetic(attic.settings, attic.contracts[NAME], missing)).code == "integrity"


def pinned_anew(attic: Attic, synthesis: ManifestRef, evidence: list[ManifestRef]) -> None:
    """Have the last of `evidence` be of the run `synthesis` as it would be planned with the tombstones there are."""
    content = read_manifest(open_store(attic.settings), synthesis)
    content["rights"]["erased"] = Tombstones(attic.settings.database).digest()
    body = {name: value for name, value in content.items() if name not in ("format", "kind")}
    evidence[-1] = attic.validate(write_manifest(open_store(attic.settings), f"synthetic/{NAME}", "synthesis", body))


def test_a_killed_erasure_that_was_called_off_left_a_run_without_rows(
    attic: Attic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows went, manifest and evidence were next; then a hold takes the person out, and no tombstone tells of it."""
    evidence = attic.validate(attic.synthesize([1, 2]))
    real = emptying.Emptying._delete

    def killed(self: Any, kind: str, paths: Any) -> None:
        if kind == "evidence":
            raise KeyboardInterrupt
        real(self, kind, paths)

    monkeypatch.setattr(emptying.Emptying, "_delete", killed)
    with pytest.raises(KeyboardInterrupt):
        erased(attic, 1)
    Tombstones(attic.settings.database).remove(attic.persons(1), "er-20261122-0a1b2c3d")
    [run] = runs_of(open_store(attic.settings), NAME)
    assert run.evidence == (evidence.path,)
    fault = refused(published(attic, evidence))
    assert (fault.code, fault.found[:4]) == ("stage.overtaken", "none")


def test_an_erasure_and_a_validation_wait_for_each_other(attic: Attic, monkeypatch: pytest.MonkeyPatch) -> None:
    synthesis = attic.synthesize([1])
    lock = attic.settings.locks / f"{NAME}-validation.lock"
    for module in (emptying, validate_release):
        monkeypatch.setattr(module, "LOCK_WAIT_S", 0.1)
    with locked(lock, 1.0, "another"):
        for call in (
            lambda: erased(attic, 1),
            lambda: validate_synthetic(attic.settings, attic.contracts[NAME], synthesis),
        ):
            assert refused(call).code == "stage.busy"
