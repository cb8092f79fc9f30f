"""What the commands for keys share."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.errors import NotFound

if TYPE_CHECKING:
    from cloakhouse.settings import Settings


Change = Callable[..., Any]


def why_option(command: Change) -> Change:
    """Add `--reason`, which may be left out: the text is checked as every reason is."""
    return click.option("--reason", default="", callback=_sound, help="Why, for the audit log: 10 to 500 characters.")(
        command
    )


def _sound(_ctx: click.Context, _param: click.Parameter, reason: str) -> str:
    from cloakhouse.stages.authority import check_reason

    return check_reason(reason) if reason else ""


def dry_run_option(command: Change) -> Change:
    """Add `--dry-run`."""
    return click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")(command)


def current_settings() -> Settings:
    """Return the settings of the environment."""
    from cloakhouse.settings import Settings

    return Settings.from_environment()


def installation() -> Settings:
    """Return the settings of a home that is there: a misspelt one gets no keystore. Raises NotFound."""
    settings = current_settings()
    if not settings.home.is_dir():
        raise NotFound(
            where=str(settings.home),
            expected="the folder of an installation",
            found="none",
            not_done="no key was looked at, and nothing was made",
            remedy="set CLOAKHOUSE_HOME to that folder",
            code="home",
        )
    return settings


def say(sentence: str) -> None:
    """Write a sentence for people, in lines that fit a terminal."""
    show.note(textwrap.fill(sentence, show.MAX_WIDTH, break_long_words=False, break_on_hyphens=False))


def told(output: str, facts: dict[str, Any], sentence: str) -> None:
    """Answer with facts for programs, or a sentence for people."""
    if output == "json":
        show.write_json(facts)
    else:
        say(sentence)
