from __future__ import annotations

import datetime as dt
import io
from typing import Any

import pytest
from tests.support.contracts import column, feed_contract

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import IntegrityError, StageError
from cloakhouse.stages.parsing import parse

NOTE = "Zwetschgenhuber"
COLUMNS = [
    column("id", "integer", required=True, options="{minimum: 1, maximum: 1000}", cls="direct identifier", how="drop"),
    column("code", options='{pattern: "[A-Z]{2}|x+", maxLength: 4}'),
    column("amount", "number", options="{maximum: 99.5}"),
    column("day", "date", options="{minimum: 2017-01-01, maximum: 2017-12-31}"),
    column("moment", "timestamp", options="{minimum: 2017-01-01, maximum: 2017-12-31T23:00:00}"),
    column("flag", "boolean"),
]
NAMES = ["id", "code", "amount", "day", "moment", "flag"]
SOUND = ["7", "AB", "1.5", "2017-02-03", "2017-02-03 04:05:06", "true"]
CSV, JSONL = feed_contract(columns=COLUMNS), feed_contract(columns=COLUMNS, form="jsonl")


def parsed(data: bytes, contract: Contract = CSV) -> tuple[list[dict[str, Any]], list[tuple[str, str, bytes]]]:
    good: list[dict[str, Any]] = []
    bad: list[tuple[str, str, bytes]] = []
    assert contract.feed is not None
    for batch in parse(io.BytesIO(data), contract, contract.feed):
        good += batch.table.to_pylist()
        bad += zip(batch.bad.reasons, batch.bad.columns, batch.bad.records, strict=True)
    return good, bad


def csv_row(**changes: str) -> bytes:
    return ",".join(changes.get(name, value) for name, value in zip(NAMES, SOUND, strict=True)).encode()


def csv(*rows: bytes) -> bytes:
    return ",".join(NAMES).encode() + b"\n" + b"".join(row + b"\n" for row in rows)


def test_a_sound_row() -> None:
    good, bad = parsed(csv(csv_row()))
    assert bad == []
    assert good == [
        {
            "id": 7,
            "code": "AB",
            "amount": 1.5,
            "day": dt.date(2017, 2, 3),
            "moment": dt.datetime(2017, 2, 3, 4, 5, 6),
            "flag": True,
        }
    ]


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("id", "", "missing_value"),
        ("id", '""', "missing_value"),
        ("id", "x", "wrong_type"),
        ("id", "1.0", "wrong_type"),
        ("id", "1e2", "wrong_type"),
        ("id", "0x1f", "wrong_type"),
        ("id", "0X1F", "wrong_type"),
        ("id", "-0x1", "wrong_type"),
        ("id", "+1", "wrong_type"),
        ("id", " 1", "wrong_type"),
        ("id", "1_0", "wrong_type"),
        ("id", "٣", "wrong_type"),
        ("id", "１", "wrong_type"),
        ("id", "9223372036854775808", "wrong_type"),
        ("id", "0", "out_of_range"),
        ("id", "-5", "out_of_range"),
        ("id", "1001", "out_of_range"),
        ("code", "abc", "wrong_form"),
        ("code", "AB ", "wrong_form"),
        ("code", "ABC", "wrong_form"),
        ("code", "xxxxx", "wrong_form"),
        ("amount", "nan", "wrong_type"),
        ("amount", "NaN", "wrong_type"),
        ("amount", "inf", "wrong_type"),
        ("amount", "-Infinity", "wrong_type"),
        ("amount", "1e999", "wrong_type"),
        ("amount", "0x1p3", "wrong_type"),
        ("amount", "1.5.2", "wrong_type"),
        ("amount", "٣.٥", "wrong_type"),
        ("amount", "99.51", "out_of_range"),
        ("day", "2017-02-30", "wrong_type"),
        ("day", "2017-2-3", "wrong_type"),
        ("day", "03.02.2017", "wrong_type"),
        ("day", "2017-02-03 00:00:00", "wrong_type"),
        ("day", "٢٠١٧-٠٢-٠٣", "wrong_type"),
        ("day", "2016-12-31", "out_of_range"),
        ("day", "2018-01-01", "out_of_range"),
        ("moment", "2017-02-03 24:00:00", "wrong_type"),
        ("moment", "2017-02-03T04:05:06Z", "wrong_type"),
        ("moment", "2016-12-31 23:59:59", "out_of_range"),
        ("moment", "2017-12-31 23:00:01", "out_of_range"),
        ("flag", "maybe", "wrong_type"),
        ("flag", "yes", "wrong_type"),
    ],
)
def test_each_fault_of_a_value_has_its_reason(name: str, value: str, reason: str) -> None:
    good, bad = parsed(csv(csv_row(), csv_row(**{name: value}), csv_row(id="8")))
    assert [row["id"] for row in good] == [7, 8]
    assert [(r, c) for r, c, _ in bad] == [(reason, name)]
    assert bad[0][2].count(b"\x1f") == 5
    if value and '"' not in value:
        assert value.encode() in bad[0][2].split(b"\x1f")


