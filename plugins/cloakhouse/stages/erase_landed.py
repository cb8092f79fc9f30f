"""Erasing persons from landed originals: every kept delivery of every feed with a `subject`, once for the whole batch.

All revisions of a partition are looked at, also superseded ones. Each delivery is a step of the erasure, so that the
next call after a kill goes on with the others; the step `landed` is the end, with what all of them came to.

Deliveries that land later are looked at by `recut_new`, once each, for everybody who has a tombstone. A delivery in
which a line names such a person and one under a hold keeps that line, and is looked at again only when the tombstones
or the holds are others than they were.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.keys.files import locked
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import Delivery
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.ledger.subject_holds import SubjectHolds
from cloakhouse.ledger.tombstones import Tombstones
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import event
from cloakhouse.stages.cut_landed import CutLines, LandedCutter, remove_unlisted
from cloakhouse.stages.cutting import Tools
from cloakhouse.stages.erasure_batch import still
from cloakhouse.stages.raw_subjects import RawSubjects, nobody
from cloakhouse.stages.residency import check_residency

if TYPE_CHECKING:
    from cloakhouse.stages.erasure_batch import Batch

LANDED = "landed"
NEW = "new deliveries"  # what `recut_new` is called in manifests, in place of a batch
LOCK_WAIT_S = 600.0


def erase_landed(settings: Settings, batch: Batch) -> dict[str, int]:
    """Cut the persons of `batch` out of all landed files and return totals: files, cut files, lines, kept lines.

    Persons who are under a hold stay. Done once, the totals are those recorded. Raises IntegrityError for a file that
    was changed, KeyServiceError, AccessRefused, StorageError, StageError (a dataset is busy).
    """
    erasures = Erasures(settings.database)
    ended = erasures.step(batch.name, LANDED)
    if ended is not None:
        return dict(ended.content)
    by = event(settings, Action.ERASE, f"erasure {batch.name}", reason=batch.reason, facts={"erasure": batch.name})
    feeds = list(feeds_of_persons(settings))
    tools = Tools.of(settings, feeds, batch.reason)
    done, swept = {step.step for step in erasures.steps(batch.name)}, set[tuple[str, str]]()
    for contract in feeds:
        progress = Progress.of("erase", contract.name)
        kept = _settled(settings, contract, tools)
        for number, delivery in enumerate(kept, start=1):
            name = f"{LANDED} {contract.name}/{delivery.partition}/{delivery.revision}"
            if name not in done:
                subjects = recogniser(contract, tools, still(settings, batch, tools.holds), batch.names)
                told = _told(by, delivery)
                recording = partial(erasures.within, batch=batch.name, step=name)
                found, noted = _cut(settings, contract, delivery, subjects, told, tools, recording=recording)
                if not noted:
                    erasures.done(batch.name, name, found, replace(told, count=found["lines"]))
            elif (delivery.partition, contract.name) not in swept:  # of a call that was killed after its cut
                _sweep(settings, contract, delivery.partition, tools)
                swept.add((delivery.partition, contract.name))
            progress.step(number, len(kept), "landed files")
    totals = Counter({"files": 0, "cut": 0, "lines": 0, "kept": 0})
    for step in erasures.steps(batch.name):
        if step.step.startswith(f"{LANDED} "):
            totals.update(files=1, cut=int(step.content["lines"] > 0))
            totals.update({name: step.content[name] for name in ("lines", "kept")})
    erasures.done(batch.name, LANDED, dict(totals), by)
    return dict(totals)


def recut_new(settings: Settings) -> dict[str, int]:
    """Cut erased persons out of deliveries that landed after the first erasure and weren't looked at; return totals.

    Raises as `erase_landed`.
    """
    totals = Counter({"files": 0, "cut": 0, "lines": 0, "kept": 0})
    erased, held = Tombstones(settings.database).persons(), SubjectHolds(settings.database).held()
    requests = Erasures(settings.database).all()
    if not requests:
        return dict(totals)
    digest = _digest(erased, held)
    going = erased.filter(pc.invert(pc.is_in(erased, value_set=held)))
    feeds, by = list(feeds_of_persons(settings)), event(settings, Action.ERASE, NEW, facts={"erasure": NEW})
    tools = Tools.of(settings, feeds, NEW)
    for contract in feeds:
        since = requests[0].requested_at
        for delivery in [d for d in _kept(contract, tools) if _to_search(tools, d, digest, since)]:
            subjects = recogniser(contract, tools, going, nobody())
            found, _ = _cut(settings, contract, delivery, subjects, _told(by, delivery), tools, digest)
            totals.update({name: found[name] for name in ("lines", "kept")}, files=1, cut=int(found["lines"] > 0))
    return dict(totals)


def feeds_of_persons(settings: Settings) -> Iterator[Contract]:
    """Yield the feeds that declare whose rows they have, by name."""
    for _, contract in sorted(load_contracts(settings.contracts).items()):
        if contract.feed is not None and contract.rights.subject is not None:
            yield contract


def recogniser(contract: Contract, tools: Tools, going: pa.Array, names: pa.Array) -> RawSubjects:
    """Return what recognises the persons `going` in lines of a feed; who is under a hold now, stays."""
    return RawSubjects.of(contract, tools.keys, going, tools.holds.held(), names)


def _kept(contract: Contract, tools: Tools) -> list[Delivery]:
    revisions = tools.catalogue.deliveries(contract.name).values()
    return [delivery for deliveries in revisions for delivery in deliveries if delivery.expired_at is None]


def _settled(settings: Settings, contract: Contract, tools: Tools) -> list[Delivery]:
    """Return the kept deliveries once no landing or pseudonymization is at work that began before the request: what it
    landed is among them, and what it protected stands in the catalogue."""
    with locked(settings.home / "locks" / f"{contract.name}.lock", LOCK_WAIT_S, f"erasing from {contract.name}"):
        return _kept(contract, tools)


def _cut(
    settings: Settings,
    contract: Contract,
    delivery: Delivery,
    subjects: RawSubjects,
    by: Event,
    tools: Tools,
    searched: str = "",
    recording: Callable[..., object] | None = None,
) -> tuple[dict[str, int], bool]:
    """Cut one delivery as it stands now, under the dataset's lock; return its lines and kept lines, and whether
    `recording` was done, which takes a connection and this `content`."""
    check_residency(settings, contract, "landing")
    with locked(settings.home / "locks" / f"{contract.name}.lock", LOCK_WAIT_S, f"erasing from {contract.name}"):
        kept = tools.catalogue.deliveries(contract.name, delivery.partition).get(delivery.partition, [])
        current = [one for one in kept if one.revision == delivery.revision and one.expired_at is None]
        if not current:
            return {"lines": 0, "kept": 0}, False
        batch = str(by.facts["erasure"])
        earlier = _manifest(tools, current[0]).get("cut", {})  # for the same batch, by a version that noted it later
        before = int(earlier["rows"]) if not searched and earlier.get("for") == batch else 0

        def told(found: CutLines) -> dict[str, int]:
            return {"lines": found.gone + before, "kept": found.kept}

        noted = None if recording is None else lambda found: partial(recording, content=told(found))
        cutter = LandedCutter(contract, subjects, by, tools)
        found = cutter.cut(current[0], batch, searched, noted)
        remove_unlisted(tools, contract.name, delivery.partition)
    return told(found), found.noted


def _sweep(settings: Settings, contract: Contract, partition: str, tools: Tools) -> None:
    """Delete what no delivery of a partition lists."""
    with locked(settings.home / "locks" / f"{contract.name}.lock", LOCK_WAIT_S, f"erasing from {contract.name}"):
        remove_unlisted(tools, contract.name, partition)


def _told(by: Event, delivery: Delivery) -> Event:
    what, facts = f"landing/{delivery.dataset}/{delivery.partition}", {**by.facts, "revision": delivery.revision}
    return replace(by, object=what, dataset=delivery.dataset, facts=facts)


def _manifest(tools: Tools, delivery: Delivery) -> dict[str, Any]:
    return read_manifest(tools.store, delivery.manifest, "delivery")


def _to_search(tools: Tools, delivery: Delivery, digest: str, since: dt.datetime) -> bool:
    """Tell whether a delivery is to be looked at for the persons of `digest`.

    It is when it landed `since` and never was, and when lines were kept in it for others than these.
    """
    content = _manifest(tools, delivery)
    if content.get("kept"):
        return bool(content.get("searched") != digest)
    return delivery.landed_at >= since and "searched" not in content


def _digest(erased: pa.Array, held: pa.Array) -> str:
    found = hashlib.sha256()
    for persons in (erased, held):
        found.update(len(persons).to_bytes(8, "big"))
        found.update(b"".join(persons.to_pylist()))
    return found.hexdigest()
