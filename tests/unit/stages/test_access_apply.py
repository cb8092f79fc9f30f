"""The keys after `access apply`: who opens which column with an identity of their own and no help of the client."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support import service_bao
from tests.support.access import CLASSES, DATASETS, POLICY, AccessHouse
from tests.support.processes import in_fork

from cloakhouse.errors import AccessRefused, CloakhouseError, ContractError, IntegrityError, StageError
from cloakhouse.keys.age import AgeKeyService
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.files import locked
from cloakhouse.keys.protocol import Grant, KeyName
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.keys.shares import Shares
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.store.opening import open_store
from cloakhouse.settings import Settings
from cloakhouse.stages import access_apply
from cloakhouse.stages.access_apply import apply, planned
from cloakhouse.stages.access_notes import unfinished
from cloakhouse.stages.access_plan import is_for_reading
from cloakhouse.stages.reading_access import reading_ring

TRAINING = ("mia", "training")
DESK = ("dan", "service desk")
DETOKENIZE = Grant("dan", KeyName("reversible/customer_service"), "service desk")
NOTHING: dict[str, list[Any]] = {"granted": [], "revoked": [], "shared": [], "unshared": []}
ROLES_OF_DAN = "dan: {roles: [desk-staff]}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> AccessHouse:
    return AccessHouse.make(tmp_path_factory.mktemp("access"))


@pytest.fixture(scope="module")
def done(made: AccessHouse, tmp_path_factory: pytest.TempPathFactory) -> AccessHouse:
    house = made.copy(tmp_path_factory.mktemp("applied"))
    apply(house.settings)
    return house


@pytest.fixture
def house(done: AccessHouse, tmp_path: Path) -> AccessHouse:
    """An installation whose keys are as the policy says."""
    return done.copy(tmp_path)


def held(house: AccessHouse) -> set[str]:
    return {f"{g.principal} {g.name} {g.purpose}" for g in service_of(house.settings).grants()}


def opened(house: AccessHouse, who: tuple[str, str], part: str = "part-0") -> dict[str, set[str]]:
    """Return the columns that somebody opens of each dataset, by TableStore and by pyarrow alone."""
    settings, found = house.seen_by(*who), {}
    for dataset in DATASETS:
        found[dataset] = house.opens(settings, dataset, part)
        assert house.opens_with_pyarrow(settings, dataset, part) == found[dataset]
    return {dataset: columns for dataset, columns in found.items() if columns}


def changes(applied: access_apply.Applied) -> dict[str, list[Any]]:
    return {name: applied.as_dict()[name] for name in NOTHING}


def refusal(call: Callable[[], object], kind: type[CloakhouseError]) -> CloakhouseError:
    with pytest.raises(kind) as refused:
        call()
    return refused.value


# enforced by the keys


def test_each_role_opens_the_columns_of_its_classes_and_no_other(house: AccessHouse) -> None:
    assert opened(house, TRAINING) == {"synthetic/baskets": {"store", "age"}, "synthetic/private": {"store", "age"}}
    assert opened(house, DESK) == {"synthetic/private": {"store", "card"}, "protected/people": {"household"}}
    for who in (("mia", "operations"), ("dan", "training"), ("eve", "training")):
        assert opened(house, who) == {}
    assert {d: house.opens(house.settings, d) for d in DATASETS} == {d: set(CLASSES) for d in DATASETS}


def test_before_anything_is_applied_nobody_opens_anything(made: AccessHouse) -> None:
    for who in (TRAINING, DESK):
        assert opened(made, who) == {}


def test_the_master_keys_of_a_zone_are_closed_to_who_may_read_some_datasets(house: AccessHouse) -> None:
    """Whatever code asks: the identity has no sealed copy of them."""
    service = service_of(house.seen_by(*DESK))
    for file in open_ring(house.settings).all():
        record = file.versions[0]
        if file.key.zone != "access":
            ask = lambda file=file, record=record: service.unwrap(  # noqa: E731
                file.key.master, record.wrapped, file.key.context(record.version)
            )
            assert refusal(ask, AccessRefused).code == "access.key"


def test_after_a_role_is_removed_nothing_new_opens(house: AccessHouse) -> None:
    house.edit((ROLES_OF_DAN, ""), ("mia: {roles: [modeller]}", "mia: {roles: [desk-staff]}"))
    kept = {file.key: file.newest for file in open_ring(house.settings).all()}
    applied = apply(house.settings)
    assert {g["principal"] for g in applied.as_dict()["revoked"]} == {"dan", "mia"}
    assert opened(house, DESK) == {}
    assert opened(house, TRAINING) == {}
    now = {file.key: file.newest for file in open_ring(house.settings).all()}
    for use in ("plain", "payment", "footer", "indirect"):
        key = DatasetKey("synthetic", use, "private")
        assert now[key] > kept[key], key
    assert now[DatasetKey("protected", "plain", "people")] == 1
    for dataset in DATASETS:
        house.write(dataset, "part-1")
    assert opened(house, ("mia", "service desk"), "part-1") == {
        "synthetic/private": {"store", "card"},
        "protected/people": {"household"},
    }
    assert opened(house, DESK, "part-1") == {}


def test_a_kept_copy_of_the_installation_opens_nothing_that_was_written_later(
    house: AccessHouse, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Somebody keeps everything that it ever had; what is written after the withdrawal stays closed."""
    kept = house.copy(tmp_path_factory.mktemp("kept"))
    house.edit((ROLES_OF_DAN, ""), ("mia: {roles: [modeller]}", ""))
    apply(house.settings)
    for dataset in DATASETS:
        house.write(dataset, "part-1")
        target = kept.settings.lake / f"{dataset}/part-1.parquet"
        target.write_bytes((house.settings.lake / f"{dataset}/part-1.parquet").read_bytes())
    for who, opens in ((TRAINING, "synthetic/baskets"), (DESK, "synthetic/private")):
        assert opened(kept, who)[opens]
        settings = kept.seen_by(*who)
        for dataset in DATASETS:
            for column in CLASSES:
                store = TableStore(open_store(settings), reading_ring(settings))
                read = partial(store.read, kept.entry(dataset, "part-1"), [column])
                assert refusal(read, CloakhouseError).code in ("key.missing", "access.key")