@pytest.mark.parametrize(
    ("name", "value"),
    [("id", "1"), ("id", "1000"), ("id", "007"), ("code", ""), ("code", "xxxx"), ("amount", "99.5"), ("amount", "-1e3"), ("amount", ""), ("day", "2017-01-01"),  # noqa: E501
     ("day", "2017-12-31"), ("moment", "2017-01-01 00:00:00"), ("moment", "2017-12-31T23:00:00"), ("flag", "FALSE"), ("flag", "0"), ("flag", "")],  # noqa: E501
)  # fmt: skip
def test_values_at_the_edge_are_sound(name: str, value: str) -> None:
    good, bad = parsed(csv(csv_row(**{name: value})))
    assert (len(good), bad) == (1, [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,AB", "wrong_field_count"),
        (csv_row() + b",9", "wrong_field_count"),
        (b"7,\xff\xfe,1,,,", "broken_encoding"),
        (b"7,\xff\xfe,1", "broken_encoding"),
        (b'7,"AB,1.5,2017-02-03,,', "wrong_form"),
        (b"7,A\rB,1.5,,,", "wrong_form"),
        (b"", "missing_value"),
    ],
)
def test_a_line_that_is_no_record_is_set_aside_alone(line: bytes, reason: str) -> None:
    good, bad = parsed(csv(csv_row(), line, csv_row(id="8"), csv_row(id="9")))
    assert [row["id"] for row in good] == [7, 8, 9]
    assert [r for r, _, _ in bad] == [reason]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_empty_line_is_a_row_of_nulls_whatever_stands_around_it(end: str) -> None:
    text = end.join([",".join(NAMES), "1", "", "", "2,3", "", "4,5", ""])
    good, bad = parsed(text.encode())
    assert good == []
    assert sorted(reason for reason, _, _ in bad) == ["missing_value"] * 3 + ["wrong_field_count"] * 3


def test_the_first_fault_of_a_row_counts() -> None:
    _, bad = parsed(csv(csv_row(id="x", code="abc", flag="maybe")))
    assert [(r, c) for r, c, _ in bad] == [("wrong_type", "id")]


def test_undeclared_columns_are_never_in_the_output() -> None:
    data = b"note," + ",".join(NAMES).encode() + b",other\n"
    data += NOTE.encode() + b"," + csv_row() + b"," + NOTE.encode() + b"\n"
    data += NOTE.encode() + b"," + csv_row(id="x") + b"," + NOTE.encode() + b"\n"
    good, bad = parsed(data)
    assert [list(row) for row in good] == [NAMES]
    assert [r for r, _, _ in bad] == ["wrong_type"]
    assert NOTE not in str(good) + str(bad)
    line = '{"id": %s, "note": "' + NOTE + '", "deep": {"id": ["' + NOTE + '"]}}\n'
    good, bad = parsed((line % "7" + line % "-7").encode(), JSONL)
    assert [(r, c) for r, c, _ in bad] == [("out_of_range", "id")]
    assert NOTE not in str(good) + str(bad)


def test_columns_in_another_order_are_found_by_name() -> None:
    good, _ = parsed(b"flag,moment,day,amount,code,id\ntrue,,,1,AB,7\n")
    assert (good[0]["id"], good[0]["flag"]) == (7, True)


