"""The access policy applied by two: whoever administers keys grants, the platform shares; neither can do it alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support import service_aws
from tests.support.access import POLICY, AccessHouse
from tests.support.cloud import Account
from tests.support.kms_roles import Roles, enforced
from tests.support.processes import in_fork

from cloakhouse.errors import AccessRefused, CloakhouseError, IntegrityError
from cloakhouse.keys.dataset_keys import DatasetKey
from cloakhouse.keys.protocol import Grant, KeyName, new_data_key
from cloakhouse.keys.ring import KeyRing
from cloakhouse.keys.service import open_ring, service_of
from cloakhouse.keys.shares import Shares
from cloakhouse.settings import Settings
from cloakhouse.stages.access_apply import Applied, apply
from cloakhouse.stages.access_halves import Half, apply_grants, apply_shares, planned_half
from cloakhouse.stages.access_notes import unfinished
from cloakhouse.stages.access_plan import NOTHING
from cloakhouse.stages.rotation import rotate, settle

DESK = ("dan", "service desk")
DAN, BOTH = "dan: {roles: [desk-staff]}", "dan: {roles: [desk-staff]}\n  eve: {roles: [desk-staff]}"
USE = {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}
ADMINISTER = {"kms:CreateGrant", "kms:RevokeGrant", "kms:RotateKeyOnDemand", "kms:PutKeyPolicy"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> AccessHouse:
    """An installation with the age keystore to which both halves were applied."""
    house = AccessHouse.make(tmp_path_factory.mktemp("halves"))
    assert not apply_grants(house.settings).refused
    assert not apply_shares(house.settings).refused
    return house


@pytest.fixture
def house(done: AccessHouse, tmp_path: Path) -> AccessHouse:
    return done.copy(tmp_path)


def newest(house: AccessHouse) -> dict[str, int]:
    return {file.key.name: file.newest for file in open_ring(house.settings).all()}


def codes(applied: Applied) -> set[str]:
    return {problem.code for _, problem in applied.refused}


def files(home: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file() and not p.name.startswith(".")}


def test_both_halves_give_what_the_whole_gives(house: AccessHouse, tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = AccessHouse.make(tmp_path_factory.mktemp("whole"))
    apply(whole.settings)
    assert service_of(house.settings).grants() == service_of(whole.settings).grants()
    assert Shares(house.settings.key_shares).all() == Shares(whole.settings.key_shares).all()
    assert house.opens(house.seen_by(*DESK), "synthetic/private") == {"store", "card"}
    assert apply(house.settings).done.empty


def test_done_twice_each_half_changes_nothing(house: AccessHouse) -> None:
    before = files(house.settings.home)
    for again in (apply_grants(house.settings), apply_shares(house.settings)):
        assert (again.done, again.refused, again.resumed, again.left) == (NOTHING, (), False, NOTHING)
    assert files(house.settings.home) == before


def test_a_dry_run_of_a_half_tells_both_parts_and_does_nothing(tmp_path: Path) -> None:
    house = AccessHouse.make(tmp_path)
    before = files(house.settings.home)
    grants, shares = (planned_half(house.settings, half) for half in (Half.GRANTS, Half.SHARES))
    assert (len(grants.done.grant), len(grants.done.share)) == (7, 0)
    assert (len(shares.done.grant), len(shares.done.share)) == (0, 5)
    assert (grants.left, shares.left) == (shares.done, grants.done)
    assert files(house.settings.home) == before
    assert apply_grants(house.settings).left.share == shares.done.share


def test_the_platform_needs_no_administrator_s_key_and_the_other_half_does(house: AccessHouse) -> None:
    (house.settings.home / "keystore" / "administration.pem").unlink()
    house.edit((DAN, BOTH), ("classes: [plain, payment]", "classes: [plain, sensitive]"))
    assert codes(apply_grants(house.settings)) == {"access.key"}
    shared = apply_shares(house.settings)
    assert ([share.key.name for share in shared.done.share], shared.refused) == (["synthetic/sensitive/private"], ())
    assert [grant.principal for grant in shared.left.grant] == ["eve"]


@pytest.mark.parametrize("half", [apply_grants, apply_shares])
def test_a_principal_applies_neither_half(house: AccessHouse, half: Callable[[Settings], Applied]) -> None:
    with pytest.raises(AccessRefused) as refused:
        half(house.seen_by(*DESK))
    assert refused.value.code == "access.key"


def test_what_a_withdrawn_grant_opened_is_renewed_by_the_platform(house: AccessHouse) -> None:
    before = newest(house)
    house.edit((DAN, ""), ("mia: {roles: [modeller]}", ""))
    gone = apply_grants(house.settings)
    assert {grant.principal for grant in gone.done.revoke} == {"dan", "mia"}
    assert newest(house) == before
    assert planned_half(house.settings, Half.SHARES).resumed
    assert apply_shares(house.settings).resumed
    now = newest(house)
    for name in ("synthetic/plain/baskets", "synthetic/plain/private", "protected/direct/people"):
        assert now[name] > before[name], name
    assert not apply_shares(house.settings).resumed
    assert newest(house) == now


def test_nothing_is_shared_while_somebody_holds_the_role_s_key_who_should_not(house: AccessHouse) -> None:
    house.edit((DAN, BOTH))
    assert not apply_grants(house.settings).refused
    house.edit(("\n  eve: {roles: [desk-staff]}", ""), ("classes: [plain, payment]", "classes: [plain, sensitive]"))
    first = apply_shares(house.settings)
    assert codes(first) == {"access.withdrawal"}
    assert {problem.exit_code for _, problem in first.refused} == {3}
    assert [share.key.name for share in first.done.unshare] == ["synthetic/payment/private"]
    assert (first.done.share, [grant.principal for grant in first.left.revoke]) == ((), ["eve"])
    assert house.opens(house.seen_by(*DESK), "synthetic/private") == {"store"}
    assert not apply_grants(house.settings).refused
    then = apply_shares(house.settings)
    assert (then.refused, then.left) == ((), NOTHING)
    assert "synthetic/sensitive/private" in {share.key.name for share in then.done.share}
    assert house.opens(house.seen_by(*DESK), "synthetic/private") == {"store", "note"}


def test_nothing_is_granted_while_a_withdrawal_fails(house: AccessHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    house.edit((DAN, "eve: {roles: [desk-staff]}"))
    service = type(service_of(house.settings))
    monkeypatch.setattr(service, "revoke", lambda *_: (_ for _ in ()).throw(_refused()))
    failed = apply_grants(house.settings)
    assert (failed.done.grant, failed.done.revoke, codes(failed)) == ((), (), {"access.key"})


def _refused() -> CloakhouseError:
    return AccessRefused(where="x", expected="x", found="x", not_done="x", remedy="x", code="key")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"grants": [[1, 2]]}', '{"grants": [[1, 2, 3]]}'])
def test_a_damaged_last_look_stops_the_platform(house: AccessHouse, text: str) -> None:
    before = newest(house)
    (house.settings.home / "access-grants.json").write_text(text)
    with pytest.raises(IntegrityError) as damaged:
        apply_shares(house.settings)
    assert damaged.value.code == "integrity.notes"
    assert newest(house) == before


@pytest.mark.parametrize("step", ["rotate", "announce"])
@pytest.mark.parametrize("before", [True, False])
def test_a_kill_while_the_platform_renews_is_made_good(
    done: AccessHouse, tmp_path: Path, step: str, before: bool
) -> None:
    house = done.copy(tmp_path)
    house.edit((DAN, ""), ("mia: {roles: [modeller]}", ""))
    apply_grants(house.settings)
    was, real = newest(house), getattr(KeyRing, step)

    def die(*given: Any, **more: Any) -> None:
        if not before:
            real(*given, **more)
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        setattr(KeyRing, step, die)
        apply_shares(house.settings)

    assert in_fork(work) == -signal.SIGKILL
    assert apply_shares(house.settings).resumed
    assert not unfinished(house.settings)
    now = newest(house)
    exposed = [DatasetKey("synthetic", "plain", name).name for name in ("baskets", "private")]
    assert all(now[name] > was[name] for name in (*exposed, "protected/direct/people"))
    assert not apply_shares(house.settings).resumed


def test_the_whole_after_a_half_leaves_nothing_to_follow(house: AccessHouse) -> None:
    house.edit((DAN, ""))
    assert apply(house.settings).done.revoke
    now = newest(house)
    assert not apply_shares(house.settings).resumed
    assert newest(house) == now


# at AWS KMS, as the roles of infra/terraform

AT = Account()
AWS_POLICY = (
    POLICY.replace("modeller", "model-team").replace("desk-staff", "analyst").replace("service desk", "reporting")
    .replace("mia: {roles: [model-team]}", f'mia: {{roles: [model-team], account: "{AT.role("model-team")}"}}')
    .replace("dan: {roles: [analyst]}", f'dan: {{roles: [analyst], account: "{AT.role("analyst")}"}}')
)  # fmt: skip


@pytest.fixture
def at_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[AccessHouse, Settings, Roles]:
    """An installation at KMS whose keys are all there, the settings of the key administrator's own home, and roles."""
    house = AccessHouse.make(tmp_path / "platform", keys=service_aws.new_uri())
    house.say(AWS_POLICY)
    service_of(house.settings).wrap(KeyName("access/analyst"), new_data_key(), {})
    (tmp_path / "administrator").mkdir()
    own = Settings.from_environment({}).with_home(tmp_path / "administrator")
    return house, replace(own, policy=house.settings.policy, keys=house.settings.keys), enforced(monkeypatch)


