"""Scrub: what is found and what isn't, how well on labelled notes, layouts of columns, hostile text, refusals."""

from __future__ import annotations

import time
import unicodedata
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pytest
from tests.support.labelled_text import WRITTEN, Labelled, generated

from cloakhouse.errors import ContractError, TreatmentError
from cloakhouse.tokens.scrub import ALL_KINDS, MARKS, find, findings, scrub


def scrubbed(text: str, kinds: Sequence[str] = ALL_KINDS) -> str:
    treated: str = scrub(pa.array([text]), kinds)[0].as_py()
    return treated


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mail anna.b@example.com.", "Mail [EMAIL]."),
        ("<o'neil+x@mail.example.co.uk>, 'a@b.example'", "<[EMAIL]>, '[EMAIL]'"),
        ("a@b.example,c@d.example;e@f.example", "[EMAIL],[EMAIL];[EMAIL]"),
        ("https://x.example/?mail=a.b@c.example&x=1", "https://x.example/?mail=[EMAIL]&x=1"),
        ("DE89 3704 0044 0532 0130 00 and thanks", "[IBAN] and thanks"),
        ("de89370400440532013000", "[IBAN]"),
        ("MT84 MALT 0110 0001 2345 MTLC AST0 01S", "[IBAN]"),
        ("4111 1111 1111 1111 expires 11/26", "[CARD] expires 11/26"),
        ("order 1234 4111 1111 1111 1111 12", "order 1234 [CARD] 12"),
        ("4111-1111-1111-1111/378282246310005", "[CARD]/[CARD]"),
        ("11010519491231002X", "[NATIONAL ID]"),
        ("rssmra85t10a562s, RSS MRA 85T10 A562S", "[NATIONAL ID], [NATIONAL ID]"),
        ("RSSMRA85T10A56NH", "[NATIONAL ID]"),  # a letter for a digit, where two people would have the same code
        ("2 55 08 14 168 025 38", "[NATIONAL ID]"),
        ("social security number is 219 09 9999", "social security number is [NATIONAL ID]"),
        ("BSN: 111222333 BSN: 111222334", "BSN: [NATIONAL ID] BSN: 111222334"),
        ("1112.22.333 and 1112.22.334", "[NATIONAL ID] and 1112.22.334"),
        ("+49 (0)30 23125-123", "[PHONE]"),
        ("+39 06 1234 5678; 0039 06 12345678", "[PHONE]; [PHONE]"),
        ("+44 20 7946 0123 20 boxes", "[PHONE] 20 boxes"),
        ("+351 912 345 678", "[PHONE]"),
        ("0171 1234567 12 Uhr", "[PHONE] 12 Uhr"),
        ("033708/12345", "[PHONE]"),
        ("015712345678", "[PHONE]"),
        ("(0161) 496 0123", "[PHONE]"),
        ("06 12 34 56 78, 06.12.34.56.78, 0612345678", "[PHONE], [PHONE], [PHONE]"),
        ("Handy: 12345678", "Handy: [PHONE]"),
        ("mi numero es 612345678", "mi numero es [PHONE]"),
    ],
)
def test_found(text: str, expected: str) -> None:
    assert scrubbed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing here",
        "open 09.00-20.00 and 08.30 - 12.30 13.30 - 18.00",
        "from 01.02.2024 10 to 03/02/2024 - 05/02/2024",
        "04-05-24 12 34 56",
        "tel. 2024-05-01, fax 01.05.2024",
        "EAN 4006381333931, UPC 036000291452, UPC 016000275287",
        "4999999999991 passes Luhn and GS1",
        "price 1.234,56 or 900 000 000 or 345.678.901",
        "logo@2x.png, @handle, a@b, @example.com",
        "10.0.12.134, 0.12.345, v2024.10.1",
        "INV-030-1234567, 0012345678, 00340434161094042557",
        "+1 112 555 0100, +49 30 123, +4930123456789012",
        "de 10 2023-2024, (10) 1234 5678",
        "DE88370400440532013000, DE89 3704",
        "BE 68 stands in a longer sentence of mine",
        "ZZ12 3456 7890 1234 5678",
        "4111 1111 1111 1112",
        "12345678A, AB123456E, QQ123456C, 000-12-3456, 123.456.789-00, 86095742718",
        "anna at example dot com, oh seven seven double oh",
    ],
)
def test_not_found(text: str) -> None:
    assert scrubbed(text) == text


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_accents_digits_and_dashes_of_any_script(form: str) -> None:
    text = unicodedata.normalize(
        form,
        "José@exämple.de, Mi teléfono es 655123987, ０６ １２ ３４ ５６ ７８, ٠٦١٢٣٤٥٦٧٨, 4111–1111–1111–1111, "
        "\u202d+49 30 2312599\u202c",
    )
    finds = [kind for _, _, kind in find(text)]
    assert finds == ["email", "phone", "phone", "phone", "card", "phone"]
    assert scrubbed(text).count("[") == 6
    assert "teléfono" in unicodedata.normalize("NFC", scrubbed(text))


def test_a_kind_finds_the_same_whatever_else_is_asked_for() -> None:
    text = "a@b.example 06 12 34 56 78 DE89370400440532013000 4111111111111111 12345678Z"
    assert scrubbed(text) == "[EMAIL] [PHONE] [IBAN] [CARD] [NATIONAL ID]"
    for kind in ALL_KINDS:
        assert scrubbed(text, [kind]).count("[") == 1
        assert findings(pa.array([text]), [kind]) == {kind: 1}