@pytest.mark.parametrize(
    ("line", "reason", "name"),
    [
        ('{"code": "AB"}', "missing_value", "id"),
        ('{"id": null}', "missing_value", "id"),
        ('{"id": "7"}', "wrong_type", ""),
        ('{"id": 1.5}', "wrong_type", ""),
        ('{"id": true}', "wrong_type", ""),
        ('{"id": 1, "id": 2}', "wrong_type", ""),
        ('{"id": 99999999999999999999}', "wrong_type", ""),
        ('{"id": 1, "flag": "true"}', "wrong_type", ""),
        ('{"id": 1, "code": 5}', "wrong_type", ""),
        ('{"id": 1, "amount": NaN}', "wrong_type", "amount"),
        ('{"id": 1, "amount": 1e999}', "wrong_type", ""),
        ('{"id": 1, "day": "2017-02-30"}', "wrong_type", "day"),
        ('{"id": 1, "code": "abc"}', "wrong_form", "code"),
        ('{"id": 1, "day": "2016-01-01"}', "out_of_range", "day"),
        ('{"id": 1, "code": "\\ud800"}', "wrong_type", ""),
        ("", "not_json", ""),
        ("  ", "not_json", ""),
        ("null", "not_json", ""),
        (" null", "not_json", ""),
        ('{"id": 1}null', "not_json", ""),
        ("[]", "not_json", ""),
        ("7", "not_json", ""),
        ("{'id': 1}", "not_json", ""),
        ('{"id": 1', "not_json", ""),
        ("id,code", "not_json", ""),
        ('{"id": 1}{"id": 2}', "not_json", ""),
        ('{"x": ' + "[" * 5000 + "}", "not_json", ""),
    ],
)
def test_each_fault_of_a_json_line_has_its_reason(line: str, reason: str, name: str) -> None:
    data = f'{{"id": 7}}\n{line}\n{{"id": 8, "code": "AB"}}\n'
    good, bad = parsed(data.encode(), JSONL)
    assert [row["id"] for row in good] == [7, 8]
    assert [(r, c) for r, c, _ in bad] == [(reason, name)]


def test_json_that_is_not_utf8() -> None:
    good, bad = parsed(b'{"id": 7, "code": "\xff"}\n{"id": 8}\n{\xff}\n', JSONL)
    assert [row["id"] for row in good] == [8]
    assert sorted((r, c) for r, c, _ in bad) == [("broken_encoding", ""), ("broken_encoding", "code")]


def test_null_inside_a_text_is_a_text() -> None:
    contract = feed_contract(columns=[column("a")], form="jsonl")
    good, bad = parsed(b'{"a": "}null"}\n{"a": "} null {"}\n{"a": null}\n', contract)
    assert ([row["a"] for row in good], bad) == (["}null", "} null {", None], [])


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_lines_longer_than_a_block(form: str) -> None:
    contract = feed_contract(columns=[column("a"), column("b")], form=form, max_line=32 << 20)
    long = "x" * (9 << 20)
    data = f"a,b\n1,{long}\n2,y\n" if form == "csv" else f'{{"a":"1","b":"{long}"}}\n{{"a":"2","b":"y"}}\n'
    good, bad = parsed(data.encode(), contract)
    assert bad == []
    assert [(row["a"], len(row["b"])) for row in good] == [("1", 9 << 20), ("2", 1)]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_many_blocks_add_up(form: str) -> None:
    contract = feed_contract(form=form)
    sound, broken = ("1,a,2\n", "x,a,2\n") if form == "csv" else ('{"id":1,"name":"a"}\n', '{"id":"x"}\n')
    data = ("id,name,amount\n" if form == "csv" else "") + (sound * 199_999 + broken) * 4
    assert contract.feed is not None
    batches = list(parse(io.BytesIO(data.encode()), contract, contract.feed))
    assert len(batches) > 1
    assert sum(p.table.num_rows for p in batches) == 4 * 199_999
    assert sum(len(p.bad.reasons) for p in batches) == 4
    assert max(p.raw.nbytes for p in batches) < 64 << 20


@pytest.mark.parametrize("data", [b"", b"id\n1\n", b"7,AB,1.5,2017-02-03,,true\n", b"\xff\xfe\n"])
def test_a_stream_without_the_header_is_an_error_without_values(data: bytes) -> None:
    with pytest.raises(StageError) as refusal:
        parsed(data)
    assert refusal.value.code == "stage.structure"
    assert "2017" not in str(refusal.value)


def test_a_header_alone_and_no_lines_give_no_rows() -> None:
    assert parsed(csv()) == ([], [])
    assert parsed(b"", JSONL) == ([], [])


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_fault_of_the_stream_comes_out_as_itself(form: str) -> None:
    class Damaged(io.RawIOBase):
        reads = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            self.reads += 1
            if self.reads > 3:
                raise IntegrityError(where="w", expected="e", found="f", not_done="n", remedy="r")
            data = csv(csv_row()) if self.reads == 1 else csv_row() + b"\n"
            buffer[: len(data)] = data
            return len(data)

    contract = feed_contract(columns=COLUMNS, form=form)
    assert contract.feed is not None
    with pytest.raises(IntegrityError):
        list(parse(io.BufferedReader(Damaged()), contract, contract.feed))  # type: ignore[type-var]
