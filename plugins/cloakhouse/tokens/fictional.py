"""The lists and forms that substitutes are made of, by locale: names, streets, towns, postcodes, telephone numbers.

Given and family names are common ones of the country, so a substitute may be the name of somebody. Towns are made up to
sound like one, and a small place may be called so. Streets are of the kind that every town has. Postcodes have the
country's form and may exist. The names are in fictional_names/LOCALE.toml. Telephone numbers don't ring:

| locale | numbers | why they don't ring |
| --- | --- | --- |
| en_US | NXX-555-0100 to 0199, 40 area codes | reserved for fiction (NANPA, 555 NXX assignment guidelines) |
| en_GB | 1000 each of 17 ranges, 07700 900 among them | for drama (Ofcom, numbers for use in TV and radio) |
| de_DE | 1000 each of Berlin, Frankfurt, Hamburg, Cologne, Munich | for media (BNetzA, Mitteilung 148/2021) |
| fr_FR | 10,000 each of five regions and 06 39 98 | for audiovisual works (ARCEP, decision 2018-0881) |
| es_ES | 3xx xxx xxx | first digit 3 is in reserve, unassigned (RD 2296/2004, annex) |
| it_IT | 9xx xxxxxxx | first digit 9 is in reserve, unassigned (AGCOM, delibera 8/15/CIR) |
| nl_NL | 06 9xxxxxxx | 06-9 is unassigned among the mobile numbers (Nummerplan telefoon- en ISDN-diensten) |
| pt_BR | (20) 9xxxx-xxxx | there is no area 20, nor any that ends in 0 (Anatel, resolution 263/2001) |

The first four ranges are promised to stay so; of the last four the regulator may assign any one day.

Whatever changes here changes substitutes: it needs a new SUBSTITUTION_VERSION.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
import unicodedata
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources

SUBSTITUTION_VERSION = 1
"""Version of the lists and forms, to be recorded wherever substitutes are stored."""
LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pt_BR")

Choices = tuple[str, ...]

_US_AREAS = (
    "202 205 206 207 208 212 213 214 215 216 217 301 302 303 304 305 307 312 313 314 "
    "315 316 317 402 404 405 406 412 414 415 501 502 503 504 505 602 612 615 617 702"
)
_GB_RANGES = (
    "0113 496 0;0114 496 0;0115 496 0;0116 496 0;0117 496 0;0118 496 0;0121 496 0;0131 496 0;0141 496 0;0151 496 0;"
    "0161 496 0;0191 498 0;020 7946 0;028 9649 6;029 2018 0;01632 960;07700 900"
)
_GB_POST_AREAS = "AB BA BB BD BH BL BN BR CA CB CF CH CV DE DH DY EX GL GU HG HR HU IP KT LA LE LN LS ME NE NG NR OX PE"
_GB_INWARD = "ABDEFGHJLNPQRSTUWXYZ"  # letters of the second half: no C I K M O V
_NL_LETTERS = "ABCDEGHJKLMNPRTVWXZ"  # no S, so none of SA, SD, SS; no F I O Q U Y


@dataclass(frozen=True)
class Fiction:
    """What the substitutes of one locale are drawn from."""

    given: Choices
    family: Choices
    streets: Choices
    towns: Choices
    numbers: Choices
    """House numbers."""
    street: str
    """Form of a street line, of {street} and {number}."""
    address: str
    """Form of an address on one line, of {line}, {postcode} and {town}."""
    postcode: tuple[Choices, ...]
    """Pieces of a postcode, one drawn from each."""
    phone: tuple[Choices, ...]
    """Pieces of a telephone number, one drawn from each."""


@cache
def fiction(locale: str) -> Fiction:
    """Return the lists and forms of one of LOCALES; raises KeyError for another."""
    street, address, postcode, phone = _FORMS[locale]
    file = resources.files("cloakhouse.tokens").joinpath("fictional_names", f"{locale}.toml")
    lists = tomllib.loads(file.read_text("utf-8"))
    return Fiction(
        given=tuple(lists["given"].split()),
        family=tuple(lists["family"].split()),
        streets=_phrases(lists["streets"]),
        towns=_phrases(lists["towns"]),
        numbers=_range(100, 1000) if locale == "en_US" else _range(1, 200),
        street=street,
        address=address,
        postcode=postcode,
        phone=phone,
    )


def digest() -> str:
    """Return the SHA-256 (hex) of all lists and forms of all locales: what SUBSTITUTION_VERSION stands for."""
    everything = {locale: asdict(fiction(locale)) for locale in LOCALES}
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()


def ascii_word(name: str) -> str:
    """Return a name in small ASCII letters and hyphens, as in an e-mail address."""
    spelt = name.lower().replace("ß", "ss").replace("æ", "ae").replace("ø", "o")
    return "".join(c for c in unicodedata.normalize("NFKD", spelt) if c.isascii() and (c.isalpha() or c == "-"))


def _phrases(text: str) -> Choices:
    return tuple(" ".join(phrase.split()) for phrase in text.split(";"))


def _range(start: int, stop: int) -> Choices:
    return tuple(map(str, range(start, stop)))


def _digits(count: int, first: int = 0, stop: int | None = None) -> Choices:
    return tuple(f"{number:0{count}}" for number in range(first, stop or 10**count))


def _beside(before: str, choices: Choices, after: str = "") -> Choices:
    return tuple(before + choice + after for choice in choices)


_FORMS: dict[str, tuple[str, str, tuple[Choices, ...], tuple[Choices, ...]]] = {
    "en_US": (
        "{number} {street}",
        "{line}, {town}, {postcode}",
        (_digits(3, 10), _digits(2)),
        (tuple(f"{area}-555-01" for area in _US_AREAS.split()), _digits(2)),
    ),
    "en_GB": (
        "{number} {street}",
        "{line}, {town}, {postcode}",
        (tuple(_GB_POST_AREAS.split()), _digits(1, 1), _beside(" ", _digits(1)), tuple(_GB_INWARD), tuple(_GB_INWARD)),
        (tuple(_GB_RANGES.split(";")), _digits(3)),
    ),
    "de_DE": (
        "{street} {number}",
        "{line}, {postcode} {town}",
        (_digits(3, 10), _digits(2)),
        (("030 23125", "069 90009", "040 66969", "0221 4710", "089 99998"), _digits(3)),
    ),
    "fr_FR": (
        "{number} {street}",
        "{line}, {postcode} {town}",
        (_digits(2, 1, 96), _digits(3)),
        (
            ("01 99 00 ", "02 61 91 ", "03 53 01 ", "04 65 71 ", "05 36 49 ", "06 39 98 "),
            _beside("", _digits(2), " "),
            _digits(2),
        ),
    ),
    "es_ES": (
        "{street}, {number}",
        "{line}, {postcode} {town}",
        (_digits(2, 1, 53), _digits(3)),
        (_beside("3", _digits(2), " "), _beside("", _digits(3), " "), _digits(3)),
    ),
    "it_IT": (
        "{street} {number}",
        "{line}, {postcode} {town}",
        (_digits(2, 0, 99), _digits(3, 10)),
        (_beside("9", _digits(2), " "), _digits(3), _digits(4)),
    ),
    "nl_NL": (
        "{street} {number}",
        "{line}, {postcode} {town}",
        (_digits(4, 1000), _beside(" ", tuple(_NL_LETTERS)), tuple(_NL_LETTERS)),
        (_beside("06 9", _digits(3)), _digits(4)),
    ),
    "pt_BR": (
        "{street}, {number}",
        "{line}, {town}, {postcode}",
        (_digits(2, 1), _digits(3), _beside("-", _digits(3))),
        (_beside("(20) 9", _digits(4)), _beside("-", _digits(4))),
    ),
}
