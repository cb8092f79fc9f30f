"""An erasure from its first step to its last: the same for the command line and for the DAG.

The request stands, with its tombstones: since then no run uses the persons. Then, one erasure of an installation at a
time:

    cut    1. what the closing search and the attack will look for is collected, while it is there (`worklist`);
           2. the persons leave the registers, the landed files, the protected partitions, the quarantine, and whatever
              else lies about;
    renew  3. what was made of their rows is withdrawn and deleted (`derived`), and made anew where its name would
              stand for nothing newer (`anew/<dataset>`);
           4. once more, for what came in meanwhile (`late`);
    prove  5. what landed since is cut, old versions of objects go, where the store keeps any, and every byte is
              searched (`sweep`); a hit stops here, is recorded by its places (`sweep/found/<digest>`), and the
              erasure stays open;
           6. each synthetic dataset that was made anew is attacked (`attack/<dataset>@<version>`); one that tells who
              was erased is withdrawn again;
           7. the certificate is signed, and the erasure ends;
           8. the list of the persons and the worklist are dropped.

Each step is recorded once, when it is done (`cloakhouse.ledger.erasures`): killed anywhere, the next call goes on. A
hold that is placed meanwhile keeps its persons' rows wherever they weren't erased yet. Nobody but this module knows the
order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cloakhouse.contracts.model import Kind
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import StageError
from cloakhouse.flow.making_anew import cluster_of, make_anew
from cloakhouse.flow.submit import Cluster
from cloakhouse.keys.files import locked
from cloakhouse.ledger.audit_event import Action
from cloakhouse.ledger.erasure_model import Erasure, ErasureState
from cloakhouse.ledger.erasures import Erasures
from cloakhouse.settings import Settings
from cloakhouse.stages import erasure_worklist
from cloakhouse.stages.auditing import event
from cloakhouse.stages.erase_derived import DERIVED, LATE, erase_derived, touched_by
from cloakhouse.stages.erase_landed import recut_new
from cloakhouse.stages.erase_versions import remove_versions
from cloakhouse.stages.erasure_attack import ABOVE_CHANCE, attack_after
from cloakhouse.stages.erasure_batch import Batch, drop_abandoned, drop_list, open_batch
from cloakhouse.stages.erasure_certificate import certify
from cloakhouse.stages.strays import STRAYS
from cloakhouse.stages.sweep import require_clean, sweep
from cloakhouse.stages.version_changes import operator

CUT, RENEW, PROVE = "cut", "renew", "prove"
PARTS = (CUT, RENEW, PROVE)
LOCK_WAIT_S = 3600.0  # another erasure may take that long
Told = Callable[[str], None]


def erase(
    settings: Settings,
    name: str,
    told: Told = lambda _step: None,
    *,
    parts: Collection[str] = PARTS,
    cluster: Cluster | None = None,
) -> Erasure:
    """Erase the persons of the batch `name`, or go on with it, and return how it stands; a done one is as it was.

    `told` is called with the name of each step as it begins. `parts` are those of PARTS that are done, in their order;
    one asks for those before it. `cluster`: where Spark runs; None: as Airflow's connection says. Raises NotFound;
    StageError while another erasure is at work, and for what a step can't finish; the erasure is open then, and the
    next call goes on. So it is after IntegrityError, KeyServiceError, AccessRefused, StorageError.
    """
    with locked(settings.locks / "erasure.lock", LOCK_WAIT_S, "erasing"):
        work = _Work(settings, name, told, cluster)
        for part in PARTS:
            if part in parts and work.is_open:
                if not ready(settings, name, part):
                    raise _not_ready(name, part)
                getattr(work, part)()
        if not work.is_open:
            work.drop()
        return work.erasure


def open_batches(settings: Settings) -> list[str]:
    """Return the names of the erasures that are open, oldest first; what killed requests left behind is dropped."""
    with locked(settings.locks / "erasure.lock", LOCK_WAIT_S, "erasing"):
        drop_abandoned(settings)
    return [erasure.batch for erasure in Erasures(settings.database).all(open_only=True)]


def ready(settings: Settings, name: str, part: str) -> bool:
    """Return whether what a part of the erasure `name` needs before it is done."""
    before = {RENEW: STRAYS, PROVE: LATE}.get(part)
    return before is None or Erasures(settings.database).step(name, before) is not None


def made_anew(settings: Settings, name: str) -> dict[str, int]:
    """Return the versions that the erasure `name` made anew, by dataset."""
    found = {}
    for step in Erasures(settings.database).steps(name):
        if step.step.startswith("anew/") and step.content["version"] is not None:
            found[str(step.content["dataset"])] = int(step.content["version"])
    return found


def _not_ready(name: str, part: str) -> StageError:
    return StageError(
        where=f"erasure {name}, {part}",
        expected="the parts before it done",
        found="one that isn't",
        not_done="nothing was done",
        remedy="see why that part did not end, then go on with the erasure: `cloakhouse erase resume`",
        code="erasure-open",
    )


class _Work:
    """The steps of one erasure."""

    def __init__(self, settings: Settings, name: str, told: Told, cluster: Cluster | None) -> None:
        self._settings = settings
        self._name = name
        self._told = told
        self._cluster = cluster
        self._erasures = Erasures(settings.database)
        self._opened: Batch | None = None

    @property
    def erasure(self) -> Erasure:
        """The erasure as it stands now."""
        return self._erasures.get(self._name)

    @property
    def is_open(self) -> bool:
        """Whether anything is left to do but dropping lists."""
        return self.erasure.state is ErasureState.OPEN

    @property
    def batch(self) -> Batch:
        """The batch with its persons."""
        if self._opened is None:
            self._opened = open_batch(self._settings, self._name)
        return self._opened

    def cut(self) -> None:
        """Steps 1 and 2."""
        from cloakhouse.stages import erase_sources as sources

        with self._step("worklist") as done:
            if done is None:
                self._record("worklist", erasure_worklist.collect(self._settings, self.batch))
        for step in (
            sources.erase_registers,
            sources.erase_landed,
            sources.erase_protected,
            sources.erase_quarantine,
            sources.remove_strays,
        ):
            self._told(step.__name__.partition("_")[2])
            step(self._settings, self.batch)

    def renew(self) -> None:
        """Steps 3 and 4."""
        for step in (DERIVED, LATE):
            self._told(step)
            touched = touched_by(self._settings, self.batch)
            for dataset in erase_derived(self._settings, self.batch, touched, step):
                with self._step(f"anew/{dataset}") as done:
                    if done is None:
                        self._cluster = self._cluster or cluster_of(self._settings)
                        made = make_anew(self._settings, dataset, self._cluster)
                        self._record(f"anew/{dataset}", made.as_dict(), dataset, made.rows)
                        if made.version is None:
                            self._told(f"{dataset} was not made anew: {made.why}")

    def prove(self) -> None:
        """Steps 5 to 7."""
        with self._step("sweep") as done:
            if done is None:
                recut_new(self._settings)  # what landed since, with the persons in it
                old = remove_versions(self._settings)  # at each attempt: whoever cleared a place may have left one
                findings = sweep(self._settings, self.batch)
                self._record(findings.step, {**findings.recorded(), "old_versions": old})  # also what stops it
                require_clean(findings, self._name)
        contracts = load_contracts(self._settings.contracts)
        for dataset, version in made_anew(self._settings, self._name).items():
            if dataset in contracts and contracts[dataset].kind is Kind.SYNTHETIC:
                self._attack(dataset, version)
        self._told("certificate")
        certificate = certify(self._settings, self.batch)
        self._erasures.end(self._name, certificate, self._event("end", certificate.sha256))

    def drop(self) -> None:
        """Step 8."""
        erasure_worklist.drop(self._settings, self._name)
        drop_list(self._settings, self._name)

    def _attack(self, dataset: str, version: int) -> None:
        step = f"attack/{dataset}@{version}"
        with self._step(step) as done:
            if done is None:
                found = attack_after(self._settings, self.batch, dataset, version)
                if found.verdict == ABOVE_CHANCE:
                    reason = f"erasure {self._name}: an attack tells who was erased"
                    operator(self._settings).withdraw(dataset, version, reason)
                self._record(step, found.as_dict(), dataset, found.persons)

    @contextlib.contextmanager
    def _step(self, step: str) -> Iterator[Mapping[str, Any] | None]:
        """Yield what a step found and did when it is done, None when it isn't, and is begun."""
        known = self._erasures.step(self._name, step)
        if known is None:
            self._told(step)
        yield None if known is None else known.content

    def _record(self, step: str, content: Mapping[str, Any], dataset: str = "", count: int = 0) -> None:
        by = replace(self._event(step), dataset=dataset, count=count)
        self._erasures.done(self._name, step, content, by)

    def _event(self, step: str, certificate: str = "") -> Any:
        facts = {"batch": self._name, "step": step} | ({"certificate": certificate} if certificate else {})
        return event(self._settings, Action.ERASE, f"erasure {self._name}", reason=self.batch.reason, facts=facts)
