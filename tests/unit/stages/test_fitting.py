"""Fitted synthesizers and what they spend: killed anywhere, refused anywhere, altered, twice at once.

The engine is a stub, so that hundreds of runs cost little; keys, files, signatures and the ledger are the platform's.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support import house
from tests.support.acting import by
from tests.support.budgets import installation
from tests.support.contracts import SHIPPED
from tests.support.crash import crash_everywhere
from tests.support.house import PRIVATE
from tests.support.processes import in_fork, race

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError, ContractError, IntegrityError, StageError, StorageError
from cloakhouse.keys import files
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.keys.signing import SigningKeys
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.sealed import SIGNER, Synthesizer, sealed
from cloakhouse.lake.store.folder import FolderStore
from cloakhouse.ledger.allowance import COMMITTED, RELEASED, RESERVED
from cloakhouse.ledger.budget import BudgetExhausted, PrivacyLedger
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.privacy.accounting import rho_of
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages import fitting
from cloakhouse.stages.fitting import Fitted, fitted
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.synthesize import plan, plan_of, synthesize
from cloakhouse.synthesis.protocol import Plan, Shards

FINGERPRINT = "ab" * 32
STEM = f"{PRIVATE}-{FINGERPRINT[:16]}"
CONTRACTS = load_contracts(SHIPPED)
ROWS = pa.table({"x": [1]})


@dataclass(frozen=True)
class StubModel:
    content: bytes

    def to_bytes(self) -> bytes:
        return self.content


@dataclass
class StubEngine:
    """An engine that counts its rows once, draws random bytes, and may refuse before or after."""

    before: BaseException | None = None
    after: BaseException | None = None
    fits: int = 0
    opened: list[bytes] = field(default_factory=list)

    def cost(self, plan: Plan) -> tuple[float, float]:
        assert plan.privacy is not None
        return rho_of(plan.privacy.epsilon, plan.privacy.delta / 2), plan.privacy.delta / 2

    def fit(self, plan: Plan, shards: Shards, report: Any) -> StubModel:
        self.fits += 1
        if self.before:
            raise self.before
        if plan.privacy:
            list(shards.map(lambda table: b""))
        else:
            shards.table()
        if self.after:
            raise self.after
        return StubModel(os.urandom(16))

    def open_model(self, plan: Plan, content: bytes) -> StubModel:
        self.opened.append(content)
        return StubModel(content)


@dataclass
class StubShards:
    """Two shards, of which the second may fail."""

    failure: CloakhouseError | None = None
    read: int = 0

    def map(self, task: Callable[[pa.Table], bytes]) -> Iterator[bytes]:
        self.read += 1
        yield task(ROWS)
        if self.failure:
            raise self.failure
        yield task(ROWS)

    def table(self) -> pa.Table:
        self.read += 1
        return ROWS


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> StubEngine:
    made = StubEngine()
    monkeypatch.setattr(fitting, "engine", lambda name: made)
    return made


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation with budgets, to be copied."""
    return installation(tmp_path_factory.mktemp("house"))


@pytest.fixture
def settings(fresh: Settings, tmp_path: Path) -> Settings:
    return copied(fresh, tmp_path / "home")


def copied(settings: Settings, home: Path) -> Settings:
    shutil.copytree(settings.home, home)
    return settings.with_home(home)


def run(settings: Settings, shards: Any = None, contract: Contract = CONTRACTS[PRIVATE]) -> Fitted:
    progress = Progress.of("synthesize", contract.name)
    return fitted(settings, contract, plan_of(contract), FINGERPRINT, shards or StubShards(), progress)


def states(settings: Settings) -> dict[str, str]:
    return {spend.id: spend.state for spend in PrivacyLedger(settings.database).spends()}


def models(settings: Settings, name: str = PRIVATE) -> dict[str, bytes]:
    folder = settings.lake / "models" / name
    return {path.stem: path.read_bytes() for path in sorted(folder.glob("*.model"))}


def refusal(kind: type[CloakhouseError] = StageError) -> CloakhouseError:
    return kind(where="x", expected="x", found="x", not_done="x", remedy="x", code="x")


def test_a_fit_is_reserved_sealed_and_committed_and_made_once(settings: Settings, engine: StubEngine) -> None:
    first = run(settings)
    again = run(settings)
    assert (engine.fits, states(settings)) == (1, {f"{STEM}-1": COMMITTED})
    assert first.spend == again.spend == {"id": f"{STEM}-1"}
    assert first.model == again.model
    assert first.file.path == f"models/{PRIVATE}/{FINGERPRINT[:16]}-1.model"
    [spend] = PrivacyLedger(settings.database).spends()
    assert (spend.rho, spend.delta) == (rho_of(3, 5e-8), 5e-8)  # as the engine tells, not what epsilon alone says
    assert {(a.dataset, a.unit, a.consumer) for a in spend.accounts} == {
        ("customers", "household", "default"),
        ("transactions", "household", "default"),
    }


