"""Job runs of one application of EMR Serverless: start, look, cancel. States are those of its API.

SUBMITTED -> PENDING | QUEUED -> SCHEDULED -> RUNNING -> SUCCESS | FAILED; CANCELLING -> CANCELLED
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cloakhouse.errors import ConfigurationError, StageError
from cloakhouse.keys.aws_services import Service

ALIVE = ("SUBMITTED", "PENDING", "QUEUED", "SCHEDULED", "RUNNING", "CANCELLING")
PAGE = 50
END_WITHIN_S = 180.0
PAUSES_S = (1.0, 10.0)  # first and longest; each is half as long again as the one before


@dataclass(frozen=True)
class JobRuns:
    """The job runs of an application. Every call raises as `Service.call`."""

    service: Service
    application: str

    def start(self, parameters: Mapping[str, Any]) -> str:
        """Return the id of a new job run; the same one for the same `clientToken`."""
        return str(self._call("start_job_run", "no job was submitted", **parameters)["jobRunId"])

    def state(self, run: str) -> str:
        """Return the state of a job run."""
        found = self._call("get_job_run", "the job was not followed", applicationId=self.application, jobRunId=run)
        return str(found["jobRun"]["state"])

    def alive(self, name: str) -> list[str]:
        """Return the ids of the job runs of this name that didn't end."""
        return [run["id"] for page in self._pages() for run in page.get("jobRuns", ()) if run.get("name") == name]

    def cancel(self, run: str) -> None:
        """Have a job run cancelled; nothing for one that has ended."""
        with contextlib.suppress(ConfigurationError):
            self._call("cancel_job_run", "the job still runs", applicationId=self.application, jobRunId=run)

    def end(self, name: str) -> int:
        """Cancel every job run of this name, wait until all have ended, and return how many there were.

        Raises StageError (`stage.busy`) when one didn't end in time.
        """
        ended: set[str] = set()
        deadline = time.monotonic() + END_WITHIN_S
        for pause in pauses():
            found = set(self.alive(name))
            for run in found - ended:
                self.cancel(run)
            ended |= found
            if not found:
                return len(ended)
            if time.monotonic() > deadline:
                raise _still_runs(name)
            time.sleep(pause)
        raise AssertionError("pauses end")

    def _pages(self) -> Iterator[dict[str, Any]]:
        parameters: dict[str, Any] = {"applicationId": self.application, "states": list(ALIVE), "maxResults": PAGE}
        while True:
            page = self._call("list_job_runs", "no job was submitted", **parameters)
            yield page
            if not page.get("nextToken"):
                return
            parameters["nextToken"] = page["nextToken"]

    def _call(self, operation: str, not_done: str, **parameters: Any) -> dict[str, Any]:
        return self.service.call(operation, not_done, **parameters)


def pauses() -> Iterator[float]:
    """Yield pauses between looks (seconds), growing up to a bound, for ever."""
    pause, longest = PAUSES_S
    while True:
        yield pause
        pause = min(pause * 1.5, longest)


def _still_runs(name: str) -> StageError:
    return StageError(
        where=f"EMR Serverless, {name}",
        expected=f"the cancelled job to end within {END_WITHIN_S:.0f} s",
        found="one that still runs",
        not_done="no other job was submitted for this dataset",
        remedy="wait for it to end (its lease ends it, too), or cancel it in AWS; this task tries again by itself",
        code="busy",
    )
