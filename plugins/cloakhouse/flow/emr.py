"""Jobs on EMR Serverless. The driver runs there, without the installation's home; this task does what only a home can.

1. the dataset's lock is taken, for as long as the job runs;
2. a job of the same name that still runs is cancelled and waited for: its submitter was killed. Its bag is removed;
3. all keys that the job may need are made here: away from home none can be;
4. the bag is written into the lake (`cloakhouse.stages.carried`), and the job is submitted;
5. while it runs, the lease is renewed, and the epoch of the keys is watched: when a key is revoked, rotated, disabled
   or destroyed, the job is cancelled and this task fails, to be tried again;
6. the result is read from the bag; the bag is removed, with every version of its objects.

Whatever ends this task (an error, a signal, its time) ends the job, within a bounded time. After kill -9 the job ends
itself when its lease does (`cloakhouse.stages.lease`), and the next submission goes on at 2.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloakhouse.errors import CloakhouseError, StageError, StorageError
from cloakhouse.flow.emr_api import ALIVE, JobRuns, pauses
from cloakhouse.flow.emr_checks import check_endpoints, check_reachable
from cloakhouse.flow.emr_request import job_name, properties_of, request
from cloakhouse.flow.properties import submitted_properties
from cloakhouse.keys.aws_services import Service
from cloakhouse.keys.files import locked
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.audited_keys import open_ring
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.settings import Settings

if TYPE_CHECKING:
    from cloakhouse.flow.submit import Job

UNSEEN_S = 600.0  # for so long a job isn't given up because the service doesn't answer
HANDLER_S = 3.0  # what a signal's handler waits for the call that cancels
log = logging.getLogger(__name__)
_RUNNING: set[_Running] = set()


@dataclass(eq=False)
class _Running:
    """A job of this process, so that a signal can end it."""

    runs: JobRuns
    run: str
    stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """Ask the service to cancel, in a thread: the handler may have come in the middle of another call."""
        self.stopped.set()
        thread = threading.Thread(target=self._cancel, daemon=True)
        thread.start()
        thread.join(HANDLER_S)

    def _cancel(self) -> None:
        with contextlib.suppress(CloakhouseError):  # who waits for the job tries again
            self.runs.cancel(self.run)


def end_running() -> None:
    """Have the jobs of this process cancelled; for a signal handler. Who waits for them cleans up."""
    for running in tuple(_RUNNING):
        running.stop()


def run_away(job: Job, settings: Settings) -> dict[str, Any]:
    """Run `job` on EMR Serverless and return its result. Steps: see the module.

    Raises ConfigurationError (`configuration.away`, `configuration.aws`), AccessRefused (`access.aws`), StageError when
    the job crashed, ran out of time (`stage.spark`), or a key changed meanwhile (`stage.keys-changed`); what
    `needs_of` raises, and what the job itself refused is in the result.
    """
    from cloakhouse.stages.carried import FOLDER
    from cloakhouse.stages.carried_needs import needs_of
    from cloakhouse.stages.leftovers import remove_others

    fields = dict(job.extra)
    check_endpoints(fields)
    check_reachable(settings)
    given = dict(zip(job.arguments[::2], job.arguments[1::2], strict=True))
    needs = needs_of(settings, job.name, ManifestRef(given["--request"], given["--sha256"]))
    runs = JobRuns(Service("emr-serverless", fields["region"], fields["endpoint"]), fields["application"])
    name, folder = job_name(settings, job.name, needs.dataset), f"{FOLDER}/{job.name}/{needs.dataset}"
    store = open_store(settings)
    with locked(needs.lock, needs.wait_s, f"Spark job {job.name} of {needs.dataset}"):  # 1
        runs.end(name)  # 2
        remove_others(store, folder, ())
        try:
            epoch = open_ring(settings).epoch()  # before the keys are read: a change after this is seen
            needs.make(settings)  # 3
            bag = f"{folder}/{secrets.token_hex(8)}"
            return _Submission(job, settings, fields, runs, name, bag, needs.dataset, epoch).done(
                needs.contents(settings).pack()
            )
        except BaseException:
            with contextlib.suppress(CloakhouseError):  # the job ends with its lease, which goes below
                runs.end(name)
            raise
        finally:
            remove_others(store, folder, ())  # 6


@dataclass(frozen=True)
class _Submission:
    """One job with its bag, from submission to result."""

    job: Job
    settings: Settings
    fields: dict[str, str]
    runs: JobRuns
    name: str
    bag: str
    dataset: str
    epoch: int

    def done(self, archive: bytes) -> dict[str, Any]:
        """Submit the job with `archive`, wait for its end, and return its result."""
        from cloakhouse.stages.away import Away
        from cloakhouse.stages.carried import ARCHIVE, digest_of

        open_store(self.settings).create(f"{self.bag}/{ARCHIVE}", archive)
        secrets_of = Service("secretsmanager", self.fields["region"], self.fields["secrets_endpoint"])
        away = Away(self.bag, digest_of(archive), self.fields["database_secret"], secrets_of)
        own = properties_of(self.settings, self.fields)
        parameters = request(
            self.fields,
            self.name,
            self.bag.rpartition("/")[2],
            self.job.name,
            [*self.job.arguments, *away.arguments()],
            submitted_properties(self.settings, own, self.job.cluster),
            self.job.timeout_s,
        )
        running = _Running(self.runs, self.runs.start(parameters))  # 4
        _RUNNING.add(running)
        try:
            state = self._ended(running)  # 5
        finally:
            _RUNNING.discard(running)
        return self._result(state)

    def _ended(self, running: _Running) -> str:
        """Return the state in which the job ended. Raises StageError when it has to be cancelled."""
        from cloakhouse.stages.lease import Lease

        ring, lease = open_ring(self.settings), Lease(open_store(self.settings), self.bag)
        deadline, told, dataset = time.monotonic() + self.job.timeout_s, "", self.dataset
        seen = time.monotonic()
        for pause in pauses():
            with contextlib.suppress(StorageError):
                lease.renew()
            try:
                step, seen = self.runs.state(running.run), time.monotonic()
            except StageError:
                if time.monotonic() - seen > UNSEEN_S:
                    raise
                step = told
            if step != told:
                log.info("EMR Serverless, %s: %s", dataset, step)
                told = step
            if step and step not in ALIVE:
                return step
            if ring.epoch() != self.epoch:
                raise self._failed(
                    "keys that stay as they are", "one was revoked, rotated or destroyed", "keys-changed"
                )
            if running.stopped.wait(pause):
                raise self._failed("to run until its end", "a signal to end")
            if time.monotonic() > deadline:
                raise self._failed(f"a result within {self.job.timeout_s:.0f} s", "none yet: the job was cancelled")
        raise AssertionError("pauses end")

    def _result(self, state: str) -> dict[str, Any]:
        from cloakhouse.stages.carried import RESULT

        try:
            found: dict[str, Any] = json.loads(open_store(self.settings).read(f"{self.bag}/{RESULT}"))
        except FileNotFoundError:
            raise self._failed("a result", f"state {state} without one") from None
        return found

    def _failed(self, expected: str, found: str, code: str = "spark") -> CloakhouseError:
        return StageError(
            where=f"Spark job {self.job.name} of {self.dataset}, EMR Serverless",
            expected=expected,
            found=found,
            not_done="nothing of the job became visible, unless it had just ended",
            remedy="look at the job run in AWS (role, network, image, capacity); this task tries again by itself",
            code=code,
        )
