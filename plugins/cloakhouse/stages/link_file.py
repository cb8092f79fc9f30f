"""A linkage over a CSV file: one column of tokens is translated, and no other byte of the file changes.

Tokens of one form are equally long, so the result has the size of the source: quotes, empty fields, line ends and a
byte order mark stay as they are. The file is read twice, block by block: once to check and count, once to translate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from cloakhouse.errors import ConfigurationError, IntegrityError
from cloakhouse.keys.files import replacing
from cloakhouse.settings import Settings
from cloakhouse.stages.linkage import Linkage, authorised, check_request
from cloakhouse.stages.token_fields import Block, TokenFile
from cloakhouse.tokens.keyed import read_back, written

WIDTHS = {"hex": 32, "base32": 26}  # characters


def link_file(
    settings: Settings, linkage: Linkage, reason: str, source: Path, target: Path, column: str, form: str = "hex"
) -> int:
    """Write `source` to `target` with the tokens of `column` (text of `form`: hex or base32) translated.

    Returns the number of tokens; an empty field is none. `target` appears in one step, with mode 0600, when all of it
    is written, and replaces what stood there. Raises NotFound and ConfigurationError for a file that can't be read so
    (see `TokenFile`), TreatmentError for text that is no token, IntegrityError when the file changes meanwhile,
    StorageError, and as `linkage.authorised`.
    """
    check_request(settings, linkage, reason)
    if form not in WIDTHS:
        raise ConfigurationError(
            where="the form of the tokens",
            expected=" or ".join(WIDTHS),
            found="another",
            not_done="nothing was linked",
            remedy="name the form that the file's tokens are written in",
            code="link",
        )
    file, count, first, second = TokenFile(source, column, WIDTHS[form]), 0, hashlib.sha256(), hashlib.sha256()
    for block in file.blocks(first):
        count += len(_tokens(block, form, column))
    linker = authorised(settings, linkage, reason, count)
    with replacing(target) as sink:
        waiting: list[Block] = []

        def tokens() -> Iterator[pa.Array]:
            for block in file.blocks(second):
                waiting.append(block)
                yield _tokens(block, form, column)

        for translated in linker.translated(tokens()):
            sink.write(waiting.pop().with_tokens(written(translated, {"form": form})))
        if first.digest() != second.digest():
            raise IntegrityError(
                where=source.name,
                expected="a file that nobody is writing to",
                found="content that changed while it was read",
                not_done="no result was written; the record of the linkage stands",
                remedy="link a copy that stays as it is",
                code="changed",
            )
    return count


def _tokens(block: Block, form: str, column: str) -> pa.Array:
    return read_back(block.tokens(), {"form": form}, column=column)
