"""The task that asks a person before publication, where the contract wants it: Airflow's human in the loop.

1. asked is only what was not decided yet: a rerun after an approval asks nobody, and a rejection ends its run for good;
2. the task waits, without a worker, until one of the contract's approvers answers in Airflow (Required Actions, or its
   API); after `timeoutHours` the answer is a rejection;
3. the answer is checked and recorded (`cloakhouse.stages.approving`) by this task itself, so that it never becomes an
   XCom, which an engineer could write;
4. after an approval the reference of the evidence is passed on; else the task fails, and nothing is published.

Subject and body hold no values: names, versions, digests, the gate's figures. Of a release under a guarantee they hold
only whether the figures met their thresholds, as its card does: everybody who may look at a run can read them. What a
person fills in is chosen from a list, and Airflow keeps it; it is checked again here, since its API takes any text.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from cloakhouse.contracts.model import Contract
from cloakhouse.contracts.parser import load_contracts
from cloakhouse.flow import engines
from cloakhouse.flow.tasks import explained
from cloakhouse.ledger.approvals import APPROVED, REJECTION, Approvals
from cloakhouse.ledger.audit_event import Action, Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.run_names import name_of, run_name
from cloakhouse.progress import Progress
from cloakhouse.settings import Settings
from cloakhouse.stages.approving import LAPSED, REASONS, REFERENCE, Answer, approved, decide, evidence_of, lapse

PAGE = "/auditor/evidence/"
TESTER = "dag_test"  # who starts a run by `dag.test()`, in which nobody can answer
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|<>~&-])")
log = logging.getLogger(__name__)


class ApproveRelease(ApprovalOperator):  # type: ignore[misc]
    """Waits until an approver of the contract of `dataset` answers; returns the reference `evidence` after an approval.

    `evidence` is the reference that the task before returned; `params` must be given as `form()`.
    """

    template_fields: Sequence[str] = ("evidence",)

    def __init__(self, *, dataset: str, evidence: Any, approvers: Sequence[str], hours: int, **kwargs: Any) -> None:
        super().__init__(
            subject=f"Publish {dataset}?",
            body="",
            defaults=self.REJECT,
            assigned_users=[{"id": name, "name": name} for name in approvers],
            response_timeout=dt.timedelta(hours=hours),
            **kwargs,
        )
        self.dataset = dataset
        self.evidence = evidence

    def execute(self, context: Any) -> dict[str, Any]:
        """Return the reference when the evidence is approved already; else ask and wait. Raises AirflowSkipException
        in a run of `dag.test()`."""
        waits: bool = explained("approve")(self._prepare)(self.dataset, context)
        if waits:
            super().execute(context)
        return dict(self.evidence)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """Record the answer; return the reference. Raises AirflowFailException unless it is an approval."""
        return explained("approve")(self._record)(self.dataset, context, event)

    def _prepare(self, dataset: str, context: Any) -> bool:
        """Return whether somebody has to be asked."""
        settings, contract = _settings_and_contract(dataset)
        ref = ManifestRef.of(self.evidence)
        content = evidence_of(settings, ref)
        if approved(settings, contract, ref):
            return False
        if Approvals(settings.database).rejected_in(dataset, ref.sha256, run_name(context["ti"].run_id)):
            raise AirflowFailException(REJECTION)
        if context["dag_run"].triggering_user_name == TESTER:
            Progress.of("approve", dataset).finish("waits for an approver: start the DAG in the console", rows=0)
            raise AirflowSkipException("a person has to agree, and nobody can answer in this kind of run")
        self.subject = f"Publish {dataset}, under contract {contract.version}?"
        self.body = body(contract, ref, content)
        return True

    def _record(self, dataset: str, context: Any, event: Mapping[str, Any]) -> dict[str, Any]:
        settings, contract = _settings_and_contract(dataset)
        ref, run = ManifestRef.of(self.evidence), _run(settings, context)
        user = event.get("responded_by_user")
        if "error" in event or event.get("timedout") or not user:
            lapse(settings, contract, ref, run)
            raise AirflowFailException(LAPSED)
        typed = event.get("params_input") or {}
        answer = Answer(
            user=str(user["id"]),
            name=str(user["name"]),
            agrees=list(event["chosen_options"]) == [self.APPROVE],
            reason=typed.get("reason") or "",
            reference=typed.get("reference") or "",
        )
        decision = decide(settings, contract, ref, answer, _requesters(settings, context), run)
        log.info("%s: %s", dataset, decision.decision)
        if decision.decision != APPROVED:
            raise AirflowFailException(REJECTION)
        return ref.as_dict()


def body(contract: Contract, evidence: ManifestRef, content: Mapping[str, Any]) -> str:
    """Return what an approver reads first, in Markdown: no value, and nothing exact of a release under a guarantee."""
    private = contract.synthesis is not None and contract.synthesis.privacy is not None
    lines = [
        f"Dataset **{_plain(contract.name)}**, contract {contract.version}, purpose {_plain(contract.purpose)}.",
        f"Evidence [`{evidence.sha256[:16]}`]({PAGE}{evidence.sha256}): "
        f"{'passed' if content['passed'] is True else 'FAILED'}.",
        "",
        "| figure | result | margin |",
        "| --- | --- | --- |",
        *(_row(figure, private) for figure in content["gate"]),
    ]
    if account := content.get("account"):
        lines += ["", f"Budget: epsilon {account['spent_epsilon']:.4g} spent, {account['left_epsilon']:.4g} left."]
    return "\n".join(lines)


def _row(figure: Mapping[str, Any], private: bool) -> str:
    result = "within" if figure["passed"] else "**OUTSIDE**"
    value, threshold = figure["value"], figure["threshold"]
    margin = "not computed"
    if private:
        margin = "withheld"
    elif value is not None:
        left = threshold - value if figure["at_most"] else value - threshold
        margin = f"{left:.3g} of {threshold:.4g}"
    return f"| {_plain(figure['name'])} | {result} | {margin} |"


def _plain(text: str) -> str:
    """Return `text` so that Markdown shows it as it is."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def form() -> dict[str, Any]:
    """Return what an approver fills in, as the operator's `params`."""
    return {
        "reason": Param(
            None,
            type=["null", "string"],
            enum=[None, *REASONS],
            values_display=REASONS,
            title="Reason",
            description="why: one must be chosen",
        ),
        "reference": Param(
            "",
            type="string",
            pattern=f"^(?:{REFERENCE.pattern})?$",
            title="Ticket",
            description="such as DPO-17, or empty. Never write about a person here: others can read it",
        ),
    }


def _settings_and_contract(dataset: str) -> tuple[Settings, Contract]:
    settings = engines.settings()
    return settings, load_contracts(settings.contracts)[dataset]


def _run(settings: Settings, context: Any) -> Event:
    instance = context["ti"]
    return Event(
        "platform",
        Action.APPROVE,
        "",
        settings.purpose,
        dag=name_of(instance.dag_id),
        run=run_name(instance.run_id),
        task=name_of(instance.task_id),
    )


def _requesters(settings: Settings, context: Any) -> set[str]:
    """Return who started the run, and the runs whose assets started it."""
    run = context["dag_run"]
    found = {run.triggering_user_name} if run.triggering_user_name else set()
    approvals = Approvals(settings.database)
    for event in run.consumed_asset_events or ():
        if event.source_dag_id and event.source_run_id:
            found |= approvals.starters(name_of(event.source_dag_id), run_name(event.source_run_id))
    return found
