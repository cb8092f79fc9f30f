"""What is said of versions that can't be read, or not be changed as was asked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from cloakhouse.errors import (
    AccessRefused,
    CloakhouseError,
    ConfigurationError,
    IntegrityError,
    NotFound,
    VersionGone,
    VersionWithdrawn,
)
from cloakhouse.ledger.version_model import DatasetVersion, Selector, VersionEvent, VersionState

LISTED = 20  # names or numbers that a message lists
NOTHING_READ = "nothing was read"
NOTHING_CHANGED = "nothing was changed"


def unreadable(version: DatasetVersion, events: Sequence[VersionEvent], head: int | None) -> CloakhouseError:
    """Return why `version`, which isn't published any more, can't be read: `events` are its own, oldest first.

    Who asks for a version that was withdrawn is told so whatever came before or after; `head` is what the name stands
    for now.
    """
    now = f"read {version.dataset}@{head}, which the name stands for now" if head else "no version stands for the name"
    what = {event.action: event for event in events if event.action in ("withdraw", "expire")}
    if event := what.get("withdraw"):
        return VersionWithdrawn(
            where=version.name,
            expected="a version that may be read",
            found=f"withdrawn by {event.actor} on {_moment(event.at)}: {event.reason}",
            not_done=NOTHING_READ,
            remedy=f"{now}; what was made from this version needs to be looked at",
        )
    event = what.get("expire")
    told = f"expired by {event.actor} on {_moment(event.at)}: {event.reason}" if event else "no longer kept"
    files = "; its files are gone" if version.state is VersionState.COLLECTED else ""
    return VersionGone(
        where=version.name,
        expected="a version that is kept",
        found=told + files,
        not_done=NOTHING_READ,
        remedy=now,
    )


def rewritten(version: DatasetVersion) -> VersionGone:
    """Return what a reader is told whose files were written again under new keys while it read."""
    return VersionGone(
        where=version.name,
        expected="the files of the release that was opened",
        found="other files with the same rows: they were written again under new keys",
        not_done="the rows after it were not read",
        remedy="open the dataset again; the version is the same",
        code="rewritten",
    )


def unknown(selector: Selector, known: Sequence[int], names: Sequence[str]) -> NotFound:
    """Return that there is no such version: `known` are numbers of the dataset, `names` all datasets there are."""
    if known:
        shown = ", ".join(map(str, known[-LISTED:]))
        listed = f"versions {shown}" if len(known) <= LISTED else f"versions ..., {shown}"
    else:
        listed = "one of: " + (", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "") or "none yet")
    asked = ""
    if selector.version is not None:
        asked = f" with version {selector.version}"
    elif selector.tag is not None:
        asked = f" with a published version tagged {selector.tag}"
    elif selector.day is not None:
        asked = f" that stood for a version at the end of {selector.day} (UTC)"
    return NotFound(
        where="the catalogue",
        expected=f"a published dataset ({listed})",
        found=f"none called {selector.name!r}{asked}",
        not_done=NOTHING_READ,
        remedy="`cloakhouse datasets` lists what is published, `cloakhouse versions NAME` its versions",
    )


def no_head(dataset: str) -> NotFound:
    """Return that every version of a dataset was withdrawn or is gone, so that its bare name stands for none."""
    return NotFound(
        where=f"the catalogue, {dataset}",
        expected="a version that the name stands for",
        found="none: those that there were are withdrawn or gone",
        not_done=NOTHING_READ,
        remedy=f"`cloakhouse versions {dataset}` tells what became of each",
    )


def future(selector: Selector) -> NotFound:
    """Return that a day which has not come has no end."""
    return NotFound(
        where=str(selector),
        expected="today (UTC) or a day before",
        found="a day that has not come: what the name will stand for is open",
        not_done=NOTHING_READ,
        remedy="take the number of a version to pin it",
        code="day",
    )


def needed(version: DatasetVersion, why: str) -> AccessRefused:
    """Return that a version may not be expired, because it is needed."""
    return AccessRefused(
        where=version.name,
        expected="a version that nobody needs: not what the name stands for, without tag, not held",
        found=why,
        not_done="no version was expired",
        remedy="`cloakhouse rollback`, `untag` or `unhold` first, if it may go",
        code="needed",
    )


def not_published(version: DatasetVersion, not_done: str) -> ConfigurationError:
    """Return that only a published version can be what was asked."""
    return ConfigurationError(
        where=version.name,
        expected="a published version",
        found=f"one that is {version.state.value}",
        not_done=not_done,
        remedy=f"`cloakhouse versions {version.dataset}` lists the published ones",
        code="version",
    )


def nothing_before(dataset: str) -> NotFound:
    """Return that there is no version to roll back to."""
    return NotFound(
        where=f"the catalogue, {dataset}",
        expected="a published version before the one that the name stands for",
        found="none",
        not_done=NOTHING_CHANGED,
        remedy=f"`cloakhouse versions {dataset}` lists what there is",
        code="version",
    )


def bad_tag(found: str) -> ConfigurationError:
    """Return that a text is no tag; `found` describes it."""
    return ConfigurationError(
        where="a tag",
        expected="a letter of a-z, then at most 30 of a-z, 0-9 and -; `certified`",
        found=found,
        not_done=NOTHING_CHANGED,
        remedy="choose another tag",
        code="tag",
    )


def condemned(version: DatasetVersion) -> VersionGone:
    """Return that a hold comes too late."""
    return VersionGone(
        where=version.name,
        expected="a version whose files are kept",
        found="one whose files the collector removes, or has removed",
        not_done="the version is not held",
        remedy="restore the files from a backup of the lake, if they are needed",
        code="collected",
    )


def never_reserved(dataset: str, version: int) -> IntegrityError:
    """Return that a version has a number that was not reserved, so that another could get it, too."""
    return IntegrityError(
        where=f"{dataset}@{version}",
        expected="a number that was reserved for it",
        found="one that the control database never gave",
        not_done="nothing was published",
        remedy="publish again: another number is reserved",
        code="catalogue-old",
    )


def _moment(at: dt.datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")
