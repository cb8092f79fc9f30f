from __future__ import annotations

import gzip
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.support.contracts import SHIPPED, column, feed_contract
from tests.support.crash import Crash, limit_file_size, quick_crashes
from tests.support.processes import in_fork, run

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contract
from cloakhouse.errors import ConfigurationError, ContractError, StorageError
from cloakhouse.keys.service import open_ring
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger import database
from cloakhouse.ledger.catalogue import Catalogue
from cloakhouse.settings import Settings
from cloakhouse.stages import landing_run
from cloakhouse.stages.land import Landed, land
from cloakhouse.stages.scan import Identity, digest_of

MARKER = "Zwetschgenhuber"
HEADER = "id,name,amount\n"
ROWS = f"1,{MARKER},2.5\n2,Ben,3\n"
DAY, NEXT = "2017-01-02", "2017-01-03"
CSV = feed_contract()
ZIPPED = feed_contract(files="people-{partition}.csv.gz")
JSONL = feed_contract(form="jsonl")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings.from_environment({"CLOAKHOUSE_HOME": str(tmp_path / "home")})
    made.inbox.mkdir(parents=True)
    return made


def deliver(settings: Settings, name: str, content: str | bytes) -> Path:
    path = settings.inbox / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def plain(settings: Settings, contract: Contract, partition: str = DAY, revision: int = -1) -> bytes:
    """Return what has landed, found as the next stage finds it: by the catalogue and the manifest."""
    delivery = Catalogue(settings.database).deliveries(contract.name)[partition][revision]
    manifest = read_manifest(FolderStore(settings.lake), delivery.manifest, "delivery")
    target = LandedObject(contract.name, partition, manifest["object"])
    with opened(FolderStore(settings.lake), target, open_ring(settings)) as stream:
        return stream.read()


def waiting(settings: Settings) -> list[str]:
    return sorted(p.name for p in settings.inbox.iterdir())


def stored(settings: Settings) -> list[str]:
    return sorted(str(p.relative_to(settings.lake)) for p in settings.lake.rglob("*") if p.is_file())


def only_refusal(result: Landed, code: str) -> dict[str, str]:
    assert [refusal["code"] for refusal in result.refused] == [f"delivery.{code}"]
    assert MARKER not in str(result)
    return result.refused[0]


def test_a_file_lands_byte_for_byte_and_leaves_the_inbox(settings: Settings) -> None:
    deliver(settings, f"people-{DAY}.csv", HEADER + ROWS)
    result = land(settings, CSV)
    assert (result.landed, result.duplicates, result.rows, result.refused) == (1, 0, 2, ())
    assert plain(settings, CSV) == (HEADER + ROWS).encode()
    assert waiting(settings) == []
    for path in settings.home.rglob("*"):
        if path.is_file():
            assert MARKER.encode() not in path.read_bytes(), path


def test_what_is_recorded(settings: Settings) -> None:
    content = "id,name,amount,cashier\n1,a,2,c\n"
    deliver(settings, f"people-{DAY}.csv", content)
    result = land(settings, CSV)
    (delivery,) = Catalogue(settings.database).deliveries("people")[DAY]
    digest = hashlib.sha256(content.encode()).hexdigest()
    assert (delivery.revision, delivery.sha256, delivery.rows, delivery.bytes) == (1, digest, 1, len(content))
    manifest = read_manifest(FolderStore(settings.lake), delivery.manifest, "delivery")
    assert manifest["undeclared_columns"] == 1
    assert manifest["contract"] == {"version": "1.0.0", "digest": CSV.digest}
    assert manifest["key"] == "landing/file/people"
    landing = read_manifest(FolderStore(settings.lake), result.manifest, "landing")
    assert landing["deliveries"] == [
        {"partition": DAY, "path": delivery.manifest.path, "sha256": delivery.manifest.sha256}
    ]
    assert (landing["duplicates"], landing["refused"]) == (0, [])


def test_json_lines_land_with_their_undeclared_keys_counted(settings: Settings) -> None:
    deliver(settings, f"people-{DAY}.jsonl", f'{{"id": 1, "note": "{MARKER}"}}\n{{"id": 2}}\nnot json')
    result = land(settings, JSONL)
    assert (result.landed, result.rows) == (1, 3)
    (delivery,) = Catalogue(settings.database).deliveries("people")[DAY]
    assert read_manifest(FolderStore(settings.lake), delivery.manifest)["undeclared_columns"] == 1


