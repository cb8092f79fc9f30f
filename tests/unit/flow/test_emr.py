"""From submission to result on EMR Serverless: locks, keys, bags and endings, with a service that is played here.

Spark itself runs in tests/stores/test_emr_serverless.py.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support import house
from tests.support.emr import APPLICATION, ROLE, _validate
from tests.support.house import House

from cloakhouse.errors import AccessRefused, ConfigurationError, IntegrityError, StageError
from cloakhouse.flow import emr, emr_api
from cloakhouse.flow.emr_api import JobRuns
from cloakhouse.flow.submit import cluster_at, end_running_jobs, run_job
from cloakhouse.keys.aws_services import Service
from cloakhouse.keys.files import locked
from cloakhouse.keys.protocol import KeyName
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.settings import Settings
from cloakhouse.stages import carried, pseudonymize
from cloakhouse.stages.carried_needs import needs_of

EXTRA = {"application": APPLICATION, "role": ROLE, "region": "eu-west-1", "database_secret": "d", "spark_secret": "s"}
RESULT = {"path": "protected/transactions/x.json", "sha256": "0" * 64}


class Played:
    """Plays the service: `states` are told one after the other, the last one for ever; `at` is done at a state."""

    def __init__(self) -> None:
        self.states = ["SUBMITTED", "RUNNING", "SUCCESS"]
        self.at: dict[str, Callable[[], object]] = {}
        self.runs: list[dict[str, Any]] = []  # id, name, state
        self.asked: list[str] = []
        self.fails: dict[str, list[Exception]] = {}

    def call(self, operation: str, not_done: str, **parameters: Any) -> dict[str, Any]:
        self.asked.append(operation)
        if self.fails.get(operation):
            raise self.fails[operation].pop(0)
        return dict(getattr(self, operation)(**parameters))

    def start_job_run(self, **parameters: Any) -> dict[str, Any]:
        _validate("StartJobRun", parameters)
        self.runs.append({"id": f"0{len(self.runs)}", "name": parameters["name"], "state": "SUBMITTED", **parameters})
        return {"jobRunId": self.runs[-1]["id"]}

    def get_job_run(self, applicationId: str, jobRunId: str) -> dict[str, Any]:
        run = self._of(jobRunId)
        if run["state"] not in ("CANCELLED", "SUCCESS", "FAILED"):
            run["state"] = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            self.at.get(run["state"], lambda: None)()
        return {"jobRun": {"state": run["state"]}}

    def list_job_runs(self, states: list[str], **_: Any) -> dict[str, Any]:
        return {"jobRuns": [run for run in self.runs if run["state"] in states]}

    def cancel_job_run(self, applicationId: str, jobRunId: str) -> dict[str, Any]:
        self._of(jobRunId)["state"] = "CANCELLED"
        return {}

    def _of(self, run_id: str) -> dict[str, Any]:
        return next(run for run in self.runs if run["id"] == run_id)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    """Play the service, fast, and let a lake in a folder pass for one that is reached from elsewhere."""
    service = Played()
    monkeypatch.setattr(Service, "call", lambda _, *given, **named: service.call(*given, **named))
    monkeypatch.setattr(emr, "check_reachable", lambda _: None)
    monkeypatch.setattr(emr_api, "PAUSES_S", (0.01, 0.01))
    yield service
    assert not emr._RUNNING


@pytest.fixture
def place(tmp_path: Path) -> House:
    """An installation whose transactions wait to be protected."""
    found = house.protected().copy(tmp_path / "own house")
    return House(replace(found.settings))


def request(place: House) -> ManifestRef:
    found = pseudonymize.plan(place.settings, place.contracts["transactions"], reprocess=True)
    assert found is not None
    return found


def run(place: House, timeout_s: float = 60.0) -> dict[str, Any]:
    wanted = request(place)
    arguments = ("--request", wanted.path, "--sha256", wanted.sha256)
    return run_job(cluster_at("emr-serverless", None, EXTRA).job("pseudonymize", arguments, timeout_s), place.settings)


def bags(place: House) -> list[str]:
    return [info.path for info in open_store(place.settings).list("jobs")]


def tell(place: House, outcome: dict[str, Any]) -> None:
    [archive] = [path for path in bags(place) if path.endswith(carried.ARCHIVE)]
    name = archive.replace(carried.ARCHIVE, carried.RESULT)
    open_store(place.settings).create(name, json.dumps(outcome).encode())


def test_the_result_comes_from_the_bag_which_is_gone(place: House, played: Played) -> None:
    held: list[str] = []

    def look() -> None:
        held.extend(bags(place))
        tell(place, RESULT)

    played.at["RUNNING"] = look
    assert run(place) == RESULT
    assert {path.rpartition("/")[2] for path in held} == {"home.zip", "lease"}
    assert bags(place) == []
    assert "cancel_job_run" not in played.asked


def test_a_refusal_of_the_job_is_this_tasks(place: House, played: Played) -> None:
    problem = IntegrityError(where="w", expected="e", found="f", not_done="n", remedy="r", code="x")
    played.states = ["RUNNING", "FAILED"]
    played.at["RUNNING"] = lambda: tell(place, {"error": problem.as_dict()})
    with pytest.raises(StageError) as refused:
        run(place)
    assert refused.value.code == "integrity.x"
    assert bags(place) == []


def test_a_job_that_ends_without_a_result_is_told(place: House, played: Played) -> None:
    played.states = ["RUNNING", "FAILED"]
    with pytest.raises(StageError) as refused:
        run(place)
    assert refused.value.code == "stage.spark"
    assert "FAILED" in refused.value.found
    assert bags(place) == []


def test_the_bag_holds_wrapped_keys_of_this_job_alone(place: House, played: Played, tmp_path: Path) -> None:
    kept: list[bytes] = []

    def look() -> None:
        [archive] = [path for path in bags(place) if path.endswith(carried.ARCHIVE)]
        kept.append(open_store(place.settings).read(archive))
        tell(place, RESULT)

    played.at["RUNNING"] = look
    run(place)
    (tmp_path / "unpacked").mkdir()
    home = carried.unpack(kept[0], tmp_path / "unpacked")
    names = {str(path.relative_to(home)) for path in home.rglob("*.json")}
    assert "dataset-keys/landing/file/transactions.json" in names
    assert "dataset-keys/protected/footer/transactions.json" in names
    assert "dataset-keys/quarantine/direct/transactions.json" in names
    assert "token-roots/tokens-root.json" in names
    assert "dataset-keys/landing/file/customers.json" not in names
    assert not [name for name in names if name.startswith(("signing-keys", "keystore", "key-shares"))]
    for name in names - {carried.FACTS}:
        assert (home / name).read_bytes() == (place.settings.home / name).read_bytes()
    for key in needs_of(place.settings, "pseudonymize", request(place)).makes:
        assert f"dataset-keys/{key.name}.json" in names, "all that the job may write with"
    assert {path.name for path in (home / "contracts").iterdir()} >= {"transactions.odcs.yaml"}


def test_the_datasets_lock_is_held_while_the_job_runs(place: House, played: Played) -> None:
    lock, found = place.settings.locks / "transactions.lock", []

    def look() -> None:
        with pytest.raises(StageError) as busy, locked(lock, 0.0, "another"):
            pass
        found.append(busy.value.code)
        tell(place, RESULT)

    played.at["RUNNING"] = look
    run(place)
    assert found == ["stage.busy"]


def test_a_key_that_changes_ends_the_job(place: House, played: Played) -> None:
    played.states = ["RUNNING"]
    played.at["RUNNING"] = lambda: open_ring(place.settings).announce()
    with pytest.raises(StageError) as refused:
        run(place)
    assert refused.value.code == "stage.keys-changed"
    assert refused.value.retryable
    assert [run["state"] for run in played.runs] == ["CANCELLED"]
    assert bags(place) == []


def test_a_job_out_of_time_is_cancelled(place: House, played: Played) -> None:
    played.states = ["RUNNING"]
    with pytest.raises(StageError) as refused:
        run(place, timeout_s=0.2)
    assert refused.value.code == "stage.spark"
    assert [run["state"] for run in played.runs] == ["CANCELLED"]
    assert bags(place) == []


def test_a_signal_cancels_the_job(place: House, played: Played) -> None:
    played.states = ["RUNNING"]
    played.at["RUNNING"] = lambda: threading.Thread(target=end_running_jobs).start()
    with pytest.raises(StageError):
        run(place)
    assert [run["state"] for run in played.runs] == ["CANCELLED"]
    assert bags(place) == []


def test_what_a_killed_submitter_left_goes_first(place: House, played: Played) -> None:
    store = open_store(place.settings)
    store.create("jobs/pseudonymize/transactions/0ld/home.zip", b"old")
    store.create("jobs/pseudonymize/customers/0ther/home.zip", b"another dataset's")
    played.at["RUNNING"] = lambda: tell_first(place)
    wanted = request(place)
    name = emr.job_name(place.settings, "pseudonymize", "transactions")
    other = emr.job_name(place.settings, "pseudonymize", "customers")
    played.runs = [{"id": "old", "name": name, "state": "RUNNING"}, {"id": "it", "name": other, "state": "RUNNING"}]
    arguments = ("--request", wanted.path, "--sha256", wanted.sha256)
    run_job(cluster_at("emr-serverless", None, EXTRA).job("pseudonymize", arguments), place.settings)
    assert [run["state"] for run in played.runs] == ["CANCELLED", "RUNNING", "SUCCESS"]
    assert played.asked.index("cancel_job_run") < played.asked.index("start_job_run")
    assert bags(place) == ["jobs/pseudonymize/customers/0ther/home.zip"]


def tell_first(place: House) -> None:
    assert "jobs/pseudonymize/transactions/0ld/home.zip" not in bags(place)
    [archive] = [p for p in bags(place) if p.endswith(carried.ARCHIVE) and "/transactions/" in p]
    open_store(place.settings).create(archive.replace(carried.ARCHIVE, carried.RESULT), json.dumps(RESULT).encode())


def test_one_that_does_not_end_stops_the_submission(
    place: House, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emr_api, "END_WITHIN_S", 0.1)
    monkeypatch.setattr(played, "cancel_job_run", lambda **_: {})
    name = emr.job_name(place.settings, "pseudonymize", "transactions")
    played.runs = [{"id": "old", "name": name, "state": "CANCELLING"}]
    with pytest.raises(StageError) as refused:
        run(place)
    assert refused.value.code == "stage.busy"
    assert "start_job_run" not in played.asked


def unanswered() -> StageError:
    return StageError(where="w", expected="e", found="f", not_done="n", remedy="r", code="aws")


def test_a_service_that_does_not_answer_for_a_while_loses_no_job(place: House, played: Played) -> None:
    played.fails["get_job_run"] = [unanswered(), unanswered()]
    played.at["RUNNING"] = lambda: tell(place, RESULT)
    assert run(place) == RESULT


def test_one_that_does_not_answer_for_long_does(place: House, played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emr, "UNSEEN_S", 0.0)
    played.fails["get_job_run"] = [unanswered()]
    with pytest.raises(StageError) as refused:
        run(place)
    assert refused.value.code == "stage.aws"
    assert [run["state"] for run in played.runs] == ["CANCELLED"]
    assert bags(place) == []


def test_a_submission_of_which_nobody_knows_is_looked_for_and_ended(place: House, played: Played) -> None:
    """StartJobRun was done, and its answer lost."""

    def lost(**parameters: Any) -> dict[str, Any]:
        Played.start_job_run(played, **parameters)
        raise unanswered()

    played.start_job_run = lost  # type: ignore[method-assign]
    with pytest.raises(StageError):
        run(place)
    assert [run["state"] for run in played.runs] == ["CANCELLED"]
    assert bags(place) == []


def test_a_refusal_of_the_service_leaves_no_bag(place: House, played: Played) -> None:
    refusal = AccessRefused(where="w", expected="e", found="f", not_done="n", remedy="r", code="aws")
    played.fails["start_job_run"] = [refusal]
    with pytest.raises(AccessRefused):
        run(place)
    assert bags(place) == []


def test_keys_are_made_before_the_bag_is_packed(place: House, played: Played) -> None:
    """A dataset whose keys are not there yet has them when its job begins."""
    wanted = request(place)
    needs = needs_of(place.settings, "pseudonymize", wanted)
    key = next(key for key in needs.makes if key.zone == "quarantine")
    file = place.settings.dataset_keys / f"{key.name}.json"
    file.unlink(missing_ok=True)
    played.at["RUNNING"] = lambda: tell(place, RESULT)
    run(place)
    assert file.exists()
    assert KeyName("tokens/root") in needs.roots


def test_another_job_is_not_run_there(place: House, played: Played) -> None:
    wanted = request(place)
    with pytest.raises(ConfigurationError) as refused:
        needs_of(place.settings, "probe", wanted)
    assert refused.value.code == "configuration.master"


def test_all_pages_of_runs_are_read(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [{"jobRuns": [{"id": "a", "name": "x"}], "nextToken": "1"}, {"jobRuns": [{"id": "b", "name": "x"}]}]
    monkeypatch.setattr(played, "list_job_runs", lambda **given: pages[int(given.get("nextToken", 0))])
    assert JobRuns(Service("emr-serverless", "eu-west-1"), APPLICATION).alive("x") == ["a", "b"]


def test_files_of_the_machine_are_refused_before_anything_is_sent(
    place: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Service, "call", lambda _, operation, *__, **___: asked.append(operation))
    with pytest.raises(ConfigurationError) as refused:
        run(place)
    assert refused.value.code == "configuration.away"
    assert asked == []
    assert isinstance(place.settings, Settings)
