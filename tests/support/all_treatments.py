"""Two feeds that use every treatment: `people` (CSV, one split for its rare categories) and `visits` (JSON lines).

Rows are made of their number alone. Some have a fault each, of every sort; one of them and one sound row hold markers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.support.contracts import column, feed_text
from tests.support.house import planned
from tests.support.lake import Lake
from tests.support.splits import land_in_splits

from cloakhouse.settings import Settings
from cloakhouse.stages import pseudonymize
from cloakhouse.stages.pinning import Pinned
from cloakhouse.stages.spark_tasks import together
from cloakhouse.stages.splits import Split
from cloakhouse.stages.treating import DeliveryTask, splits_for

PEOPLE, VISITS = 3_000, 6_000
PLANTED, PLANTED_BAD = 1_500, 1_515  # numbers of the rows with markers; the second is one of those set aside
CITIES = b"Berlin;East\nK\xc3\xb6ln;West\n"
DIRECT, INDIRECT, PAYMENT, SENSITIVE = "direct identifier", "indirect identifier", "payment", "sensitive"
SCOPE = "domain: {}, purpose: analytics"
CUSTOMER = f"{{token: {{{SCOPE.format('customer')}}}}}"
DIGITS = "length: 16, keepPrefix: 6, luhn: valid, normalise: digits"
CARD = f"{{format-preserving token: {{{SCOPE.format('card')}, {DIGITS}}}}}"
QUARTER = f"{{token: {{{SCOPE.format('member')}, period: quarter, form: base32}}}}"

MARKERS = {
    "customer": "7700000001500",
    "bad customer": "+7700000001515",
    "e-mail": "zzyzx.quillfeather@example.net",
    "phone": "+15550142771500",
    "name": "Zzyzx Quillfeather-Obermann",
    "street": "742 Querulous Marmoset Way",
    "nickname": "Qxzzyfeather",
    "card": "4000000000015000",
    "born": "1903-07-19",
    "note": "violet.wrapping.1500@example.org",
    "kept plan": "plan-gold-XQ17",
}
TAKEN_OUT = [name for name in MARKERS if name != "kept plan"]


def people_columns() -> list[str]:
    """Return the columns of `people`: every treatment of the registry."""
    hierarchy = f'{{file: cities.csv, level: 1, sha256: "{hashlib.sha256(CITIES).hexdigest()}"}}'
    return [
        column("customer", "integer", required=True, options="{minimum: 1}", cls=DIRECT, how=CUSTOMER),
        column("email", cls=DIRECT, how=f"{{token: {{{SCOPE.format('email')}, normalise: email, form: hex}}}}"),
        column("phone", cls=DIRECT, how=f"{{reversible token: {{{SCOPE.format('phone')}, normalise: phone}}}}"),
        column("card", cls=PAYMENT, how=CARD),
        column("member", "integer", cls=DIRECT, how=QUARTER),
        column("name", cls=DIRECT, how=f"{{substitute: {{as: name, {SCOPE.format('name')}, normalise: name}}}}"),
        column("street", cls=DIRECT, how="drop"),
        column("household", "integer", cls=DIRECT, how="drop"),
        column("nickname", cls=DIRECT, how="{mask: {keepPrefix: 1}}"),
        column("initials", cls=DIRECT, how="{mask: {with: hidden}}"),
        column("plan"),
        column("shade", cls=INDIRECT, how="shuffle"),
        column("seen", "timestamp", cls=INDIRECT, how="{generalize: {to: hour}}"),
        column("born", "date", cls=INDIRECT, how="{generalize: {ageBands: [35, 55], on: 2017-01-01}}"),
        column("children", "integer", cls=INDIRECT, how="{generalize: {bins: [1, 3]}}"),
        column("postcode", cls=INDIRECT, how='{generalize: {prefix: 2, fill: "*"}}'),
        column("country", cls=INDIRECT, how="{generalize: {groups: {EU: [DE, FR], UK: [GB]}, other: else}}"),
        column("city", cls=INDIRECT, how=f"{{generalize: {{hierarchy: {hierarchy}, other: else}}}}"),
        column("income", "number", cls=SENSITIVE, how="{generalize: {clamp: {bottom: 0, top: 500}}}"),
        column("paid", "number", options="{minimum: 0}", cls=SENSITIVE, how="{perturb: {bound: 0.5}}"),
        column("joined", "date", cls=INDIRECT, how="{perturb: {bound: 30, perSubject: customer}}"),
        column("score", "number", cls=SENSITIVE, how="{round: {to: 0.05}}"),
        column("arm", cls=INDIRECT, how=f"{{bucket: {{buckets: 10, {SCOPE.format('arm')}}}}}"),
        column("trade", cls=INDIRECT, how="{suppress rare: {atLeast: 5, perSubject: household, other: another}}"),
        column("size", "integer", cls=INDIRECT, how="{suppress rare: {atLeast: 4}}"),
        column("note", cls=SENSITIVE, how="scrub"),
    ]  # fmt: skip


def visits_columns() -> list[str]:
    """Return the columns of `visits`: those of `people` but for rare categories; `customer` must be one of `people`."""
    names = ("trade", "size", "city", "household", "street")
    rest = [text for text in people_columns() if not text.startswith(tuple(f"{{name: {name}," for name in names))]
    customer = rest[0][:-1] + ", relationships: [{type: foreignKey, to: people.customer}]}"
    return [customer, *rest[1:]]


def luhn(digits: str) -> str:
    """Return `digits` with their check digit."""
    total = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def in_script(zero: int, text: str) -> str:
    """Return `text` with the digits of another script."""
    return text.translate({48 + digit: zero + digit for digit in range(10)})


def person(i: int) -> dict[str, Any]:
    """Return row `i` as it would be without faults; None is no value."""
    card = luhn(f"400000{i:09d}")
    written = {
        0: f"{card[:4]}-{card[4:8]} {card[8:12]}.{card[12:]}",
        5: in_script(0xFF10, card),
    }
    names = ("Zoë Müller", "Zoe\u0308 MU\u0308LLER ", "Ødegård", "名前", "Ann O'Neil", "", None)
    row = {
        "customer": 7_700_000_000_000 + i,
        "email": (f" Ann.{i}@Example.com", f"jörg{i}@exämple.de", None, f"x{i}@example.com")[i % 4],
        "phone": (f"+1 (555) 01-{i:05d}", f"001555 01{i:05d}", None, in_script(0x660, f"030{i:05d}"))[i % 4],
        "card": written.get(i % 7, card) if i % 11 else None,
        "member": i % 500,
        "name": names[i % 7],
        "street": f"{i} Main Street",
        "household": i // 3 if i % 20 else None,
        "nickname": ("Zoë", "", None, "e\u0301mile", f"nick{i}")[i % 5],
        "initials": None if i % 9 == 0 else f"q{i}",
        "plan": ("gold", "silver", None, "NULL")[i % 4],
        "shade": f"shade-{i:05d}" if i % 50 else None,
        "seen": f"2017-01-{1 + i % 28:02d} {i % 24:02d}:37:42.5",
        "born": None if i % 31 == 0 else f"{1920 + i % 90}-02-28",
        "children": i % 6,
        "postcode": (f"{10000 + i}", "9", None, "")[0 if i % 8 else i // 8 % 4],
        "country": ("DE", "FR", "GB", "BR", None, "")[i % 6],
        "city": ("Berlin", "Köln", "Ko\u0308ln", "Rom")[i % 4],
        "income": (-0.0, 12.5, 1e300, -1e-300, None)[i % 5],
        "paid": i % 1000 / 100,
        "joined": f"{1990 + i % 27}-06-15" if i not in (10, 11) else ("0001-01-01", "9999-12-31")[i - 10],
        "score": (-0.0, 0.025, 7.0, None)[i % 4],
        "arm": f"arm{i % 100}",
        "trade": ("smith", "baker", None, "tailor")[i % 4],
        "size": i % 5,
        "note": (None, "", f"call +49 30 {i:06d}", f"Grüße an ann{i}@example.com \x00!", "nichts")[i % 5],
    }  # fmt: skip
    if i < 12:
        row |= {"trade": "falconer", "household": 1}  # many rows of one household
    if i == 30:
        row |= {"trade": "whaler", "household": None}
    if i in SIZED:
        row["size"] = 99
    planted = {"email": "e-mail", "phone": "phone", "name": "name", "street": "street", "nickname": "nickname"}
    if i in (PLANTED, PLANTED_BAD):
        row |= {key: MARKERS[marker] for key, marker in planted.items()}
        row |= {
            "card": MARKERS["card"],
            "born": MARKERS["born"],
            "note": f"to {MARKERS['note']}",
            "plan": MARKERS["kept plan"],
        }
    return row


FAULTS: dict[int, tuple[str, str, dict[str, Any]]] = {
    0: ("wrong_type", "customer", {"customer": "+{customer}"}),
    1: ("missing_value", "customer", {"customer": None}),
    2: ("out_of_range", "customer", {"customer": 0}),
    3: ("wrong_form", "card", {"card": "400000111122223"}),
    4: ("wrong_form", "card", {"card": "4000001111222234"}),  # another check digit
    5: ("wrong_form", "phone", {"phone": "call me"}),
    6: ("wrong_form", "born", {"born": "2017-01-02"}),
    7: ("wrong_type", "joined", {"joined": "0000-01-01"}),
    8: ("wrong_type", "seen", {"seen": "0000-12-31 00:00:00"}),
    9: ("wrong_type", "income", {"income": "NaN"}),
}  # row number modulo 101: reason, column, what the row has instead


def fault_of(i: int) -> tuple[str, str, dict[str, Any]] | None:
    """Return what is wrong with row `i`."""
    return FAULTS.get(i % 101)


def faulty(i: int) -> dict[str, Any]:
    """Return row `i` as it is delivered."""
    row, fault = person(i), fault_of(i)
    return (
        row if fault is None else row | {k: v.format(**row) if isinstance(v, str) else v for k, v in fault[2].items()}
    )


SIZED = (40, 41, 42, 1010, 1111)  # rows of a rare size; the last two are set aside
BROKEN = {50: "wrong_field_count", 51: "wrong_form", 52: "broken_encoding"}  # CSV rows by number


def people_csv(count: int = PEOPLE) -> bytes:
    """Return the delivery of `people`."""
    names = list(person(0))
    lines = [",".join(names).encode()]
    for i in range(count):
        cells = ["" if v is None else str(v) for v in faulty(i).values()]
        line = ",".join(f'"{c}"' if "," in c else c for c in cells).encode()
        lines.append({50: b"1,2", 51: b'"' + line, 52: line.replace(b"Main", b"M\xff")}.get(i, line))
    return b"\n".join(lines) + b"\n"


UNKNOWN = 200  # the rows of visits whose number is a multiple of it: a customer that is not among the people


def visitor(i: int) -> int:
    """Return the number of the person of visit `i`: one that is sound, as visits come twice a person."""
    return next(n for n in range(i // 2, PEOPLE) if fault_of(n) is None and n not in BROKEN)


def visits_jsonl(count: int = VISITS) -> bytes:
    """Return the delivery of `visits`: odd lines of every sort, whole rows else."""
    lines = []
    for i in range(count):
        row = {k: v for k, v in faulty(i).items() if k not in ("trade", "size", "city", "household", "street")}
        fault = fault_of(i)
        if fault is None or fault[1] != "customer":
            row["customer"] = person(visitor(i))["customer"]
        if fault is None:
            row["customer"] = row["customer"] if i % UNKNOWN else 6_600_000_000_000 + i
            row["joined"] = f"{1991 + i % 2}-06-15"
        text = json.dumps(row, ensure_ascii=bool(i % 2))
        odd = {
            60: '{"customer": "7"}',
            61: '{"customer": 7.0}',
            62: text + text,
            63: "",
            64: "null",
            65: '{"name": "\\ud800"}',
        }
        lines.append(odd.get(i, text.replace('"NaN"', "NaN")))
    return "\n".join(lines).encode() + b"\n"


ODD_LINES = {60: "wrong_type", 61: "wrong_type", 62: "not_json", 63: "not_json", 64: "not_json", 65: "wrong_type"}


@dataclass(frozen=True)
class Everything(Lake):
    """A Lake with these two feeds, which treats deliveries as the job does, in this process."""

    def copy(self, home: Path) -> Everything:
        return Everything(super().copy(home).settings)

    def land(self, name: str, partition: str, data: bytes, split_bytes: int = 200_000) -> None:
        """Land `data` in splits of about so many bytes."""
        self.settings.inbox.mkdir(parents=True, exist_ok=True)
        contract = self.contracts[name]
        assert contract.feed is not None
        file = f"{name}-{partition}.{contract.feed.format}"
        (self.settings.inbox / file).write_bytes(data)
        land_in_splits(self.settings, contract, file, split_bytes)

    def treat(self, name: str, *, reprocess: bool = False, whole: bool = False) -> None:
        """Plan and treat what waits, split by split, or `whole` deliveries."""
        contract, settings = self.contracts[name], self.settings
        request, deliveries, treater = planned(settings, contract, reprocess=reprocess)
        tasks = []
        for d in deliveries:
            folder = f"{name}/{d['partition']}/{request.sha256[:12]}"
            for split in [Split.whole(d["rows"])] if whole else splits_for(contract, d):
                tasks.append(DeliveryTask(d["partition"], d["object"], split.rows, folder, split))
        outcomes = together([treater.run(task) for task in tasks])
        pseudonymize._commit(settings, contract, request, Pinned(), deliveries, outcomes)


def everything(home: Path) -> Everything:
    """Return an empty installation with the two contracts."""
    settings = replace(Settings.from_environment({}).with_home(home), contracts=home / "contracts")
    settings.contracts.mkdir(parents=True)
    (settings.contracts / "cities.csv").write_bytes(CITIES)
    people = feed_text("people", columns=people_columns())
    visits = feed_text("visits", columns=visits_columns(), form="jsonl")
    (settings.contracts / "people.odcs.yaml").write_text(people)
    (settings.contracts / "visits.odcs.yaml").write_text(visits)
    return Everything(settings)
