"""Commands that list and change what is published: `versions`, `rollback`, `withdraw`, `tag` and others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cloakhouse.client import show
from cloakhouse.client.key_common import told
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading

if TYPE_CHECKING:
    from cloakhouse.ledger.versions import DatasetVersion, VersionRegister
    from cloakhouse.stages.version_changes import Operator

VERSIONS = (
    Heading("version", right=True),
    Heading("state"),
    Heading("head", "name\nstands\nfor it"),
    Heading("rows", right=True),
    Heading("published", "published (UTC)"),
    Heading("tags"),
    Heading("held"),
    Heading("reason"),
)
EVENTS = (
    Heading("at", "at (UTC)"),
    Heading("version", right=True),
    Heading("action"),
    Heading("actor"),
    Heading("reason"),
    Heading("detail"),
)
Command = Callable[..., Any]


def reason_option(command: Command) -> Command:
    """Add `--reason`, which is required."""
    return click.option("--reason", required=True, help="Why; it is kept for good, and shown. No personal data.")(
        command
    )


@click.command()
@click.argument("dataset", metavar="NAME")
@click.option("--events", is_flag=True, help="List what was done to them, by whom and why, instead.")
@output_option
def versions(dataset: str, events: bool, output: str) -> None:
    """List the versions of a dataset, in whatever state they are."""
    from cloakhouse.client.control import explained
    from cloakhouse.client.disclosing import installed
    from cloakhouse.ledger.versions import Selector, VersionRegister

    settings, name = installed(), _plain(dataset)
    with explained(settings):
        register = VersionRegister(settings.database)
        found = _versions(register, name)
        if not found:
            register.resolve(Selector(name))  # says what there is
        done = [{**vars(event), "at": _moment(event.at)} for event in register.events(name)] if events else []
    records = done if events else found
    if output == "json":
        show.write_json(records)
    else:
        shown = [{key: _cell(value) for key, value in record.items()} for record in records]
        show.write_table(EVENTS if events else VERSIONS, shown)


@click.command()
@click.argument("dataset", metavar="NAME")
@click.option("--to", "version", type=click.IntRange(min=1), help="The version. The one before if not given.")
@reason_option
@output_option
def rollback(dataset: str, version: int | None, reason: str, output: str) -> None:
    """Have NAME stand for another published version.

    Readers that pinned a version keep theirs. Without --to each call goes back by one.
    """
    done = _operator().rollback(_plain(dataset), version, reason)
    _told(output, done, f"{done.dataset} stands for version {done.version} now")


@click.command()
@click.argument("name", metavar="NAME@VERSION")
@reason_option
@output_option
def withdraw(name: str, reason: str, output: str) -> None:
    """Withdraw a version for good.

    Nobody opens it any more, and whoever asks is told the reason. NAME then stands for the newest published version
    before it. Its files go with `cloakhouse collect`.
    """
    done = _operator().withdraw(*_numbered(name), reason)
    _told(output, done, f"{done.name} is {done.state.value}: {done.reason}")


@click.command()
@click.argument("names", metavar="NAME@VERSION...", nargs=-1, required=True)
@reason_option
@output_option
def expire(names: tuple[str, ...], reason: str, output: str) -> None:
    """Expire versions of one dataset, all or none.

    They are no longer kept. Refused for the version that the name stands for, and for one that is tagged or held.
    """
    wanted = [_numbered(name) for name in names]
    if len({dataset for dataset, _ in wanted}) > 1:
        raise click.UsageError("name versions of one dataset")
    done = _operator().expire(wanted[0][0], [number for _, number in wanted], reason)
    facts = [_record(version, set()) for version in done]
    told(output, {"versions": facts}, ", ".join(f"{version.name} is {version.state.value}" for version in done))


@click.command()
@click.argument("name", metavar="NAME@VERSION")
@click.argument("tag", metavar="TAG")
@output_option
def tag(name: str, tag: str, output: str) -> None:
    """Tag a published version, e.g. `certified`.

    NAME@TAG then reads the newest version with the tag.
    """
    done = _operator().tag(*_numbered(name), tag)
    _told(output, done, f"{done.name} is tagged {', '.join(done.tags)}")


@click.command()
@click.argument("name", metavar="NAME@VERSION")
@click.argument("tag", metavar="TAG")
@output_option
def untag(name: str, tag: str, output: str) -> None:
    """Take a tag off a version."""
    done = _operator().untag(*_numbered(name), tag)
    _told(output, done, f"{done.name} is tagged {', '.join(done.tags) or 'with nothing'}")


@click.command()
@click.argument("name", metavar="NAME@VERSION")
@reason_option
@output_option
def hold(name: str, reason: str, output: str) -> None:
    """Hold a version, so that its files stay.

    Whatever becomes of the version, until `cloakhouse unhold`.
    """
    done = _operator().hold(*_numbered(name), reason)
    _told(output, done, f"{done.name} is held: {reason}")


@click.command()
@click.argument("name", metavar="NAME@VERSION")
@output_option
def unhold(name: str, output: str) -> None:
    """Lift every hold of a version."""
    done = _operator().lift(*_numbered(name))
    _told(output, done, f"{done.name} is not held")


def _operator() -> Operator:
    from cloakhouse.client.disclosing import installed
    from cloakhouse.stages.version_changes import operator

    return operator(installed())


def _plain(text: str) -> str:
    """Return the name of a dataset. Raises ConfigurationError, click's UsageError for more than a name."""
    from cloakhouse.client.names import parse_name

    selector = parse_name(text)
    if str(selector) != selector.name:
        raise click.UsageError(f"name the dataset alone: {selector.name}")
    return selector.name


def _numbered(text: str) -> tuple[str, int]:
    """Return dataset and number. Raises ConfigurationError, click's UsageError for a name without a number."""
    from cloakhouse.client.names import parse_name

    selector = parse_name(text)
    if selector.version is None:
        raise click.UsageError(f"say which version, by its number: {selector.name}@3")
    return selector.name, selector.version


def _told(output: str, version: DatasetVersion, sentence: str) -> None:
    told(output, _record(version, set()) if output == "json" else {}, sentence)


def _versions(register: VersionRegister, dataset: str) -> list[dict[str, Any]]:
    held = {hold.version for hold in register.holds(dataset)}
    return [_record(version, held) for version in register.versions(dataset)]


def _record(version: DatasetVersion, held: set[int]) -> dict[str, Any]:
    return {
        "name": version.dataset,
        "version": version.version,
        "state": version.state.value,
        "head": version.head,
        "rows": version.rows,
        "published": _moment(version.published_at),
        "tags": list(version.tags),
        "held": version.version in held,
        "reason": version.reason,
    }


def _moment(at: Any) -> str:
    from cloakhouse.client.cells import utc_text

    return utc_text(at)


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else ""
    return ", ".join(value) if isinstance(value, list) else value
