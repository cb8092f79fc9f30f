"""The tasks of the DAGs: each reads the settings, calls one stage, and passes on a reference."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from airflow.sdk import PokeReturnValue
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.errors import CloakhouseError, DeliveryError, NotFound, ValidationRefused, internal
from cloakhouse.flow import engines
from cloakhouse.flow.partitions import Choice, choose
from cloakhouse.keys.protocol import KeyName
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings

Reference = dict[str, Any]
P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger(__name__)


def explained(stage: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Turn an exception into a task failure that shows the platform's message alone, without traceback.

    A refusal that a retry can't help fails for good (AirflowFailException). Of an exception that nobody foresaw
    the class and the place are told.
    """

    def wrap(work: Callable[P, R]) -> Callable[P, R]:
        @wraps(work)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return work(*args, **kwargs)
            except CloakhouseError as refusal:
                problem = refusal
            except (AirflowSkipException, AirflowFailException):
                raise
            except Exception as fault:  # noqa: BLE001 - Airflow would log its text, which may quote values
                problem = internal(stage, fault)
            Progress.of(stage, str(args[0]) if args else "").trouble(problem.explain())
            log.error("%s", problem.explain())
            if problem.retryable:
                raise problem.with_traceback(None) from None
            raise AirflowFailException(problem.code) from None

        return run

    return wrap


def _contract(dataset: str) -> tuple[Settings, Contract]:
    settings = engines.settings()
    return settings, load_contracts(settings.contracts)[dataset]


def _choice(contract: Contract, context: Mapping[str, Any]) -> Choice:
    return choose(contract, context["params"], context["dag_run"])


@explained("land")
def land(dataset: str, **context: Any) -> Reference:
    """Land the waiting files; return the landing manifest and how many files were landed and refused."""
    from cloakhouse.stages.land import land as stage

    settings, contract = _contract(dataset)
    choice = _choice(contract, context)
    done = stage(settings, contract, choice.partitions, supersede=choice.supersede)
    return {
        "path": done.manifest.path,
        "sha256": done.manifest.sha256,
        "landed": done.landed,
        "duplicates": done.duplicates,
        "refused": len(done.refused),
    }


@explained("land")
def check_delivery(dataset: str, landed: Reference) -> None:
    """Fail when files were refused, so that the run shows it; what could be landed goes on beside this task."""
    if landed["refused"]:
        raise DeliveryError(
            where=f"inbox, {dataset}",
            expected="every delivered file landed",
            found=f"{landed['refused']} refused; each is explained in the log of the task `land`",
            not_done="those files were not landed; all others were",
            remedy="follow the explanations, then run the DAG again",
            code="refused",
        )


@explained("consent")
def register_choices(dataset: str) -> int:
    """Bring the consent register up to what has landed of the customer master; return how many choices were new."""
    from cloakhouse.stages.consent_feed import feed_register

    fed = feed_register(engines.settings())
    if fed is None or not fed.partition:
        Progress.of("consent", dataset).finish("nothing has landed", choices=0)
        return 0
    text = f"{fed.choices:,} new choices of {fed.persons:,} persons" if fed.persons else "up to date"
    unreadable = f", {fed.unreadable:,} rows without a person" if fed.unreadable else ""
    Progress.of("consent", dataset).finish(text + unreadable, choices=fed.choices, persons=fed.persons)
    return fed.choices


@explained("pseudonymize")
def plan(dataset: str, **context: Any) -> Reference:
    """Return the request for the partitions that wait; skip when there is none."""
    from cloakhouse.stages.pseudonymize import plan as stage

    settings, contract = _contract(dataset)
    choice = _choice(contract, context)
    request = stage(settings, contract, choice.partitions, reprocess=choice.reprocess)
    if request is None:
        Progress.of("pseudonymize", dataset).finish("nothing waits", rows=0)
        raise AirflowSkipException("no partition waits for pseudonymization")
    return request.as_dict()


@explained("validate")
def validate_protected(dataset: str, **context: Any) -> Reference:
    """Validate the partitions that wait for it and tell the asset what changed; skip when none waits."""
    from cloakhouse.stages.validate import validate_protected as stage
    from cloakhouse.stages.validate import waiting_partitions

    settings, contract = _contract(dataset)
    waiting = waiting_partitions(Catalogue(settings.database), contract)
    if not waiting:
        Progress.of("validate", dataset).finish("nothing waits", rows=0)
        raise AirflowSkipException("no partition waits for validation")
    evidence = stage(settings, contract).as_dict()
    _tell_asset(context, {"partitions": len(waiting), "rows": sum(p.rows for p in waiting), **evidence})
    return evidence


@explained("synthesize")
def plan_synthesis(dataset: str) -> Reference:
    """Return the request for the synthetic dataset; skip while a source has no validated data, or when these inputs are
    published."""
    from cloakhouse.stages.synthesize import plan as stage

    settings, contract = _contract(dataset)
    absent = _sources_without_data(settings, contract)
    if absent:
        Progress.of("synthesize", dataset).finish("waits for validated data of " + ", ".join(absent), rows=0)
        raise AirflowSkipException("a source has no validated data yet")
    request = stage(settings, contract)
    if request is None:
        raise AirflowSkipException("these inputs are published already")
    return request.as_dict()


