from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloakhouse.client.names import DatasetName, parse_name
from cloakhouse.errors import ConfigurationError

FIRST = st.sampled_from(string.ascii_lowercase)
REST = st.text(string.ascii_lowercase + string.digits + "_", max_size=62)
VERSIONS = st.none() | st.integers(1, 999_999_999)


@given(FIRST, REST, VERSIONS)
def test_every_name_comes_back(first: str, rest: str, version: int | None) -> None:
    name = DatasetName(first + rest, version)
    assert parse_name(str(name)) == name


@given(st.text() | st.from_regex(r"[a-z@0-9/._\s]{1,12}") | st.from_regex(r"[a-z]+@\d+\Z"))
def test_every_text_is_read_exactly_or_refused(text: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}(@[1-9][0-9]{0,8})?", text):
        with pytest.raises(ConfigurationError):
            parse_name(text)
        return
    name = parse_name(text)
    assert str(name) == text
    assert name.name.isascii()
    assert not set(name.name) & set("/.@\\ \n\0")
