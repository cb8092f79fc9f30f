"""Pages of docs/ that are run: their blocks of Python in order, in one namespace, and what each prints.

    CLOAKHOUSE_HOME=var .venv/bin/python -m tests.support.pages docs/model-teams.md

prints every block with its output; tests compare the outputs with the blocks of text in the page, numbers aside.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"-?\d[\d,.:]*")


@dataclass(frozen=True)
class Block:
    """A block of Python: its line in the page, its code, and the output that the page shows (None: no output)."""

    line: int
    code: str
    shown: str | None


def blocks(page: str) -> list[Block]:
    """Return the blocks of Python of a page; a block of text belongs to the Python before it."""
    found: list[Block] = []
    for match in _BLOCK.finditer(page):
        kind, content = match.groups()
        if kind == "python":
            found.append(Block(page.count("\n", 0, match.start()) + 2, content, None))
        else:
            found[-1] = Block(found[-1].line, found[-1].code, content)
    return found


def run(path: Path) -> Iterator[tuple[Block, str]]:
    """Run the blocks of the page at `path`, one after the other, and yield each with what it printed."""
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in blocks(path.read_text()):
        printed = io.StringIO()
        code = compile("\n" * (block.line - 1) + block.code, str(path), "exec")
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)
        yield block, printed.getvalue()


def without_numbers(text: str) -> list[str]:
    """Return the lines of a text with every number replaced by #, and blanks evened out."""
    return [" ".join(_NUMBER.sub("#", line).split()) for line in text.strip().splitlines()]


if __name__ == "__main__":
    for block, printed in run(Path(sys.argv[1])):
        print(f"--- line {block.line}\n{block.code}>>>\n{printed}")
