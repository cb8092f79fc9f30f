"""A small installation whose landed lines are known to the byte: customers, and two weeks of transactions."""

from __future__ import annotations

import atexit
import functools
import gzip
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from tests.support.house import WEEKS, House, without_consent

from cloakhouse.keys.service import open_ring
from cloakhouse.lake.landed import LandedObject, opened
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.catalogue import Delivery
from cloakhouse.settings import Settings
from cloakhouse.stages.land import land
from cloakhouse.stages.token_roots import ensure_roots, token_keys
from cloakhouse.tokens.subjects import rights_tokens, rights_uses

HOUSEHOLDS = (101, 102, 103, 104, 105, 106)
HEADER = (
    b"household_id,store_id,basket_id,product_id,quantity,sales_value,retail_disc,coupon_disc,coupon_match_disc,week,"
    b"transaction_timestamp,card_number,cashier_id\n"
)


def email(household: int) -> str:
    return f"holder{household}@example.com"


def loyalty(household: int) -> str:
    return f"{700_000_000_000 + household}"


def customer(household: int | None, names: int | None = None, **changes: object) -> bytes:
    """Return the line of a household, or of nobody, with the names of another one."""
    named = names if names is not None else household
    assert named is not None
    line: dict[str, object] = {
        "household_id": household, "name": f"Ann Holder {named}", "email": email(named), "phone": None, "street": None,
        "postcode": None, "city": None, "country": "DE", "birth_date": "1980-01-01",
        "card_number": "4000000000000101", "loyalty_card": loyalty(named), "age": "45-54", "income": None,
        "home_ownership": None, "marital_status": None, "household_size": None, "household_comp": None,
        "kids_count": None, "consent_analytics": True, "consent_personalisation": True, "consent_synthetic": True,
        "consent_sharing": True, "marketing_note": None,
    }  # fmt: skip
    return json.dumps({**line, **changes}).encode() + b"\n"


def purchase(household: object, basket: int, quantity: object = 1, more: str = "") -> bytes:
    """Return one line of transactions."""
    line = f"{household},330,{basket},1095275,{quantity},0.5,0,0,0,1,2017-01-01 11:53:26,4000000000000101,33008{more}\n"
    return line.encode()


CUSTOMERS = (
    *(customer(household) for household in HOUSEHOLDS),
    customer(None, 102),  # of nobody, as far as the household goes
    customer(103, birth_date="yesterday"),  # set aside
    b'{"household_id": 104, "name": "Ann\n',
    customer(None, 105),
)
WEEK = (
    *(purchase(household, 31198570000 + household) for household in (*HOUSEHOLDS, *HOUSEHOLDS)),
    purchase(101, 1, "several"),
    purchase(102, 2, "several"),
    purchase(103, 3, 101),  # a number that is no household there
    purchase(104, 4, more=",0"),
    purchase(101, 5, more=",0"),
    purchase("", 6),
    b"102,330,7,\xff\xfe,1\n",
)
OTHER_WEEK = tuple(purchase(household, 31198580000 + household) for household in HOUSEHOLDS[:3])
WEEKLY = dict(zip(WEEKS, (WEEK, OTHER_WEEK), strict=True))


def deliver(house: House, week: str, lines: Sequence[bytes]) -> None:
    """Put a week's file into the inbox."""
    house.settings.inbox.mkdir(parents=True, exist_ok=True)
    path = house.settings.inbox / f"transactions-{week}.csv.gz"
    path.write_bytes(gzip.compress(HEADER + b"".join(lines), mtime=0))


def delivered(settings: Settings) -> House:
    """Return an installation with these feeds landed and protected."""
    house = House(without_consent(settings))
    for path in house.settings.contracts.glob("*.yaml"):
        if path.name.split(".")[0] not in ("customers", "transactions"):
            path.unlink()  # what is not read costs no time
    house.settings.inbox.mkdir(parents=True)
    (house.settings.inbox / "customers-2016-12-26.jsonl").write_bytes(b"".join(CUSTOMERS))
    for week, lines in WEEKLY.items():
        deliver(house, week, lines)
    for name in ("customers", "transactions"):
        land(house.settings, house.contracts[name])
        house.protect(name)
    column = house.contracts["customers"].column("household_id")
    ensure_roots(house.settings, [use.root for use in rights_uses(column)])
    return house


@functools.cache
def small() -> House:
    """Return an installation with these feeds landed and protected, to be copied."""
    home = Path(tempfile.mkdtemp(prefix="cloakhouse-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    return delivered(Settings.from_environment({}).with_home(home))


def persons(house: House, *households: int) -> pa.Array:
    """Return rights tokens."""
    column = house.contracts["customers"].column("household_id")
    return rights_tokens(pa.array(households, pa.int64()), column, token_keys(house.settings))


def landed(house: House, delivery: Delivery) -> bytes:
    """Return the lines of a landed delivery, decompressed."""
    store = open_store(house.settings)
    content = read_manifest(store, delivery.manifest, "delivery")
    target = LandedObject(delivery.dataset, delivery.partition, content["object"])
    with opened(store, target, open_ring(house.settings)) as stream:
        data = stream.read()
    return gzip.decompress(data) if delivery.dataset == "transactions" else data
