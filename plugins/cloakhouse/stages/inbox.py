"""What lies in the inbox for a feed, what should, and what is almost named as it should be."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from cloakhouse.contracts.model import Feed
from cloakhouse.errors import DeliveryError
from cloakhouse.stages.inspection import refuse


def waiting(inbox: Path, feed: Feed, partitions: Sequence[str] | None) -> list[str]:
    """Return the names of the feed's files, in order; of `partitions` (ISO dates) only, unless None."""
    wanted = set(partitions) if partitions is not None else None
    found = ((name, feed.partition_of(name)) for name in _names(inbox))
    return [name for name, part in found if part is not None and (wanted is None or part in wanted)]


def missing(feed: Feed, names: Sequence[str], known: Collection[str], partitions: Sequence[str] | None) -> list[str]:
    """Return the partitions asked for that neither wait (`names`) nor have landed (`known`).

    With `partitions` None it is `<date>` for a feed that never delivered anything.
    """
    seen = {feed.partition_of(name) for name in names} | set(known)
    if partitions is None:
        return [] if seen else ["<date>"]
    return [partition for partition in partitions if partition not in seen]


def absent(feed: Feed, partition: str) -> DeliveryError:
    """Return the refusal for a partition that was never delivered."""
    return refuse(
        feed.file_name(partition),
        "the file",
        "no file of that name, now or earlier",
        "have the sender deliver it; the next run takes it",
        "missing",
    )


def misnamed(inbox: Path, feed: Feed) -> Iterator[DeliveryError]:
    """Yield a refusal for each file that is almost named as the feed's: it would lie in the inbox unseen."""
    head, tail = feed.files.lower().split("{partition}")
    for name in _names(inbox):
        alike = name.lower().startswith(head) and name.lower().endswith(tail)
        if alike and feed.partition_of(name) is None:
            yield refuse(
                f"{feed.files} (a file with another date or spelling)",
                f"a name in just that spelling, with the start date of a {feed.period.value}",
                "a name that differs in its date, its capitals, or in between",
                "rename the file, or take it out of the inbox",
                "name",
            )


def _names(inbox: Path) -> list[str]:
    return sorted(entry.name for entry in inbox.iterdir() if entry.is_file()) if inbox.is_dir() else []
