"""The customers file: real demographics where known, a generated identity for every household."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np

from cloakhouse.errors import MissingDependency
from cloakhouse.sample.cards import CardBook
from cloakhouse.sample.columns import CONSENT_SHARES, CUSTOMER_COLUMNS, DEMOGRAPHIC_COLUMNS
from cloakhouse.sample.faults import spoil_customers
from cloakhouse.sample.source import demographics

if TYPE_CHECKING:
    from faker import Faker

AS_OF: Final = date(2017, 1, 1)  # the day on which the real age bands hold
AGE_BANDS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {
        "19-24": (19, 24),
        "25-34": (25, 34),
        "35-44": (35, 44),
        "45-54": (45, 54),
        "55-64": (55, 64),
        "65+": (65, 90),
    }
)  # completed years, both ends included
_BAND_SHARES: Final = (0.06, 0.18, 0.24, 0.36, 0.07, 0.09)  # of the known bands, for households of none
_COUNTRIES: Final = ("US", "DE", "BR")
_COUNTRY_SHARES: Final = (0.90, 0.06, 0.04)
_LOCALES: Final = {"US": "en_US", "DE": "de_DE", "BR": "pt_BR"}
_REGIONS: Final = {"US": "4444443336", "DE": "1112", "BR": "0001"}  # first digit of a postcode, by weight
_MAIL_DOMAINS: Final = ("example.com", "example.org", "example.net")  # RFC 2606, section 3
_AREA_CODES: Final = tuple(range(201, 990))
_NOTES: Final = (
    "Ask for {first} on the phone, after 18:00",
    "Wants offers by e-mail only: {email}",
    "Complained about the queue at the deli counter",
)
_NOTE_SHARE: Final = 0.3
HOUSEHOLD_STEP: Final = 10_000  # in a grown feed, how far apart copies of one household are; real ids end at 2,500
_MAILBOXES: Final = 9_000
_STRANGERS: Final = 2  # people of no household, for the bad rows
_STREAM: Final = 303


def customer_lines(cards: CardBook, seed: int) -> list[str]:
    """Return the JSON lines of the customers, one a household of `cards` in its order, and the bad rows."""
    rng = np.random.default_rng([seed, _STREAM])
    rows = list(_customers(cards, seed, rng))
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:-_STRANGERS]]
    return spoil_customers(lines, rows[-_STRANGERS:], rng)


def _customers(cards: CardBook, seed: int, rng: np.random.Generator) -> Iterator[dict[str, object]]:
    """Yield a row a household, and after them the strangers: ids of no household, nothing known."""
    known = demographics()
    fakers = _fakers(seed)
    unknown: dict[str, str | None] = dict.fromkeys(DEMOGRAPHIC_COLUMNS)
    ids = [*cards.household_ids.tolist(), -1, -2]
    own_cards = [*cards.cards[:, 0].tolist(), *cards.spare.tolist()]
    numbers = _unique_numbers(len(ids), rng)
    for household, card, (mailbox, line, loyalty) in zip(ids, own_cards, numbers, strict=True):
        real = known.get(household % HOUSEHOLD_STEP, unknown)
        row: dict[str, object] = {"household_id": household, "card_number": str(card), **real}
        row |= _identity(fakers, mailbox, rng)
        row |= {"phone": _phone(line), "loyalty_card": str(loyalty)}
        row |= {"birth_date": _birth_date(real["age"], rng).isoformat()}
        row |= {flag: bool(rng.random() < share) for flag, share in CONSENT_SHARES.items()}
        yield {column: row[column] for column in CUSTOMER_COLUMNS}


def _identity(fakers: Mapping[str, Faker], mailbox: int, rng: np.random.Generator) -> dict[str, object]:
    """Return name, e-mail, street, postcode, city, country and note of one generated person."""
    country = _COUNTRIES[int(rng.choice(len(_COUNTRIES), p=_COUNTRY_SHARES))]
    fake = fakers[country]
    first, last = fake.first_name(), fake.last_name()
    domain = _MAIL_DOMAINS[int(rng.integers(len(_MAIL_DOMAINS)))]
    email = f"{_ascii(first)}.{_ascii(last)}{mailbox}@{domain}"
    region = _REGIONS[country][int(rng.integers(len(_REGIONS[country])))]
    note = _NOTES[int(rng.integers(len(_NOTES)))] if rng.random() < _NOTE_SHARE else None
    return {
        "name": f"{first} {last}",
        "email": email,
        "street": fake.street_address(),
        "postcode": f"{region}{int(rng.integers(10_000)):04d}",
        "city": fake.city(),
        "country": country,
        "marketing_note": note and note.format(first=first, email=email),
    }


def _fakers(seed: int) -> dict[str, Faker]:
    try:
        from faker import Faker
    except ModuleNotFoundError as absent:
        raise MissingDependency(
            where="customers of the sample feed",
            expected="the package faker",
            found="no such package",
            not_done="the customers were not written",
            remedy="pip install 'cloakhouse[platform]'",
        ) from absent
    fakers = {country: Faker(locale) for country, locale in _LOCALES.items()}
    for fake in fakers.values():
        fake.seed_instance(seed)
    return fakers


def _unique_numbers(count: int, rng: np.random.Generator) -> list[list[int]]:
    """Return `count` triples: mailbox suffix, telephone line, loyalty card (12 digits).

    None repeats, but for telephone lines where there are more people than fictional ones.
    """
    mailboxes = 1_000 + rng.choice(_MAILBOXES if count <= _MAILBOXES else 10 * count, size=count, replace=False)
    fictional = len(_AREA_CODES) * 100
    lines = rng.choice(fictional, size=count, replace=count > fictional)
    loyalty = 10**11 + rng.choice(9 * 10**11, size=count, replace=False)
    triples: list[list[int]] = np.stack([mailboxes, lines, loyalty], axis=1).tolist()
    return triples


def _phone(line: int) -> str:
    """Return a number of the range kept for fiction in North America: 555-0100 to 555-0199."""
    area, last = divmod(line, 100)
    return f"+1-{_AREA_CODES[area]}-555-01{last:02d}"


def _birth_date(band: str | None, rng: np.random.Generator) -> date:
    """Return a day of birth whose completed years on `AS_OF` lie in `band`, or in a drawn one if None."""
    drawn = list(AGE_BANDS)[int(rng.choice(len(AGE_BANDS), p=_BAND_SHARES))]
    youngest, oldest = AGE_BANDS[band or drawn]
    years = int(rng.integers(youngest, oldest + 1))
    return AS_OF.replace(year=AS_OF.year - years) - timedelta(days=int(rng.integers(365)))


def _ascii(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.lower().replace("ß", "ss")).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]", "", plain)