def test_without_a_guarantee_nothing_is_spent_and_the_model_is_made_once(
    settings: Settings, engine: StubEngine
) -> None:
    contract = CONTRACTS["baskets_synthetic"]
    found = [run(settings, contract=contract) for _ in range(2)]
    assert found[0].model == found[1].model
    assert found[0].spend is None
    assert (engine.fits, states(settings)) == (1, {})
    assert list(models(settings, contract.name)) == [f"{FINGERPRINT[:16]}-0"]


def check_after(settings: Settings, engine: StubEngine) -> None:
    """Run once more after a crash: nothing was lost, nothing is paid for twice."""
    spends, stood = states(settings), models(settings)
    for stem in stood:
        assert spends[f"{PRIVATE}-{stem}"] in (RESERVED, COMMITTED)
    assert RELEASED not in spends.values()
    fits = engine.fits
    done = run(settings)
    assert states(settings)[done.spend["id"]] == COMMITTED  # type: ignore[index]
    assert list(states(settings).values()).count(COMMITTED) == 1
    if stood:
        assert (models(settings), states(settings).keys(), engine.fits) == (stood, spends.keys(), fits)
    else:
        assert len(states(settings)) == len(spends) + 1
        assert engine.fits == fits + 1
    assert len(models(settings)) == 1


@pytest.mark.kills
def test_killed_at_every_call_to_the_disk_nothing_is_lost_or_paid_twice(
    fresh: Settings, engine: StubEngine, tmp_path: Path
) -> None:
    numbers = itertools.count()
    place: list[Settings] = []
    signing_made = copied(fresh, tmp_path / "signed")
    key, path = fitting.signing_key(signing_made), f"models/{PRIVATE}/x.model"
    sealed(open_ring(signing_made), key, Synthesizer(path, "dp-marginals", FINGERPRINT), b"")  # makes the dataset key
    left = {"model": 0, "reserved": 0}

    def prepare() -> None:
        place[:] = [copied(signing_made, tmp_path / f"home {next(numbers)}")]

    def check(finished: bool) -> None:
        left["model"] += bool(models(place[0])) and not finished
        left["reserved"] += RESERVED in states(place[0]).values()
        check_after(place[0], engine)
        shutil.rmtree(place[0].home)

    steps = crash_everywhere(prepare, lambda: (run(place[0]), None)[1], check)
    assert steps > 8
    assert left["model"] > 1  # killed after the model stood, too
    assert left["reserved"] > 5


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("what", ["reserve", "fit", "seal", "commit"])
def test_killed_around_each_step_nothing_is_lost_or_paid_twice(
    settings: Settings, engine: StubEngine, monkeypatch: pytest.MonkeyPatch, what: str, after: bool
) -> None:
    target: Any = {"fit": engine, "seal": fitting}.get(what, PrivacyLedger)
    real = getattr(target, what)

    def deadly(*given: Any, **named: Any) -> Any:
        done = real(*given, **named) if after else None
        os.kill(os.getpid(), signal.SIGKILL)
        return done

    with monkeypatch.context() as patched:
        patched.setattr(target, what, deadly)
        assert in_fork(lambda: run(settings)) == -signal.SIGKILL
    spent = states(settings)
    assert len(spent) == (0 if (what, after) == ("reserve", False) else 1)
    assert bool(models(settings)) == ((what, after) in {("seal", True), ("commit", False), ("commit", True)})
    check_after(settings, engine)


def test_an_exhausted_budget_is_refused_before_a_row_is_read(settings: Settings, engine: StubEngine) -> None:
    ledger, shards = PrivacyLedger(settings.database), StubShards()
    accounts = fitting.charges(
        load_contracts(settings.contracts), CONTRACTS[PRIVATE].sources, "household", "model training"
    )
    ledger.reserve("others", accounts, min(a.rho for a in accounts.values()) - rho_of(2, 1e-7), 0.0, "x", by())
    with pytest.raises(BudgetExhausted):
        run(settings, shards)
    assert (engine.fits, shards.read, list(states(settings)), models(settings)) == (0, 0, ["others"], {})


