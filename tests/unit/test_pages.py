"""What a reader is told to type exists, links lead somewhere, and the tables of the README are those of the code."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from tests.support.page_commands import anchors, commands, known, links, mentions, parsed
from tests.support.processes import ROOT

from cloakhouse.client import cli as command_line

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md"]
    + [page for folder in ("docs", "expectations", "infra", "plugins") for page in (ROOT / folder).rglob("*.md")]
)
SLOW = ("path", "kills", "cluster", "stores", "browser")  # what a test is marked with that `make test` leaves to others


Reader = Callable[[str], Iterator[list[str]]]


def cases(read: Reader) -> list[tuple[str, str]]:
    found = ((page, words) for page in PAGES for words in read(page.read_text(encoding="utf-8")))
    return sorted({(str(page.relative_to(ROOT)), shlex.join(words)) for page, words in found})


def expressions() -> dict[str, str]:
    """Return the marker expression of each target that runs tests."""
    rules = re.findall(r"^([a-z-]+):[^\n]*\n((?:\t[^\n]*\n)+)", MAKEFILE, re.MULTILINE)
    found = {name: re.findall(r'-m (?:"([^"]+)"|(\w+)(?=\s))', body) for name, body in rules if "tests.suite" in body}
    return {name: "".join(given[-1]) for name, given in found.items()}


def of_ci() -> set[str]:
    return set(re.findall(r"^make ([a-z-]+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE))


def table(heading: str) -> list[str]:
    """Return the first cells of the table of the README whose head begins with `heading`."""
    rows = README.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [row.split("|")[1].strip() for row in rows]


@pytest.mark.parametrize(("page", "line"), cases(commands))
def test_a_command_of_a_page_can_be_given_as_it_stands(page: str, line: str) -> None:
    try:
        parsed(shlex.split(line))
    except click.ClickException as fault:
        pytest.fail(f"{page}: cloakhouse {line}: {fault.format_message()}")


@pytest.mark.parametrize(("page", "line"), cases(mentions))
def test_a_command_in_a_sentence_exists_with_its_options(page: str, line: str) -> None:
    try:
        known(shlex.split(line))
    except click.ClickException as fault:
        pytest.fail(f"{page}: cloakhouse {line}: {fault.format_message()}")


@pytest.mark.parametrize(
    "line",
    ["backup make x", "backup create a b", "erase --subject-files f", "keys rewrite x", "backup list a --to b"],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(click.ClickException):
        parsed(shlex.split(line))


@pytest.mark.parametrize("line", ["backup make", "erase --subject-files", "card NAME [--pages FILE]"])
def test_a_mention_of_what_does_not_exist_is_found(line: str) -> None:
    with pytest.raises(click.ClickException):
        known(line.split())


def test_commands_are_found_where_readers_find_them() -> None:
    blocks, sentences = ([page for page, _ in cases(read)] for read in (commands, mentions))
    assert blocks.count("README.md") > 60
    assert len({page for page in blocks if page.startswith("docs/")}) > 15
    assert len(set(sentences)) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_the_readme_names_every_target_of_make_and_no_other() -> None:
    there = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE)) - {"help"}
    named = {name for cell in table("make target") for name in re.findall(r"`make ([a-z-]+)`", cell)}
    assert named == there
    assert set(re.findall(r"\bmake ([a-z][a-z-]+)(?=`| WEEKS| CHECK| BENCH| PORT)", README)) <= there | {"help"}


def test_the_readme_says_what_ci_runs() -> None:
    sentence = README.partition("CI runs ")[2].partition(" |")[0]
    assert set(re.findall(r"`make ([a-z-]+)`", sentence)) == of_ci()


def test_ci_runs_every_test_but_those_of_many_kills() -> None:
    """Whatever a test is marked with, some target of CI takes it; of the others the README says so."""
    known = expressions()
    ci = [known[name] for name in of_ci() if name in known]
    assert len(ci) == 5
    for size in range(len(SLOW) + 1):
        for marked in itertools.combinations(SLOW, size):
            names = {name: name in marked for name in SLOW}
            taken = [expression for expression in ci if eval(expression, {}, names)]
            assert taken or "kills" in marked, marked
    assert known["test-kills"] == "kills"
    told = next(row for row in README.splitlines() if row.startswith("| `make test-kills` |"))
    assert "not part of CI" in told


def test_the_readme_lists_the_variables_that_the_code_reads() -> None:
    package = ROOT / "plugins" / "cloakhouse"
    text = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    read = set(re.findall(r"\bCLOAKHOUSE_[A-Z_]+\b", text)) - {"CLOAKHOUSE_COMPLETE"}  # of the shell's completion
    told = {name.strip("`") for name in table("variable")}
    assert {name for name in told if name.startswith("CLOAKHOUSE_")} == read


def test_the_readme_lists_the_exit_codes_that_help_lists() -> None:
    told = re.findall(r"^\s+(\d+) {2,}\S", command_line.cli.help or "", re.MULTILINE)
    assert table("exit code") == told
