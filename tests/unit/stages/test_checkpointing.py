"""Signing the log, and verifying an installation's log against every checkpoint."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.support.audit_logs import change, edit, event, rehashed, replace_all, rows
from tests.support.budgets import installation
from tests.support.crash import die_at
from tests.support.forks import at_once
from tests.support.processes import in_fork

from cloakhouse.errors import IntegrityError, NotFound
from cloakhouse.keys.signing import PublicKey
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import encode
from cloakhouse.ledger.audit_findings import Remark, Verification
from cloakhouse.ledger.checkpoints import Checkpoint, opened, origin_of
from cloakhouse.ledger.merkle import leaf_hash, verify_inclusion
from cloakhouse.settings import Settings
from cloakhouse.stages import checkpointing
from cloakhouse.stages.audit_proof import proof_of
from cloakhouse.stages.audit_verification import examine, verify
from cloakhouse.stages.checkpointing import SIGNER, checkpoint, checkpoints, copies, note_of, stored, trusted


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return installation(tmp_path)


def log_of(settings: Settings, more: int = 0) -> AuditLog:
    log = AuditLog(settings.database)
    if more:
        log.record(*(event(number) for number in range(more)))
    return log


def signed(settings: Settings) -> Checkpoint:
    found = checkpoint(settings)
    assert found is not None
    return found


def kinds(found: Verification) -> list[str]:
    return [one.kind.value for one in found.findings]


def remarks(found: Verification) -> set[Remark]:
    return {one.remark for one in found.remarks}


def test_a_checkpoint_is_signed_and_stands_in_two_places(settings: Settings) -> None:
    assert checkpoint(settings) is None
    assert checkpoints(settings) == []
    log = log_of(settings, 5)
    first = signed(settings)
    assert first.size >= 5
    assert first == Checkpoint(origin_of(trusted(settings)), first.size, log.root(first.size))
    assert signed(settings) == first  # nothing new
    assert log.size() == first.size
    log_of(settings, 3)
    second = signed(settings)
    assert second.size > first.size
    assert checkpoints(settings) == [first, second]
    store = open_store(settings)
    for one in (first, second):
        note = store.read(f"evidence/audit/checkpoints/{one.size:012}.txt").decode()
        assert note == note_of(settings, one.size)
        assert opened(note, trusted(settings), "x") == one
    with pytest.raises(NotFound):
        note_of(settings, 10**6)
    found = examine(settings)
    assert replace(found, remarks=()) == Verification(second.size, second.root, (first.size, second.size))


def rewrite(settings: Settings) -> None:
    contents = [content for content, _ in rows(log_of(settings))]
    replace_all(log_of(settings), rehashed([encode(event(4_711)), *contents[1:]]))


FORKS: dict[str, Callable[[Settings], None]] = {
    "rewritten": rewrite,
    "cut": lambda settings: change(log_of(settings), "DELETE FROM audit_entry WHERE number >= 3"),
    "emptied, with its checkpoints": lambda settings: (
        change(log_of(settings), "DELETE FROM audit_entry"),
        change(log_of(settings), "DELETE FROM audit_checkpoint"),
    )[0],
    "cut and written on": lambda settings: (
        change(log_of(settings), "DELETE FROM audit_entry WHERE number >= 3"),
        change(log_of(settings), "DELETE FROM audit_checkpoint"),
        log_of(settings, 20),
    )[0],
}


@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
def test_a_fork_is_never_signed(settings: Settings, fork: Callable[[Settings], None]) -> None:
    log_of(settings, 5)
    kept = note_of(settings, signed(settings).size)
    fork(settings)
    before = len(stored(log_of(settings)))
    for _ in range(2):
        with pytest.raises(IntegrityError) as refusal:
            checkpoint(settings)
        assert refusal.value.code in ("integrity.audit-fork", "integrity.audit-log")
    assert len(stored(log_of(settings))) == before
    assert [note.text for note in copies(open_store(settings))] == [kept]
    assert not examine(settings).sound
    assert not examine(settings, {"kept.txt": kept}).sound


def test_a_checkpoint_that_was_lost_in_one_place_is_put_back(settings: Settings) -> None:
    log_of(settings, 5)
    size = signed(settings).size
    path = f"evidence/audit/checkpoints/{size:012}.txt"
    open_store(settings).delete(path)
    assert Remark.ONE_PLACE in remarks(examine(settings))
    assert signed(settings).size == size
    assert open_store(settings).stat(path) is not None
    change(log_of(settings), "DELETE FROM audit_checkpoint")
    assert Remark.ONE_PLACE in remarks(examine(settings))
    assert signed(settings).size == size
    assert [note.size for note in stored(log_of(settings))] == [size]


def test_a_checkpoint_lost_in_one_place_is_put_back_though_the_log_went_on(settings: Settings) -> None:
    log_of(settings, 5)
    first = signed(settings).size
    open_store(settings).delete(f"evidence/audit/checkpoints/{first:012}.txt")  # as one killed in between leaves it
    log_of(settings, 5)
    second = signed(settings).size
    assert [note.size for note in copies(open_store(settings))] == [first, second]
    assert Remark.ONE_PLACE not in remarks(examine(settings))


@pytest.mark.parametrize("more", [0, 3])
def test_a_note_in_another_s_place_keeps_nothing_from_being_signed_unnoticed(settings: Settings, more: int) -> None:
    log = log_of(settings, 5)
    first = signed(settings).size
    log_of(settings, 5)
    columns = "INSERT INTO audit_checkpoint (size, at, note) SELECT :size, at, note FROM audit_checkpoint"
    change(log, columns, size=log.size())
    log_of(settings, more)
    with pytest.raises(IntegrityError, match=r"integrity\.checkpoint"):
        checkpoint(settings)
    assert [note.size for note in copies(open_store(settings))] == [first]
    assert kinds(examine(settings)) == ["checkpoint forged"]


def test_forged_notes_are_found_and_the_others_compared(settings: Settings) -> None:
    log = log_of(settings, 5)
    first = signed(settings)
    log_of(settings, 5)
    second = signed(settings)
    good = note_of(settings, first.size)
    path = settings.lake / "evidence" / "audit" / "checkpoints" / f"{second.size:012}.txt"
    path.write_text(good)  # another's
    found = examine(settings, {"kept.txt": good, "forged.txt": good.replace(f"\n{first.size}\n", "\n3\n")})
    assert [(one.kind.value, one.first, one.last, one.where) for one in found.findings] == [
        ("checkpoint forged", 0, second.size - 1, f"checkpoint {second.size} in the lake"),
        ("checkpoint forged", 0, 0, "forged.txt"),
    ]
    assert found.checkpoints == (first.size, second.size)
    path.write_bytes(b"x" * 5_000)
    assert kinds(examine(settings)) == ["checkpoint forged"]
    change(log, "UPDATE audit_checkpoint SET note = 'x'")
    with pytest.raises(IntegrityError):
        checkpoints(settings)


def test_a_note_of_another_installation_is_refused(settings: Settings, tmp_path: Path) -> None:
    other = installation(tmp_path / "other")
    for one in (settings, other):
        log_of(one, 5)
        signed(one)
    theirs = note_of(other, checkpoints(other)[0].size)
    assert kinds(examine(settings, {"theirs.txt": theirs})) == ["checkpoint forged"]


@pytest.mark.parametrize("parts", [["json"], ["pem"], ["json", "pem"]], ids=str)
def test_a_lost_key_stops_signing_and_nothing_else(settings: Settings, parts: list[str]) -> None:
    log = log_of(settings, 5)
    size = signed(settings).size
    for part in parts:
        (settings.signing_keys / f"{SIGNER}.{part}").unlink()
    log.record(event(9))
    if parts != ["pem"]:  # the public key comes back from the private one
        with pytest.raises(IntegrityError) as refusal:
            checkpoint(settings)
        assert refusal.value.code == "integrity.signing-key"
        assert "backup" in refusal.value.remedy
    found = examine(settings)
    if parts == ["json"]:
        assert (found.sound, found.checkpoints) == (True, (size,))
    elif parts == ["json", "pem"]:
        assert [(one.kind.value, one.first, one.last) for one in found.findings] == [("key missing", 0, size - 1)]
        assert found.size == log.size()


def test_a_verification_is_recorded(settings: Settings) -> None:
    log = log_of(settings, 5)
    size = signed(settings).size
    found = verify(settings)
    assert found.sound
    last = log.entry(size).event
    assert (last.action, last.decision, last.count) == ("verify log", "allowed", size)
    assert last.facts == {"checkpoints": 1, "findings": 0, "root": found.root.hex()}
    edit(log, 2, rehash=False, reason="another")
    assert kinds(verify(settings)) == ["edited"]
    last = log.entry(size + 1).event
    assert (last.decision, last.code, last.facts["findings"]) == ("failed", "integrity.audit-log", 1)
    assert "another" not in str(last.as_dict())


def test_a_verification_that_cannot_be_recorded_says_so(settings: Settings) -> None:
    log = log_of(settings, 8)
    change(log, "UPDATE audit_entry SET hashes = :h", h=b"x")
    found = verify(settings)
    assert kinds(found) == ["edited"]
    assert Remark.NOT_RECORDED in remarks(found)
    assert log.size() == 8


def test_proofs(settings: Settings) -> None:
    log = log_of(settings, 5)
    assert proof_of(settings, 4).checkpoint is None
    assert proof_of(settings, 4).as_dict()["checkpoint"] == ""
    size = signed(settings).size
    log_of(settings, 2)
    assert proof_of(settings, size).checkpoint is None
    found = proof_of(settings, 3)
    told = found.as_dict()
    assert found.checkpoint == opened(told["checkpoint"], trusted(settings), "x")
    proof = [bytes.fromhex(one) for one in told["proof"]]
    assert verify_inclusion(bytes.fromhex(told["leaf"]), 3, size, proof, found.checkpoint.root)
    assert leaf_hash(found.entry.content).hex() == told["leaf"]
    with pytest.raises(NotFound):
        proof_of(settings, size + 2)
    edit(log, 3, rehash=True, reason="another")
    with pytest.raises(IntegrityError) as refusal:
        proof_of(settings, 3)
    assert refusal.value.code == "integrity.audit-proof"


def test_a_kill_at_any_step_leaves_checkpoints_that_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement, commit and file call of `checkpoint`, killed before it and after it; then it is called again."""
    settings = installation(tmp_path)
    log_of(settings, 3)
    signed(settings)
    monkeypatch.setattr(os, "rename", lambda *_: None)

    def count(*_: object, **__: object) -> None:
        os.rename("", "")  # noqa: PTH104

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    sa.event.listen(sa.Engine, "commit", count)
    try:
        number, ended = 0, [1]
        while any(ended):
            number, ended = number + 4, []
            for before in (True, False):
                log_of(settings, 1)

                def work(number: int = number, before: bool = before) -> None:
                    die_at(number, before=before)
                    checkpoint(settings)

                ended.append(in_fork(work))
                assert ended[-1] in (0, -signal.SIGKILL)
            assert examine(settings).sound
        assert number > 20
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", count)
        sa.event.remove(sa.Engine, "commit", count)
    last = signed(settings)
    found = examine(settings)
    assert found.checkpoints[-1] == last.size
    assert found.sound


def test_many_signers_at_once(settings: Settings) -> None:
    log_of(settings, 1)
    signed(settings)

    def work(number: int) -> list[str]:
        log_of(settings, number + 1)
        return [str(signed(settings).size)]

    at_once(work, 6)
    found = examine(settings)
    assert found.sound
    assert len(found.checkpoints) > 1


def test_the_public_key_is_that_of_the_signer(settings: Settings) -> None:
    log_of(settings, 1)
    signed(settings)
    other = replace(settings, keys="age:/nowhere")  # who verifies has no keys
    assert isinstance(trusted(other), PublicKey)
    assert examine(other).sound
    assert checkpointing.newest(log_of(settings), open_store(settings)) is not None
    assert partial(examine, other)().checkpoints