def test_without_a_budget_a_guarantee_is_refused_before_anything(tmp_path: Path, engine: StubEngine) -> None:
    settings = installation(tmp_path, {"transactions": "", "customers": ""})
    with pytest.raises(ContractError) as caught:
        run(settings)
    assert (caught.value.code, engine.fits) == ("contract.budget", 0)

    place = house.stocked().copy(tmp_path / "place")
    for name in ("transactions", "customers"):
        text = (place.settings.contracts / f"{name}.odcs.yaml").read_text()
        start = text.index("  - property: privacyBudget")
        place.edit_contract(name, text[start : text.index("  - property: feed")], "")
    with pytest.raises(ContractError) as caught:
        plan(place.settings, place.contracts[PRIVATE])
    assert caught.value.code == "contract.budget"
    assert not (place.settings.lake / "synthetic").exists()


def test_an_exhausted_budget_leaves_no_rows_behind(tmp_path: Path) -> None:
    place = house.stocked().copy(tmp_path / "place")
    ledger = PrivacyLedger(place.settings.database)
    contract = place.contracts[PRIVATE]
    accounts = fitting.charges(place.contracts, contract.sources, "household", "model training")
    ledger.reserve("others", accounts, min(a.rho for a in accounts.values()), 0.0, "x", by())
    with pytest.raises(BudgetExhausted):
        synthesize(place.settings, contract)
    assert not list((place.settings.lake / "views").rglob("*.parquet"))
    assert not (place.settings.lake / "models").exists()


def test_a_refusal_before_anything_is_counted_gives_the_budget_back(settings: Settings, engine: StubEngine) -> None:
    engine.before = refusal(ContractError)
    with pytest.raises(ContractError):
        run(settings)
    assert states(settings) == {f"{STEM}-1": RELEASED}
    engine.before = None
    assert run(settings).spend == {"id": f"{STEM}-2"}
    assert states(settings) == {f"{STEM}-1": RELEASED, f"{STEM}-2": COMMITTED}


def test_a_refusal_that_follows_from_noisy_numbers_is_paid_for(settings: Settings, engine: StubEngine) -> None:
    engine.after = refusal()
    for number in (1, 2):
        with pytest.raises(StageError):
            run(settings)
        assert list(states(settings).values()) == [COMMITTED] * number


def test_rows_that_cannot_be_counted_give_the_budget_back(settings: Settings, engine: StubEngine) -> None:
    with pytest.raises(StageError):
        run(settings, StubShards(failure=refusal()))
    assert states(settings) == {f"{STEM}-1": RELEASED}


def test_what_nobody_foresaw_stays_reserved(settings: Settings, engine: StubEngine) -> None:
    engine.after = ValueError("after noise was drawn")
    with pytest.raises(ValueError, match="noise"):
        run(settings)
    assert states(settings) == {f"{STEM}-1": RESERVED}