def test_members_of_gzip_land_as_they_came(settings: Settings) -> None:
    packed = gzip.compress(HEADER.encode()) + gzip.compress(ROWS.encode())
    deliver(settings, f"people-{DAY}.csv.gz", packed)
    assert land(settings, ZIPPED).rows == 2
    assert plain(settings, ZIPPED) == packed


def test_files_of_others_are_left_alone(settings: Settings) -> None:
    names = [
        f"others-{DAY}.csv",
        f"people-{DAY}.csv.part",
        f".people-{DAY}.csv.swp",
        "people.csv",
    ]
    for name in names:
        deliver(settings, name, HEADER + ROWS)
    (settings.inbox / f"people-{NEXT}.csv").mkdir()
    only_refusal(land(settings, CSV), "missing")
    assert waiting(settings) == sorted([*names, f"people-{NEXT}.csv"])


@pytest.mark.parametrize("name", ["people-2017-13-01.csv", f"People-{DAY}.csv", f"people-{DAY} (1).csv", "people-.csv"])
def test_a_file_that_is_almost_named_as_ours_is_reported_and_left(settings: Settings, name: str) -> None:
    deliver(settings, name, HEADER + ROWS)
    deliver(settings, f"people-{NEXT}.csv", HEADER + ROWS)
    done = land(settings, CSV)
    assert done.landed == 1
    assert [problem["code"] for problem in done.refused] == ["delivery.name"]
    assert waiting(settings) == [name]


def test_only_the_partitions_asked_for(settings: Settings) -> None:
    for day in (DAY, NEXT):
        deliver(settings, f"people-{day}.csv", HEADER + ROWS + day)
    assert land(settings, CSV, [NEXT]).landed == 1
    assert waiting(settings) == [f"people-{DAY}.csv"]
    assert land(settings, CSV).landed == 1


def test_a_missing_file(settings: Settings) -> None:
    refusal = only_refusal(land(settings, CSV, [DAY]), "missing")
    assert refusal["where"] == f"inbox/people-{DAY}.csv"
    settings.inbox.rmdir()
    assert only_refusal(land(settings, CSV), "missing")["where"] == "inbox/people-<date>.csv"
    settings.inbox.mkdir()
    deliver(settings, f"people-{DAY}.csv", HEADER + ROWS)
    land(settings, CSV)
    assert land(settings, CSV, [DAY]).refused == ()  # landed earlier
    assert land(settings, CSV).refused == ()


