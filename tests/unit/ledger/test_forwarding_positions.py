"""Positions of receivers: they move forward only, from where the sender began."""

from __future__ import annotations

import datetime as dt

from cloakhouse.ledger.forwarding import Position, Positions

AT = dt.datetime(2026, 11, 22, 15, 0, tzinfo=dt.UTC)
LATER = AT + dt.timedelta(hours=1)


def test_a_position_moves_from_where_it_was_and_from_nowhere_else(url: str) -> None:
    positions = Positions(url)
    assert positions.of("siem") == 0
    assert positions.advance("siem", 0, 5, AT)
    assert not positions.advance("siem", 0, 3, LATER)
    assert not positions.advance("other", 4, 9, LATER)
    assert positions.advance("siem", 5, 7, LATER)
    assert positions.all() == [Position("siem", 7, LATER)]
    assert positions.of("siem") == 7


def test_trouble_keeps_its_begin_and_ends_with_the_next_step(url: str) -> None:
    positions = Positions(url)
    positions.in_trouble("siem", 0, "forwarding.tls", AT)
    positions.in_trouble("siem", 0, "forwarding.tls", LATER)
    assert positions.all() == [Position("siem", 0, AT, "forwarding.tls")]
    positions.in_trouble("siem", 0, "forwarding.unreachable", LATER)
    assert positions.all() == [Position("siem", 0, LATER, "forwarding.unreachable")]
    assert positions.advance("siem", 0, 2, LATER)
    assert positions.all() == [Position("siem", 2, LATER)]
