"""Whatever text is planted wherever in evidence and synthesis, no report shows it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.released import PLAIN, PRIVATE, recorded

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.report.page import report_page
from cloakhouse.settings import Settings
from cloakhouse.stages.report_sections import derived
from cloakhouse.stages.reporting import Report, canonical

CONTRACTS = load_contracts(Settings.from_environment({}).contracts)
MARK = "Zq7"
EVIDENCE = {name: (recorded(name, "validation"), recorded(name, "synthesis")) for name in (PRIVATE, PLAIN)}
planted = st.one_of(
    st.just(f"{MARK} Erika Mustermann, 1975-02-30"),
    st.just(f"<script>{MARK}</script>"),
    st.just(f"expect_{MARK}_to_be"),
    st.just(f"2017-01-02{MARK}"),
    st.text(max_size=20).map(lambda text: f"{text}{MARK}{text}"),
)


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value, containers included."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


PLACES = {name: tuple(list(places(one)) for one in pair) for name, pair in EVIDENCE.items()}


def put(content: Any, path: tuple[Any, ...], value: Any, *, beside: bool) -> None:
    with contextlib.suppress(TypeError, KeyError, IndexError):  # another one stands in its way already
        for key in path[:-1]:
            content = content[key]
        if beside and isinstance(content, dict):
            content[f"{value}"] = value
        else:
            content[path[-1]] = value


@st.composite
def poisoned(draw: st.DrawFn) -> tuple[str, dict[str, Any], dict[str, Any]]:
    name = draw(st.sampled_from([PRIVATE, PLAIN]))
    pair = copy.deepcopy(EVIDENCE[name])
    for content, known in zip(pair, PLACES[name], strict=True):
        for path in draw(st.lists(st.sampled_from(known), max_size=30)):
            text = draw(planted)
            value = draw(st.sampled_from([text, [text], {text: text}, {"name": text}, [{"type": text}]]))
            put(content, path, value, beside=draw(st.booleans()))
    return (name, *pair)


def report_of(name: str, evidence: dict[str, Any], synthesis: dict[str, Any]) -> Report:
    parts = derived(CONTRACTS[name], evidence, synthesis, None)
    head = {"format": 1, "dataset": name, "version": None, "release": None, "evidence": {"sha256": "0" * 64}}
    rest = {"approvals": [], "protection": None, "audit": {"entries": 0, "first": None, "last": None, "numbers": []}}
    return Report({**head, **parts, **rest})


@settings(max_examples=40, deadline=None)
@given(poisoned())
def test_planted_texts_stay_behind(case: tuple[str, dict[str, Any], dict[str, Any]]) -> None:
    found = report_of(*case)
    assert MARK not in canonical(found.content).decode()
    assert MARK not in report_page(found)


def test_a_text_in_every_place_at_once_stays_behind() -> None:
    for name, pair in EVIDENCE.items():
        poisoned_pair = tuple(_everywhere(content) for content in copy.deepcopy(pair))
        found = report_of(name, *poisoned_pair)
        assert not found.passed
        assert MARK not in canonical(found.content).decode()
        assert MARK not in report_page(found)


def _everywhere(content: Any) -> Any:
    if isinstance(content, dict):
        return {**{key: _everywhere(value) for key, value in content.items()}, f"x{MARK}": MARK}
    if isinstance(content, list):
        return [*map(_everywhere, content), MARK]
    return f"{MARK} {content}" if isinstance(content, str) else content