def test_layouts_and_nulls() -> None:
    texts = ["x", "a@b.example", None, "", "c@d.example e@f.example", "a@b.example"]
    expected = ["x", "[EMAIL]", None, "", "[EMAIL] [EMAIL]", "[EMAIL]"]
    for kind in (pa.string(), pa.large_string(), pa.string_view()):
        values = pa.array(["skipped@x.example", *texts], kind).slice(1)
        assert scrub(values).to_pylist() == expected
        assert scrub(values).type == (pa.large_string() if kind == pa.string_view() else kind)
        assert findings(values) == {**dict.fromkeys(ALL_KINDS, 0), "email": 4}
    values = pa.array(texts)
    assert scrub(values.dictionary_encode()).to_pylist() == expected
    assert findings(values.dictionary_encode())["email"] == 4
    chunked = pa.chunked_array([values, pa.array([], pa.string())])
    assert scrub(chunked).equals(pa.chunked_array([expected, []], pa.string()))
    assert findings(chunked)["email"] == 4
    for empty in (pa.array([], pa.string()), pa.nulls(3, pa.string())):
        assert scrub(empty).equals(empty)
        assert not any(findings(empty).values())


def test_more_rows_than_are_looked_at_at_a_time() -> None:
    values = pa.array([f"mail a{row}@b.example" if row % 2 else f"row {row}" for row in range(40_000)])
    assert scrub(values).to_pylist()[:2] == ["row 0", "mail [EMAIL]"]
    assert findings(values)["email"] == 20_000


@pytest.mark.parametrize("kinds", [[], ["email", "name"], "email"])
def test_unusable_kinds(kinds: Sequence[str]) -> None:
    for function in (scrub, findings):
        with pytest.raises(ContractError):
            function(pa.array(["x"]), kinds)


def test_refusals_quote_nothing() -> None:
    for function in (scrub, findings):
        with pytest.raises(TreatmentError, match="type"):
            function(pa.array([4111]), column="note")
        broken = pa.array([b"secret@example.com \xff"], pa.binary()).view(pa.string())
        with pytest.raises(TreatmentError, match="encoding") as refusal:
            function(broken, column="note")
        assert "secret" not in str(refusal.value)
        assert "xff" not in str(refusal.value)


@pytest.mark.parametrize(
    "piece",
    ["1", "@", "a", "1 ", "a@", "a@a.", "1111 ", "4111 ", "DE12 ", "22 ", "0123-", "+1", "+49 ", "tel ", "a@b.c@", "٣"],
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    def seconds(size: int) -> float:
        values = pa.array([(piece * size)[:size]])
        started = time.thread_time()
        findings(values)
        return time.thread_time() - started

    small, large = seconds(40_000), seconds(320_000)
    assert large < 16 * small + 0.2  # eight times as long; squares would take 64 times


def test_ten_megabytes_in_one_cell() -> None:
    for piece in ("7", "@", "é"):
        values = pa.array([piece * 10_000_000 + " a@b.example"], pa.large_string())
        started = time.thread_time()
        assert findings(values)["email"] == 1
        assert time.thread_time() - started < 30


def rates(notes: Sequence[Labelled]) -> dict[str, tuple[float, float]]:
    """Return precision and recall by kind and over all; a find counts if its kind and both its ends are right."""
    right, made, due = Counter[str](), Counter[str](), Counter[str]()
    for note in notes:
        found, labels = set(find(note.text)), set(note.spans)
        for spans, counts in ((found & labels, right), (found, made), (labels, due)):
            counts.update(kind for _, _, kind in spans)
    table = {kind: (right[kind] / made[kind], right[kind] / due[kind]) for kind in due}
    return table | {"all": (right.total() / made.total(), right.total() / due.total())}


def test_precision_and_recall_on_notes_by_hand() -> None:
    """Measured: 96.2 % of what is found is right, 99.0 % is found. Wrong: a French company's number and a receipt's as
    telephone numbers, an IMEI as a card, a company's tax number as a CPF. Missed: a number spelt in words."""
    floors = {
        "email": (1.0, 1.0),
        "iban": (1.0, 1.0),
        "card": (0.90, 1.0),
        "national id": (0.94, 1.0),
        "phone": (0.95, 0.97),
        "all": (0.96, 0.99),
    }
    assert len(WRITTEN) >= 150
    measured = rates(WRITTEN)
    assert measured.keys() == floors.keys()
    for kind, (precision, recall) in floors.items():
        assert measured[kind][0] >= precision, kind
        assert measured[kind][1] >= recall, kind


def test_precision_and_recall_on_generated_notes() -> None:
    """Measured: 99.8 % of what is found is right (a receipt number looks like one of telephone), all is found."""
    measured = rates(generated(600))
    assert measured["all"][0] >= 0.99
    for kind, (precision, recall) in measured.items():
        assert precision >= 0.98, kind
        assert recall == 1.0, kind
    assert generated(50) == generated(50)


def test_every_kind_has_a_mark_that_is_not_found_again() -> None:
    marks = " ".join(MARKS.values())
    assert scrubbed(marks) == marks
