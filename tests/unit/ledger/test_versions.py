"""The register of versions: what a name stands for, and everything that can be done to a version."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.support.acting import by
from tests.support.forks import at_once
from tests.support.versions import AT, NAME, REF, fingerprint, published, release, row

from cloakhouse.errors import (
    AccessRefused,
    CloakhouseError,
    ConfigurationError,
    IntegrityError,
    NotFound,
    VersionGone,
    VersionWithdrawn,
)
from cloakhouse.ledger import database as db
from cloakhouse.ledger import version_changes
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.versions import Selector, VersionRegister, VersionState

WHY = "rows of a test store were in it"


@pytest.fixture
def register(url: str) -> VersionRegister:
    return VersionRegister(url)


@pytest.fixture
def three(register: VersionRegister) -> VersionRegister:
    published(register, count=3)
    return register


def head(register: VersionRegister) -> int | None:
    found = register.heads()
    return found[0].version if found else None


def actions(register: VersionRegister) -> list[str]:
    return [f"{event.version} {event.action} {event.detail}".strip() for event in register.events(NAME)]


def refusal(work: Callable[[], object]) -> CloakhouseError:
    with pytest.raises(CloakhouseError) as caught:
        work()
    return caught.value


def test_a_published_version_comes_back_whole(register: VersionRegister, url: str) -> None:
    assert register.reserve(NAME, fingerprint(1)) == 1
    given = row(release())
    made = register.publish(given, by("ann", "the first"))
    assert made == replace(given, head=True)
    assert VersionRegister(url).versions(NAME) == [made] == register.heads() == register.versions()
    assert register.resolve(Selector(NAME)) == made == register.resolve(Selector(NAME, version=1))
    assert made.published_at == AT
    assert made.name == f"{NAME}@1"
    [event] = register.events(NAME)
    assert (event.action, event.actor, event.reason, event.detail) == ("publish", "ann", "the first", "head 1")


def test_numbers_are_never_given_again_and_a_fingerprint_is_published_once(register: VersionRegister) -> None:
    assert [register.reserve(NAME, fingerprint(9)) for _ in range(3)] == [1, 2, 3]
    made = register.publish(row(release(3)), by("ann"))
    assert register.reserve(NAME, fingerprint(3)) == made == register.published(NAME, fingerprint(3))
    assert register.publish(replace(row(release(3)), version=2, rows=9), by("bob")) == made
    assert register.reserve(NAME, fingerprint(9)) == 4
    assert register.reserve("others", fingerprint(3)) == 1
    assert register.published(NAME, fingerprint(9)) is None
    assert (register.reserved(NAME), register.reserved("others"), register.reserved("none")) == (4, 1, 0)


def test_only_a_number_that_was_reserved_is_published(register: VersionRegister) -> None:
    published(register, count=2)
    for number in (2, 3):
        wrong = replace(row(release(5)), version=number)
        assert refusal(lambda wrong=wrong: register.publish(wrong, by("ann"))).code == "integrity.catalogue-old"
    assert len(register.versions()) == 2


def test_of_two_publishers_the_higher_number_is_what_the_name_stands_for(register: VersionRegister) -> None:
    assert (register.reserve(NAME, fingerprint(1)), register.reserve(NAME, fingerprint(2))) == (1, 2)
    assert register.publish(row(release(2)), by("bob")).head
    assert not register.publish(row(release(1)), by("ann")).head
    assert head(register) == 2
    assert actions(register) == ["2 publish head 2", "1 publish"]


def test_rollback_and_the_way_forward_again(three: VersionRegister) -> None:
    assert three.rollback(NAME, None, by("ann", WHY)).version == 2
    assert three.rollback(NAME, 2, by("ann", WHY)).head  # again changes nothing
    assert three.rollback(NAME, 1, by("ann", WHY)).version == head(three) == 1
    assert refusal(lambda: three.rollback(NAME, None, by("ann", WHY))).code == "not-found.version"
    assert three.rollback(NAME, 3, by("ann", WHY)).head
    assert actions(three)[3:] == ["2 rollback head 2", "1 rollback head 1", "3 rollback head 3"]
    assert isinstance(refusal(lambda: three.rollback(NAME, 4, by("ann", WHY))), NotFound)
    assert isinstance(refusal(lambda: three.rollback("others", None, by("ann", WHY))), NotFound)
    [four] = published(three)
    assert four.head


def test_every_later_reader_is_told_why_a_version_was_withdrawn(three: VersionRegister) -> None:
    done = three.withdraw(NAME, 3, by("ann", WHY))
    assert (done.state, done.reason, done.head, head(three)) == (VersionState.WITHDRAWN, WHY, False, 2)
    assert three.withdraw(NAME, 3, by("bob", "another reason")) == done
    told = refusal(lambda: three.resolve(Selector(NAME, version=3)))
    assert isinstance(told, VersionWithdrawn)
    assert (told.code, told.exit_code) == ("withdrawn", 3)
    assert "by ann on 20" in told.found
    assert told.found.endswith(WHY)
    assert f"{NAME}@2" in told.remedy
    assert refusal(lambda: three.rollback(NAME, 3, by("ann", WHY))).code == "configuration.version"
    three.withdraw(NAME, 1, by("ann", WHY))
    three.withdraw(NAME, 2, by("ann", WHY))
    assert three.heads() == []
    none = refusal(lambda: three.resolve(Selector(NAME)))
    assert (none.code, "withdrawn or gone" in none.found) == ("not-found", True)
    assert "no version stands" in refusal(lambda: three.resolve(Selector(NAME, version=2))).remedy
    assert published(three)[0].head
    assert actions(three)[3:6] == ["3 withdraw head 2", "1 withdraw", "2 withdraw head none"]


def test_only_what_nobody_needs_is_expired_all_or_none(three: VersionRegister) -> None:
    three.tag(NAME, 1, "certified", by("ann"))
    for numbers, why in (([3], "name stands for"), ([1], "certified"), ([2, 1], "certified")):
        told = refusal(lambda numbers=numbers: three.expire(NAME, numbers, by("ann", WHY)))
        assert isinstance(told, AccessRefused)
        assert (told.code, told.exit_code) == ("access.needed", 3)
        assert why in told.found
    three.hold(NAME, 2, by("ann", "an audit looks at it"))
    assert "an audit" in refusal(lambda: three.expire(NAME, [2], by("ann", WHY))).found
    three.lift(NAME, 2, by("ann"))
    three.untag(NAME, 1, "certified", by("ann"))
    done = three.expire(NAME, [2, 1, 2], by("ann", WHY))
    assert [(v.version, v.state, v.reason) for v in done] == [(n, VersionState.EXPIRED, WHY) for n in (1, 2)]
    assert three.expire(NAME, [1, 2], by("bob", "again, for another reason")) == done
    told = refusal(lambda: three.resolve(Selector(NAME, version=1)))
    assert isinstance(told, VersionGone)
    assert (told.code, told.exit_code) == ("gone", 5)
    assert WHY in told.found
    assert isinstance(refusal(lambda: three.expire(NAME, [1, 9], by("ann", WHY))), NotFound)


def test_an_expired_version_that_turns_out_wrong_is_withdrawn(three: VersionRegister) -> None:
    three.expire(NAME, [1, 2], by("ann", "kept for 90 days"))
    assert three.condemn(NAME, 1, by("ann"))
    three.collected(NAME, 1, by("ann"))
    for number, state in ((1, VersionState.COLLECTED), (2, VersionState.WITHDRAWN)):
        assert three.withdraw(NAME, number, by("bob", WHY)).state is state
        assert isinstance(refusal(lambda n=number: three.resolve(Selector(NAME, version=n))), VersionWithdrawn)


def test_a_tag_asks_for_the_newest_published_version_that_has_it(three: VersionRegister) -> None:
    for number in (1, 2, 2):
        assert three.tag(NAME, number, "certified", by("ann")).tags == ("certified",)
    assert three.tag(NAME, 2, "a-1", by("ann")).tags == ("a-1", "certified")
    assert three.resolve(Selector(NAME, tag="certified")).version == 2
    three.withdraw(NAME, 2, by("ann", WHY))
    assert three.resolve(Selector(NAME, tag="certified")).version == 1
    assert three.versions(NAME)[1].tags == ()
    for _ in range(2):
        assert three.untag(NAME, 1, "certified", by("ann")).tags == ()
    told = refusal(lambda: three.resolve(Selector(NAME, tag="certified")))
    assert "tagged certified" in told.found
    assert refusal(lambda: three.tag(NAME, 2, "certified", by("ann"))).code == "configuration.version"
    for text in ("", "12", "2026-11-01", "Certified", "a" * 32, "ä", "a_b", "a\n", "-a"):
        assert refusal(lambda text=text: three.tag(NAME, 1, text, by("ann"))).code == "configuration.tag"
    assert actions(three)[3:6] == ["1 tag certified", "2 tag certified", "2 tag a-1"]


def test_moments_are_told_in_utc_whatever_the_sessions_time_zone(url: str, three: VersionRegister) -> None:
    """On PostgreSQL moments come in the session's zone, which the URL may name: there a day begins at another hour."""
    if url.startswith("postgresql"):
        url += ("&" if "?" in url else "?") + "options=-c%20timezone%3DPacific/Kiritimati"
    elsewhere = VersionRegister(url)
    assert {event.at.utcoffset() for event in elsewhere.events(NAME)} == {dt.timedelta()}
    assert {version.published_at.utcoffset() for version in elsewhere.versions()} == {dt.timedelta()}
    assert elsewhere.events(NAME) == three.events(NAME)


