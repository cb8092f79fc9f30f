"""Tokens at the edge: keys are exported by the rules and on record, and a feed gets the lake's tokens as it arrives."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import itertools
import json
import os
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.support.contracts import column, feed_contract
from tests.support.edge import DrawnKeys, edge_file, new_till
from tests.support.house import House, protected
from tests.support.keys import forms
from tests.support.principals import events, principal

from cloakhouse.errors import (
    AccessRefused,
    CloakhouseError,
    ConfigurationError,
    DeliveryError,
    KeyServiceError,
    NotFound,
)
from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import ALLOWED, REFUSED
from cloakhouse.sample import write_feed
from cloakhouse.stages import edge_csv
from cloakhouse.stages.edge import export_keys
from cloakhouse.stages.edge_feed import Summary, tokenize_feed
from cloakhouse.stages.edge_rows import MAX_LINE, as_text
from cloakhouse.stages.sources import partition_files
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.tokens.apply import Around, treat
from cloakhouse.tokens.edge_keys import EdgeFile, open_edge_keys
from cloakhouse.tokens.place import Place
from cloakhouse.tokens.render import to_hex

REASON = "tills of store twelve go offline"
DAY = dt.date(2017, 1, 2)
TOKEN = "{token: {domain: customer, purpose: analytics}}"
MONTHLY = "{token: {domain: customer, purpose: analytics, period: month}}"
COLUMNS = (
    column("id", "integer", required=True, options="{minimum: 1}", cls="direct identifier", how=TOKEN),
    column("mail", cls="direct identifier", how="{mask: {keepPrefix: 1}}"),
    column("born", "date", cls="indirect identifier", how="{generalize: {ageBands: [35, 55], on: 2017-01-01}}"),
    column("at", "timestamp", cls="plain", how="{generalize: {to: hour}}"),
    column("day", "date", cls="plain", how="{generalize: {to: month}}"),
    column("price", "number", cls="sensitive", how="{round: {to: 0.5}}"),
    column("town", cls="plain", how="{generalize: {groups: {north: [Kiel]}}}"),
    column("monthly", "integer", cls="direct identifier", how=MONTHLY),
    column("plain", cls="plain", how="keep"),
    column("gone", cls="direct identifier", how="drop"),
    column("mixed", cls="plain", how="shuffle"),
    column("code", cls="direct identifier", how="{reversible token: {domain: code, purpose: analytics}}"),
)
CONTRACT = feed_contract(columns=COLUMNS)
CUSTOMER = edge_file(CONTRACT, ["id", "mail"])


def run(
    data: bytes, file: EdgeFile = CUSTOMER, *, form: Any = "csv", day: dt.date = DAY, **more: Any
) -> tuple[bytes, Summary]:
    sink = io.BytesIO()
    summary = tokenize_feed(io.BytesIO(data), sink, file, form=form, day=day, **more)
    return sink.getvalue(), summary


def token(*numbers: int) -> list[str]:
    values = pa.array(numbers, pa.int64())
    return to_hex(treat(values, CONTRACT.column("id"), DrawnKeys(), Around(Place("people", str(DAY))))).to_pylist()


ONE, TWO = token(1, 2)


# export


@pytest.fixture
def house(tmp_path: Path) -> House:
    return protected().copy(tmp_path / "home")


@pytest.fixture
def till(tmp_path: Path) -> tuple[Path, str]:
    return new_till(tmp_path)


def exported(house: House, till: tuple[Path, str], names: list[str], **more: Any) -> EdgeFile:
    contract = house.contracts["transactions"]
    path = till[0].with_name("till.key")
    path.write_bytes(export_keys(house.settings, contract, names, till[1], REASON, **{"days": [DAY], **more}))
    return open_edge_keys(path, till[0])


def test_an_export_holds_the_keys_of_its_columns_and_is_one_event(house: House, till: tuple[Path, str]) -> None:
    found = exported(house, till, ["household_id", "basket_id"], days=[DAY, dt.date(2017, 4, 1), dt.date(2017, 3, 31)])
    contract = house.contracts["transactions"]
    assert (found.dataset, found.digest) == ("transactions", contract.digest)
    assert found.columns[1] == contract.column("basket_id")
    assert {use.period for use in found.keys.uses} == {"", "2017Q1", "2017Q2"}
    for use in found.keys.uses:
        assert found.keys.key(use).reveal() == token_keys(house.settings).key(use).reveal()
    [event] = events(house)
    assert (event.actor, event.action, event.decision) == ("platform", "export tokenization key", ALLOWED)
    assert event.object == "transactions household_id, basket_id of 2017Q1, 2017Q2"
    assert (event.reason, event.count, event.purpose) == (REASON, len(found.keys.uses), "operations")


def test_the_exported_bytes_show_no_key(house: House, till: tuple[Path, str]) -> None:
    found = exported(house, till, ["household_id"])
    raw = till[0].with_name("till.key").read_bytes()
    for use in found.keys.uses:
        assert not [form for form in forms(found.keys.key(use).reveal()).values() if form in raw]


def test_a_file_that_could_detokenize_must_be_asked_for(house: House, till: tuple[Path, str]) -> None:
    with pytest.raises(AccessRefused) as caught:
        exported(house, till, ["household_id", "card_number"])
    assert caught.value.code == "access.reversible"
    assert "could detokenize" in caught.value.found
    assert caught.value.where == "transactions: card_number"
    assert [(e.decision, e.code) for e in events(house)] == [(REFUSED, "access.reversible")]
    assert exported(house, till, ["card_number"], allow_reversible=True).columns[0].name == "card_number"
    assert [e.decision for e in events(house)] == [REFUSED, ALLOWED]


def test_a_refusal_of_the_key_service_is_one_event(house: House, till: tuple[Path, str]) -> None:
    contract = house.contracts["transactions"]
    settings = principal(house, "store-12", ["tokens/root"])  # but not the purpose's root
    with pytest.raises(CloakhouseError) as caught:
        export_keys(settings, contract, ["household_id"], till[1], REASON, days=[DAY])
    [event] = events(house)
    assert (event.actor, event.decision, event.code) == ("store-12", REFUSED, caught.value.code)
    assert (event.count, event.purpose) == (2, "service desk")


def test_a_principal_with_grants_may_export(house: House, till: tuple[Path, str]) -> None:
    contract = house.contracts["transactions"]
    settings = principal(house, "store-12", ["tokens/root", "purposes/analytics"])
    assert export_keys(settings, contract, ["household_id"], till[1], REASON, days=[DAY])
    assert [(event.actor, event.decision) for event in events(house)] == [("store-12", ALLOWED)]


def test_an_event_that_can_not_be_written_stops_the_export(
    house: House, till: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_any: object) -> None:
        raise OSError

    monkeypatch.setattr(AuditLog, "record", fail)
    with pytest.raises(OSError):
        exported(house, till, ["household_id"])


@pytest.mark.parametrize(
    ("names", "changes", "kind", "code"),
    [
        ([], {}, ConfigurationError, "configuration.edge"),
        (["id", "id"], {}, ConfigurationError, "configuration.edge"),
        (["plain"], {}, ConfigurationError, "configuration.edge"),
        (["gone"], {}, ConfigurationError, "configuration.edge"),
        (["id", "mixed"], {}, ConfigurationError, "configuration.edge"),
        (["monthly"], {"days": []}, ConfigurationError, "configuration.edge"),
        (["nobody"], {}, NotFound, "not-found"),
        (["id"], {"recipient": "age1x"}, KeyServiceError, "key.identity"),
        (["id"], {"reason": "short"}, ConfigurationError, "configuration.reason"),
    ],
)
def test_a_request_that_is_not_sound_is_refused_without_an_event(
    house: House, till: tuple[Path, str], names: list[str], changes: dict[str, Any], kind: type, code: str
) -> None:
    given = {"recipient": till[1], "reason": REASON, "days": [DAY], **changes}
    with pytest.raises(CloakhouseError) as caught:
        export_keys(house.settings, CONTRACT, names, given["recipient"], given["reason"], days=given["days"])
    assert (type(caught.value), caught.value.code) == (kind, code)
    assert events(house) == []


def test_no_days_are_needed_where_no_token_is_bound_to_a_period(house: House, till: tuple[Path, str]) -> None:
    assert exported(house, till, ["household_id"], days=[]).keys.uses[0].period == ""


# the lake's tokens


def test_a_feed_at_the_edge_gets_the_tokens_of_the_lake(house: House, till: tuple[Path, str], tmp_path: Path) -> None:
    names = ["household_id", "basket_id", "card_number", "transaction_timestamp"]
    file = exported(house, till, names, days=[dt.date(2016, 12, 26), DAY], allow_reversible=True)
    write_feed(tmp_path / "feed", weeks=range(1, 3), wanted=lambda name: "transactions-2017-01-02" in name)
    [path] = (tmp_path / "feed").glob("transactions-*")
    raw = gzip.decompress(path.read_bytes())
    header = raw[: raw.index(b"\n")].decode().split(",")
    out, summary = run(raw, file, keep=[name for name in header if name not in names])

    manifest = house.catalogue.protected("transactions")["2017-01-02"].manifest
    stored = pa.concat_tables([house.store.read(entry) for entry in partition_files(house.settings, manifest)])
    moments = [value.isoformat() for value in stored.column("transaction_timestamp").to_pylist()]
    tokens = [[value.hex() for value in stored.column(name).to_pylist()] for name in names[:2]]
    lake = list(zip(*tokens, stored.column("card_number").to_pylist(), moments, strict=True))
    rows = [tuple(row[name] for name in names) for row in csv.DictReader(io.StringIO(out.decode()))]
    assert summary.rows == len(rows) >= len(lake) > 1000
    following = iter(rows)  # the lake also checks references, and columns that the edge keeps as they are
    assert all(row in following for row in lake)
    assert len(rows) - len(lake) < 20


# CSV


def test_csv_rows_come_out_in_order_with_their_header() -> None:
    out, summary = run(b"plain,id,mail\nx,1,ann@example.org\n,2,\n", keep=["plain"])
    assert out == f"plain,id,mail\nx,{ONE},a**************\n,{TWO},\n".encode()
    assert summary == Summary(2, {})
    assert summary.as_dict() == {"rows": 2, "left_out": 0, "bad": {}}


def test_a_byte_order_mark_and_line_ends_are_carried_over() -> None:
    out, _ = run(b"\xef\xbb\xbfid,mail\r\n1,\r\n2,")
    assert out == f"\ufeffid,mail\r\n{ONE},\r\n{TWO},\r\n".encode()


def test_fields_are_quoted_where_they_must_be() -> None:
    data = b'"id";"mail";plain\n"1";;"a;""b"\n2;;"plain, text"\n'
    out, _ = run(data, delimiter=";", keep=["plain"])
    assert out == f'"id";"mail";plain\n{ONE};;"a;""b"\n{TWO};;plain, text\n'.encode()


@pytest.mark.parametrize("delimiter", ["\t", "|", "^", "]", "-", "\\"])
def test_any_delimiter(delimiter: str) -> None:
    data = f'id{delimiter}mail{delimiter}plain\n1{delimiter}{delimiter}"a{delimiter}b"\n'.encode()
    out, _ = run(data, delimiter=delimiter, keep=["plain"])
    assert out.decode().splitlines()[1] == f'{ONE}{delimiter}{delimiter}"a{delimiter}b"'


def test_a_single_column_keeps_its_empty_rows() -> None:
    file = edge_file(CONTRACT, ["mail"])
    out, summary = run(b'mail\nab\n\n""\n', file)
    assert (out, summary.rows) == (b'mail\na*\n""\n""\n', 3)


def test_rows_that_the_lake_would_quarantine_are_left_out_and_counted() -> None:
    data = b'id,mail,plain\n1,,\nx,,\n,,\n-1,,\n1,\xff,\n1,\n\n1,,,,\n1,"a,\n1,a\rb,\n2,"a\n",\n0x1,,\n2,,\n'
    out, summary = run(data, keep=["plain"])
    assert out == f"id,mail,plain\n{ONE},,\n{TWO},,\n".encode()
    reasons = {
        "broken_encoding": 1,
        "missing_value": 2,
        "out_of_range": 1,
        "wrong_field_count": 2,
        "wrong_form": 4,
        "wrong_type": 2,
    }
    assert summary.bad == reasons
    assert summary.rows + summary.left_out == data.count(b"\n") - 1


def test_what_a_treatment_can_not_take_is_left_out() -> None:
    file = edge_file(CONTRACT, ["born"])
    out, summary = run(b"born\n1980-01-01\n2017-06-01\n\n1950-01-01\n", file)
    assert (out, summary.bad) == (b'born\n35-54\n""\n55+\n', {"wrong_form": 1})


def test_every_type_is_written_as_text() -> None:
    file = edge_file(CONTRACT, ["at", "day", "price", "town"])
    data = b"at,day,price,town\n2017-01-02 03:04:05,2017-01-31,1.3,Kiel\n,,,Bonn\n"
    out, _ = run(data, file)
    assert out.splitlines()[1:] == [b"2017-01-02T03:00:00,2017-01-01,1.5,north", b",,,"]


def test_tokens_bound_to_a_period_are_those_of_the_day() -> None:
    file = edge_file(CONTRACT, ["monthly"], ["2017-01", "2017-02"])
    january, _ = run(b"monthly\n1\n", file)
    again, _ = run(b"monthly\n1\n", file, day=dt.date(2017, 1, 31))
    february, _ = run(b"monthly\n1\n", file, day=dt.date(2017, 2, 1))
    assert january == again != february
    with pytest.raises(AccessRefused) as caught:
        run(b"monthly\n1\n", file, day=dt.date(2017, 3, 1))
    assert caught.value.code == "access.edge"


def test_structure_that_changes_under_the_parser_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real = edge_csv.pyarrow.csv.read_csv
    monkeypatch.setattr(edge_csv.pyarrow.csv, "read_csv", lambda *a, **k: real(*a, **k).slice(1))
    with pytest.raises(DeliveryError) as caught:
        run(b"id,mail\n1,\n2,\n")
    assert (caught.value.code, caught.value.found) == ("delivery.structure", "1 records on 2 lines")

    def broken(*_any: object, **_more: object) -> None:
        raise pa.ArrowInvalid("quotes ann@example.org")

    monkeypatch.setattr(edge_csv.pyarrow.csv, "read_csv", broken)
    with pytest.raises(DeliveryError) as caught:
        run(b"id,mail\n1,\n")
    assert "ann" not in caught.value.explain()


# JSON lines


def test_json_lines_keep_all_but_the_tokens_byte_for_byte() -> None:
    line = ' {"plain" : {"n": 1.50, "e": 1E5, "s": "\\u00e9\\/"}, "id":1,\t"mail": "a\\u0062c"} \r'
    out, summary = run((line + "\n").encode(), form="jsonl", keep=["plain"])
    assert out.decode() == line.replace('"id":1', f'"id":"{ONE}"').replace('"a\\u0062c"', '"a**"') + "\n"
    assert summary == Summary(1, {})


def test_json_keeps_numbers_as_numbers_and_nulls() -> None:
    file = edge_file(CONTRACT, ["price", "town", "day"])
    data = b'{"price": 1.3, "town": "Bonn", "day": null}\n{"price": 2, "day": "2017-01-31"}\n{}'
    out, _ = run(data, file, form="jsonl")
    assert out == b'{"price": 1.5, "town": null, "day": null}\n{"price": 2, "day": "2017-01-01"}\n{}\n'


def test_escaped_keys_are_the_same_keys() -> None:
    out, _ = run(b'{"\\u0069d": 1, "mail": null}\n', form="jsonl")
    assert out == f'{{"\\u0069d": "{ONE}", "mail": null}}\n'.encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not_json"),
        (b"null", "not_json"),
        (b"[1]", "not_json"),
        (b'{"id": 1} x', "not_json"),
        (b'{"id": 1', "not_json"),
        (b'{"id" 1}', "not_json"),
        (b'{"id": 1,}', "not_json"),
        (b'{,"id": 1}', "not_json"),
        (b'{"id": }', "not_json"),
        (b"{'id': 1}", "not_json"),
        (b'{"id": 1, "mail": NaN}', "not_json"),
        (b'{"id": 1, "\\q": 1}', "not_json"),
        (b'{"id": 1, "mail": "\x01"}', "not_json"),
        (b'{"id": 1, "plain": ' + b"[" * 100_000, "not_json"),
        (b'{"id": 1, "mail": "\xff"}', "broken_encoding"),
        (b'{"id": 1, "id": 2}', "wrong_type"),
        (b'{"id": "1"}', "wrong_type"),
        (b'{"id": 1.0}', "wrong_type"),
        (b'{"id": true}', "wrong_type"),
        (b'{"id": 9223372036854775808}', "wrong_type"),
        (b'{"id": 1, "mail": 5}', "wrong_type"),
        (b'{"id": 1, "mail": "\\ud800"}', "wrong_type"),
        (b'{"id": 1, "mail": {"a": 1}}', "wrong_type"),
        (b'{"id": 0}', "out_of_range"),
        (b'{"mail": null}', "missing_value"),
        (b'{"id": 1, "other": 1}', "unknown_column"),
    ],
)
def test_a_json_line_that_is_left_out(line: bytes, reason: str) -> None:
    data = b'{"id": 1, "mail": null, "plain": 0}\n' + line + b'\n{"id": 2}\n'
    out, summary = run(data, form="jsonl", keep=["plain"])
    assert out == f'{{"id": "{ONE}", "mail": null, "plain": 0}}\n{{"id": "{TWO}"}}\n'.encode()
    assert summary.bad == {reason: 1}


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 400, "true", '"1"'])
def test_a_number_that_is_none(number: str) -> None:
    data = f'{{"price": 1}}\n{{"price": {number}}}\n'.encode()
    out, summary = run(data, edge_file(CONTRACT, ["price"]), form="jsonl")
    assert (out, summary.bad) == (b'{"price": 1}\n', {"wrong_type": 1})


def test_a_byte_order_mark_before_json_is_left_off() -> None:
    out, summary = run(b'\xef\xbb\xbf{"id": 1, "mail": null}\n', form="jsonl")
    assert (out, summary.bad) == (f'{{"id": "{ONE}", "mail": null}}\n'.encode(), {})


def test_no_lines_are_no_rows() -> None:
    assert run(b"", form="jsonl") == (b"", Summary(0, {}))
    assert run(b"id,mail\n") == (b"id,mail\n", Summary(0, {}))


# refusals before a row is written


@pytest.mark.parametrize(
    ("data", "form", "code"),
    [
        (b"id,mail,4111111111111111\n1,,\n", "csv", "access.unnamed"),
        (b"1,ann@example.org\n2,bob@example.org\n", "csv", "access.unnamed"),
        (b"id\n1\n", "csv", "delivery.columns"),
        (b"id,mail,id\n1,,\n", "csv", "delivery.columns"),
        (b"id,mail,plain,plain\n1,,\n", "csv", "delivery.columns"),
        (b"", "csv", "delivery.structure"),
        (b'"id,mail\n1,\n', "csv", "delivery.structure"),
        (b"id,\xff\n1,\n", "csv", "delivery.structure"),
        (b'{"id": 1, "mail": "a", "4111111111111111": 1}\n', "jsonl", "access.unnamed"),
        (b'7\n{"id": 1}\n', "jsonl", "delivery.columns"),
    ],
)
def test_a_feed_of_other_columns_is_refused_and_not_quoted(data: bytes, form: str, code: str) -> None:
    sink = io.BytesIO()
    with pytest.raises(CloakhouseError) as caught:
        tokenize_feed(io.BytesIO(data), sink, CUSTOMER, form=form, keep=["plain"], day=DAY)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert sink.getvalue() == b""
    shown = caught.value.explain()
    assert "4111111111111111" not in shown
    assert "example.org" not in shown


def test_the_refusal_tells_the_place_of_an_unnamed_column() -> None:
    with pytest.raises(AccessRefused) as caught:
        run(b"id,secret,mail,other\n1,,,\n")
    assert caught.value.found == "2 of 4 that are neither, at place 2, 4"


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", "\r", "é"])
def test_a_delimiter_that_can_not_be_one(delimiter: str) -> None:
    with pytest.raises(ConfigurationError):
        run(b"id,mail\n", delimiter=delimiter)


def test_a_column_can_not_be_tokenized_and_kept() -> None:
    with pytest.raises(ConfigurationError, match="mail"):
        run(b"id,mail\n1,\n", keep=["mail"])


def test_a_missing_key_is_refused_before_anything_is_read() -> None:
    file = EdgeFile("people", "1.0.0", "", (CONTRACT.column("monthly"),), edge_file(CONTRACT, ["id"]).keys)
    source = io.BytesIO(b"monthly\n1\n")
    with pytest.raises(AccessRefused):
        tokenize_feed(source, io.BytesIO(), file, form="csv", day=DAY)
    assert source.tell() == 0


# streaming


def test_lines_up_to_the_limit() -> None:
    fits = b"1," + b"x" * (MAX_LINE - 3) + b"\n"
    out, summary = run(b"id,mail\n" + fits * 3)
    assert (summary.rows, len(out.splitlines()[1])) == (3, 33 + MAX_LINE - 3)
    for ending in (b"\n", b""):
        with pytest.raises(DeliveryError) as caught:
            run(b"id,mail\n1," + b"x" * MAX_LINE + ending)
        assert caught.value.code == "delivery.line"


class Many(io.RawIOBase):
    """A header and `blocks` times 100 rows of 1 KB."""

    def __init__(self, blocks: int) -> None:
        self.parts = itertools.chain([b"id,mail\n"], itertools.repeat((b"1," + b"x" * 1000 + b"\n") * 100, blocks))

    def read(self, _size: int = -1) -> bytes:
        return next(self.parts, b"")


class Nowhere(io.RawIOBase):
    def write(self, data: Any) -> int:
        return len(data)


def test_memory_does_not_grow_with_the_feed() -> None:
    peaks = []
    for pieces in (75, 300):
        tracemalloc.start()
        summary = tokenize_feed(Many(pieces), Nowhere(), CUSTOMER, form="csv", day=DAY)  # type: ignore[arg-type]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert summary.rows == 100 * pieces  # of 1 KB
    assert peaks[1] < peaks[0] + (2 << 20)
    assert peaks[1] < 24 << 20  # of a feed of 30 MB; most is the ciphers' scratch


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_each_row_leaves_before_the_next_arrives(form: Any) -> None:
    lines = {
        "csv": [b"id,mail\n", b"1,\n", b"2,\n"],
        "jsonl": [b'{"id": 1, "mail": null}\n', b'{"id": 2, "mail": null}\n'],
    }[form]
    feed_in, feed_out = os.pipe()
    rows_in, rows_out = os.pipe()
    found: list[Summary] = []

    def work() -> None:
        with os.fdopen(feed_in, "rb") as source, os.fdopen(rows_out, "wb") as sink:
            found.append(tokenize_feed(source, sink, CUSTOMER, form=form, day=DAY))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    with os.fdopen(rows_in, "rb") as rows:
        for line in lines:
            for place in range(len(line)):
                os.write(feed_out, line[place : place + 1])
            assert rows.readline()
        os.close(feed_out)
        thread.join(20)
        assert rows.read() == b""
    assert found == [Summary(2, {})]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_reader_that_is_gone_ends_the_feed(form: Any) -> None:
    rows_in, rows_out = os.pipe()
    os.close(rows_in)
    data = b"id,mail\n1,\n" if form == "csv" else b'{"id": 1, "mail": null}\n'
    with pytest.raises(BrokenPipeError), os.fdopen(rows_out, "wb", buffering=0) as sink:
        tokenize_feed(io.BytesIO(data), sink, CUSTOMER, form=form, day=DAY)


def test_binary_of_any_width_is_written_as_hexadecimal() -> None:
    assert as_text(pa.array([b"\x0f\xf0", None, b""])).to_pylist() == ["0ff0", None, ""]
    assert as_text(pa.array([b"\xab" * 16], pa.binary(16))).to_pylist() == ["ab" * 16]
    assert as_text(pa.array([5], pa.int32())).to_pylist() == [5]


def test_a_reversible_token_is_the_lakes_in_hexadecimal() -> None:
    out, _ = run(b"code\nabc\n", edge_file(CONTRACT, ["code"]))
    around = Around(Place("people", str(DAY)))
    [expected] = treat(pa.array(["abc"]), CONTRACT.column("code"), DrawnKeys(), around).to_pylist()
    assert out == b"code\n" + expected.hex().encode() + b"\n"


def test_figures_are_json() -> None:
    assert json.loads(json.dumps(Summary(1, {"wrong_type": 2}).as_dict())) == {
        "rows": 1,
        "left_out": 2,
        "bad": {"wrong_type": 2},
    }
