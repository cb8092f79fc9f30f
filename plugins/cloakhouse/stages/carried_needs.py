"""What a job away from home needs of it: its lock, the keys that must be there before, and the files of its bag.

No key can be made away from home (`cloakhouse.keys.copied`), so whatever the job may write with is made here first.
Beside these the bag holds the keys of the datasets that it reads, as far as they exist, and no other dataset's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloakhouse.contracts.model import ColumnClass, Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import ConfigurationError
from cloakhouse.keys.dataset_keys import DatasetKey, DatasetKeyFile
from cloakhouse.keys.files import listed
from cloakhouse.keys.protocol import FILE, FOOTER, KeyName
from cloakhouse.keys.signing import master
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.sealed import SIGNER
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef
from cloakhouse.settings import Settings
from cloakhouse.stages import pseudonymize, synthesize
from cloakhouse.stages.carried import POLICY, Contents
from cloakhouse.stages.reads import keys_of, view_keys
from cloakhouse.stages.sieve_lists import keys_of_sieve, person_column
from cloakhouse.stages.signing import signing_key
from cloakhouse.stages.token_roots import ensure_roots, roots_of
from cloakhouse.tokens.subjects import layer_of, rights_uses

DIRECT = ColumnClass.DIRECT.key_name
CONSENTS = tuple(DatasetKey("rights", use, "consents") for use in (FOOTER, DIRECT))


@dataclass(frozen=True)
class Needs:
    """What one job needs.

    Attributes:
        dataset: what it makes.
        lock: the lock that whoever changes this dataset takes; `wait_s` is how long it is waited for (seconds).
        makes: dataset keys that it may write with.
        reads: dataset keys that it may read with, beside these.
        roots: roots of token keys.
        signs: whether it signs what it makes.
    """

    dataset: str
    lock: Path
    wait_s: float
    makes: tuple[DatasetKey, ...]
    reads: tuple[DatasetKey, ...]
    roots: tuple[KeyName, ...]
    signs: bool = False

    def make(self, settings: Settings) -> None:
        """Make every key that isn't there yet. Raises KeyServiceError, AccessRefused, IntegrityError, StorageError."""
        open_ring(settings).ensure(self.makes)
        ensure_roots(settings, self.roots)
        signing_key(settings)  # also where nothing is signed: by its fingerprint the driver knows the control database

    def contents(self, settings: Settings) -> Contents:
        """Return what goes into the bag, once the keys are made."""
        return Contents(dict(self._files(settings)), {"control": identity_of(settings)})

    def _files(self, settings: Settings) -> Iterator[tuple[str, Path]]:
        for key in {*self.makes, *self.reads}:
            if DatasetKeyFile.exists(settings.dataset_keys, key):
                yield f"dataset-keys/{key.name}.json", settings.dataset_keys / f"{key.name}.json"
        for root in self.roots:
            name = f"{root.replace('/', '-')}.json"
            yield f"token-roots/{name}", settings.token_roots / name
        for name in (f"{SIGNER}.json", f"{SIGNER}.pem") if self.signs else ():
            yield f"signing-keys/{name}", settings.signing_keys / name
        for path in listed(settings.contracts, "*.odcs.yaml"):
            yield f"contracts/{path.name}", path
        if settings.policy.exists():
            yield POLICY, settings.policy


def identity_of(settings: Settings) -> str:
    """Return by what an installation's control database is known: the fingerprint of its signing key, empty for one
    that isn't of an installation."""
    return Catalogue(settings.database).key_fingerprint(master(SIGNER)) or ""


def needs_of(settings: Settings, job: str, request: ManifestRef) -> Needs:
    """Return what `job` (`pseudonymize`, `synthesize`) needs for `request`.

    Raises ConfigurationError for another job, IntegrityError, ContractError, StorageError.
    """
    kinds = {"pseudonymize": pseudonymize.REQUEST, "synthesize": synthesize.REQUEST}
    if job not in kinds:
        raise ConfigurationError(
            where=f"Spark job {job}",
            expected=f"one that can run away from home: {', '.join(kinds)}",
            found="another",
            not_done="the job was not submitted",
            remedy="run it on another master (docs/engines.md)",
            code="master",
        )
    dataset = read_manifest(open_store(settings), request, kinds[job])["dataset"]
    contracts = load_contracts(settings.contracts)
    found = _pseudonymization if job == "pseudonymize" else _synthesis
    return found(settings, contracts, contracts[dataset])


def _pseudonymization(settings: Settings, contracts: dict[str, Contract], contract: Contract) -> Needs:
    name = contract.name
    sieve = keys_of_sieve(contract)
    makes = [*keys_of("protected", contract), *(DatasetKey("quarantine", use, name) for use in (FOOTER, DIRECT))]
    makes += [key for key in sieve if isinstance(key, DatasetKey)]
    reads = [DatasetKey("landing", FILE, name), *CONSENTS]
    for column in contract.columns:
        if column.reference is not None:
            reads += keys_of("protected", contracts[column.reference.dataset], [column.reference.column])
    roots = {*roots_of(contract), *(key for key in sieve if not isinstance(key, DatasetKey))}
    lock = settings.locks / f"{name}.lock"
    return Needs(name, lock, pseudonymize.LOCK_WAIT_S, tuple(makes), tuple(reads), tuple(sorted(roots)))


def _synthesis(settings: Settings, contracts: dict[str, Contract], contract: Contract) -> Needs:
    name = contract.name
    makes = [*view_keys(contracts, contract), *keys_of("synthetic", contract), DatasetKey("synthetic", FILE, name)]
    sources = [contracts[source] for source in contract.sources]
    reads = [*CONSENTS, *(key for source in sources for key in keys_of("protected", source))]
    lock = settings.locks / f"{name}-synthesis.lock"
    return Needs(
        name, lock, synthesize.LOCK_WAIT_S, tuple(makes), tuple(reads), tuple(sorted(_rights(sources))), signs=True
    )


def _rights(sources: Iterable[Contract]) -> set[KeyName]:
    columns = [column for source in sources if (column := person_column(source)) is not None]
    return {use.root for column in columns for use in (layer_of(column), *rights_uses(column))}
