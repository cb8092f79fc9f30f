"""Offline bundles: they verify anywhere, and nothing in them can be changed, left out or added."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.released import PRIVATE, Released, released, republished

from cloakhouse.errors import CloakhouseError, ConfigurationError, IntegrityError
from cloakhouse.lake.dsse import sealed_envelope
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.checkpoints import Checkpoint, sign
from cloakhouse.stages.bundle import LISTING, PAYLOAD_TYPE, bundle
from cloakhouse.stages.bundle_archive import packed, unpacked
from cloakhouse.stages.bundle_verify import fingerprint_of, verify_bundle
from cloakhouse.stages.checkpointing import checkpoint
from cloakhouse.stages.reporting import canonical
from cloakhouse.stages.signing import signing_key, trusted_key

Members = dict[str, bytes]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Released:
    found = released(tmp_path_factory.mktemp("platform"))
    log = AuditLog(found.settings.database)
    log.record(*(Event("platform", Action.VALIDATE, PRIVATE, dataset=PRIVATE, count=n) for n in range(1, 6)))
    checkpoint(found.settings)
    log.record(Event("platform", Action.LAND, "transactions/2017-01-02", dataset="transactions"))
    return found


@pytest.fixture(scope="module")
def content(made: Released) -> bytes:
    return bundle(made.settings, made.version)


def key_of(made: Released) -> str:
    return trusted_key(made.settings, "releases").sha256


def test_a_bundle_verifies(made: Released, content: bytes) -> None:
    found = verify_bundle(content, "b.zip", key_of(made))
    assert (found.name, found.key, found.compared) == (f"{PRIVATE}@1", key_of(made), True)
    assert (found.gate.passed, len(found.gate.figures), found.left_out, found.kept) == (True, 46, 0, None)
    assert found.entries >= 6
    assert found.state == "published"
    assert len(found.earlier) == 1
    assert not verify_bundle(content, "b.zip").compared
    assert verify_bundle(content, "b.zip", trusted_key(made.settings, "releases").pem.decode()).compared


def test_its_members_hold_records_only(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == [
            *("README.txt", "audit/checkpoint.txt", "audit/earlier.json", "audit/entries.jsonl", "audit/proofs.json"),
            *("bundle.json", "contracts/baskets_private.odcs.yaml", "contracts/customers.odcs.yaml"),
            *("contracts/products.odcs.yaml", "contracts/transactions.odcs.yaml", "evidence/synthesis.json"),
            *("evidence/validation.json", "keys/audit.pem", "keys/releases.pem", "release.json", "report.json"),
        ]


def test_that_a_bundle_was_made_is_in_the_log_and_in_the_bundle(made: Released, content: bytes) -> None:
    lines = [json.loads(line) for line in unpacked(content, "b")["audit/entries.jsonl"].splitlines()]
    assert [line["object"] for line in lines if line["action"] == Action.EXPORT_LOG] == [f"{PRIVATE}@1"]


def test_flipped_bytes_are_found(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        starts = {info.header_offset for info in archive.infolist()}
        directory = archive.start_dir
    places = {*range(0, len(content), 1_009), *range(directory, len(content), 3)}
    places |= {start + at for start in starts for at in range(0, 50, 3)}
    for at in sorted(place for place in places if place < len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 1 << (at % 8)
        with pytest.raises(IntegrityError):
            verify_bundle(bytes(flipped), "b.zip")


def test_every_flipped_byte_of_an_archive_is_found() -> None:
    small = packed({"README.txt": b"read", "audit/entries.jsonl": b"{}\n"})
    assert unpacked(small, "b") == {"README.txt": b"read", "audit/entries.jsonl": b"{}\n"}
    for at in range(len(small)):
        for bit in (0, 5, 7):
            flipped = bytearray(small)
            flipped[at] ^= 1 << bit
            with pytest.raises(IntegrityError):
                unpacked(bytes(flipped), "b")


@pytest.mark.parametrize("end", [0, 1, 100, -1, -22, -100])
def test_truncated_bundles_are_found(content: bytes, end: int) -> None:
    with pytest.raises(IntegrityError):
        verify_bundle(content[:end], "b.zip")


def test_bytes_before_and_behind_are_found(content: bytes) -> None:
    for text in (b"#!/bin/sh\n" + content, content + b"\0", content + content):
        with pytest.raises(IntegrityError):
            verify_bundle(text, "b.zip")


def _zip(names: list[tuple[str, bytes]], kind: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", kind) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in names:
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        _zip([("a.json", b"1"), ("a.json", b"2")]),
        _zip([("../a.json", b"1")]),
        _zip([("/etc/a.json", b"1")]),
        _zip([("a/b/../c.json", b"1")]),
        _zip([("a.json", b"0" * 10_000_000)], zipfile.ZIP_DEFLATED),
        _zip([(f"a{n}.json", b"") for n in range(200)]),
        _zip([("b.json", b"1"), ("a.json", b"2")]),
        _zip([]),
        b"PK\x05\x06" + b"\0" * 18,
        b"not an archive",
    ],
)
def test_tricks_of_archives_are_refused(text: bytes) -> None:
    with pytest.raises(IntegrityError) as problem:
        unpacked(text, "b.zip")
    assert problem.value.code == "integrity.bundle"


@pytest.mark.parametrize("members", [{}, {"../a.txt": b""}, {"a b.txt": b""}])
def test_only_names_of_members_are_packed(members: Members) -> None:
    with pytest.raises(ValueError, match="names of members"):
        packed(members)


def relisted(made: Released, members: Members, /, **changes: Any) -> bytes:
    """Return a bundle of other members, signed with the platform's own key: what only its holder can do."""
    others = {name: text for name, text in members.items() if name != LISTING}
    listing = {
        "format": 1,
        "kind": "offline bundle",
        "dataset": PRIVATE,
        "version": 1,
        "entries_left_out": 0,
        "members": [
            {"name": name, "bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
            for name, text in sorted(others.items())
        ],
        **changes,
    }
    signer = signing_key(made.settings, "releases")
    return packed({**others, LISTING: sealed_envelope(signer, PAYLOAD_TYPE, canonical(listing))})


def _text(name: str, old: str, new: str) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        found = members[name].decode()
        assert old in found
        members[name] = found.replace(old, new, 1).encode()

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("audit/entries.jsonl"),
        lambda m: m.pop("keys/audit.pem"),
        lambda m: m.pop("report.json"),
        lambda m: m.pop("evidence/synthesis.json"),
        lambda m: m.pop("contracts/baskets_private.odcs.yaml"),
        lambda m: m.update({"evidence/synthesis.json": m["evidence/validation.json"]}),
        lambda m: m.update({"evidence/validation.json": b"[1]"}),
        lambda m: m.update({"contracts/alien.odcs.yaml": b"a: 1\n"}),
        lambda m: m.update({"contracts/customers.odcs.yaml": m["contracts/products.odcs.yaml"]}),
        lambda m: m.update({"audit/entries.jsonl": m["audit/entries.jsonl"][:-1]}),
        lambda m: m.update({"audit/entries.jsonl": b"\n".join(m["audit/entries.jsonl"].split(b"\n")[1:])}),
        lambda m: m.update({"audit/proofs.json": b"{}"}),
        lambda m: m.update({"audit/earlier.json": b"7"}),
        lambda m: m.update({"release.json": m["report.json"]}),
        lambda m: m.update({"keys/audit.pem": m["keys/releases.pem"]}),
        _text("evidence/validation.json", '"k":11', '"k":12'),
        _text("contracts/baskets_private.odcs.yaml", "version: 1", "version: 2"),
        _text("audit/entries.jsonl", '"count":3', '"count":4'),
        _text("audit/proofs.json", '"number":1', '"number":2'),
        _text("audit/earlier.json", '"root":"', '"root":"00'),
        _text("audit/checkpoint.txt", "cloakhouse/", "cloakhouse2/"),
    ],
)
def test_members_changed_by_the_holder_of_the_key_are_found(
    made: Released, content: bytes, change: Callable[[Members], None]
) -> None:
    members = unpacked(content, "b")
    change(members)
    with pytest.raises(IntegrityError):
        verify_bundle(relisted(made, members), "b.zip")


