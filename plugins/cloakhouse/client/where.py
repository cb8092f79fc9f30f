"""Conditions on rows as people type them: `value > 20`, `age in ('under 35', '35-54')`, `day >= 2026-11-01`.

    condition = column operator literal | column ["not"] "in" "(" literal {"," literal} ")"
    column    = word | '"' any characters, a quotation mark doubled '"'
    word      = letter or _, then letters, digits or _
    operator  = "=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">="
    literal   = number | "true" | "false" | date | timestamp | "'" any characters, an apostrophe doubled "'"
              | a text without space, quotation marks, commas and parentheses

Several conditions are joined by "and", in any case; all must hold. There is no "or", no function and no arithmetic, and
nothing is ever evaluated: a literal becomes a value of the column's own logical type, or is refused.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from cloakhouse.errors import ConfigurationError
from cloakhouse.lake.filters import Condition

MAX_LENGTH = 10_000  # characters of all conditions
_TOKEN = re.compile(
    r"""\s*(?:(?P<name>"(?:[^"]|"")+")|(?P<text>'(?:[^']|'')*')|(?P<sign><=|>=|!=|<>|==|[=<>(),])|(?P<word>[^\s"'(),<>=!]+))"""
)
_WORD = re.compile(r"[^\W\d]\w*")
_OPERATORS = ("=", "==", "!=", "<>", "<", "<=", ">", ">=")
Token = tuple[str, str]  # (kind, text)


def parse_where(text: str, types: Mapping[str, str]) -> list[Condition]:
    """Return the conditions in `text`; `types` maps each column to its logical type (contracts name them).

    Raises ConfigurationError (`configuration.where`) for a text of another form, a column that isn't among `types`
    and a literal that is no value of its column's type.
    """
    tokens = _tokens(text)
    conditions: list[Condition] = []
    while True:
        conditions.append(_condition(tokens, types))
        if not tokens:
            return conditions
        if not _keyword(tokens, "and") or not tokens:
            raise _refused("`and` between two conditions", _told(tokens))


def _tokens(text: str) -> list[Token]:
    if len(text) > MAX_LENGTH:
        raise _refused(f"at most {MAX_LENGTH:,} characters", f"{len(text):,}")
    found, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise _refused("a condition", f"a sign at character {at + 1} that begins nothing")
        kind = str(match.lastgroup)
        found.append((kind, match[kind]))
        at = match.end()
    return found


def _condition(tokens: list[Token], types: Mapping[str, str]) -> Condition:
    column = _column(tokens, types)
    parse = _PARSERS[types[column]] if types[column] in _PARSERS else _PARSERS["string"]
    negated = _keyword(tokens, "not")
    if _keyword(tokens, "in"):
        return column, "not in" if negated else "in", _members(tokens, column, types[column], parse)
    if negated or not tokens or tokens[0][1] not in _OPERATORS or tokens[0][0] != "sign":
        raise _refused(f"after column {column} one of {', '.join(_OPERATORS)}, in, not in", _told(tokens))
    operator = tokens.pop(0)[1]
    return column, "!=" if operator == "<>" else operator, _literal(tokens, column, types[column], parse)


def _column(tokens: list[Token], types: Mapping[str, str]) -> str:
    kind, text = tokens.pop(0) if tokens else ("", "")
    name = text[1:-1].replace('""', '"') if kind == "name" else text
    if kind not in ("name", "word") or (kind == "word" and not _WORD.fullmatch(text)):
        raise _refused("a column, an operator and a value", "nothing" if not kind else "another beginning")
    if name not in types:
        raise _refused("one of the columns " + ", ".join(types), "another name")
    return name


def _members(tokens: list[Token], column: str, kind: str, parse: Callable[[str], Any]) -> list[Any]:
    if not _sign(tokens, "("):
        raise _refused(f"a list in parentheses after `in` on {column}", _told(tokens))
    values = [_literal(tokens, column, kind, parse)]
    while _sign(tokens, ","):
        values.append(_literal(tokens, column, kind, parse))
    if not _sign(tokens, ")"):
        raise _refused(f"a parenthesis at the end of the list on {column}", _told(tokens))
    return values


def _literal(tokens: list[Token], column: str, kind: str, parse: Callable[[str], Any]) -> Any:
    form, text = tokens.pop(0) if tokens else ("", "")
    if form in ("word", "text"):
        try:
            return parse(text[1:-1].replace("''", "'") if form == "text" else text)
        except (ValueError, InvalidOperation, OverflowError):
            pass
    raise _refused(f"a value of type {kind} for column {column}", "another text" if form else "nothing")


def _keyword(tokens: list[Token], word: str) -> bool:
    if tokens and tokens[0][0] == "word" and tokens[0][1].lower() == word:
        tokens.pop(0)
        return True
    return False


def _sign(tokens: list[Token], sign: str) -> bool:
    if tokens and tokens[0] == ("sign", sign):
        tokens.pop(0)
        return True
    return False


def _told(tokens: list[Token]) -> str:
    return "something else" if tokens else "the end"


def _integer(text: str) -> int | float:
    """Return a number: 1.5 may be compared with integers, too."""
    return int(text) if re.fullmatch(r"[+-]?[0-9]{1,19}", text) else _number(text)


def _number(text: str) -> float:
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", text):
        raise ValueError
    return float(Decimal(text))


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()] if text.lower() in ("true", "false") else _fail()


def _fail() -> bool:
    raise ValueError


def _timestamp(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "string": str,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "date": dt.date.fromisoformat,
    "timestamp": _timestamp,
}


def _refused(expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        where="--where",
        expected=expected,
        found=found,
        not_done="nothing was read",
        remedy="""write e.g. --where "value > 20 and age in ('under 35', '35-54')"; quote texts with apostrophes""",
        code="where",
    )