def test_a_rule_that_is_narrowed_closes_what_it_opened(house: AccessHouse) -> None:
    house.edit(("classes: [plain, payment]", "classes: [plain]"), ('datasets: ["peop*"]', "datasets: [others]"))
    done = apply(house.settings).as_dict()
    assert (done["granted"], done["revoked"]) == ([], [])
    assert set(done["unshared"]) == {
        "synthetic/payment/private with desk-staff",
        "protected/footer/people with desk-staff",
        "protected/direct/people with desk-staff",
    }
    assert opened(house, DESK) == {"synthetic/private": {"store"}}
    newest = {file.key.name: file.newest for file in open_ring(house.settings).all()}
    assert newest["synthetic/payment/private"] == newest["protected/direct/people"] == 2
    assert newest["synthetic/plain/private"] == 1


def test_a_rule_that_is_widened_to_the_zone_needs_no_shares(house: AccessHouse) -> None:
    house.edit(("datasets: [private]", 'datasets: ["*"]'))
    apply(house.settings)
    wanted = {"store", "card"}
    assert opened(house, DESK) == {
        "synthetic/baskets": wanted,
        "synthetic/private": wanted,
        "protected/people": {"household"},
    }
    assert {share.key.zone for share in Shares(house.settings.key_shares).all()} == {"protected"}


def test_a_new_dataset_opens_by_zone_at_once_and_by_name_after_the_next_apply(house: AccessHouse) -> None:
    house.edit(("datasets: [private]", 'datasets: ["*private"]'))
    assert changes(apply(house.settings)) == NOTHING
    entry = house.write("synthetic/very_private")
    assert house.opens(house.seen_by(*TRAINING), "synthetic/very_private") == {"store", "age"}
    assert house.opens(house.seen_by(*DESK), "synthetic/very_private") == set()
    assert len(apply(house.settings).done.share) == 3
    assert house.opens(house.seen_by(*DESK), entry.path.rpartition("/")[0]) == {"store", "card"}


# what is done, and what isn't


def test_applying_twice_changes_nothing(house: AccessHouse) -> None:
    before = _state(house)
    assert changes(apply(house.settings)) == NOTHING
    assert _state(house) == before
    assert planned(house.settings).done.empty


