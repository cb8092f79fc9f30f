"""Labelled notes of a customer service: what of them is personal data, for the precision and recall of `scrub`.

`WRITTEN` are sentences by hand, as people write them, some of which no pattern finds; `generated` fills templates with
drawn numbers that have right check digits, and hard negatives with numbers of the same look. Everything is made up or a
published example; nobody is meant.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cloakhouse.tokens import checks

KINDS = {"e": "email", "p": "phone", "c": "card", "i": "iban", "n": "national id"}
_LABEL = re.compile(r"\{([epcin]):([^}]*)\}")


@dataclass(frozen=True)
class Labelled:
    """A text and its personal data: start, end (characters), kind."""

    text: str
    spans: tuple[tuple[int, int, str], ...]


def labelled(marked: str) -> Labelled:
    """Return the text of `marked`, in which personal data stands as {letter of its kind:it}."""
    text, spans, at = "", [], 0
    for label in _LABEL.finditer(marked):
        text += marked[at : label.start()]
        spans.append((len(text), len(text) + len(label[2]), KINDS[label[1]]))
        text += label[2]
        at = label.end()
    return Labelled(text + marked[at:], tuple(spans))


WRITTEN = tuple(
    labelled(line) for line in Path(__file__).with_name("labelled_sentences.txt").read_text("utf-8").splitlines()
)

POSITIVE = (
    "Please call {} about the delivery.",
    "Bitte {} notieren, danke!",
    "Merci d'utiliser {} à l'avenir.",
    "Nuevo dato del cliente: {}.",
    "{} (confermato dal cliente)",
    "Klant gaf {} door, zie 12-03-2024.",
    "Anotei {}, pedido 20240117.",
    "Two on file: {} and {}, keep the first.",
    "note 14:05 {}; paid 19.99",
)
NEGATIVE = (
    "Order {order} of {date} came without {count} of {count} items.",
    "Bestellung {order}, Betrag {price} €, geliefert am {date}.",
    "EAN {ean} kostet {price}, Lager {count}.",
    "Magasin {store} ouvert {hours}, fermé le {date}.",
    "Version {version}, build {order}, {date} {time}.",
    "Artículo {ean}, talla {count}, precio {price}.",
    "Filiale {store}: {hours}, {hours}.",
    "Scontrino {store}-{order} del {date} alle {time}.",
    "Bonnummer {order}, {count} stuks à {price}.",
    "Total {price} + {price} = {price} on {date}",
    "lot {version}/{store}, pallet {ean}, {time}",
)


def generated(count: int, seed: int = 20240229) -> list[Labelled]:
    """Return `count` sentences, two of three with personal data, the same for the same seed."""
    draw = random.Random(seed)
    return [_positive(draw) if draw.randrange(3) else _negative(draw) for _ in range(count)]


def _positive(draw: random.Random) -> Labelled:
    template = draw.choice(POSITIVE)
    finds = []
    for _ in range(template.count("{}")):
        letter = draw.choice("epcin")
        before, _, find = draw.choice(_MAKERS[letter])(draw).rpartition("|")
        finds.append(f"{before}{{{letter}:{find}}}")
    return labelled(template.format(*finds))


def _negative(draw: random.Random) -> Labelled:
    template, made = draw.choice(NEGATIVE), ""
    for piece in re.split(r"(\{\w+\})", template):
        made += _THINGS[piece[1:-1]](draw) if piece.startswith("{") else piece
    return Labelled(made, ())


def _form(draw: random.Random, *forms: str) -> str:
    """Return one of `forms` with a drawn digit for every #."""
    return re.sub("#", lambda _: str(draw.randrange(10)), draw.choice(forms))


def _until(check: Callable[[str], bool], draw: random.Random, form: str) -> str:
    """Return the first drawing of `form` that passes `check`."""
    while not check(made := _form(draw, form)):
        pass
    return made


def _grouped(text: str, sizes: tuple[int, ...], blank: str) -> str:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    return blank.join([*pieces, text[at:]]).strip(blank)


def _email(draw: random.Random) -> str:
    word = lambda: "".join(draw.choice("abcdefghilmnoprstuvz") for _ in range(draw.randint(2, 9)))  # noqa: E731
    local = draw.choice([word(), f"{word()}.{word()}", f"{word()}_{draw.randint(1, 99)}", f"{word()}+{word()}"])
    made = f"{local}@{word()}.example.{draw.choice(['com', 'org', 'co.uk', 'de', 'fr', 'museum'])}"
    return draw.choice([made, made, made.upper()])


