"""Values that are written oddly: each is one value, whatever the format, or its row is set aside; no third way."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support import all_treatments as feeds
from tests.support.all_treatments import DIRECT, INDIRECT, SENSITIVE, Everything, everything, fault_of, people_csv
from tests.support.contracts import column, feed_contract, feed_text

from cloakhouse.stages.parsing import parse

DAY = "2017-01-02"
KEYED = "domain: x, purpose: analytics"
BIG = 10 << 20  # characters


def read(kind: str, form: str, written: str) -> Any:
    """Return the value that a row with one value gives, or the reason for which it is set aside."""
    contract = feed_contract(columns=[column("v", kind)], form=form)
    text = f"v\n{written}\n" if form == "csv" else f'{{"v":{written}}}\n'
    assert contract.feed is not None
    [parsed] = parse(io.BytesIO(text.encode("utf-8", "surrogatepass")), contract, contract.feed)
    return (parsed.table["v"].to_pylist() + parsed.bad.reasons)[0]


@pytest.mark.parametrize(
    ("form", "sevens", "wrong"),
    [
        (
            "csv",
            ("7", "007", "07", '"7"'),
            (
                "+7",
                " 7",
                "7 ",
                "\t7",
                "7.0",
                "7e0",
                "7.",
                "0x7",
                "７",
                "٧",
                "7\x00",
                "'7'",
                "\ufeff7",
                "7_0",
                '"1,000"',
            ),
        ),
        (
            "jsonl",
            ("7", " 7", "7 ", "\t7"),
            ("+7", "007", "7.0", "7e0", "70e-1", '"7"', '"007"', '" 7"', "0x7", "[7]", '{"v":7}', "true", "7\x00"),
        ),
    ],
)
def test_an_integer_is_its_digits(form: str, sevens: Sequence[str], wrong: Sequence[str]) -> None:
    assert {read("integer", form, written) for written in sevens} == {7}
    for written in wrong:
        assert read("integer", form, written) in ("wrong_type", "not_json"), written
    assert read("integer", form, "-0") == read("integer", form, "0") == 0
    for end in (2**63 - 1, -(2**63)):
        assert read("integer", form, str(end)) == end
        assert read("integer", form, str(end + (1 if end > 0 else -1))) == "wrong_type"


def test_a_text_is_its_characters_in_both_formats() -> None:
    texts = ("7", "007", "+7", " 7", "7.0", "NULL", "NaN", "a\x7fb", "é", "e\u0301", "名前", "😀", "\u202ea")
    for text in texts:
        assert read("string", "csv", text) == text
        for escaped in (False, True):
            assert read("string", "jsonl", json.dumps(text, ensure_ascii=escaped)) == text
    assert read("string", "csv", "a\x00b") == read("string", "jsonl", '"a\\u0000b"') == "a\x00b"
    for written in ("7", "7.0", "true", "[]", "{}", "NaN"):
        assert read("string", "jsonl", written) == "wrong_type"


def test_no_value_and_an_empty_text() -> None:
    for kind in ("string", "integer", "number", "boolean", "date", "timestamp"):
        assert read(kind, "jsonl", "null") is read(kind, "csv", '""') is read(kind, "csv", "") is None
        assert read(kind, "jsonl", '""') == ("" if kind == "string" else "wrong_type")
    contract = feed_contract(columns=[column("v", options='{pattern: ".+"}')], form="jsonl")
    assert contract.feed is not None
    [parsed] = parse(io.BytesIO(b'{"v":""}\n{"v":"7"}\n{"v":null}\n'), contract, contract.feed)
    assert (parsed.table["v"].to_pylist(), parsed.bad.reasons) == (["7", None], ["wrong_form"])


@pytest.mark.parametrize(
    ("form", "written", "expected"),
    [
        ("jsonl", '"\\ud800"', "wrong_type"),
        ("jsonl", '"a\\udc00\\ud800b"', "wrong_type"),
        ("jsonl", '"\\ud83d\\ude00"', "😀"),
        ("jsonl", '"\ud800"', "broken_encoding"),
        ("csv", "\ud800", "broken_encoding"),
    ],
)
def test_surrogates(form: str, written: str, expected: str) -> None:
    assert read("string", form, written) == expected


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_numbers_that_are_none_and_those_at_the_end(form: str) -> None:
    for written in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999"):
        assert read("number", form, written) == "wrong_type"
    assert str(read("number", form, "-0.0")) == "-0.0"
    assert read("number", form, "1.7976931348623157e308") == 1.7976931348623157e308
    assert read("number", form, "1e-400") == 0


@pytest.mark.parametrize("kind", ["date", "timestamp"])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_days_outside_the_calendar(kind: str, form: str) -> None:
    time = " 00:00:00" if kind == "timestamp" else ""
    for day in ("0000-01-01", "0000-12-31", "10000-01-01", "-0001-01-01", "2017-02-30", "99999-01-01"):
        assert read(kind, form, f'"{day}{time}"') == "wrong_type"
    for day in ("0001-01-01", "9999-12-31"):
        assert read(kind, form, f'"{day}{time}"').isoformat().startswith(day)


def test_each_line_of_json_is_judged_alone() -> None:
    """Two objects on one line and none on the next are as many as lines, and still no object a line."""
    contract = feed_contract(columns=[column("v", "integer")], form="jsonl")

    def of(text: bytes) -> tuple[list[int], list[str]]:
        assert contract.feed is not None
        [parsed] = parse(io.BytesIO(text), contract, contract.feed)
        return parsed.table["v"].to_pylist(), parsed.bad.reasons

    assert of(b'{"v":5}{"v":6}\n\n{"v":7}\n') == ([7], ["not_json"] * 2)
    assert of(b'{"v":4}\n{"v":5\n}{"v":6}\n') == ([4], ["not_json"] * 2)
    assert of(b'{"v":5}{"v":6}\n \n{"v":7}') == ([7], ["not_json"] * 2)
    assert of(b'{"v":5} \r\n\t{"v":6}\r\n {"v":7}') == ([5, 6, 7], [])
    assert of(b'\xef\xbb\xbf{"v":5,"w":{"x":{}}}\n{"w":[{\n') == ([5], ["not_json"])


TEXTS = {
    "kept": ("keep", SENSITIVE),
    "token": (f"{{token: {{{KEYED}}}}}", DIRECT),
    "folded": (f"{{token: {{{KEYED}, normalise: name, form: hex}}}}", DIRECT),
    "opened": (f"{{reversible token: {{{KEYED}}}}}", DIRECT),
    "masked": ("{mask: {keepPrefix: 2}}", DIRECT),
    "fake": (f"{{substitute: {{as: address, {KEYED}}}}}", DIRECT),
    "shuffled": ("shuffle", INDIRECT),
    "start": ("{generalize: {prefix: 3}}", INDIRECT),
    "arm": (f"{{bucket: {{buckets: 7, {KEYED}}}}}", INDIRECT),
    "rare": ("{suppress rare: {atLeast: 2}}", INDIRECT),
    "note": ("scrub", SENSITIVE),
}


@pytest.fixture
def place(tmp_path: Path) -> Everything:
    """An installation with a feed of texts."""
    house = everything(tmp_path / "home")
    columns = [column("id", "integer"), *(column(name, cls=cls, how=how) for name, (how, cls) in TEXTS.items())]
    (house.settings.contracts / "texts.odcs.yaml").write_text(
        feed_text("texts", columns=columns, form="jsonl", max_line=32 << 20)
    )
    return house


def treated(place: Everything, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    place.land("texts", DAY, "".join(json.dumps(row) + "\n" for row in rows).encode())
    place.treat("texts")
    found: list[dict[str, Any]] = place.table("texts").to_pylist()
    return found


def test_nul_characters_joiners_and_empty_texts_are_treated_as_characters(place: Everything) -> None:
    texts = ["a\x00b", "\x00", "😀\u200d\ufeff", "", None]
    rows = treated(place, [{"id": i, **dict.fromkeys(TEXTS, text)} for i, text in enumerate(texts)])
    assert [row["kept"] for row in rows] == texts
    assert [row["masked"] for row in rows] == ["a\x00*", "*", "😀\u200d*", "", None]
    assert len({row["token"] for row in rows}) == len({row["folded"] for row in rows}) == 5
    assert [row["note"] for row in rows] == texts
    assert sorted(str(row["shuffled"]) for row in rows) == sorted(map(str, texts))
    assert {row["rare"] for row in rows} == {None}
    assert [row["start"] for row in rows] == texts


def test_ten_megabytes_in_one_cell_and_short_ones_beside_it(place: Everything) -> None:
    short = dict.fromkeys(TEXTS, "short")
    alone = treated(place, [{"id": 1, **short}, {"id": 2, **short}])
    big = {"token": "é" * (BIG // 2), "opened": "x" * BIG, "note": "a1 " * (BIG // 3)}
    rows = [{"id": 1, **short}, *({"id": 2, name: text} for name, text in big.items()), {"id": 3, **short}]
    place.land("texts", "2017-01-03", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    place.treat("texts")
    found = place.table("texts").slice(2).to_pylist()
    assert [row["id"] for row in found] == [1, 2, 2, 2, 3]
    for name in ("token", "folded", "opened", "masked", "fake", "start", "arm", "rare", "note"):
        assert found[0][name] == found[4][name] == alone[0][name]
    assert len(found[1]["token"]) == 16
    assert len(found[2]["opened"]) == BIG + 16
    assert found[3]["note"] == big["note"]


def test_columns_without_any_value(place: Everything) -> None:
    rows = treated(place, [{"id": 1}, {}, {"id": None, "token": None}])
    assert rows == [{"id": i, **dict.fromkeys(TEXTS)} for i in (1, None, None)]


def test_a_delivery_of_bad_rows_alone_gives_empty_tables_of_every_treatment(tmp_path: Path) -> None:
    place = everything(tmp_path / "home")
    header, *lines = people_csv(400).split(b"\n")
    bad = [line for i, line in enumerate(lines[:400]) if fault_of(i) or i in feeds.BROKEN]
    place.land("people", DAY, b"\n".join([header, *bad, b""]))
    place.treat("people")
    [content] = place.content("people").values()
    assert (content["rows"], sum(content["quarantined"].values())) == (0, len(bad))
    assert place.table("people").num_rows == 0
    assert len(bad) > 40
