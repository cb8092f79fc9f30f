"""Files of persons: every form, every refusal by line and never by value, and a million lines in bounded memory."""

from __future__ import annotations

import json
import random
import resource
import time
from pathlib import Path

import pyarrow as pa
import pytest
from tests.support.persons import identifiers
from tests.support.processes import in_fork

from cloakhouse.errors import ConfigurationError, NotFound
from cloakhouse.keys.derive import KeyUse
from cloakhouse.stages.subject_file import LONGEST, Named, read_subjects
from cloakhouse.tokens.linking import column_tokens
from cloakhouse.tokens.render import to_base32, to_hex
from cloakhouse.tokens.subjects import layer_of, rights_tokens, rights_uses

KNOWN = identifiers()


def read(tmp_path: Path, text: str | bytes, column: str | None = None) -> Named:
    file = tmp_path / "persons"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_subjects(file, KNOWN, column)


def rights(*numbers: int) -> list[bytes]:
    return rights_tokens(pa.array(numbers, pa.int64()), KNOWN.column, KNOWN.keys).to_pylist()


def found(named: Named, column: str = "household_id") -> list[tuple[bytes, int]]:
    table = named.tokens[column]
    return sorted(zip(table["token"].to_pylist(), table["line"].to_pylist(), strict=True), key=lambda pair: pair[1])


def refused(named: Named) -> dict[str, tuple[int, list[int]]]:
    return {reason: (lines.count, lines.first) for reason, lines in named.refused.items()}


@pytest.mark.parametrize(
    "text",
    [
        "household_id\n7\n12\n",
        "\ufeffHousehold_ID\r\n7\r\n\r\n12",
        'name,"household_id"\nAnn,7\n"B, C","12"\n',
        "country;household_id\nDE;7\nFR;12\n",
        "household_id\temail\n7\t\n12\t\n",
        '{"household_id": 7}\n{"household_id": "12", "name": "x"}\n',
    ],
)
def test_every_form_names_the_same_persons(tmp_path: Path, text: str) -> None:
    named = read(tmp_path, text)
    assert sorted(token for token, _ in found(named)) == sorted(rights(7, 12))
    assert (named.lines, named.unreadable) == (2, 0)


def test_plain_lines_are_of_the_column_that_is_told(tmp_path: Path) -> None:
    assert found(read(tmp_path, "7\n12\n", "household_id")) == list(zip(rights(7, 12), (1, 2), strict=True))
    with pytest.raises(ConfigurationError, match=r"configuration\.subject-file"):
        read(tmp_path, "7\n12\n")
    with pytest.raises(ConfigurationError, match=r"configuration\.subject-file"):
        read(tmp_path, "7\n12\n", "birth_date")


def test_each_line_names_itself_first_and_once(tmp_path: Path) -> None:
    named = read(tmp_path, "household_id\n12\n7\n12\n007\n")
    assert found(named) == list(zip(rights(12, 7), (2, 3), strict=True))
    assert named.lines - named.unreadable - named.distinct == 2


def test_an_email_is_one_however_it_is_written(tmp_path: Path) -> None:
    named = read(tmp_path, "email\nAnn@Example.org \n ann@example.ORG\n")
    assert len(found(named, "email")) == 1


def test_what_is_wrong_is_counted_by_kind_and_line(tmp_path: Path) -> None:
    lines = [
        b"household_id,email,loyalty_card",
        b"7,,",
        b"abc,,",  # 3
        b"0,,",  # below the smallest
        b"-7,,",
        b"0x7,,",
        b",,123",  # 7: no loyalty card
        b"7,ann@example.org,",  # 8
        b",,",  # 9
        b"7,",  # 10
        b'"7,,',  # 11
        b"\xff\xfe7,,",  # 12
        b"9" * (LONGEST + 100) + b",,",  # 13
        b"12,,",
    ]
    named = read(tmp_path, b"\n".join(lines))
    assert refused(named) == {
        "wrong_value": (5, [3, 4, 5, 6, 7]),
        "several_identifiers": (1, [8]),
        "no_identifier": (1, [9]),
        "wrong_form": (2, [10, 11]),
        "broken_encoding": (1, [12]),
        "too_long": (1, [13]),
    }
    assert found(named) == list(zip(rights(7, 12), (2, 14), strict=True))
    assert named.lines == 13


def test_json_lines_that_are_none_are_counted(tmp_path: Path) -> None:
    text = (
        '{"household_id": 7}\n[7]\nnull\n{"household_id": true}\n{"household_id": 7.5}\n{"household_id"\n' + "[" * 4000
    )
    assert refused(read(tmp_path, text)) == {"wrong_form": (4, [2, 3, 6, 7]), "no_identifier": (2, [4, 5])}


def test_tokens_of_the_lake_name_persons_in_either_form(tmp_path: Path) -> None:
    keys = [KNOWN.keys.key(rights_uses(KNOWN.column)[0]), KNOWN.keys.key(layer_of(KNOWN.column))]
    tokens = column_tokens(pa.array([7, 12], pa.int64()), *keys, column="household_id")
    text = f"token\n{to_hex(tokens)[0]}\n{to_base32(tokens)[1]}\n7\n{to_hex(tokens)[0].as_py().upper()}\n"
    named = read(tmp_path, text)
    assert found(named) == list(zip(rights(7, 12), (2, 3), strict=True))
    assert refused(named) == {"wrong_token": (2, [4, 5])}


def test_a_token_goes_by_its_purpose(tmp_path: Path) -> None:
    domain = KNOWN.column.treatment.parameters["domain"]
    keys = [KNOWN.keys.key(rights_uses(KNOWN.column)[0]), KNOWN.keys.key(KeyUse.layer(domain, "marketing"))]
    token = to_hex(column_tokens(pa.array([7], pa.int64()), *keys, column="household_id"))[0].as_py()
    unknown = read(tmp_path, f"token,purpose\n{token},marketing\n")
    assert refused(unknown) == {"unknown_purpose": (1, [2])}  # no contract has such tokens
    mistaken = read(tmp_path, f"token,purpose\n{token},analytics\n")
    assert found(mistaken)[0][0] not in rights(7)  # somebody whom no lake knows


def test_no_value_is_in_a_refusal(tmp_path: Path) -> None:
    named = read(tmp_path, "household_id\nann@example.org\n")
    assert "ann" not in repr(named.refused)
    with pytest.raises(ConfigurationError) as told:
        read(tmp_path, "ann@example.org\nbob@example.org\n")
    assert "example" not in str(told.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_subjects(tmp_path / "nothing", KNOWN)
    with pytest.raises(NotFound):
        read_subjects(tmp_path, KNOWN)
    assert read(tmp_path, "").lines == 0


@pytest.mark.path
def test_a_million_lines_of_rubbish_and_duplicates_take_bounded_memory(tmp_path: Path) -> None:
    draw, file = random.Random(1), tmp_path / "persons"
    with file.open("w") as sink:
        sink.write("household_id\n")
        for number in range(1_000_000):
            sink.write(f"{draw.randrange(1, 200_000)}\n" if number % 10 else json.dumps({"x": number}) + "\n")

    def child() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        named = read_subjects(file, KNOWN)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
        assert refused(named)["wrong_value"][0] == 100_000
        assert 190_000 < named.distinct <= 199_999
        assert grown < 256 << 10

    begun = time.monotonic()
    assert in_fork(child) == 0
    print(f"a million lines: {time.monotonic() - begun:.1f} s")
