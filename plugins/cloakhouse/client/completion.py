"""Shell completion: the scripts, and names of datasets completed from the register of versions.

Completing is a convenience in the middle of somebody's typing: whatever fails, or takes too long, completes nothing and
says nothing.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem, get_completion_class

Command = TypeVar("Command", bound=Callable[..., Any])
PATIENCE_S = 1.5  # for the register of versions to answer
VARIABLE = "_CLOAKHOUSE_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


class DatasetText(click.ParamType[str]):
    """The name of a dataset, perhaps with a version; checked where it is used, completed from what is published."""

    name = "dataset"

    def shell_complete(self, _ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin with `incomplete`; once it holds an @, the versions and tags of its dataset."""
        return [CompletionItem(text) for text in _within(PATIENCE_S, incomplete) if text.startswith(incomplete)]


def dataset_argument(name: str = "name") -> Callable[[Command], Command]:
    """Return a decorator that adds the argument `name`, a dataset, with completion."""
    return click.argument(name, type=DatasetText(), metavar=name.upper())


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Write a shell's completion script.

    \b
    bash  eval "$(cloakhouse completion bash)"
    zsh   eval "$(cloakhouse completion zsh)"
    fish  cloakhouse completion fish | source
    """
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "cloakhouse", VARIABLE).source())


def _within(seconds: float, incomplete: str) -> list[str]:
    """Return what can be completed; nothing when that isn't known in time."""
    found: list[str] = []
    with contextlib.suppress(Exception):
        import cloakhouse.client.api  # noqa: F401 - it takes its time, which is not the register's

    def look() -> None:
        try:
            found.extend(_known(incomplete))
        except Exception:  # noqa: BLE001 - see the module
            found.clear()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(seconds)
    return [] if thread.is_alive() else found


def _known(incomplete: str) -> list[str]:
    from cloakhouse.client.api import connect

    name, sign, _ = incomplete.partition("@")
    if not sign:
        return [dataset.name for dataset in connect().datasets()]
    readable = [v for v in connect().versions(name) if v.state == "published"]
    words = [str(version.version) for version in readable] + [tag for version in readable for tag in version.tags]
    return [f"{name}@{word}" for word in dict.fromkeys(words)]
