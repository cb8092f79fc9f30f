"""Examples of every treatment for the page about treatments: invented values, and what a contract says of them.

Names, numbers and addresses belong to nobody: domains of RFC 2606, telephone numbers reserved for fiction (see
`cloakhouse.tokens.fictional`), card numbers that are made up but for their check digit, the IBAN that the standard's
registry prints. `None` is a value that is missing.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HIERARCHY_FILE = "towns.csv"
HIERARCHY = """\
Adelhof;Northern county;*
Birkensee;Northern county;*
Lindholm;Southern county;*
"""


@dataclass(frozen=True)
class Example:
    """One column under one treatment.

    Attributes:
        says: what it shows, one sentence.
        name / kind / cls: the column's name, logical type and class.
        treatment: the treatment as a contract names it, in YAML.
        values: what is in the column.
        options: `logicalTypeOptions`, in YAML.
        subject: name and values of a column that tells the subject.
    """

    says: str
    name: str
    kind: str
    treatment: str
    values: tuple[Any, ...]
    cls: str = "direct identifier"
    options: str = ""
    subject: tuple[str, tuple[str | None, ...]] | None = field(default=None)

    @property
    def yaml(self) -> str:
        """The column as it stands under `properties` of a contract."""
        options = f"  logicalTypeOptions: {self.options}\n" if self.options else ""
        return (
            f"- name: {self.name}\n  logicalType: {self.kind}\n{options}  customProperties:\n"
            f"    - {{property: class, value: {self.cls}}}\n"
            f"    - {{property: treatment, value: {self.treatment}}}\n"
        )


_INDIRECT, _SENSITIVE, _PAYMENT, _PLAIN = "indirect identifier", "sensitive", "payment", "plain"
_IDS = (1001, 1002, 1001, None)
_EMAILS = ("Mara.Feld@example.com", "mara.feld@EXAMPLE.com", "t.sand@example.org")
_CARDS = ("5200828282828210", "5200828200000017", None)
_NAMES = ("Mara Feld", "Tom Sand", "Mara Feld", "", None)
_PHONES = ("+49 30 23125-001", "0049 (30) 23125 001", "+49 30 23125-002", "ask her")
_TIMES = (dt.datetime(2026, 11, 5, 14, 37, 12), dt.datetime(2026, 12, 31, 23, 59, 59), None)
_BORN = (dt.date(1994, 2, 28), dt.date(1961, 7, 3), dt.date(2031, 1, 1), None)
_POSTCODES = ("10115", "80331", "80", None)
_AMOUNTS = (12.49, 7.0, -3.99, None)
_HOUSEHOLDS = ("h1", "h1", "h2", "h2", None)
_VISITS = (
    dt.date(2026, 11, 2),
    dt.date(2026, 11, 9),
    dt.date(2026, 11, 2),
    dt.date(2026, 11, 4),
    dt.date(2026, 11, 5),
)
_KEYED = "domain: customer, purpose: analytics"
_CARD = "domain: card, purpose: analytics, length: 16"
_DIGEST = hashlib.sha256(HIERARCHY.encode()).hexdigest()


def _substitute(as_: str, locale: str, values: tuple[Any, ...], name: str) -> Example:
    made = f"{{substitute: {{as: {as_}, locale: {locale}, domain: customer, purpose: testing}}}}"
    return Example(f"{as_} of {locale}", name, "string", made, values)


EXAMPLES: Mapping[str, tuple[Example, ...]] = {
    "drop": (Example("no such column afterwards", "name", "string", "drop", _NAMES[:2]),),
    "keep": (Example("nothing but encryption happens to it", "store_id", "integer", "keep", (27, 301, None), _PLAIN),),
    "token": (
        Example("as binary", "household_id", "integer", f"{{token: {{{_KEYED}}}}}", _IDS),
        Example(
            "as hexadecimal text; another purpose has another token",
            "household_id",
            "integer",
            "{token: {domain: customer, purpose: service, form: hex}}",
            _IDS,
        ),
        Example(
            "as base32 text, bound to the quarter of the partition (here 2026Q4)",
            "basket_day",
            "date",
            "{token: {domain: basket, purpose: analytics, period: quarter, form: base32}}",
            (dt.date(2026, 11, 5), None),
            _INDIRECT,
        ),
        Example(
            "addresses evened out first: two spellings have one token",
            "email",
            "string",
            "{token: {domain: email, purpose: analytics, form: hex, normalise: email}}",
            _EMAILS,
        ),
        Example(
            "telephone numbers evened out first; a value that is none is set aside",
            "phone",
            "string",
            "{token: {domain: phone, purpose: analytics, form: hex, normalise: phone}}",
            _PHONES,
        ),
    ),
    "reversible token": (
        Example(
            "as base32 text; longer values have longer tokens",
            "email",
            "string",
            "{reversible token: {domain: email, purpose: customer_service, form: base32, normalise: email}}",
            _EMAILS,
        ),
        Example(
            "as binary, bound to the month of the partition",
            "household_id",
            "integer",
            "{reversible token: {domain: customer, purpose: service, period: month}}",
            _IDS,
        ),
    ),
    "format-preserving token": (
        Example(
            "the first six and the last four digits stay; the check digit does not fit any more, but by chance",
            "card_number",
            "string",
            f"{{format-preserving token: {{{_CARD}, keepPrefix: 6, keepSuffix: 4}}}}",
            _CARDS,
            _PAYMENT,
        ),
        Example(
            "with a check digit that fits, as some systems demand; only a number whose own fits is taken",
            "card_number",
            "string",
            f"{{format-preserving token: {{{_CARD}, keepPrefix: 6, luhn: valid}}}}",
            (*_CARDS, "5200828282828211"),
            _PAYMENT,
        ),
        Example(
            "with a check digit that never fits, so that no till takes it for a card; blanks are evened out",
            "card_number",
            "string",
            f"{{format-preserving token: {{{_CARD}, luhn: invalid, normalise: digits}}}}",
            ("5200 8282 8282 8210", "5200828282828210", "5200-8282-0000-0017", "card"),
            _PAYMENT,
        ),
        Example(
            "letters and digits, bound to the year of the partition; a value of another length is set aside",
            "member_code",
            "string",
            "{format-preserving token: {domain: member, purpose: service, length: 8, alphabet: base36, period: year}}",
            ("a7k2m9x0", "a7k2m9x1", "a7k2"),
        ),
    ),
    "mask": (
        Example("all but the last four", "card_number", "string", "{mask: {keepSuffix: 4}}", _CARDS, _PAYMENT),
        Example(
            "what is no longer than what is kept is masked entirely",
            "name",
            "string",
            '{mask: {keepPrefix: 1, sign: "."}}',
            ("Mara Feld", "M", None),
        ),
        Example("by one text", "name", "string", '{mask: {with: "[NAME]"}}', _NAMES),
    ),
    "substitute": (
        _substitute("name", "de_DE", _NAMES, "name"),
        _substitute("given name", "fr_FR", _NAMES, "name"),
        _substitute("family name", "es_ES", _NAMES, "name"),
        _substitute("email", "en_US", _EMAILS, "email"),
        _substitute("phone", "en_GB", _PHONES, "phone"),
        _substitute("street", "it_IT", ("Example Road 1", None), "street"),
        _substitute("postcode", "nl_NL", _POSTCODES, "postcode"),
        _substitute("city", "pt_BR", ("Adelhof", "Lindholm"), "town"),
        Example(
            "an address for an integer, another one every year; en_US as no locale is given",
            "household_id",
            "integer",
            "{substitute: {as: address, domain: customer, purpose: testing, period: year}}",
            _IDS,
        ),
        Example(
            "two spellings have one substitute",
            "email",
            "string",
            "{substitute: {as: email, domain: email, purpose: testing, normalise: email}}",
            _EMAILS,
        ),
    ),
    "shuffle": (
        Example(
            "the same values in other rows, of which nulls are some",
            "income_band",
            "string",
            "shuffle",
            ("low", "low", "middle", "middle", "high", None),
            _SENSITIVE,
        ),
    ),
    "generalize": (
        Example("a unit of time", "bought_at", "timestamp", "{generalize: {to: hour}}", _TIMES, _INDIRECT),
        Example("the same of dates", "born", "date", "{generalize: {to: year}}", _BORN, _INDIRECT),
        Example(
            "bands of ages; who is not born on that day is set aside",
            "born",
            "date",
            "{generalize: {ageBands: [18, 35, 55], on: 2026-01-01}}",
            _BORN,
            _INDIRECT,
        ),
        Example("bins", "items", "integer", "{generalize: {bins: [1, 2, 10]}}", (0, 1, 7, 25, None), _SENSITIVE),
        Example(
            "a prefix; the rest is cut off", "postcode", "string", "{generalize: {prefix: 2}}", _POSTCODES, _INDIRECT
        ),
        Example(
            "a prefix, with a sign for the rest",
            "postcode",
            "string",
            '{generalize: {prefix: 2, fill: "*"}}',
            _POSTCODES,
            _INDIRECT,
        ),
        Example(
            "groups; a text in none becomes `other`",
            "kids",
            "string",
            '{generalize: {groups: {none: ["0"], some: ["1", "2"]}, other: many}}',
            ("0", "2", "5", None),
            _INDIRECT,
        ),
        Example(
            "a level of a hierarchy; a text that the file lacks becomes null",
            "town",
            "string",
            f"{{generalize: {{hierarchy: {{file: {HIERARCHY_FILE}, level: 1, sha256: {_DIGEST}}}}}}}",
            ("Adelhof", "Lindholm", "Elsewhere", None),
            _INDIRECT,
        ),
        Example(
            "top and bottom coding",
            "age",
            "integer",
            "{generalize: {clamp: {bottom: 18, top: 90}}}",
            (7, 44, 103),
            _INDIRECT,
        ),
        Example(
            "of dates, from above alone", "born", "date", "{generalize: {clamp: {top: 2010-01-01}}}", _BORN, _INDIRECT
        ),
    ),
    "perturb": (
        Example(
            "numbers, each row by itself, in steps of 0.05 and within the column's minimum",
            "amount",
            "number",
            "{perturb: {bound: 1.5, step: 0.05}}",
            (12.49, 12.49, 0.1, None),
            _SENSITIVE,
            "{minimum: 0}",
        ),
        Example(
            "dates, one shift for all days of a subject: distances stay; without a subject null",
            "visited_on",
            "date",
            "{perturb: {bound: 30, perSubject: household_id}}",
            _VISITS,
            _INDIRECT,
            subject=("household_id", _HOUSEHOLDS),
        ),
        Example("timestamps, by seconds", "bought_at", "timestamp", "{perturb: {bound: 900}}", _TIMES, _INDIRECT),
    ),
    "round": (
        Example("numbers", "amount", "number", "{round: {to: 0.5}}", (*_AMOUNTS, 12.25), _SENSITIVE),
        Example(
            "integers, ties to the even multiple", "items", "integer", "{round: {to: 10}}", (15, 25, 31, None), _PLAIN
        ),
    ),
    "bucket": (
        Example(
            "two halves of the households, others every month",
            "household_id",
            "integer",
            "{bucket: {buckets: 2, domain: customer, purpose: experiments, period: month}}",
            (1001, 1002, 1003, 1004, None),
        ),
        Example(
            "a hundred buckets, of addresses evened out first",
            "email",
            "string",
            "{bucket: {buckets: 100, domain: email, purpose: experiments, normalise: email}}",
            _EMAILS,
        ),
    ),
    "suppress rare": (
        Example(
            "counted by rows, to null",
            "occupation",
            "string",
            "{suppress rare: {atLeast: 2}}",
            ("clerk", "clerk", "baker", "baker", "baker", "lighthouse keeper", "diver"),
            _SENSITIVE,
        ),
        Example(
            "one rare value alone would still single out, so the least of the frequent ones goes with it",
            "occupation",
            "string",
            "{suppress rare: {atLeast: 2, other: another}}",
            ("clerk", "clerk", "baker", "baker", "baker", "lighthouse keeper"),
            _SENSITIVE,
        ),
        Example(
            "counted by subjects: many rows of one household are one",
            "occupation",
            "string",
            "{suppress rare: {atLeast: 2, perSubject: household_id}}",
            ("clerk", "clerk", "clerk", "diver", "diver", "pilot"),
            _SENSITIVE,
            subject=("household_id", ("h1", "h1", "h2", "h1", "h1", "h3")),
        ),
    ),
    "scrub": (
        Example(
            "all kinds; the name stays",
            "remark",
            "string",
            "scrub",
            (
                "Mara Feld, mara.feld@example.com or +49 30 23125001, asks for a refund",
                "IBAN GB82 WEST 1234 5698 7654 32, card 5200 8282 8282 8210, BSN 111222333",
                "two crates were broken",
                None,
            ),
            _SENSITIVE,
        ),
        Example(
            "addresses alone",
            "remark",
            "string",
            "{scrub: {kinds: [email]}}",
            ("mara.feld@example.com or +49 30 23125001",),
            _SENSITIVE,
        ),
    ),
}