def _state(house: AccessHouse) -> dict[str, bytes]:
    home = house.settings.home
    return {str(p): p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file() and not p.name.startswith(".")}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(made: AccessHouse, tmp_path: Path) -> None:
    house = made.copy(tmp_path)
    before = _state(house)
    found = planned(house.settings)
    assert len(found.done.grant) == 7
    assert (_state(house), held(house)) == (before, set())
    assert apply(house.settings).done.grant == found.done.grant


def test_grants_by_hand_are_revoked_for_reading_and_left_alone_for_others(house: AccessHouse) -> None:
    service = service_of(house.settings)
    for grant in (DETOKENIZE, Grant("eve", KeyName("synthetic/plain"), "curiosity")):
        service.grant(grant)
    applied = apply(house.settings)
    assert [g["principal"] for g in applied.as_dict()["revoked"]] == ["eve"]
    assert applied.done.outside == (DETOKENIZE,)
    assert DETOKENIZE in service.grants()
    strict = apply(house.settings, strict=True)
    assert (strict.done.revoke, strict.done.outside) == ((DETOKENIZE,), ())
    assert DETOKENIZE not in service.grants()


@pytest.mark.parametrize(
    ("key", "purpose", "reading"),
    [
        ("landing/file", "x", True),
        ("landing/plain", "x", False),
        ("synthetic/footer", "x", True),
        ("synthetic/file", "x", False),  # fitted synthesizers
        ("protected/direct", "x", True),
        ("protected/direct", "not ours: aws-managed", False),
        ("access/analyst", "x", True),
        ("tokens/root", "x", False),
        ("purposes/analytics", "x", False),
        ("signing/artifacts", "x", False),
    ],
)
def test_which_grants_are_about_reading(key: str, purpose: str, reading: bool) -> None:
    assert is_for_reading(Grant("ann", KeyName(key), purpose)) is reading


def test_only_the_administrator_changes_grants(house: AccessHouse) -> None:
    house.edit((ROLES_OF_DAN, ""))
    before = held(house)
    refused = refusal(lambda: apply(house.seen_by(*TRAINING)), AccessRefused)
    assert (refused.code, refused.exit_code) == ("access.key", 3)
    (house.settings.home / "keystore" / "administration.pem").unlink()
    assert refusal(lambda: apply(house.settings), AccessRefused).code == "access.key"
    assert held(house) == before


def test_a_principal_that_is_not_enrolled_keeps_no_other_waiting(made: AccessHouse, tmp_path: Path) -> None:
    house = made.copy(tmp_path)
    house.say(POLICY + "  abe: {roles: [modeller]}\n")
    applied = apply(house.settings)
    assert {what.split(" to ")[1].split(" ")[0] for what, _ in applied.refused} == {"abe"}
    assert {problem.code for _, problem in applied.refused} == {"key.identity"}
    assert len(applied.done.grant) == 7
    assert applied.as_dict()["refused"][0]["code"] == "key.identity"


def test_without_the_administrator_s_key_what_is_missing_is_refused(made: AccessHouse, tmp_path: Path) -> None:
    house = made.copy(tmp_path)
    (house.settings.home / "keystore" / "administration.pem").unlink()
    applied = apply(house.settings)
    assert (applied.done.grant, applied.done.share) == ((), ())
    assert [problem.code for _, problem in applied.refused][:1] == ["access.key"]


def test_a_faulty_policy_changes_nothing(house: AccessHouse) -> None:
    before = held(house)
    house.edit(("access/v1", "access/v0"))
    refusal(lambda: apply(house.settings), ContractError)
    assert held(house) == before


def test_two_at_once_wait_for_one_another(house: AccessHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_apply, "LOCK_WAIT_S", 0.1)
    with locked(house.settings.home / ".access.lock", 1, "the test"):
        assert refusal(lambda: apply(house.settings), StageError).code == "stage.busy"


# killed


STEPS: list[tuple[type, str]] = [
    (AgeKeyService, "revoke"),
    (AgeKeyService, "grant"),
    (KeyRing, "rotate"),
    (KeyRing, "announce"),
    (Shares, "write"),
    (Shares, "remove"),
]


def _kills(place: type, name: str, numbers: Sequence[int]) -> Iterator[Callable[[], None]]:
    """Yield what patches a child so that it dies around these calls of a method."""
    real = getattr(place, name)
    for number in numbers:
        for before in (True, False):

            def patch(number: int = number, before: bool = before) -> None:
                count = 0

                def step(*given: Any, **named: Any) -> Any:
                    nonlocal count
                    count += 1
                    if count == number and before:
                        os.kill(os.getpid(), signal.SIGKILL)
                    result = real(*given, **named)
                    if count == number:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return result

                setattr(place, name, step)

            yield patch