BAD: dict[str, tuple[Contract, bytes, str]] = {
    "zero_bytes": (CSV, b"", "empty"),
    "zero_bytes_gzip": (ZIPPED, b"", "empty"),
    "gzip_of_nothing": (ZIPPED, gzip.compress(b""), "empty"),
    "zero_bytes_jsonl": (JSONL, b"", "empty"),
    "header_alone": (CSV, HEADER.encode(), "no-rows"),
    "header_without_line_feed": (CSV, HEADER.strip().encode(), "no-rows"),
    "no_header": (CSV, ROWS.encode(), "header"),
    "wrong_delimiter": (CSV, (HEADER + ROWS).replace(",", ";").encode(), "header"),
    "declared_column_missing": (CSV, ("id,amount\n" + f"1,{MARKER}\n").encode(), "header"),
    "not_gzip": (ZIPPED, (HEADER + ROWS).encode(), "gzip"),
    "truncated_gzip": (ZIPPED, gzip.compress((HEADER + ROWS).encode())[:-9], "truncated"),
    "garbage_after_gzip": (ZIPPED, gzip.compress((HEADER + ROWS).encode()) + b"garbage!" * 3, "gzip"),
    "too_long_a_line": (CSV, (HEADER + MARKER * 10_000 + "\n").encode(), "line-length"),
    "utf16": (CSV, (HEADER + ROWS).encode("utf-16"), "header"),
    "other_line_ends": (CSV, (HEADER + ROWS).replace("\n", "\r").encode(), "header"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_stays_in_the_inbox_and_others_go_on(settings: Settings, fault: str) -> None:
    contract, content, code = BAD[fault]
    assert contract.feed is not None
    deliver(settings, contract.feed.file_name(DAY), content)
    good = ('{"id": 1}\n' if contract is JSONL else HEADER + ROWS).encode()
    deliver(settings, contract.feed.file_name(NEXT), gzip.compress(good) if contract is ZIPPED else good)
    result = land(settings, contract)
    refusal = only_refusal(result, code)
    assert refusal["where"] == f"inbox/{contract.feed.file_name(DAY)}"
    assert "stays in the inbox" in refusal["not_done"]
    assert refusal["remedy"]
    assert result.landed == 1
    assert waiting(settings) == [contract.feed.file_name(DAY)]
    assert list(Catalogue(settings.database).deliveries("people")) == [NEXT]
    assert [name for name in stored(settings) if DAY in name] == []
    assert MARKER not in (settings.lake / result.manifest.path).read_text()


def test_truncation_at_every_byte_is_refused_and_the_whole_file_lands_after(settings: Settings) -> None:
    packed = gzip.compress((HEADER + ROWS).encode())
    for length in range(1, len(packed), 6):
        deliver(settings, f"people-{DAY}.csv.gz", packed[:length])
        only_refusal(land(settings, ZIPPED), "truncated")
    deliver(settings, f"people-{DAY}.csv.gz", packed)
    assert land(settings, ZIPPED).landed == 1


def test_a_partition_before_the_first_is_refused(settings: Settings) -> None:
    deliver(settings, "people-2016-12-25.csv", HEADER + ROWS)
    deliver(settings, "people-2016-12-26.csv", HEADER + ROWS)
    result = land(settings, CSV)
    assert "2016-12-26" in only_refusal(result, "early")["expected"]
    assert result.landed == 1


def test_the_same_file_twice_is_one_delivery(settings: Settings) -> None:
    for _ in range(3):
        deliver(settings, f"people-{DAY}.csv", HEADER + ROWS)
        result = land(settings, CSV)
        assert waiting(settings) == []
    assert (result.landed, result.duplicates, result.rows, result.refused) == (0, 1, 0, ())
    assert len(Catalogue(settings.database).deliveries("people")[DAY]) == 1


def test_the_same_content_under_another_name_is_refused(settings: Settings) -> None:
    for supersede in (False, True):
        for day in (DAY, NEXT):
            deliver(settings, f"people-{day}.csv", HEADER + ROWS)
        refusal = only_refusal(land(settings, CSV, supersede=supersede), "duplicate")
        assert DAY in refusal["found"]
        assert waiting(settings) == [f"people-{NEXT}.csv"]
    assert list(Catalogue(settings.database).deliveries("people")) == [DAY]


def test_other_content_under_a_landed_name_needs_supersede(settings: Settings) -> None:
    deliver(settings, f"people-{DAY}.csv", HEADER + ROWS)
    land(settings, CSV)
    deliver(settings, f"people-{DAY}.csv", HEADER + "3,Eve,4\n")
    refusal = only_refusal(land(settings, CSV), "conflict")
    assert "supersede" in refusal["remedy"]
    assert plain(settings, CSV) == (HEADER + ROWS).encode()
    result = land(settings, CSV, supersede=True)
    assert (result.landed, result.refused) == (1, ())
    assert [d.revision for d in Catalogue(settings.database).deliveries("people")[DAY]] == [1, 2]
    assert plain(settings, CSV) == (HEADER + "3,Eve,4\n").encode()
    assert plain(settings, CSV, revision=0) == (HEADER + ROWS).encode()
    deliver(settings, f"people-{DAY}.csv", HEADER + ROWS)  # back to the first content: a third revision
    assert land(settings, CSV, supersede=True).landed == 1
    for revision in (0, 2):
        assert plain(settings, CSV, revision=revision) == (HEADER + ROWS).encode()


def test_the_inbox_is_kept_where_the_contract_says_so(settings: Settings) -> None:
    contract = feed_contract(after="keep")
    deliver(settings, f"people-{DAY}.csv", HEADER + ROWS)
    assert land(settings, contract).landed == 1
    assert waiting(settings) == [f"people-{DAY}.csv"]
    result = land(settings, contract)
    assert (result.landed, result.duplicates) == (0, 1)
    assert waiting(settings) == [f"people-{DAY}.csv"]


def test_a_file_that_changes_while_it_is_read_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    path = deliver(settings, f"people-{DAY}.csv", HEADER + ROWS)

    def then_grow(given: Path) -> tuple[str, Identity]:
        digest = digest_of(given)
        with path.open("a") as stream:
            stream.write("3,late,1\n")
        return digest

    monkeypatch.setattr(landing_run, "digest_of", then_grow)
    only_refusal(land(settings, CSV), "changing")
    assert stored(settings) == [f"landing/people/{Path(p).name}" for p in stored(settings)]
    monkeypatch.undo()
    assert land(settings, CSV).rows == 3


def test_a_contract_that_changed_under_its_version_lands_nothing(settings: Settings) -> None:
    deliver(settings, f"people-{DAY}.csv", HEADER + ROWS)
    Catalogue(settings.database).register_contract(feed_contract(after="keep"))
    with pytest.raises(ContractError):
        land(settings, CSV)
    assert waiting(settings) == [f"people-{DAY}.csv"]


def test_a_synthetic_dataset_has_no_feed(settings: Settings) -> None:
    with pytest.raises(ConfigurationError):
        land(settings, load_contract(SHIPPED / "baskets_synthetic.odcs.yaml"))


def test_leftovers_of_a_killed_run_are_cleared(settings: Settings) -> None:
    left = settings.lake / "landing" / "people" / DAY / ".abc.chl.0123456789ab.tmp"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    deliver(settings, f"people-{DAY}.csv", HEADER + ROWS)
    land(settings, CSV)
    assert not left.exists()


def test_no_value_reaches_the_log_the_events_or_the_messages(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("CLOAKHOUSE_PROGRESS", str(tmp_path / "events"))
    contract = feed_contract()
    bad: list[str] = [
        f"{MARKER},{MARKER},{MARKER}\n{ROWS}",
        f"id,name,amount,{MARKER},{MARKER}\n",
        f"id,{MARKER}\n{ROWS}",
        HEADER + MARKER * 10_000,
        f'"{MARKER}\n{HEADER}',
    ]
    for number, content in enumerate(bad):
        deliver(settings, f"people-2017-02-{number + 1:02}.csv", content)
    result = land(settings, contract)
    assert len(result.refused) == len(bad)
    events = (tmp_path / "events").read_text()
    assert len([line for line in events.splitlines() if json.loads(line)["kind"] == "trouble"]) == len(bad)
    assert MARKER not in events + caplog.text + str(result) + "".join(map(str, result.refused))


def giant(path: Path, first: bytes, piece: bytes, pieces: int) -> None:
    """Write a gzip of `first` and `pieces` times `piece`, a member each, made without ever holding the plaintext."""
    member = gzip.compress(piece)
    with path.open("wb") as stream:
        stream.write(gzip.compress(first))
        for _ in range(pieces):
            stream.write(member)


MEASURED = """
import resource, sys, time
from pathlib import Path
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land
from tests.support.contracts import feed_contract
settings = Settings.from_environment({"CLOAKHOUSE_HOME": sys.argv[1]})
contract = feed_contract(files="people-{partition}.csv.gz")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.monotonic()
result = land(settings, contract)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(grown // 1024, round(time.monotonic() - started, 1), result.rows, *[r["code"] for r in result.refused])
"""


def measured(settings: Settings) -> tuple[int, float, list[str]]:
    code, out, err = run(MEASURED, settings.home)
    assert code == 0, err
    grown, seconds, *rest = out.split()
    return int(grown), float(seconds), rest


def test_a_single_line_of_a_gigabyte_is_refused_in_constant_memory(settings: Settings) -> None:
    giant(settings.inbox / f"people-{DAY}.csv.gz", HEADER.encode() + b"1,", b"x" * (1 << 20), 1024)
    grown, seconds, rest = measured(settings)
    assert rest == ["0", "delivery.line-length"]
    assert grown < 200  # MiB
    assert seconds < 20


def test_many_lines_land_in_constant_memory(settings: Settings) -> None:
    rows = (b"1,%b,2.5\n" % (b"a" * 20)) * 37_449
    giant(settings.inbox / f"people-{DAY}.csv.gz", HEADER.encode(), rows, 200)
    grown, _, rest = measured(settings)
    assert rest == [str(200 * 37_449)]
    assert grown < 200  # MiB


@quick_crashes
def test_killed_at_every_step_the_next_run_lands_exactly_once(settings: Settings, crash: Crash) -> None:
    """Children kill themselves around each call that touches the disk; SQLite's own calls lie in between."""
    name, content = f"people-{DAY}.csv", HEADER + ROWS
    deliver(settings, f"people-{NEXT}.csv", content + "9,warm,1\n")
    land(settings, CSV)  # so that master key and tables exist
    before = stored(settings)

    def prepare() -> None:
        for path in (settings.lake / "landing" / "people" / DAY).glob("*"):
            path.unlink()
        engine = Catalogue(settings.database)._engine
        with engine.begin() as connection:
            connection.execute(sa.delete(database.delivery).where(database.delivery.c.partition == DAY))
        engine.dispose()
        deliver(settings, name, content)

    def check(finished: bool) -> None:
        known = Catalogue(settings.database).deliveries("people").get(DAY, [])
        assert len(known) <= 1
        if known:  # what is recorded is whole
            assert plain(settings, CSV) == content.encode()
        else:
            assert waiting(settings) == [name]
        result = land(settings, CSV)
        assert result.refused == ()
        assert waiting(settings) == []
        assert len(Catalogue(settings.database).deliveries("people")[DAY]) == 1
        assert plain(settings, CSV) == content.encode()
        assert [path for path in stored(settings) if path.endswith(".tmp") and DAY in path] == []

    assert crash(prepare, lambda: land(settings, CSV) and None, check) > 20
    assert set(before) <= set(stored(settings))


@pytest.mark.parametrize("where", ["_compare_with_landed", "_record", "add_delivery", "unlink", "write_manifest"])
def test_killed_between_the_steps_the_next_run_lands_exactly_once(settings: Settings, where: str) -> None:
    import os
    import signal

    deliver(settings, f"people-{DAY}.csv", HEADER + ROWS)

    def child() -> None:
        owners = {"add_delivery": Catalogue, "unlink": Path, "write_manifest": landing_run}
        owner: Any = owners.get(where, landing_run.LandingRun)
        real = getattr(owner, where)

        def die(*given: Any, **named: Any) -> Any:
            if where == "unlink" and given[0].parent != settings.inbox:
                return real(*given, **named)
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        setattr(owner, where, die)
        land(settings, CSV)

    assert in_fork(child) == -signal.SIGKILL
    assert waiting(settings) == [f"people-{DAY}.csv"]
    result = land(settings, CSV)
    assert (result.landed, result.duplicates) == ((0, 1) if where == "unlink" else (1, 0))
    assert waiting(settings) == []
    assert len(Catalogue(settings.database).deliveries("people")[DAY]) == 1
    assert plain(settings, CSV) == (HEADER + ROWS).encode()


def test_a_full_disk_keeps_the_delivery_and_the_next_run_lands_it(settings: Settings) -> None:
    content = HEADER + "".join(f"{n},{random.Random(n).random()},1\n" for n in range(1, 60_000))
    deliver(settings, f"people-{DAY}.csv", content)
    Catalogue(settings.database).register_contract(CSV)

    def child() -> None:
        limit_file_size(1 << 20)
        with pytest.raises(StorageError) as refusal:
            land(settings, CSV)
        assert refusal.value.code == "storage.no-space"
        assert refusal.value.retryable

    assert in_fork(child) == 0
    assert waiting(settings) == [f"people-{DAY}.csv"]
    assert stored(settings) == []
    assert Catalogue(settings.database).deliveries("people") == {}
    assert land(settings, CSV).landed == 1
    assert plain(settings, CSV) == content.encode()


def test_two_runs_at_once_land_each_file_once(settings: Settings) -> None:
    from tests.support.processes import race

    for number in range(1, 10):
        deliver(settings, f"people-2017-03-0{number}.csv", f"{HEADER}{number},a,1\n")
    code = """
    import sys
    from cloakhouse.settings import Settings
    from cloakhouse.stages.land import land
    from tests.support.contracts import feed_contract
    contract = feed_contract()
    ready()
    print(land(Settings.from_environment({"CLOAKHOUSE_HOME": sys.argv[1]}), contract).landed)
    """
    assert sum(map(int, race(code, [[settings.home]] * 4))) == 9
    assert all(len(d) == 1 for d in Catalogue(settings.database).deliveries("people").values())


def test_a_wider_contract_still_lands(settings: Settings) -> None:
    contract = feed_contract(columns=[column(f"c{n}") for n in range(200)], delimiter=";")
    deliver(settings, f"people-{DAY}.csv", ";".join(f"c{n}" for n in range(200)) + "\n" + ";" * 199 + "\n")
    assert land(settings, contract).rows == 1
