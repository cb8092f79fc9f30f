"""The commands, links and headings of a page in Markdown, and whether the command line takes such a command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from cloakhouse.client.cli import cli

BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
OF_SHELL = ("", "sh", "bash")
INLINE = re.compile(r"`((?:\.venv/bin/)?cloakhouse [^`]+)`", re.DOTALL)
LINK = re.compile(r"\]\(\s*([^)\s]+)\)")
OURS = re.compile(r"(?:[A-Z_]+=\S* +)*(?:\.venv/bin/)?cloakhouse\s")
SHELL = {">", ">>", "<", "|", "&&", "||", ";"}  # what follows is no argument of ours


def blocks(text: str) -> list[str]:
    """Return the blocks of `text` that a shell may be given, or that are output."""
    return [content for kind, content in BLOCK.findall(text) if kind in OF_SHELL]


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every command of ours in the blocks of `text`: what a reader copies."""
    for block in blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            if OURS.match(line.strip()):
                yield _arguments(shlex.split(line, comments=True))


def mentions(text: str) -> Iterator[list[str]]:
    """Yield the words of every command of ours in the sentences of `text`, where some stand for others (NAME, [..])."""
    for found in INLINE.findall(BLOCK.sub("", text)):
        yield _arguments(" ".join(found.split()).split(" "))


def parsed(words: list[str]) -> None:
    """Parse a command as the command line does, without running it. Raises click.UsageError."""
    command, context, rest = _found(words)
    if rest in ([], ["--version"], ["--help"], ["-h"]):
        return  # named without its arguments, or a group that is called by itself, such as `alerts`
    with pytest.MonkeyPatch.context() as here:  # the files of an example aren't here
        for one in command.params:
            if isinstance(one.type, click.Path):
                here.setattr(one, "type", click.Path())
        command.parse_args(context, list(rest))


def known(words: list[str]) -> None:
    """Find a command that a sentence mentions, and its options. Raises click.UsageError."""
    bare = [word.strip("[]") for word in words if word != "..."]
    command, context, rest = _found(bare)
    there = {name for one in command.get_params(context) for name in (*one.opts, *one.secondary_opts)}
    for word in rest:
        if word.startswith("--") and word.partition("=")[0] not in there:
            raise click.UsageError(f"no option {word}")


def _found(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """Return the command that `words` begin with, its context, and the words after it. Raises click.UsageError."""
    command: click.Command = cli
    # as the command line has it: a command keeps the names of its help from the first context that asks
    context = click.Context(cli, info_name="cloakhouse", **cli.context_settings)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        if found is None and command.invoke_without_command:
            break
        if found is None:
            raise click.UsageError(f"no command {words[0]}")
        command, context, words = found, click.Context(found, info_name=words[0], parent=context), words[1:]
    return command, context, words


def links(text: str) -> list[str]:
    """Return where the links of `text` lead, blocks of code left out."""
    return LINK.findall(BLOCK.sub("", text))


def anchors(text: str) -> set[str]:
    """Return what links may name after a `#`: the headings of `text`, as GitHub writes them."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", _shown(heading).lower()).replace(" ", "-") for heading in headings}


def _shown(heading: str) -> str:
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")


def _arguments(words: list[str]) -> list[str]:
    while not words[0].endswith("cloakhouse"):
        words = words[1:]
    end = next((place for place, word in enumerate(words) if word in SHELL), None)
    return words[1:end]
