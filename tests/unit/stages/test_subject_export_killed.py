"""A copy of one person's data, killed on its way: either it stands whole and on record, or there is nothing of it."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pyrage
import pytest
from tests.support.crash import Crash, crashes
from tests.support.house import House
from tests.support.small_feeds import email, loyalty, small
from tests.support.sweep import Sweep

from cloakhouse.client.plain_files import appearing
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.service import service_of
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import ALLOWED, Action
from cloakhouse.settings import Settings
from cloakhouse.stages.access_apply import apply
from cloakhouse.stages.subject_export import Request, export_subject

PERSON = 103
PURPOSE = "data-subject-rights"
ROOTS = ("tokens/root", "purposes/rights", "purposes/analytics")
IDENTITY = pyrage.x25519.Identity.generate()


@pytest.fixture
def officer(tmp_path: Path) -> Settings:
    """Return the settings of a privacy officer of a small installation, who may have any number of copies made."""
    house = small().copy(tmp_path / "home")
    policy = tmp_path / "access.yaml"
    shipped = house.settings.policy.read_text()
    policy.write_text(shipped.replace("principals: {}", "principals: {dora: {roles: [privacy-officer]}}"))
    settings = replace(house.settings, policy=policy)
    service = service_of(settings)
    assert isinstance(service, AgeKeyService)
    service.enrol("dora", identity=tmp_path / "dora.txt")
    apply(settings)
    for root in ROOTS:
        service.grant(Grant("dora", KeyName(root), PURPOSE))
    return replace(settings, identity=tmp_path / "dora.txt", purpose=PURPOSE, subject_export_limit=1_000_000)


@crashes
def test_killed_anywhere_a_copy_stands_whole_or_not_at_all_and_nothing_plain_is_left(
    officer: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: Crash
) -> None:
    scratch, given = tmp_path / "scratch", tmp_path / "given"
    for folder in (scratch, given):
        folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    file, out = tmp_path / "person.csv", given / "copy.age"
    file.write_text(f"household_id\n{PERSON}\n")
    request = Request(file, str(IDENTITY.to_public()), "access request DSR-4711")
    log = AuditLog(House(officer).settings.database)
    whole: list[int] = []

    def events() -> list[int]:
        """Return how many rows each recorded copy had; that of the request, before it, has none."""
        return [
            int(event.facts.get("rows", -1))
            for event in log.events()
            if event.action == Action.EXPORT_SUBJECT and event.decision == ALLOWED
        ]

    before: list[int] = []

    def prepare() -> None:
        out.unlink(missing_ok=True)
        before[:] = events()

    def work() -> None:
        with appearing(out, force=False) as stream:
            export_subject(officer, request, stream, lambda _counts: {"about.json": b"{}"})

    def check(finished: bool) -> None:
        told = events()[len(before) :]
        assert len(told) <= 2
        assert out.exists() or not finished
        if out.exists():  # it was handed out: both events stand, and it is whole
            assert len(told) == 2
            with zipfile.ZipFile(BytesIO(pyrage.decrypt(out.read_bytes(), [IDENTITY]))) as copy:
                assert copy.testzip() is None
                assert email(PERSON).encode() in b"".join(copy.read(name) for name in copy.namelist())
            whole.append(told[1])
        plain = Sweep({"email": email(PERSON), "loyalty": loyalty(PERSON), "name": f"Ann Holder {PERSON}"})
        plain.folder(scratch)
        plain.folder(given)
        plain.folder(officer.home, skip=[officer.inbox])
        assert plain.hits == set()

    calls = crash(prepare, work, check, every=13)
    print(calls, "disk calls; whole copies:", len(whole))
    assert calls > 20
    assert set(whole) == {whole[0]}  # the same rows each time, whatever was killed before
    prepare()
    work()
    check(True)