def test_a_day_asks_for_what_the_name_stood_for_at_its_end(
    register: VersionRegister, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = dt.datetime.now(dt.UTC).date()

    class Clock(dt.datetime):
        moment: dt.datetime

        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:  # type: ignore[override]
            return cls.moment

    monkeypatch.setattr(version_changes.dt, "datetime", Clock)
    days = [today - dt.timedelta(days=n) for n in (9, 7, 5, 3, 1)]
    steps: list[Callable[[], object]] = [
        lambda: published(register),
        lambda: published(register),
        lambda: register.rollback(NAME, 1, by("ann", WHY)),
        lambda: published(register),
        lambda: register.withdraw(NAME, 3, by("ann", WHY)),
    ]
    for day, step in zip(days, steps, strict=True):
        Clock.moment = dt.datetime.combine(day, dt.time(23, 59, 59), dt.UTC)
        step()
    monkeypatch.undo()

    def at(day: dt.date) -> int:
        return register.resolve(Selector(NAME, day=day)).version

    assert [at(days[n]) for n in (0, 1, 2, 4)] == [1, 2, 1, 2]
    assert [at(days[n] + dt.timedelta(days=1)) for n in (0, 1, 2)] == [1, 2, 1]
    assert at(today) == 2
    assert isinstance(refusal(lambda: at(days[3])), VersionWithdrawn)
    assert isinstance(refusal(lambda: at(days[0] - dt.timedelta(days=1))), NotFound)
    assert refusal(lambda: at(today + dt.timedelta(days=2))).code == "not-found.day"


def test_holds_keep_a_version_until_all_are_lifted(three: VersionRegister) -> None:
    three.withdraw(NAME, 1, by("ann", WHY))
    for reason in ("an audit", "an audit", "a lawsuit"):
        three.hold(NAME, 1, by("ann", reason))
    assert [(hold.version, hold.reason) for hold in three.holds(NAME)] == [(1, "an audit"), (1, "a lawsuit")]
    assert three.holds("others") == []
    assert not three.condemn(NAME, 1, by("ann"))
    for _ in range(2):
        three.lift(NAME, 1, by("ann"))
    assert three.holds() == []
    assert three.condemn(NAME, 1, by("ann"))
    assert three.condemn(NAME, 1, by("ann"))  # again changes nothing
    assert refusal(lambda: three.hold(NAME, 1, by("ann", "too late"))).code == "gone.collected"
    assert [v.version for v in three.kept(NAME)] == [2, 3]
    three.collected(NAME, 1, by("ann"))
    three.collected(NAME, 1, by("ann"))
    assert three.versions(NAME)[0].state is VersionState.COLLECTED
    assert three.versions(NAME)[0].reason == WHY
    assert not three.condemn(NAME, 3, by("ann"))
    three.collected(NAME, 3, by("ann"))  # nobody condemned it
    assert three.versions(NAME)[2].state is VersionState.PUBLISHED
    assert actions(three)[3:] == ["1 withdraw", "1 hold", "1 hold", "1 lift", "1 collect", "1 collected"]


def test_a_new_release_of_the_same_version_takes_the_place_of_the_old_one(three: VersionRegister) -> None:
    [one, *_] = three.versions(NAME)
    published(three, "others")
    new = ManifestRef("synthetic/x.json", "b" * 64)
    assert three.refusal(one) is None
    with db.open_database(str(three._engine.url.render_as_string(False))).begin() as connection:
        table = db.dataset_version
        connection.execute(sa.update(table).where(table.c.version == 1, table.c.dataset == NAME).values(rows=22))
    assert three.replace_manifest(REF, new)
    assert not three.replace_manifest(REF, new)
    assert {v.manifest for v in three.versions()} == {new}
    told = three.refusal(one)
    assert told is not None
    assert told.code == "gone.rewritten"


def test_what_a_reader_is_told_who_opened_a_version_before(three: VersionRegister) -> None:
    one, two, _ = three.versions(NAME)
    three.withdraw(NAME, 1, by("ann", WHY))
    three.expire(NAME, [2], by("ann", WHY))
    assert isinstance(three.refusal(one), VersionWithdrawn)
    assert isinstance(three.refusal(two), VersionGone)
    assert isinstance(three.refusal(replace(one, version=9)), NotFound)


def test_who_asks_for_what_is_not_there_is_told_what_is(register: VersionRegister) -> None:
    assert "none yet" in refusal(lambda: register.resolve(Selector(NAME))).expected
    published(register, count=25)
    told = refusal(lambda: register.resolve(Selector(NAME, version=26)))
    assert isinstance(told, NotFound)
    assert "versions ..., 6, 7" in told.expected
    assert "with version 26" in told.found
    assert NAME in refusal(lambda: register.resolve(Selector("others"))).expected
    for number in range(25):
        published(register, f"d{number:02}")
    assert refusal(lambda: register.resolve(Selector("others"))).expected.endswith("d19, ...)")


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        (Selector("a"), "a"),
        (Selector("a", version=12), "a@12"),
        (Selector("a", day=dt.date(2026, 11, 1)), "a@2026-11-01"),
        (Selector("a", tag="certified"), "a@certified"),
    ],
)
def test_a_selector_as_text(selector: Selector, text: str) -> None:
    assert str(selector) == text


