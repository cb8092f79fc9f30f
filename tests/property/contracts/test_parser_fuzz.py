"""Whatever the text, the parser returns a Contract or refuses it: no other exception, and no loss of determinism."""

from __future__ import annotations

import re

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.contracts import SHIPPED, feed_text

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import parse_contract
from cloakhouse.errors import ContractError

SEEDS = [feed_text(), *((SHIPPED / f"{n}.odcs.yaml").read_text() for n in ("products", "baskets_synthetic"))]
TOKENS = [re.findall(r"[A-Za-z0-9_.\-]+|\s+|[^\w\s]", seed) for seed in SEEDS]
NASTY = st.sampled_from(
    ["", "null", "~", "[]", "{}", "-1", "1e999", ".nan", ".inf", "0x_", "0b_", "._", "2017-13-45", "12:60", "true",
     "no", "!!int x", "!!set {a}", "!!binary x", "&a *a", "*a", "<<", "=", "? [a]", "? {a: b}\n: c", "|", ">", "%YAML 1.1",  # noqa: E501
     "---", "...", '"\\uD800"', '"\\UFFFFFFFF"', '"\\x00"', "\x00", "\x85", "\u2028", "\ufeff", "'", '"', "[[", "99999999999999999999999",  # noqa: E501
     "9" * 5000, "2001-12-14t21:59:43.10-05:00", "{token: x}", "{token: [x]}", "{a: 1, a: 2}", "- a", ": ", "\t", "${x}", "`", "@"]  # noqa: E501
)  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.text(max_size=8)
    | st.sampled_from(["feed", "synthetic", "keep", "drop", "class", "treatment", "plain", "integer"])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=8  # noqa: E501
)  # fmt: skip


def outcome(text: str) -> Contract | ContractError:
    try:
        return parse_contract(text, "fuzz.odcs.yaml")
    except ContractError as refusal:
        return refusal


def survives(text: str) -> None:
    first, second = outcome(text), outcome(text)
    if isinstance(first, Contract):
        assert first == second
        return
    assert re.fullmatch(r"fuzz\.odcs\.yaml:[1-9]\d*:[1-9]\d*", first.where)
    assert min(len(first.expected), len(first.found), len(first.remedy)) > 0
    assert str(first) == str(second)


@settings(max_examples=60)
@given(st.sampled_from(range(len(SEEDS))), st.data())
def test_lines_deleted_doubled_swapped_or_moved(seed: int, data: st.DataObject) -> None:
    lines = SEEDS[seed].splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        i, j = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match data.draw(st.sampled_from(["delete", "double", "swap", "indent", "dedent"])):
            case "delete":
                lines[i] = ""
            case "double":
                lines.insert(j, lines[i])
            case "swap":
                lines[i], lines[j] = lines[j], lines[i]
            case "indent":
                lines[i] = "  " + lines[i]
            case _:
                lines[i] = lines[i].removeprefix("  ")
    survives("\n".join(lines))


@settings(max_examples=150)
@given(st.sampled_from(range(len(SEEDS))), st.data())
def test_tokens_swapped_or_replaced(seed: int, data: st.DataObject) -> None:
    tokens = list(TOKENS[seed])
    for _ in range(data.draw(st.integers(1, 3))):
        i = data.draw(st.integers(0, len(tokens) - 1))
        if data.draw(st.booleans()):
            j = data.draw(st.integers(0, len(tokens) - 1))
            tokens[i], tokens[j] = tokens[j], tokens[i]
        else:
            tokens[i] = data.draw(NASTY | st.text(max_size=6))
    survives("".join(tokens))


@settings(max_examples=60)
@given(st.sampled_from(range(len(SEEDS))), VALUES, st.data())
def test_any_node_replaced_by_any_value(seed: int, value: object, data: st.DataObject) -> None:
    document = yaml.safe_load(SEEDS[seed])
    holder, key = None, None
    node = document
    while isinstance(node, dict | list) and node and (holder is None or data.draw(st.integers(0, 3)) > 0):
        holder = node
        key = data.draw(st.sampled_from(sorted(node, key=str) if isinstance(node, dict) else range(len(node))))
        node = node[key]
    assert holder is not None
    holder[key] = value
    survives(yaml.safe_dump(document, allow_unicode=True))


@settings(max_examples=60)
@given(VALUES)
def test_random_yaml(value: object) -> None:
    survives(yaml.safe_dump(value, allow_unicode=True))


@settings(max_examples=120)
@given(st.text(st.characters(codec=None) | st.sampled_from("{}[]:,-&*!|>'\"%@` \n\t#?"), max_size=60))
@example("a: !!timestamp x")
@example("a: !!float x")
@example("a: !!bool x")
@example('a: "\\uDC00"')
@example("? !!str\n: x")
def test_random_text(text: str) -> None:
    survives(text)
