"""Whatever fails, and whenever: a receiver's lines are every entry in order, some of them again, none left out."""

from __future__ import annotations

import datetime as dt
import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.ledger.audit import AuditLog, Entry
from cloakhouse.ledger.audit_event import Event
from cloakhouse.ledger.forwarding import Positions
from cloakhouse.settings import Settings
from cloakhouse.stages import forwarding
from cloakhouse.stages.forwarding_faults import forwarding_error
from cloakhouse.stages.forwarding_receivers import Receiver
from cloakhouse.stages.forwarding_syslog import element, framed, printable

COUNT = 17
AT = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def home() -> Settings:
    made = Settings.from_environment({}).with_home(Path(tempfile.mkdtemp(prefix="cloakhouse-tests-")))
    AuditLog(made.database).record(*(Event("ann", "read", f"b@{n}", at=AT) for n in range(COUNT)))
    return made


class Shaky:
    """A receiver that gets what it is sent, and says so or not, by a plan: ok, lost (before), unsaid (after), died."""

    def __init__(self, plan: list[str]) -> None:
        self.plan, self.got = plan, []

    def __call__(self, *_: object) -> Shaky:
        return self

    def send(self, entries: Sequence[Entry]) -> None:
        step = self.plan.pop(0) if self.plan else "ok"
        if step != "lost":
            self.got += [entry.number for entry in entries]
        if step == "died":
            raise KeyboardInterrupt
        if step != "ok":
            raise forwarding_error("shaky", "unconfirmed", "", "")


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["ok", "lost", "unsaid", "died"]), max_size=12), st.integers(1, 9), st.integers(0))
def test_every_entry_arrives_in_order_and_none_is_left_out(
    home: Settings, plan: list[str], batch: int, name: int
) -> None:
    shaky = Shaky(plan)
    receiver = Receiver(f"r{name}"[:60], "file", batch=batch)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forwarding, "SENDERS", {"file": shaky})
        begun = Positions(home.database).of(receiver.name)
        for _ in range(40):
            try:
                (done,) = forwarding.forward(home, [receiver])
            except KeyboardInterrupt:
                continue
            if not done.backlog:
                break
    assert Positions(home.database).of(receiver.name) == COUNT
    firsts = list(dict.fromkeys(shaky.got))
    assert firsts == list(range(begun, COUNT))


@given(st.text(max_size=60))
def test_structured_data_reads_back(value: str) -> None:
    found = re.fullmatch(r'\[a b="((?:[^"\\\]]|\\["\\\]])*)"\]', element("a", {"b": value}), re.DOTALL)
    assert found is not None
    assert re.sub(r'\\(["\\\]])', r"\1", found[1]) == value


@given(st.binary(max_size=300))
def test_frames_say_their_length_in_octets(content: bytes) -> None:
    length, _, rest = framed(content).partition(b" ")
    assert (int(length), rest) == (len(content), content)


@given(st.text(max_size=60), st.integers(1, 40))
def test_fields_of_the_header_are_printable_ascii_without_spaces(text: str, longest: int) -> None:
    found = printable(text, longest)
    assert 1 <= len(found) <= max(longest, 1)
    assert all(33 <= ord(character) <= 126 for character in found)
    assert json.dumps(found)