def test_a_selector_asks_one_thing() -> None:
    with pytest.raises(ValueError, match="one of them"):
        Selector("a", version=1, tag="b")


def test_ten_processes_publish_at_once(url: str) -> None:
    """Half of them the same thing."""
    VersionRegister(url)

    def work(number: int) -> list[str]:
        register, wanted = VersionRegister(url), fingerprint(0 if number % 2 else number)
        given = register.reserve(NAME, wanted)
        if isinstance(given, int):
            given = register.publish(replace(row(release(given)), fingerprint=wanted), by(f"p{number}"))
        return [f"{given.version} {given.fingerprint}"]

    said = at_once(work, 10)
    register = VersionRegister(url)
    found = register.versions(NAME)
    assert {f"{v.version} {v.fingerprint}" for v in found} == set(said)
    assert len({v.fingerprint for v in found}) == len(found) == 5
    assert [v.version for v in found if v.head] == [max(v.version for v in found)]
    assert [event.action for event in register.events(NAME)] == ["publish"] * 5


def test_processes_that_change_at_once_leave_what_some_order_would(url: str) -> None:
    published(VersionRegister(url), count=6)

    def work(number: int) -> list[str]:
        register = VersionRegister(url)
        try:
            if number % 2:
                register.withdraw(NAME, number, by(f"p{number}", WHY))
            else:
                register.rollback(NAME, number or 2, by(f"p{number}", WHY))
        except ConfigurationError:
            return ["refused"]
        return ["done"]

    assert set(at_once(work, 6)) == {"done"}
    register = VersionRegister(url)
    states = {v.version: v.state for v in register.versions(NAME)}
    assert [n for n, state in states.items() if state is VersionState.WITHDRAWN] == [1, 3, 5]
    assert head(register) in (2, 4, 6)
    moved = [event for event in register.events(NAME) if event.detail.startswith("head")]
    assert moved[-1].detail == f"head {head(register)}"


def test_a_damaged_catalogue_is_no_version(register: VersionRegister) -> None:
    with pytest.raises(IntegrityError):
        register.publish(row(release(1)), by("ann"))  # nothing was reserved
