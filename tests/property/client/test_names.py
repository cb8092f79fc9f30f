from __future__ import annotations

import datetime as dt
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.client.names import parse_name
from cloakhouse.errors import ConfigurationError
from cloakhouse.ledger.versions import Selector

FIRST = st.sampled_from(string.ascii_lowercase)
REST = st.text(string.ascii_lowercase + string.digits + "_", max_size=62)
WANTED = (
    st.just({})
    | st.integers(1, 999_999_999).map(lambda version: {"version": version})
    | st.dates().map(lambda day: {"day": day})
    | st.builds(
        lambda first, rest: {"tag": first + rest},
        FIRST,
        st.text(string.ascii_lowercase + string.digits + "-", max_size=30),
    )
)
FORM = re.compile(r"[a-z][a-z0-9_]{0,62}(@([1-9][0-9]{0,8}|[a-z][a-z0-9-]{0,30}|(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})))?")


@given(FIRST, REST, WANTED)
def test_every_name_comes_back(first: str, rest: str, wanted: dict[str, int]) -> None:
    name = Selector(first + rest, **wanted)  # type: ignore[arg-type]
    assert parse_name(str(name)) == name


def is_name(text: str) -> bool:
    match = FORM.fullmatch(text)
    try:
        return match is not None and (match["day"] is None or bool(dt.date.fromisoformat(match["day"])))
    except ValueError:
        return False


@given(
    st.text()
    | st.from_regex(r"[a-z@0-9/._\s-]{1,12}")
    | st.from_regex(r"[a-z]+@\d+\Z")
    | st.from_regex(r"[a-z]+@[0-9]{4}-[01][0-9]-[0-3][0-9]\Z")
)
def test_every_text_is_read_exactly_or_refused(text: str) -> None:
    if not is_name(text):
        with pytest.raises(ConfigurationError):
            parse_name(text)
        return
    name = parse_name(text)
    assert str(name) == text
    assert name.name.isascii()
    assert not set(name.name) & set("/.@\\ \n\0")