@pytest.mark.parametrize("role", ["platform", "key-administrator"])
def test_at_aws_neither_role_applies_the_whole(at_aws: tuple[AccessHouse, Settings, Roles], role: str) -> None:
    house, _, roles = at_aws
    with roles.acting(role):
        assert "access.key" in codes(apply(house.settings))


def test_at_aws_the_two_roles_apply_a_half_each(at_aws: tuple[AccessHouse, Settings, Roles]) -> None:
    house, administrator, roles = at_aws
    with roles.acting("key-administrator"):
        granted = apply_grants(administrator)
        assert (granted.refused, len(granted.done.grant)) == ((), 7)
        assert apply_grants(administrator).done == NOTHING
    with roles.acting("platform"):
        shared = apply_shares(house.settings)
        assert (shared.refused, len(shared.done.share), shared.left) == ((), 5, NOTHING)
        assert apply_shares(house.settings).done == NOTHING
    assert apply(house.settings).done.empty
    assert not {action for role, action in roles.asked if role == "key-administrator"} & USE
    assert not {action for role, action in roles.asked if role == "platform"} & ADMINISTER


def test_at_aws_a_withdrawal_takes_both_and_each_says_what_is_left(
    at_aws: tuple[AccessHouse, Settings, Roles],
) -> None:
    house, administrator, roles = at_aws
    with roles.acting("key-administrator"):
        apply_grants(administrator)
    with roles.acting("platform"):
        apply_shares(house.settings)
    before = newest(house)
    text = house.settings.policy.read_text()
    house.say(text[: text.index("  mia:")] + text[text.index("  dan:") :])
    with roles.acting("platform"):
        early = apply_shares(house.settings)
    assert (codes(early), len(early.left.revoke), newest(house)) == ({"access.withdrawal"}, 6, before)
    with roles.acting("key-administrator"):
        assert len(apply_grants(administrator).done.revoke) == 6
    with roles.acting("platform"):
        assert apply_shares(house.settings).resumed
    now = newest(house)
    assert all(now[f"synthetic/{use}/baskets"] == before[f"synthetic/{use}/baskets"] + 1 for use in ("plain", "footer"))
    assert now["synthetic/payment/baskets"] == before["synthetic/payment/baskets"]
    kept = {grant.principal for grant in service_of(house.settings).grants()}
    assert kept == {AT.role("analyst")}


def test_at_aws_the_administrator_rotates_from_a_home_of_their_own_and_the_platform_follows(
    at_aws: tuple[AccessHouse, Settings, Roles],
) -> None:
    """What docs/access.md has them do for a grant that was given and withdrawn between two looks."""
    house, administrator, roles = at_aws
    before, name = newest(house), KeyName("synthetic/plain")
    with roles.acting("key-administrator"):
        rotate(administrator, [name])
    with roles.acting("platform"):
        settle(house.settings, open_ring(house.settings), name)
    assert newest(house)["synthetic/plain/baskets"] == before["synthetic/plain/baskets"] + 1
    assert newest(house)["synthetic/footer/baskets"] == before["synthetic/footer/baskets"]


def test_at_aws_a_grant_to_somebody_whom_the_key_policy_does_not_name_is_refused(
    at_aws: tuple[AccessHouse, Settings, Roles],
) -> None:
    house, _, roles = at_aws
    with roles.acting("key-administrator"), pytest.raises(AccessRefused):
        service_of(house.settings).grant(Grant(AT.role("model-team"), KeyName("protected/direct"), "x"))