def test_a_model_that_was_not_written_gives_the_budget_back(
    settings: Settings, engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise refusal(StorageError)

    with monkeypatch.context() as patched:
        patched.setattr(fitting, "seal", full)
        with pytest.raises(StorageError):
            run(settings)
    assert states(settings) == {f"{STEM}-1": RELEASED}
    assert models(settings) == {}
    assert run(settings).spend == {"id": f"{STEM}-2"}


def test_a_model_that_stands_though_the_disk_complained_keeps_its_spend(
    settings: Settings, engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting.signing_key(settings)
    open_ring(settings)
    real = files.fsync_folder

    def failing(folder: Path) -> None:
        if folder.parent.name == "models":
            raise OSError(5, "input/output error")
        real(folder)

    with monkeypatch.context() as patched:
        patched.setattr(files, "fsync_folder", failing)
        with pytest.raises(StorageError):
            run(settings)
    assert states(settings) == {f"{STEM}-1": RESERVED}
    stood = models(settings)
    assert len(stood) == 1
    assert run(settings).spend == {"id": f"{STEM}-1"}
    assert (models(settings), engine.fits) == (stood, 1)


def test_a_model_whose_spend_was_released_is_never_used(settings: Settings, engine: StubEngine) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PrivacyLedger, "commit", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert in_fork(lambda: run(settings)) == -signal.SIGKILL
    [stood] = models(settings)
    PrivacyLedger(settings.database).release(f"{STEM}-1", "an operator took the run for dead before it sealed", by())
    done = run(settings)
    assert done.spend == {"id": f"{STEM}-2"}
    assert states(settings) == {f"{STEM}-1": RELEASED, f"{STEM}-2": COMMITTED}
    assert stood not in models(settings)
    assert run(settings).spend == {"id": f"{STEM}-2"}


def test_a_signing_key_that_does_not_open_is_found_out_before_the_budget_is_touched(
    settings: Settings, engine: StubEngine
) -> None:
    fitting.signing_key(settings)
    for path in settings.signing_keys.iterdir():
        path.write_bytes(b"{}")
    with pytest.raises(IntegrityError):
        run(settings)
    assert (states(settings), engine.fits) == ({}, 0)


def swap_byte(settings: Settings, path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def sign_with_another_key(settings: Settings, path: Path) -> None:
    """Replace the model with one of the attacker's own, encrypted as it should be, signed with a key of his."""
    keys = SigningKeys(service_of(settings), settings.home / "attacker")
    keys.ensure(SIGNER)
    name = str(path.relative_to(settings.lake))
    target = Synthesizer(name, "dp-marginals", FINGERPRINT)
    path.write_bytes(sealed(open_ring(settings), keys.private(SIGNER), target, b"cos\nsystem\n(S'true'\ntR."))


def sign_and_swap_the_public_key(settings: Settings, path: Path) -> None:
    """The same, with his public key in the place of the installation's."""
    sign_with_another_key(settings, path)
    shutil.copy(settings.home / "attacker" / f"{SIGNER}.pem", settings.signing_keys / f"{SIGNER}.pem")


def sign_and_swap_both_keys(settings: Settings, path: Path) -> None:
    sign_and_swap_the_public_key(settings, path)
    shutil.copy(settings.home / "attacker" / f"{SIGNER}.json", settings.signing_keys / f"{SIGNER}.json")


def take_a_model_of_another_fit(settings: Settings, path: Path) -> None:
    """Put a model in its place that this installation signed, of another fingerprint."""
    target = Synthesizer(str(path.relative_to(settings.lake)), "dp-marginals", "cd" * 32)
    path.write_bytes(sealed(open_ring(settings), fitting.signing_key(settings), target, b"other"))


def cut(settings: Settings, path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "attack",
    [
        swap_byte,
        sign_with_another_key,
        sign_and_swap_the_public_key,
        sign_and_swap_both_keys,
        take_a_model_of_another_fit,
        cut,
    ],
)
@pytest.mark.parametrize("name", [PRIVATE, "baskets_synthetic"])
def test_a_model_that_is_not_ours_is_refused_before_it_is_looked_into(
    settings: Settings, engine: StubEngine, attack: Callable[[Settings, Path], None], name: str
) -> None:
    contract = CONTRACTS[name]
    done = run(settings, contract=contract)
    before = states(settings)
    attack(settings, settings.lake / done.file.path)
    engine.opened.clear()
    with pytest.raises(IntegrityError):
        run(settings, contract=contract)
    with pytest.raises(IntegrityError):
        fitting.open_sealed(settings, done.sealed)
    assert (engine.opened, engine.fits, states(settings)) == ([], 1, before)


def test_a_forged_model_in_the_place_of_a_killed_fit_is_not_committed(settings: Settings, engine: StubEngine) -> None:
    path = settings.lake / "models" / PRIVATE / f"{FINGERPRINT[:16]}-1.model"
    path.parent.mkdir(parents=True)
    engine.after = ValueError("noise")
    with pytest.raises(ValueError, match="noise"):
        run(settings)
    fitting.signing_key(settings)
    sign_with_another_key(settings, path)
    with pytest.raises(IntegrityError):
        run(settings)
    assert (engine.opened, states(settings)) == ([], {f"{STEM}-1": RESERVED})


@pytest.mark.path
def test_two_processes_at_once_make_one_model_and_pay_once(tmp_path: Path) -> None:
    place = house.stocked().copy(tmp_path / "place")
    code = """
        import json
        from pathlib import Path
        from cloakhouse.contracts.parser import load_contracts
        from cloakhouse.settings import Settings
        from cloakhouse.stages.synthesize import synthesize
        settings = Settings.from_dict(json.loads(sys.argv[1]))
        contract = load_contracts(settings.contracts)["baskets_private"]
        import cloakhouse.synthesis.dp_marginals.engine
        ready()
        print(json.dumps(synthesize(settings, contract).as_dict()))
    """
    fields = json.dumps(place.settings.as_dict())
    answers = [json.loads(text.splitlines()[-1]) for text in race(code, [[fields], [fields]], timeout_s=300)]
    found = [read_manifest(FolderStore(place.settings.lake), ManifestRef.of(answer)) for answer in answers]
    assert found[0]["model"] == found[1]["model"]
    assert found[0]["spend"] == found[1]["spend"]
    assert list(states(place.settings).values()) == [COMMITTED]
    tables = [[place.store.read(entry) for entry in file_entries(content["files"])] for content in found]
    assert [one.equals(other) for one, other in zip(*tables, strict=True)] == [True]
