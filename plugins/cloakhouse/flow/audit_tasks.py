"""The tasks of the auditor's DAGs: each reads the settings, calls one stage, and passes on a count."""

from __future__ import annotations

import datetime as dt
import logging

from airflow.sdk.exceptions import AirflowSkipException

from cloakhouse.errors import IntegrityError, StageError
from cloakhouse.flow import engines
from cloakhouse.flow.tasks import explained
from cloakhouse.progress import Progress

log = logging.getLogger(__name__)


@explained("alerts")
def evaluate_alerts() -> int:
    """Evaluate the rules over the log; return how many alerts are new."""
    from cloakhouse.stages.alerting import evaluate

    return len(evaluate(engines.settings(), dt.datetime.now(dt.UTC)))


@explained("alerts")
def tell_alerts() -> int:
    """Send the alerts that are new to each notifier of `alerts.yaml`; return how many messages went out.

    Fails for a retry when a notifier failed; the others were told, and aren't told again.
    """
    from cloakhouse.flow.notifying import tell

    told = tell(engines.settings(), dt.datetime.now(dt.UTC))
    for one in told:
        log.info(
            "%s: %d told, %d wait%s", one.notifier, one.sent, one.waiting, f"; {one.trouble}" if one.trouble else ""
        )
    failed = [one for one in told if one.trouble]
    if failed:
        raise StageError(
            where="notifiers " + ", ".join(one.notifier for one in failed),
            expected="every new alert sent",
            found=f"{sum(one.waiting for one in failed)} that wait; " + ", ".join(sorted({o.trouble for o in failed})),
            not_done="those alerts were not sent to these notifiers; all others were",
            remedy="check the connection that the notifier names; the next try sends what waits",
            code="notifier",
        )
    return sum(one.sent for one in told)


@explained("checkpoint")
def sign_checkpoint() -> int:
    """Sign a checkpoint of the log; return how many entries it covers."""
    from cloakhouse.stages.checkpointing import checkpoint

    signed = checkpoint(engines.settings())
    return 0 if signed is None else signed.size


@explained("verify")
def verify_log() -> int:
    """Verify the log against every checkpoint; return its entries. Fails for good when anything is found."""
    from cloakhouse.stages.audit_verification import verify

    result = verify(engines.settings())
    progress = Progress.of("verify", "audit log")
    for finding in result.findings:
        log.error("%s", finding)
    if result.findings:
        raise IntegrityError(
            where="audit log",
            expected="no finding",
            found=f"{len(result.findings) + result.more} findings; the first of them are in the log of this task",
            not_done="nothing was changed",
            remedy="run `cloakhouse audit verify`, and keep the database as it is for whoever investigates",
            code="audit-log",
        )
    progress.finish(f"{result.size:,} entries, {len(result.checkpoints)} checkpoints, no finding", entries=result.size)
    return int(result.size)


@explained("forward")
def forward_log() -> int:
    """Give each receiver what it lacks; return how many entries were sent. Skips without receivers; fails when one is
    in trouble, which keeps its place and is tried again with the next run."""
    from cloakhouse.stages.forwarding import BUSY, forward
    from cloakhouse.stages.forwarding_origin import settle
    from cloakhouse.stages.forwarding_receivers import receivers_of

    settings = engines.settings()
    wanted = receivers_of(settings)
    if not wanted:
        raise AirflowSkipException("no receiver is configured")
    settle(settings)
    done = forward(settings, wanted)
    for one in done:
        log.info(
            "%s: %d sent, %d wait%s", one.receiver, one.sent, one.backlog, f"; {one.trouble}" if one.trouble else ""
        )
    failed = [one for one in done if one.trouble and one.trouble != BUSY]
    if failed:
        raise StageError(
            where="receivers " + ", ".join(one.receiver for one in failed),
            expected="every entry acknowledged",
            found=", ".join(sorted({one.trouble for one in failed}))
            + f"; {sum(o.backlog for o in failed)} entries wait",
            not_done="nothing was skipped: each receiver goes on where it stopped",
            remedy="check the receiver; the next run sends what waits",
            code="forwarding",
        )
    return sum(one.sent for one in done)