def test_the_list_of_members_is_compared(made: Released, content: bytes) -> None:
    members = unpacked(content, "b")
    assert verify_bundle(relisted(made, members), "b.zip").name == f"{PRIVATE}@1"
    for changes in ({"version": 2}, {"dataset": "other"}, {"members": []}, {"format": 2}, {"entries_left_out": "x"}):
        with pytest.raises(IntegrityError):
            verify_bundle(relisted(made, members, **changes), "b.zip")


def test_a_contract_s_comment_counts_too(made: Released, content: bytes) -> None:
    members = unpacked(content, "b")
    members["contracts/customers.odcs.yaml"] += b"# a comment\n"
    with pytest.raises(IntegrityError):
        verify_bundle(packed(members), "b.zip")


def test_the_bundle_of_another_platform_is_refused(made: Released, content: bytes, tmp_path: Path) -> None:
    other = released(tmp_path)
    foreign = bundle(other.settings, other.version)
    assert verify_bundle(foreign, "b.zip").key != key_of(made)
    with pytest.raises(IntegrityError) as problem:
        verify_bundle(foreign, "b.zip", key_of(made))
    assert (problem.value.code, problem.value.exit_code) == ("integrity.platform", 4)
    members = {**unpacked(content, "b"), "keys/releases.pem": unpacked(foreign, "b")["keys/releases.pem"]}
    with pytest.raises(IntegrityError):
        verify_bundle(packed(members), "b.zip")


