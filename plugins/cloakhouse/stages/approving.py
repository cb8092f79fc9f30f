"""Approval: where the contract asks for it, a person agrees to each version before it is published.

1. who answered must be one of the contract's approvers;
2. four eyes: whoever started the run, or the runs it was started by, doesn't decide over what comes of it;
3. the reason is one of REASONS, and a reference to a ticket if there is one: no free text, since Airflow keeps what a
   person types into a form in its own database, where everybody who may look at a run can read it;
4. the decision and its event are recorded in one transaction, over the evidence by its digest.

What fails 1 to 3 is recorded as refused, and decides nothing. Publication asks `require_approved`, which counts a
decision only over exactly this evidence, of the contract in force, by somebody who is still one of its approvers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cloakhouse.contracts.model import Contract
from cloakhouse.errors import AccessRefused, ConfigurationError, ValidationRefused
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.approvals import APPROVED, REJECTED, Approvals, Decision
from cloakhouse.ledger.audit_event import REFUSED, Action, Event
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.run_names import user_of
from cloakhouse.settings import Settings
from cloakhouse.stages.auditing import failures_recorded, record
from cloakhouse.stages.authority import check_reason

KIND = "validation"  # of the manifest that evidence is
LAPSED = "approval.lapsed"  # the code of the event when nobody answered in time
REASONS = {
    "reviewed": "evidence reviewed: the figures suit the purpose",
    "accepted": "risk accepted by the owner of the data",
    "figures": "figures too near to their thresholds",
    "purpose": "purpose or legal basis is not clear",
    "withdrawn": "the release is not needed any more",
}
REFERENCE = re.compile(r"[A-Z][A-Z0-9]{1,11}-[0-9]{1,6}")


@dataclass(frozen=True)
class Answer:
    """What a person answered: whether they agree, a key of REASONS, and the reference of a ticket or nothing.

    `user` and `name` are the Airflow user's id and name.
    """

    user: str
    name: str
    agrees: bool
    reason: str
    reference: str = ""


def decide(
    settings: Settings,
    contract: Contract,
    evidence: ManifestRef,
    answer: Answer,
    requesters: Collection[str],
    run: Event,
) -> Decision:
    """Check and record `answer` over `evidence`: steps 1 to 4; return the decision, approved or rejected.

    `requesters` are the users who started the run; `run` is an event with the Airflow run it happened in. Raises
    AccessRefused (`access.approver`, `access.four-eyes`), ConfigurationError (`configuration.reason`), StorageError,
    and ValidationRefused for evidence that can't be approved.
    """
    asked = replace(_event(contract, evidence, run), actor=f"airflow:{user_of(answer.user)}")
    with failures_recorded(settings, asked):
        _require_evidence(settings, contract, evidence)
        _require_approver(contract, answer)  # 1
        _require_four_eyes(contract, answer, requesters)  # 2
    with failures_recorded(settings, asked):
        reason = written(answer)  # 3
    decision = Decision(
        contract.name,
        evidence.sha256,
        APPROVED if answer.agrees else REJECTED,
        answer.user,
        ", ".join(sorted(map(user_of, requesters))),
        reason,
    )
    return Approvals(settings.database).record(decision, asked)  # 4


def lapse(settings: Settings, contract: Contract, evidence: ManifestRef, run: Event) -> None:
    """Record that nobody answered in time. Raises StorageError."""
    record(settings, replace(_event(contract, evidence, run), decision=REFUSED, code=LAPSED))


def approved(settings: Settings, contract: Contract, evidence: ManifestRef) -> bool:
    """Return whether `evidence` may be published: nobody has to be asked, or one of the approvers agreed.

    Raises IntegrityError for a decision that the audit log doesn't know, StorageError.
    """
    if contract.approval is None:
        return True
    found = Approvals(settings.database).newest(contract.name, evidence.sha256)
    return found is not None and found.decision == APPROVED and found.approver in contract.approval.approvers


def require_approved(settings: Settings, contract: Contract, evidence: ManifestRef) -> None:
    """Raise ValidationRefused (`validation.approval`) unless `evidence` is of this contract and may be published.

    Raises IntegrityError for a decision that the audit log doesn't know, and for evidence that was changed.
    """
    if contract.approval is None:
        return
    _require_evidence(settings, contract, evidence)
    if not approved(settings, contract, evidence):
        raise _refused(contract, "none over this evidence, or a rejection")


def written(answer: Answer) -> str:
    """Return the reason of `answer` as it is recorded. Raises ConfigurationError (`configuration.reason`)."""
    good = isinstance(answer.reason, str) and answer.reason in REASONS and isinstance(answer.reference, str)
    if not good or (answer.reference and REFERENCE.fullmatch(answer.reference) is None):
        raise ConfigurationError(
            where="the reason",
            expected="one of " + ", ".join(REASONS) + "; and the reference of a ticket (DPO-17) or nothing",
            found="another form",
            not_done="the answer was not counted",
            remedy="clear the task `approve`: it asks again",
            code="reason",
        )
    text = REASONS[answer.reason]
    return check_reason(f"{text} ({answer.reference})" if answer.reference else text)


def _event(contract: Contract, evidence: ManifestRef, run: Event) -> Event:
    return replace(
        run,
        action=Action.APPROVE,
        object=contract.name,
        dataset=contract.name,
        facts={"evidence": evidence.sha256, "contract": contract.version, "contract_sha256": contract.digest},
    )


def _require_evidence(settings: Settings, contract: Contract, evidence: ManifestRef) -> None:
    content = evidence_of(settings, evidence)
    matches = content["dataset"] == contract.name and content["contract"]["digest"] == contract.digest
    if content["passed"] is not True or not matches:
        raise _refused(contract, "evidence that failed, or of another contract")


def evidence_of(settings: Settings, evidence: ManifestRef) -> Mapping[str, Any]:
    """Return the content of `evidence`. Raises IntegrityError when it is not what the reference says."""
    content: Mapping[str, Any] = read_manifest(open_store(settings), evidence, KIND)
    return content


def _require_approver(contract: Contract, answer: Answer) -> None:
    if contract.approval is None or answer.user not in contract.approval.approvers:
        raise AccessRefused(
            where=f"approval of {contract.name}",
            expected="an answer of one of the contract's approvers",
            found="another user's",
            not_done="the answer was not counted; nothing was published",
            remedy="clear the task `approve`, and have an approver answer",
            code="approver",
        )


def _require_four_eyes(contract: Contract, answer: Answer, requesters: Collection[str]) -> None:
    if _names(answer.user, answer.name) & _names(*requesters):
        raise AccessRefused(
            where=f"approval of {contract.name}",
            expected="an answer of somebody other than who started the run",
            found="the same user",
            not_done="the answer was not counted; nothing was published",
            remedy="clear the task `approve`, and have another approver answer",
            code="four-eyes",
        )


def _names(*users: str) -> set[str]:
    return {user_of(user).casefold() for user in users if user}


def _refused(contract: Contract, found: str) -> ValidationRefused:
    return ValidationRefused(
        where=f"dataset {contract.name}",
        expected=f"the approval that contract {contract.version} asks for, over this evidence",
        found=found,
        not_done="nothing was published",
        remedy=f"run the DAG of {contract.name}, and have one of its approvers answer",
        code="approval",
    )
