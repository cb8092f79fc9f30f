"""Whatever a contract says is shown as it is: no text becomes markup, a link, HTML, or a cell of its own."""

from __future__ import annotations

import datetime as dt

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.support.cards import Page

from cloakhouse.governance.document import Bullets, Document, Facts, Section, Table, Text, ToWrite
from cloakhouse.governance.html import html
from cloakhouse.governance.markdown import escaped, markdown

SIGNS = st.sampled_from([*"\\`*_{}[]()<>#+-=.!|~&:;@/'\"^$ \t\n\r1aZé\u202e\x1b\x00\u2028", "https://", "www.", "&lt;"])
TEXTS = st.one_of(st.lists(SIGNS, max_size=30).map("".join), st.text(max_size=40)).filter(
    lambda text: not any("\ud800" <= sign <= "\udfff" for sign in text)
)
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(text: str) -> str:
    """Return what of `text` can be seen: controls are spaces, and runs of white space one."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def document(text: str) -> Document:
    parts = (
        Text(text),
        Bullets(((text, text),)),
        Facts(((text, text),)),
        Table(text, (text, "b"), ((text, text),), 1),
        ToWrite("1", text),
    )
    return Document("T", "K", text, (Section(text or "S", parts, text),), dt.date(2026, 1, 2), text)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_a_paragraph_shows_the_text_and_nothing_else(text: str) -> None:
    tokens = READER.parse(escaped(text))
    if not shown(text):
        assert tokens == []
        return
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    children = tokens[1].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == shown(text)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_a_document_keeps_its_shape(text: str) -> None:
    tokens = READER.parse(markdown(document(text)))
    kinds = [token.type for token in tokens]
    inline = {child.type for token in tokens for child in token.children or []}
    assert inline <= {"text", "text_special", "strong_open", "strong_close", "softbreak"}
    assert not {"html_block", "fence", "code_block"} & set(kinds)
    assert kinds.count("heading_open") == 2
    assert kinds.count("table_open") == 1
    assert kinds.count("th_open") == kinds.count("td_open") == 2
    assert kinds.count("bullet_list_open") == 2


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_a_page_keeps_its_shape(text: str) -> None:
    page, plain = Page(html(document(text))), Page(html(document("plain")))
    assert page.tags == plain.tags or not text.strip()
    assert "script" not in page.tags
