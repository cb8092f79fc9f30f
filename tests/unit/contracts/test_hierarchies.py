"""Hierarchy files: what a good one gives, and each fault at its line."""

from __future__ import annotations

import pickle

import pytest

from cloakhouse.contracts import hierarchies
from cloakhouse.contracts.hierarchies import read_hierarchy
from cloakhouse.errors import ContractError

GOOD = "Berlin;Brandenburg;East;*\nPotsdam;Brandenburg;East;*\nKöln;Rhineland;West;*\n"


def test_levels_by_number() -> None:
    hierarchy = read_hierarchy(GOOD, "city.csv")
    assert hierarchy.name == "city.csv"
    assert len(hierarchy.levels) == 3
    assert hierarchy.level(1) == {"Berlin": "Brandenburg", "Potsdam": "Brandenburg", "Köln": "Rhineland"}
    assert hierarchy.level(2) == {"Berlin": "East", "Potsdam": "East", "Köln": "West"}
    assert set(hierarchy.level(3).values()) == {"*"}
    assert pickle.loads(pickle.dumps(hierarchy)) == hierarchy


@pytest.mark.parametrize("number", [0, 4, -1])
def test_levels_that_are_not_there(number: int) -> None:
    with pytest.raises(ContractError, match="a level from 1 to 3"):
        read_hierarchy(GOOD, "city.csv").level(number)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.rstrip("\n"),
        GOOD.replace("Berlin", '"Berlin"'),
    ],
)
def test_forms_of_the_same_file(text: str) -> None:
    assert read_hierarchy(text, "city.csv").levels == read_hierarchy(GOOD, "city.csv").levels


def test_quotes_blanks_and_an_empty_value() -> None:
    text = '"a;b";"say ""x"""\n;none\n c ;no-break\u00a0space\n'
    assert read_hierarchy(text, "f.csv").level(1) == {"a;b": 'say "x"', "": "none", " c ": "no-break\u00a0space"}


@pytest.mark.parametrize(
    ("text", "line", "expected", "found"),
    [
        ("", 1, "one line for each value", "empty file"),
        ("\ufeff", 1, "one line for each value", "empty file"),
        ("secret\n", 1, "a value and 1 to 32 labels", "1 fields"),
        ("secret,label\n", 1, "with `;` between", "1 fields"),
        ("a;" + ";".join("x" * 33) + "\n", 1, "1 to 32 labels", "34 fields"),
        ("a;x\nsecret;x;y\n", 2, "2 fields, as on line 1", "3"),
        ("a;x\n\nb;x\n", 2, "2 fields, as on line 1", "0"),
        ("a;x\nsecret;\n", 2, "a label at every level", "an empty one"),
        ("secret;x\nb;x\nsecret;x\n", 3, "each value once", "the value of line 1 again"),
        ("a;x;1\nb;y;1\nsecret;x;2\n", 3, "at level 2 the label of line 1", "another"),
        ("a;x;m;1\nb;y;m;2\n", 2, "at level 3 the label of line 1", "another"),
        ("a;x\nsecret\tb;x\n", 2, "printable characters", "a control character"),
        ('a;x\n"secret\nb";x\n', 2, "printable characters", "a control character"),
        ("a;x\nsecret\0;x\n", 2, "printable characters", "a control character"),
        ("a;x\nsecret\ud800;x\n", 2, "printable characters", "a control character"),
        ('a;x\n"secret"b;x\n', 2, "fields with `;` between", "a misplaced quote"),
        ('a;x\nb;x\n"secret;x\n', 3, "fields with `;` between", "a misplaced quote"),
    ],
)
def test_faults_at_their_line(text: str, line: int, expected: str, found: str) -> None:
    with pytest.raises(ContractError) as caught:
        read_hierarchy(text, "city.csv")
    assert caught.value.where == f"city.csv:{line}"
    assert expected in caught.value.expected
    assert found in caught.value.found
    assert caught.value.code == "contract.hierarchy"
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_line_is_counted_where_its_record_starts() -> None:
    with pytest.raises(ContractError) as caught:
        read_hierarchy("a;x\r\nb;x\r\nb;x\r\n", "f.csv")
    assert caught.value.where == "f.csv:3"


def test_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = "".join(f"{number};x\n" for number in range(100_000))
    assert len(read_hierarchy(whole, "f.csv").level(1)) == 100_000
    with pytest.raises(ContractError, match="at most 1048576 bytes"):
        read_hierarchy("é" * 2**19 + ";x\n", "f.csv")
    with pytest.raises(ContractError) as caught:
        read_hierarchy(whole + "y;x\n", "f.csv")
    assert caught.value.where == "f.csv:100001"
    monkeypatch.setattr(hierarchies, "MAX_BYTES", 9)
    assert read_hierarchy("a;x\nb;xx\n", "f.csv").level(1) == {"a": "x", "b": "xx"}


def test_a_field_longer_than_the_reader_takes() -> None:
    with pytest.raises(ContractError) as caught:
        read_hierarchy("a;x\n" + "b" * 140_000 + ";x\n", "f.csv")
    assert caught.value.where == "f.csv:2"