@pytest.mark.parametrize(
    "numbers", [pytest.param((1,), id="first"), pytest.param((1, 3), id="and-third", marks=pytest.mark.kills)]
)
@pytest.mark.parametrize(("place", "name"), STEPS)
def test_a_kill_at_any_step_leaves_nothing_open_once_it_is_run_again(
    done: AccessHouse, tmp_path: Path, place: type, name: str, numbers: Sequence[int]
) -> None:
    """The desk loses a role, the model team a purpose, and eve gets the desk's."""
    killed = 0
    for number, patch in enumerate(_kills(place, name, numbers)):
        house = done.copy(tmp_path / str(number))
        house.edit(
            (ROLES_OF_DAN, "eve: {roles: [desk-staff]}"),
            ("[training, evaluation]", "[evaluation]"),
            ("classes: [plain, payment]", "classes: [payment]"),
        )
        before = {file.key: file.newest for file in open_ring(house.settings).all()}

        def work(house: AccessHouse = house, patch: Callable[[], None] = patch) -> None:
            patch()
            apply(house.settings)

        code = in_fork(work)
        assert code in (0, -signal.SIGKILL)
        killed += code != 0
        applied = apply(house.settings)
        assert not applied.refused
        assert not unfinished(house.settings)
        assert changes(apply(house.settings)) == NOTHING
        now = {file.key: file.newest for file in open_ring(house.settings).all()}
        exposed = [DatasetKey("synthetic", use, "private") for use in ("footer", "plain", "payment")]
        exposed += [DatasetKey("protected", "direct", "people"), DatasetKey("synthetic", "plain", "baskets")]
        assert all(now[key] > before[key] for key in exposed)
        assert house.opens(house.seen_by(*DESK), "synthetic/private") == set()
        assert house.opens(house.seen_by("eve", "service desk"), "synthetic/private") == {"card"}
        assert house.opens(house.seen_by("mia", "evaluation"), "synthetic/private") == {"store", "age"}
        assert house.opens(house.seen_by(*TRAINING), "synthetic/private") == set()
    assert killed >= 2


def test_notes_that_are_damaged_stop_everything(house: AccessHouse) -> None:
    notes = house.settings.home / "access-changes.json"
    for text in ("", "[]", "{}", json.dumps({"revoke": [[1]], "renew": {}}), '{"revoke": [], "renew": {"a": 1}}'):
        notes.write_text(text)
        assert planned(house.settings).resumed
        assert refusal(lambda: apply(house.settings), IntegrityError).code == "integrity.notes"
    notes.write_text(json.dumps({"format": 1, "revoke": [["eve", "synthetic/plain", "x"]], "renew": {}}))
    assert apply(house.settings).resumed
    assert not unfinished(house.settings)


# another key service


def test_over_openbao_a_role_s_token_opens_its_columns_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = service_bao.shared()
    prefix = service_bao.prefix_of(tmp_path)
    house = AccessHouse.make(tmp_path, keys=server.uri(prefix))
    house.say(POLICY.replace("service desk", "service-desk").replace("[training, evaluation]", "[training]"))
    assert apply(house.settings).refused == ()

    def as_(name: str, purpose: str) -> Settings:
        token = server.keep(server.token(f"{prefix}.{name}.{purpose}"), f"token-{prefix}-{name}")
        return replace(house.settings, keys=server.uri(prefix, token), purpose=purpose)

    def opens(who: Settings) -> dict[str, set[str]]:
        return {dataset: found for dataset in DATASETS if (found := house.opens(who, dataset))}

    desk, model = as_("dan", "service-desk"), as_("mia", "training")
    assert opens(desk) == {"synthetic/private": {"store", "card"}, "protected/people": {"household"}}
    assert opens(model) == {"synthetic/baskets": {"store", "age"}, "synthetic/private": {"store", "age"}}
    house.edit((ROLES_OF_DAN, ""))
    apply(house.settings)
    assert opens(desk) == {}
    assert opens(model) == {"synthetic/baskets": {"store", "age"}, "synthetic/private": {"store", "age"}}
