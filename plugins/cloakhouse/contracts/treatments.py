"""The registry of treatments that a contract may name: their parameters, and the types they apply to.

Each entry says what the treatment protects against and what it keeps, so that the page for data engineers
and the refusals of the parser come from one place. How a treatment works is in `cloakhouse.tokens`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloakhouse.contracts import parameters as check
from cloakhouse.contracts.parameters import Parameter

ANY_TYPE = frozenset({"string", "integer", "number", "boolean", "date", "timestamp"})
CANONICAL = frozenset({"string", "integer", "date"})  # types with a canonical byte form
TEXT = frozenset({"string"})
ALPHABETS = {
    "digits": "0123456789",
    "hex": "0123456789abcdef",
    "letters": "abcdefghijklmnopqrstuvwxyz",
    "base36": "0123456789abcdefghijklmnopqrstuvwxyz",
}
PERIODS = ("month", "quarter", "year")
FORMS = ("binary", "hex", "base32")
NORMALISATIONS = ("exact", "digits", "email", "phone", "name")
TIME_UNITS = ("hour", "day", "week", "month", "quarter", "year")
SUBSTITUTES = ("name", "given name", "family name", "email", "phone", "street", "postcode", "city", "address")
LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pt_BR")
FINDABLE = ("email", "phone", "card", "iban", "national id")


@dataclass(frozen=True)
class TreatmentSpec:
    """What a contract may ask for.

    Attributes:
        summary: what it does, for people.
        protects / keeps: against what, and which analysis stays possible.
        types: ODCS logical types it applies to.
        parameters: allowed parameters by name.
        one_of: parameters of which exactly one must be given.
    """

    summary: str
    protects: str
    keeps: str
    types: frozenset[str]
    parameters: Mapping[str, Parameter]
    one_of: frozenset[str] = frozenset()


_KEYED = {
    "domain": Parameter("what the values are of, e.g. customer: equal values join within it", check.name, True),
    "purpose": Parameter("what the data is for: no other purpose's tokens can be joined", check.name, True),
    "period": Parameter(
        "no token can be joined with those of another month, quarter or year (of the partition's date)",
        check.choice(*PERIODS),
    ),
}
_NORMALISED = {
    "normalise": Parameter("what is evened out first: exact (nothing) if not given", check.choice(*NORMALISATIONS))
}
_FORM = {"form": Parameter("how a token is written: binary if not given", check.choice(*FORMS))}
_KEPT = {
    "keepPrefix": Parameter("characters that stay at the start", check.whole(0, 8)),
    "keepSuffix": Parameter("characters that stay at the end", check.whole(0, 8)),
}

REGISTRY: Mapping[str, TreatmentSpec] = {
    "drop": TreatmentSpec(
        summary="the column ends at landing; nothing of it reaches the protected zone",
        protects="every use of the column",
        keeps="nothing",
        types=ANY_TYPE,
        parameters={},
    ),
    "keep": TreatmentSpec(
        summary="the value stays as it is, encrypted under the key of its class",
        protects="nobody who may unwrap that key",
        keeps="everything",
        types=ANY_TYPE,
        parameters={},
    ),
    "token": TreatmentSpec(
        summary="128-bit AES-256-CMAC (NIST SP 800-38B), of the domain and then of the purpose",
        protects="reading the identifier, and joining data of different purposes or periods",
        keeps="equality and joins within domain, purpose and period, and frequencies",
        types=CANONICAL,
        parameters={**_KEYED, **_FORM, **_NORMALISED},
    ),
    "reversible token": TreatmentSpec(
        summary="AES-256-SIV (RFC 5297), which `cloakhouse detokenize` opens for a role with the grant",
        protects="reading the value without the grant; joining with other purposes or periods",
        keeps="as a token, the value for whoever may detokenize, and its length",
        types=CANONICAL,
        parameters={**_KEYED, **_FORM, **_NORMALISED},
    ),
    "format-preserving token": TreatmentSpec(
        summary="FF1 (NIST SP 800-38G) in the same alphabet and length",
        protects="reading the number; kept digits stay readable. No integrity: any number detokenizes to some number",
        keeps="length and alphabet, equality, the first and last characters asked for",
        types=TEXT,
        parameters={
            **_KEYED,
            "alphabet": Parameter("its characters: digits if not given", check.choice(*ALPHABETS)),
            "length": Parameter("the length that every value has (characters)", check.whole(6, 56), True),
            **_KEPT,
            "luhn": Parameter(
                "valid: the check digit is made to fit; invalid: never does. Both take numbers where it fits",
                check.choice("valid", "invalid"),
            ),
            "normalise": Parameter("what is evened out first", check.choice("exact", "digits")),
        },
    ),
    "mask": TreatmentSpec(
        summary="characters replaced by one sign, but for a few kept at the ends; or every value by one text",
        protects="reading the value; not joins on what is kept",
        keeps="length and the kept characters; of a fixed text, only whether there is a value",
        types=TEXT,
        parameters={
            **_KEPT,
            "sign": Parameter("the sign: * if not given", check.char),
            "with": Parameter("the fixed text; goes with no other parameter", check.phrase),
        },
    ),
    "substitute": TreatmentSpec(
        summary="a realistic fictional value, the same for the same value; its e-mails and telephones reach nobody",
        protects="reading the value, and taking test data for real data by its form",
        keeps="equality and joins within domain, purpose and period (two values may get one substitute), frequencies",
        types=frozenset({"string", "integer"}),
        parameters={
            "as": Parameter("what to make", check.choice(*SUBSTITUTES), True),
            "locale": Parameter("of which country: en_US if not given", check.choice(*LOCALES)),
            **_KEYED,
            **_NORMALISED,
        },
    ),
    "shuffle": TreatmentSpec(
        summary="values change places among the rows of a block of the partition (permutation)",
        protects="knowing whose value it is; not that somebody has it",
        keeps="the distribution of the column; nothing between it and other columns",
        types=ANY_TYPE,
        parameters={},
    ),
    "generalize": TreatmentSpec(
        summary="a coarser value: a time unit, an age band, bins, a prefix, groups, a hierarchy, top and bottom coding",
        protects="singling out by a fine or rare value",
        keeps="distributions at the coarser level",
        types=frozenset({"string", "integer", "number", "date", "timestamp"}),
        parameters={
            "to": Parameter("start of the hour, day, week, month, quarter or year", check.choice(*TIME_UNITS)),
            "ageBands": Parameter("ages where a new band starts; needs `on`", check.edges),
            "on": Parameter("the day that ages are counted on", check.day),
            "bins": Parameter("numbers where a new bin starts", check.edges),
            "prefix": Parameter("characters to keep at the start", check.whole(1, 32)),
            "fill": Parameter("one sign for each character behind the prefix; not given, they are cut off", check.char),
            "groups": Parameter("each label with the texts it stands for", check.groups),
            "hierarchy": Parameter("a level of a CSV file beside the contract, pinned by digest", check.hierarchy),
            "other": Parameter("label of texts in no group; if not given they become null", check.phrase),
            "clamp": Parameter("bottom, top: values beyond become it (top and bottom coding)", check.clamp),
        },
        one_of=frozenset({"to", "ageBands", "bins", "prefix", "groups", "hierarchy", "clamp"}),
    ),
    "perturb": TreatmentSpec(
        summary="bounded noise, uniform: on each row, or one shift for all values of a subject",
        protects="matching exact amounts and days with another source; it is not differential privacy",
        keeps="values to within the bound; order and distances within a subject, with `perSubject`",
        types=frozenset({"integer", "number", "date", "timestamp"}),
        parameters={
            "bound": Parameter("largest change: number, days of a date, seconds of a timestamp", check.positive, True),
            "step": Parameter("numbers: what changes and results are multiples of, 0.01 if not given", check.positive),
            "perSubject": Parameter("column that tells the subject, e.g. household_id", check.name),
        },
    ),
    "round": TreatmentSpec(
        summary="the nearest multiple of a number, ties to the even one",
        protects="matching exact amounts with another source",
        keeps="values to within half of it",
        types=frozenset({"integer", "number"}),
        parameters={"to": Parameter("the number, e.g. 5 or 0.05", check.positive, True)},
    ),
    "bucket": TreatmentSpec(
        summary="a number from 0, of a keyed hash: about distinct values / buckets share one",
        protects="telling apart values that share a bucket",
        keeps="a stable split, such as for experiments; equal values stay together",
        types=CANONICAL,
        parameters={
            "buckets": Parameter("how many", check.whole(2, 65_536), True),
            **_KEYED,
            **_NORMALISED,
        },
    ),
    "suppress rare": TreatmentSpec(
        summary="categories that fewer rows (or subjects) of the partition have become null, or `other`",
        protects="singling out by a rare category",
        keeps="frequent categories",
        types=frozenset({"string", "integer"}),
        parameters={
            "atLeast": Parameter("the least number that keeps a category", check.whole(2, 1_000_000), True),
            "perSubject": Parameter("column that tells the subject: subjects are counted, not rows", check.name),
            "other": Parameter("text instead of null (texts only)", check.phrase),
        },
    ),
    "scrub": TreatmentSpec(
        summary="e-mail addresses, phones, cards, IBANs and national numbers in a text become [EMAIL] and so on",
        protects="reading those of them that are found; names and addresses are not looked for",
        keeps="the rest of the text",
        types=TEXT,
        parameters={"kinds": Parameter("what to look for: all if not given", check.choices(*FINDABLE))},
    ),
}