def _card(draw: random.Random) -> str:
    if draw.randrange(5) == 0:
        number = _until(checks.luhn, draw, "37#############")
        return draw.choice([number, _grouped(number, (4, 6), " ")])
    number = _until(checks.luhn, draw, draw.choice(["4###############", "51##############", "62##############"]))
    return draw.choice([number, _grouped(number, (4, 4, 4), " "), _grouped(number, (4, 4, 4), "-")])


def _iban(draw: random.Random) -> str:
    form = draw.choice(
        ["DE##" + "#" * 18, "GB##MIDL" + "#" * 14, "NL##ABNA" + "#" * 10, "FR##" + "#" * 23, "ES##" + "#" * 20]
    )
    number = _until(checks.iban, draw, form)
    return draw.choice([number, _grouped(number, (4,) * 8, " "), number.lower()])


def _cpf(draw: random.Random) -> str:
    number = _until(checks.br_cpf, draw, "###########")
    return f"{number[:3]}.{number[3:6]}.{number[6:9]}-{number[9:]}"


def _ssn(draw: random.Random) -> str:
    number = _until(checks.us_ssn, draw, "#########")
    return f"{number[:3]}-{number[3:5]}-{number[5:]}"


def _dni(draw: random.Random) -> str:
    number = _form(draw, "########")
    return number + next(letter for letter in "TRWAGMYFPDXBNJZSQVHLCKE" if checks.es_dni(number + letter))


def _phones(*forms: str) -> Callable[[random.Random], str]:
    return lambda draw: _form(draw, *forms)


_MAKERS: dict[str, tuple[Callable[[random.Random], str], ...]] = {
    "e": (_email,),
    "p": (
        _phones(
            "+44 20 7946 0###", "07700 900###", "(0161) 496 0###", "0161 496 0###", "01632 960###", "+447700900###"
        ),
        _phones("(212) 555-01##", "415-555-01##", "+1 303 555 01##", "1-617-555-01##", "720.555.01##"),
        _phones("030 23125###", "0172 99#####", "+49 30 23125###", "089/99998###", "0049 89 99998 ###", "0221-4710###"),
        _phones("06 39 98 ## ##", "01.99.00.##.##", "+33 1 99 00 ## ##", "0639 98 ## ##", "063998####"),
        _phones("6## ### ###", "91# ## ## ##", "+34 6## ## ## ##", "tel |6########"),
        _phones("02 ########", "+39 333 #######", "347 #######", "02-#######", "06 ########"),
        _phones("020-#######", "06-########", "06 ## ## ## ##", "+31 20 ### ####"),
        _phones("(11) 9####-####", "+55 21 9####-####", "(21) 3###-####", "11 9####-####"),
    ),
    "c": (_card,),
    "i": (_iban,),
    "n": (
        _ssn,
        _cpf,
        _dni,
        lambda draw: _form(draw, "AB######C", "JG ## ## ## A", "MX######D"),
        lambda draw: _until(checks.de_steuer_id, draw, "###########"),
        lambda draw: _until(checks.fr_nir, draw, f"{draw.choice('12')}##0{draw.randint(1, 9)}##########"),
        lambda draw: "BSN |" + _until(checks.nl_bsn, draw, "#########"),
        lambda draw: _until(
            checks.cn_resident_id, draw, f"110105{draw.randint(1950, 2005)}0{draw.randint(1, 9)}1#####"
        ),
    ),
}
_THINGS: dict[str, Callable[[random.Random], str]] = {
    "order": lambda draw: _form(draw, "1#######", "45########", "2024######", "R-######", "3########", "A##-####-##"),
    "date": lambda draw: draw.choice(
        ["{d:02}.{m:02}.{y}", "{y}-{m:02}-{d:02}", "{d:02}/{m:02}/{y}", "{d}-{m}-{y}"]
    ).format(d=draw.randint(1, 28), m=draw.randint(1, 12), y=draw.randint(2015, 2025)),
    "count": lambda draw: str(draw.randint(1, 400)),
    "price": lambda draw: _form(draw, "1#,#9", "1.2##,99", "1,2##.99", "1 2##,50", "##.##", "12#.50"),
    "ean": lambda draw: _until(
        checks.gs1, draw, draw.choice(["40###########", "50###########", "84###########", "0###########"])
    ),
    "store": lambda draw: _form(draw, "0###", "1##", "#### "),
    "hours": lambda draw: _form(draw, "08:00-2#:00", "09.30-19.30", "9h30-19h", "10:00 - 14:00", "7am-10pm"),
    "time": lambda draw: _form(draw, "1#:3#", "0#.4# Uhr", "2024-01-1#T0#:15:00"),
    "version": lambda draw: _form(draw, "#.1#.#", "10.2.1##.#", "2024.#.1", "v#.#.#-rc1"),
}
