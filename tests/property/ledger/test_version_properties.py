"""Random sequences of everything that can be done to versions, against a model of the register in plain Python."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.acting import by
from tests.support.versions import NAME, fingerprint, release, row

from cloakhouse.errors import CloakhouseError
from cloakhouse.ledger.versions import Selector, VersionRegister, VersionState

NUMBERS = st.integers(1, 5)
STEPS = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 6)),
    st.tuples(st.sampled_from(["rollback", "withdraw", "expire", "hold", "lift", "condemn", "collected"]), NUMBERS),
    st.tuples(st.just("back"), st.just(0)),
    st.tuples(st.sampled_from(["tag", "untag"]), NUMBERS),
)


@dataclass
class Model:
    """What the register should say."""

    states: dict[int, str] = field(default_factory=dict)
    made_of: dict[int, int] = field(default_factory=dict)
    tags: set[int] = field(default_factory=set)
    held: set[int] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)
    withdrawn: set[int] = field(default_factory=set)
    head: int | None = None
    numbers: int = 0

    def below(self, number: int) -> int | None:
        return max((n for n, state in self.states.items() if n < number and state == "published"), default=None)

    def do(self, action: str, given: int) -> str:
        """Do it, and return the code of the refusal."""
        if action == "publish":
            if given not in self.made_of.values():
                self.numbers += 1
                self.states[self.numbers], self.made_of[self.numbers] = "published", given
                self.head = self.numbers
            return ""
        if action == "back":
            before = self.below(self.head) if self.head is not None else None
            self.head = before if before is not None else self.head
            return "" if before is not None else "not-found.version"
        if given not in self.states:
            return "not-found"
        return getattr(self, action)(given) or ""

    def rollback(self, number: int) -> str | None:
        if self.states[number] != "published":
            return "configuration.version"
        self.head = number
        return None

    def withdraw(self, number: int) -> None:
        if number in self.withdrawn:
            return
        self.withdrawn.add(number)
        self.tags.discard(number)
        if self.states[number] != "collected":
            self.states[number] = "withdrawn"
        if self.head == number:
            self.head = self.below(number)

    def expire(self, number: int) -> str | None:
        if self.states[number] == "published":
            if number == self.head or number in self.tags | self.held:
                return "access.needed"
            self.states[number] = "expired"
        return None

    def hold(self, number: int) -> str | None:
        if number in self.begun:
            return "gone.collected"
        self.held.add(number)
        return None

    def lift(self, number: int) -> None:
        self.held.discard(number)

    def tag(self, number: int) -> str | None:
        if self.states[number] != "published":
            return "configuration.version"
        self.tags.add(number)
        return None

    def untag(self, number: int) -> None:
        self.tags.discard(number)

    def condemn(self, number: int) -> None:
        if self.states[number] in ("withdrawn", "expired") and number not in self.held:
            self.begun.add(number)

    def collected(self, number: int) -> None:
        if number in self.begun and self.states[number] != "published":
            self.states[number] = "collected"

    def reads(self, number: int | None) -> str:
        """Return what who asks for a version gets: its number, or the code of the refusal."""
        if number not in self.states:
            return "not-found"
        if self.states[number] == "published":
            return str(number)
        return "withdrawn" if number in self.withdrawn else "gone"


def done(register: VersionRegister, action: str, given: int) -> str:
    try:
        if action == "publish":
            number = register.reserve(NAME, fingerprint(given))
            if isinstance(number, int):
                made = release(number, fingerprint=fingerprint(given))
                register.publish(row(made), by("ann"))
        elif action == "back":
            register.rollback(NAME, None, by("ann", "a reason"))
        elif action in ("rollback", "withdraw", "hold"):
            ways = {"rollback": register.rollback, "withdraw": register.withdraw}
            if action == "hold":
                register.hold(NAME, given, by("ann", "a reason"))
            else:
                ways[action](NAME, given, by("ann", "a reason"))
        elif action == "expire":
            register.expire(NAME, [given], by("ann", "a reason"))
        elif action in ("tag", "untag"):
            getattr(register, action)(NAME, given, "certified", by())
        else:
            getattr(register, action)(NAME, given, by())
    except CloakhouseError as refusal:
        return refusal.code
    return ""


def read(register: VersionRegister, selector: Selector) -> str:
    try:
        return str(register.resolve(selector).version)
    except CloakhouseError as refusal:
        return refusal.code


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="versions-") as made:
        yield Path(made)


@settings(max_examples=12)
@given(steps=st.lists(STEPS, max_size=20))
def test_the_register_is_its_model(folder: Path, steps: list[tuple[str, int]]) -> None:
    path = folder / "control.db"
    for old in folder.glob("control.db*"):
        old.unlink()
    register, model = VersionRegister(f"sqlite:///{path}"), Model()
    for action, given_ in steps:
        assert done(register, action, given_) == model.do(action, given_), (action, given_)
    found = {version.version: version for version in register.versions(NAME)}
    assert {n: v.state.value for n, v in found.items()} == model.states
    assert {n for n, v in found.items() if v.head} == {model.head} - {None}
    assert {n for n, v in found.items() if v.tags} == model.tags
    assert {hold.version for hold in register.holds()} == model.held
    assert {v.version for v in register.kept(NAME)} == set(found) - model.begun
    assert [v.version for v in register.heads()] == sorted({model.head} - {None})
    assert read(register, Selector(NAME)) == (str(model.head) if model.head else "not-found")
    tagged = max((n for n in model.tags), default=None)
    assert read(register, Selector(NAME, tag="certified")) == model.reads(tagged)
    for number in range(1, 6):
        assert read(register, Selector(NAME, version=number)) == model.reads(number)
    today = dt.datetime.now(dt.UTC).date()
    assert read(register, Selector(NAME, day=today)) == model.reads(model.head)
    moved = [event for event in register.events(NAME) if event.detail.startswith("head")]
    assert not found or moved[-1].detail == f"head {model.head or 'none'}"
    assert all(found[n].state is VersionState.PUBLISHED for n in model.tags)
