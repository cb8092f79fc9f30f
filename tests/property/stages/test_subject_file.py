"""Files of persons against a scalar reference: whatever the lines are, each is one person or one refusal."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.persons import identifiers

from cloakhouse.stages.subject_file import read_subjects
from cloakhouse.tokens.subjects import rights_tokens

KNOWN = identifiers()
NUMBERS = st.integers(1, 2**40).map(str)
RUBBISH = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=12)


@settings(max_examples=25, deadline=None)
@given(st.lists(NUMBERS | RUBBISH, max_size=30))
def test_each_line_is_one_person_or_one_refusal(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "persons"
        file.write_bytes("\n".join(["household_id", *lines, ""]).encode())
        named = read_subjects(file, KNOWN)
    filled = [line for line in lines if line.strip()]
    assert named.lines >= len([line for line in filled if line.encode().strip()])
    expected = {int(line) for line in filled if line.isascii() and line.isdecimal() and 0 < int(line) < 2**63}
    wanted = rights_tokens(pa.array(sorted(expected), pa.int64()), KNOWN.column, KNOWN.keys).to_pylist()
    table = named.tokens.get("household_id")
    found = table["token"].to_pylist() if table is not None else []
    assert set(wanted) <= set(found)
    assert len(set(found)) == len(found)
    readable = named.lines - named.unreadable
    assert len(found) <= readable
    assert readable <= len(filled)