def _sources_without_data(settings: Settings, contract: Contract) -> list[str]:
    from cloakhouse.stages.sources import current_partitions
    from cloakhouse.stages.validate import waiting_partitions

    contracts, catalogue = load_contracts(settings.contracts), Catalogue(settings.database)
    absent = []
    for name in contract.sources:
        try:
            current_partitions(catalogue, contracts[name])
        except NotFound:
            absent.append(name)
        else:
            if waiting_partitions(catalogue, contracts[name]):  # a dataset with some of its weeks is none
                absent.append(name)
    return absent


@explained("validate")
def validate_synthetic(dataset: str, synthesis: Reference) -> Reference:
    """Put the synthetic dataset through suite and gate; return the evidence."""
    from cloakhouse.stages.validate_release import validate_synthetic as stage

    settings, contract = _contract(dataset)
    return stage(settings, contract, ManifestRef.of(synthesis)).as_dict()


@explained("publish")
def publish(dataset: str, evidence: Reference | None, **context: Any) -> Reference:
    """Make the validated dataset visible and tell the asset its version."""
    from cloakhouse.stages.publish import publish as stage

    settings, contract = _contract(dataset)
    version = stage(settings, contract, _approved(settings, contract, evidence))
    released = {**version.manifest.as_dict(), "version": version.version, "rows": version.rows}
    _tell_asset(context, released)
    return released


@explained("aggregate")
def aggregate(dataset: str) -> Reference:
    """Answer the query of an aggregate; skip while a source has no validated data, or when it is published already."""
    from cloakhouse.stages.aggregate import aggregate as stage

    settings, contract = _contract(dataset)
    absent = _sources_without_data(settings, contract)
    if absent:
        Progress.of("aggregate", dataset).finish("waits for validated data of " + ", ".join(absent), rows=0)
        raise AirflowSkipException("a source has no validated data yet")
    try:
        answer = stage(settings, contract)
    except NotFound:  # all sources have data: none of it is of the calendar
        raise AirflowSkipException("no data of the calendar yet") from None
    if not isinstance(answer, ManifestRef):
        raise AirflowSkipException("this was answered from these inputs already")
    return answer.as_dict()


@explained("publish")
def publish_answer(dataset: str, evidence: Reference | None, **context: Any) -> Reference:
    """Make the answer visible and tell the asset its version."""
    from cloakhouse.stages.publish_answer import publish_answer as stage

    settings, contract = _contract(dataset)
    version = stage(settings, contract, _approved(settings, contract, evidence))
    released = {**version.manifest.as_dict(), "version": version.version, "rows": version.rows}
    _tell_asset(context, released)
    return {name: value for name, value in released.items() if name != "path"}


@explained("report")
def report(dataset: str, released: Reference) -> Reference:
    """Write the signed validation report of the version that was published; the same one when it stands already."""
    from cloakhouse.ledger.versions import Selector
    from cloakhouse.stages.reporting import write_report
    from cloakhouse.stages.version_asked import version_asked

    settings = engines.settings()
    version = version_asked(settings, Selector(dataset, version=int(released["version"])))
    ref, _ = write_report(settings, version)
    Progress.of("report", dataset).finish(f"signed report of {version.name}", version=version.version)
    return {**ref.as_dict(), "version": version.version}


def _approved(settings: Settings, contract: Contract, evidence: Reference | None) -> ManifestRef:
    """Return the evidence that may be published. Raises ValidationRefused without an approval that the contract wants,
    and where the task before passed on no evidence, as one does that a person marked as done."""
    from cloakhouse.stages.approving import require_approved

    if evidence is None:
        raise ValidationRefused(
            where=f"dataset {contract.name}",
            expected="the evidence from the task before",
            found="none: that task was not run, but marked",
            not_done="nothing was published",
            remedy="clear the task before, so that it runs",
            code="evidence",
        )
    ref = ManifestRef.of(evidence)
    require_approved(settings, contract, ref)
    return ref


@explained("rotate")
def rotate_keys() -> Reference:
    """Rotate the master keys that are due and return the report."""
    from cloakhouse.stages.rotation import rotate_due

    settings = engines.settings()
    return rotate_due(settings, settings.rotation_period, dt.datetime.now(dt.UTC)).as_dict()


@explained("rewrite")
def rewrite_keys(**context: Any) -> PokeReturnValue:
    """Begin or go on with the rewrite of the key in the parameters; done when the old files are gone."""
    from cloakhouse.stages.rewrite import rewrite
    from cloakhouse.stages.rotation import report

    settings, params = engines.settings(), context["params"]
    result = rewrite(settings, KeyName(params["key"]), dt.timedelta(seconds=params["grace_s"]))
    log.info("rewrite of %s: %s", result.name, result.state)
    done = report(settings, "rewrite", result.as_dict()).as_dict() if result.done else None
    return PokeReturnValue(is_done=result.done, xcom_value=done)


@explained("expire")
def expire_versions() -> int:
    """Expire the versions that are older than their contracts keep them, and return how many."""
    from cloakhouse.stages.version_changes import operator

    settings = engines.settings()
    expired = operator(settings).expire_due(load_contracts(settings.contracts), dt.datetime.now(dt.UTC))
    return len(expired)


@explained("collect")
def collect_files() -> Reference:
    """Remove the files that nobody needs and return the report; fail when a dataset could not be collected."""
    from cloakhouse.stages.collect import collect

    done = collect(engines.settings(), dry_run=False)
    for problem in done.failed.values():
        raise problem
    assert done.report is not None
    return done.report.as_dict()


def _tell_asset(context: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    for asset in context["task"].outlets:
        context["outlet_events"][asset].extra = dict(facts)