@pytest.mark.parametrize("key", ["", "12", "g" * 64, "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_key_that_is_none_is_a_mistake_of_the_caller(key: str) -> None:
    with pytest.raises(ConfigurationError):
        fingerprint_of(key)


def test_a_checkpoint_kept_elsewhere_is_compared(made: Released, content: bytes, tmp_path: Path) -> None:
    members = unpacked(content, "b")
    newest = members["audit/checkpoint.txt"].decode()
    assert verify_bundle(content, "b.zip", kept=newest).kept is True
    found = verify_bundle(content, "b.zip")
    signer = signing_key(made.settings, "audit")
    fork = sign(Checkpoint(found.origin, found.earlier[0], b"\1" * 32), signer)
    with pytest.raises(IntegrityError) as problem:
        verify_bundle(content, "b.zip", kept=fork)
    assert problem.value.code == "integrity.fork"
    for note in (sign(Checkpoint(found.origin, 999_999, b"\1" * 32), signer), "", newest[:-1], "x" * 10_000):
        with pytest.raises(IntegrityError):
            verify_bundle(content, "b.zip", kept=note)


def test_evidence_that_did_not_pass_is_not_recognised(tmp_path: Path) -> None:
    made = released(tmp_path, evidence=lambda e: e["risks"][0].update(bound=0.5))
    with pytest.raises(IntegrityError) as problem:
        verify_bundle(bundle(made.settings, made.version), "b.zip")
    assert problem.value.code == "integrity.gate"


def test_evidence_about_other_rows_is_not_recognised(tmp_path: Path) -> None:
    made = released(tmp_path)
    other = republished(made, source=made.evidence)
    with pytest.raises(IntegrityError):
        verify_bundle(bundle(other.settings, other.version), "b.zip")


def test_a_report_of_other_figures_is_not_recognised(made: Released, content: bytes) -> None:
    from cloakhouse.stages.reporting import PAYLOAD_TYPE as REPORTED
    from cloakhouse.stages.reporting import opened_report

    members = unpacked(content, "b")
    report = opened_report(trusted_key(made.settings, "releases"), members["report.json"], "r").content
    for changed in ({"verdict": {**report["verdict"], "figures": 1}}, {"version": 2}, {"release": None}):
        text = canonical({**report, **changed})
        signed = sealed_envelope(signing_key(made.settings, "releases"), REPORTED, text)
        with pytest.raises(IntegrityError):
            verify_bundle(relisted(made, {**members, "report.json": signed}), "b.zip")


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Released:
    """A release whose contract asks for an approval by dana or omar."""
    made = released(tmp_path_factory.mktemp("asking"))
    folder = made.settings.home / "contracts"
    folder.mkdir()
    for path in made.settings.contracts.glob("*.odcs.yaml"):
        (folder / path.name).write_text(path.read_text())
    path = folder / f"{PRIVATE}.odcs.yaml"
    text = path.read_text()
    asked = "  - property: approval\n    value: {approvers: [dana, omar], timeoutHours: 24}\n"
    assert text.count("\ncustomProperties:\n") == 1
    path.write_text(text.replace("\ncustomProperties:\n", "\ncustomProperties:\n" + asked))
    from cloakhouse.contracts.parser import load_contracts

    settings = replace(made.settings, contracts=folder)
    contract = load_contracts(folder)[PRIVATE]
    identity = {"version": contract.version, "digest": contract.digest}
    return republished(replace(made, settings=settings, contract=contract), contract=identity)


def test_an_approval_that_the_contract_asks_for_must_be_in_the_log(asking: Released) -> None:
    log = AuditLog(asking.settings.database)

    def decided(actor: str, decision: str = "allowed", code: str = "", evidence: str = asking.evidence.sha256) -> None:
        facts = {"evidence": evidence}
        log.record(Event(actor, Action.APPROVE, PRIVATE, decision=decision, code=code, dataset=PRIVATE, facts=facts))

    def verified() -> bool:
        try:
            return bool(verify_bundle(bundle(asking.settings, asking.version), "b.zip").name)
        except IntegrityError as problem:
            return problem.where != "b.zip, approval"

    assert not verified()
    decided("airflow:dana", evidence="0" * 64)
    decided("airflow:eve")
    assert not verified()
    decided("airflow:dana")
    decided("airflow:eve", "refused", "access.approver")  # was not counted
    assert verified()
    decided("airflow:omar", "refused", "approval.rejected")
    assert not verified()


def test_it_verifies_where_there_is_no_platform(content: bytes, made: Released, tmp_path: Path) -> None:
    (tmp_path / "b.zip").write_bytes(content)
    blocked = ("airflow", "pyspark", "sdv", "great_expectations", "pydantic", "open_data_contract_standard")
    blocked += ("opendp", "pandas", "sklearn", "torch", "weasyprint", "fastapi", "jinja2", "alembic", "boto3")
    program = (
        "import sys\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        "import socket\n"
        "def none(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = none\n"
        "from cloakhouse.client.bundling import verify_bundle\n"
        "verify_bundle()\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOAKHOUSE_")}
    environment |= {"HOME": str(tmp_path / "empty")}
    run = subprocess.run(
        [sys.executable, "-c", program, "b.zip", "--key", key_of(made), "--output", "json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    assert json.loads(run.stdout)["dataset"] == f"{PRIVATE}@1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip"]


def test_a_lost_key_of_releases_makes_no_bundle(tmp_path: Path) -> None:
    made = released(tmp_path)
    (made.settings.signing_keys / "releases.json").unlink()
    (made.settings.signing_keys / "releases.pem").unlink()
    with pytest.raises(CloakhouseError):
        bundle(made.settings, made.version)


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("cloakhouse.stages.bundle_archive.LIMIT", 100)
    with pytest.raises(IntegrityError):
        unpacked(content, "b.zip")
    with pytest.raises(ValueError, match="at most 100 bytes"):
        packed({"README.txt": b"0" * 200})


@pytest.mark.parametrize("path", [["00" * 32] * 65, ["00"], "00", [7], ["zz" * 32]])
def test_paths_that_are_none_are_refused(made: Released, content: bytes, path: Any) -> None:
    members = unpacked(content, "b")
    proofs = json.loads(members["audit/proofs.json"])
    proofs["entries"][0]["path"] = path
    with pytest.raises(IntegrityError):
        verify_bundle(relisted(made, {**members, "audit/proofs.json": canonical(proofs)}), "b.zip")


def test_old_decisions_are_in_the_bundle_whatever_the_log_holds_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloakhouse.ledger.approvals import Approvals, Decision

    made = released(tmp_path)
    log = AuditLog(made.settings.database)
    decision = Decision(PRIVATE, made.evidence.sha256, "approved", "dana", "", "reviewed")
    Approvals(made.settings.database).record(decision, Event("", Action.APPROVE, PRIVATE))
    log.record(*(Event("platform", Action.TAG, PRIVATE, dataset=PRIVATE, count=n) for n in range(1, 9)))
    monkeypatch.setattr("cloakhouse.stages.bundle.MOST_ENTRIES", 3)
    found = verify_bundle(bundle(made.settings, made.version), "b.zip")
    assert found.entries == 4
    assert found.left_out == log.size() - 4 - _others(log)


def test_the_bundle_of_a_version_says_whether_it_was_withdrawn(tmp_path: Path) -> None:
    made = released(tmp_path)
    log, name = AuditLog(made.settings.database), made.version.name
    log.record(Event("platform", Action.WITHDRAW, name, dataset=PRIVATE, decision="refused", code="access.key"))
    log.record(Event("platform", Action.WITHDRAW, f"{PRIVATE}@2", dataset=PRIVATE))
    assert verify_bundle(bundle(made.settings, made.version), "b.zip").state == "published"
    log.record(Event("platform", Action.WITHDRAW, name, dataset=PRIVATE))
    assert verify_bundle(bundle(made.settings, made.version), "b.zip").state == "withdrawn"


def _others(log: AuditLog) -> int:
    return sum(event.dataset != PRIVATE for event in log.events())
