"""What was made from the rows of persons: versions, unpublished runs, their models, training views and evidence.

1. A run is a synthesis, by its manifest, or an answer to a query, by its evidence; a version is what a release lists.
   Each names the protected partitions that it was made from. Of every state: whatever lies in the lake counts.
2. It is suspected when one of these partitions held rows of the persons, in any delivery, and isn't one of the
   manifests that are known to be clean by now. Which partitions did is the caller's to say (`touched`).
3. A suspected version whose training view and hold-out can be opened is acquitted when none of the persons is in
   either: then neither model nor figures were made with them. It is asked for only where the view's tokens are surely
   those that the contracts in force make; a view that can't be opened acquits nobody. Answers have no views.
4. Of the rest, releases under a guarantee may stand where it promises enough (`cloakhouse.stages.unerased`); their
   training views and hold-outs don't. Everything else goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from cloakhouse.contracts.model import Contract, Kind
from cloakhouse.contracts.parser import QUERIES, load_contracts
from cloakhouse.errors import IntegrityError, KeyServiceError
from cloakhouse.lake.parquet import TableStore
from cloakhouse.lake.releases import Release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.protocol import ObjectStore
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.versions import DatasetVersion, VersionRegister, VersionState
from cloakhouse.settings import Settings
from cloakhouse.stages.derived_runs import Run, runs_of
from cloakhouse.stages.sources import file_entries
from cloakhouse.stages.token_roots import token_keys
from cloakhouse.stages.unerased import Argument, argument, guarantee_of
from cloakhouse.stages.version_checks import open_release
from cloakhouse.synthesis.protocol import UNIT
from cloakhouse.tokens.keyed import written
from cloakhouse.tokens.subjects import tokens_of_rights

ZONES = ("synthetic", "aggregates", "views", "models", "evidence")
CLOSED = ("key.missing", "key.destroyed", "key.shredded")  # codes of keys with which nobody opens a view any more
Touched = Mapping[str, Collection[str]]  # partitions that held rows of the persons, by protected dataset


@dataclass(frozen=True)
class Standing:
    """Which releases under a guarantee may stand: all of `versions` (names) together, by `argument`, or none."""

    argument: Argument
    versions: frozenset[str]

    def admits(self, version: DatasetVersion) -> bool:
        """Return whether `version` may stand."""
        return self.argument.holds and version.name in self.versions


NOTHING_STANDS = Standing(argument([], 0), frozenset())


@dataclass(frozen=True)
class Trace:
    """What of one derived dataset was made from rows of the persons.

    Attributes:
        versions: that go, whatever their state, in order of their numbers, with their releases.
        kept: published versions that may stand; their views go.
        runs: that go, published or not; `bare`: those of `kept`, of which the views go alone.
        newest: whether the newest published version is among those that go, so that another has to be made.
    """

    dataset: str
    versions: tuple[tuple[DatasetVersion, Release], ...] = ()
    kept: tuple[DatasetVersion, ...] = ()
    runs: tuple[Run, ...] = ()
    bare: tuple[Run, ...] = ()
    newest: bool = False

    @property
    def published(self) -> tuple[DatasetVersion, ...]:
        """The versions that go and could be read until now."""
        return tuple(version for version, _ in self.versions if version.state is VersionState.PUBLISHED)

    def __bool__(self) -> bool:
        return bool(self.versions or self.kept or self.runs)


def derived_datasets(settings: Settings) -> list[str]:
    """Return every dataset that may hold derived data: of contracts, of versions, and of what lies in the lake."""
    store = open_store(settings)
    contracts = load_contracts(settings.contracts)
    feeds = {name for name, contract in contracts.items() if contract.kind is Kind.FEED}
    found = set(contracts) | set(VersionRegister(settings.database).datasets()) | {QUERIES}
    for zone in ZONES:
        found |= {info.path.split("/")[1] for info in store.list(zone)}
    return sorted(found - feeds)


def traces(
    settings: Settings, touched: Touched, persons: pa.Array, clean: Collection[str] = frozenset()
) -> list[Trace]:
    """Return what was made from rows of `persons` (rights tokens) in the partitions `touched`, by dataset in order.

    `clean` are digests of protected manifests that hold none of the persons any more. Nothing is changed; whoever
    removes it asks again under the dataset's locks (`trace`). Raises IntegrityError, KeyServiceError, StorageError.
    """
    if not len(persons):
        return []
    stands, contracts = standing(settings, touched, persons, clean), load_contracts(settings.contracts)
    found = (trace(settings, name, touched, persons, clean, stands, contracts) for name in derived_datasets(settings))
    return [one for one in found if one]


def standing(settings: Settings, touched: Touched, persons: pa.Array, clean: Collection[str] = frozenset()) -> Standing:
    """Return which releases under a guarantee may stand, of all datasets together: step 4."""
    promised: dict[str, tuple[float, float]] = {}
    contracts = load_contracts(settings.contracts)
    for name in derived_datasets(settings):
        promised |= _Tracer(settings, contracts, name, touched, persons, frozenset(clean)).promised()
    return Standing(argument(list(promised.values()), len(persons)), frozenset(promised))


def trace(
    settings: Settings,
    dataset: str,
    touched: Touched,
    persons: pa.Array,
    clean: Collection[str] = frozenset(),
    stands: Standing = NOTHING_STANDS,
    contracts: Mapping[str, Contract] | None = None,
) -> Trace:
    """Return what of one dataset was made from rows of `persons`. See `traces`. `contracts`: where they are read."""
    known = load_contracts(settings.contracts) if contracts is None else contracts
    return _Tracer(settings, known, dataset, touched, persons, frozenset(clean)).trace(stands)


@dataclass
class _Tracer:
    """Steps 1 to 4 for one dataset."""

    settings: Settings
    contracts: Mapping[str, Contract]
    dataset: str
    touched: Touched
    persons: pa.Array
    clean: frozenset[str]
    store: ObjectStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = open_store(self.settings)

    def trace(self, stands: Standing) -> Trace:
        """Return what goes of the dataset."""
        runs = {run.manifest.path: run for run in runs_of(self.store, self.dataset)}
        gone: list[tuple[DatasetVersion, Release]] = []
        kept, bare, acquitted = [], [], set()
        for version, release in self._versions():
            run = runs.get(release.source.path)
            if run is not None and self._acquitted(run, release):
                acquitted.add(run.manifest.path)
            elif version.state is VersionState.PUBLISHED and stands.admits(version):
                kept.append(version)
                bare += [run] if run is not None else []
            else:
                gone.append((version, release))
        stay = acquitted | {run.manifest.path for run in bare}
        published = [v for v in self._all() if v.state is VersionState.PUBLISHED]
        return Trace(
            self.dataset,
            tuple(gone),
            tuple(kept),
            tuple(r for path, r in runs.items() if path not in stay and self._suspected(r.content["sources"])),
            tuple(bare),
            bool(published) and published[-1] in [version for version, _ in gone],
        )

    def promised(self) -> dict[str, tuple[float, float]]:
        """Return the guarantees that suspected published versions state for persons, by their names."""
        found = {}
        for version, release in self._versions():
            guarantee = self._guarantee(release)
            if version.state is VersionState.PUBLISHED and guarantee is not None:
                found[version.name] = guarantee
        return found

    def _all(self) -> list[DatasetVersion]:
        return VersionRegister(self.settings.database).versions(self.dataset)

    def _versions(self) -> Iterator[tuple[DatasetVersion, Release]]:
        """Yield the suspected versions of which anything is left, in order of their numbers."""
        for version in self._all():
            release = self._opened(version)
            if release is not None and self._suspected(release.parents) and not self._is_over(version, release):
                yield version, release

    def _is_over(self, version: DatasetVersion, release: Release) -> bool:
        """Return whether nothing is left of a version but its release: an earlier erasure was here."""
        left = (release.evidence.path, release.source.path)
        return version.state is VersionState.COLLECTED and not any(self.store.stat(path) for path in left)

    def _opened(self, version: DatasetVersion) -> Release | None:
        """Return the release of `version`; None of a collected one whose release can't be read any more."""
        try:
            return open_release(self.settings, version)
        except IntegrityError:
            if version.state is VersionState.COLLECTED:
                return None
            raise

    def _suspected(self, parents: Mapping[str, Sequence[Mapping[str, str]]]) -> bool:
        return any(
            parent["partition"] in self.touched.get(source, ()) and parent["sha256"] not in self.clean
            for source, partitions in parents.items()
            for parent in partitions
        )

    def _acquitted(self, run: Run, release: Release) -> bool:
        """Return whether none of the persons is in the training view or the hold-out, for sure."""
        contract = self.contracts.get(self.dataset)
        if not run.views or contract is None or contract.synthesis is None:
            return False
        view = contract.synthesis.view
        source = self.contracts[view.source]
        known = release.treatments.get(view.source, {}).get("contract", {}).get("digest")
        same = run.content["contract"]["digest"] == contract.digest and known == source.digest
        if not same or not _names_persons(source, view.unit):
            return False
        column = source.column(view.unit)
        tokens = tokens_of_rights(self.persons, column, token_keys(self.settings))
        return not self._held(run, written(tokens, column.treatment.parameters))

    def _held(self, run: Run, tokens: pa.Array) -> bool:
        """Return whether one of `tokens` is in a file of the views, or one of these can't be opened."""
        tables = TableStore(self.store, open_ring(self.settings))
        entries = file_entries([*run.content["training"]["files"], *run.content["holdout"]["files"]])
        try:
            for entry in entries:
                units = tables.read(entry, [UNIT]).column(UNIT)
                if pc.any(pc.is_in(units, value_set=tokens.cast(units.type)), min_count=0).as_py():
                    return True
        except IntegrityError:
            return True
        except KeyServiceError as closed:
            if closed.code not in CLOSED:
                raise
            return True
        return False

    def _guarantee(self, release: Release) -> tuple[float, float] | None:
        """Return (epsilon, delta) that the release states for each person; None when it states none for persons."""
        contract = self.contracts.get(self.dataset)
        if contract is None or release.contract["digest"] != contract.digest:
            return None
        if contract.synthesis is not None:
            source, unit = contract.synthesis.view.source, contract.synthesis.view.unit
        elif contract.query is not None:
            source, unit = contract.query.source, contract.query.unit
        else:
            return None
        if not _names_persons(self.contracts[source], unit):
            return None
        return guarantee_of(release.card.get("privacy", {}).get("guarantee"), contract.unit_of_privacy)


def _names_persons(source: Contract, unit: str) -> bool:
    subject = source.rights.subject
    return subject is not None and subject.column == unit
