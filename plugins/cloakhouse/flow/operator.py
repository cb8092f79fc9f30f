"""The operator that runs a job of `spark_jobs/` and passes on the reference it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator

from cloakhouse.flow import engines
from cloakhouse.flow.lookup import lookup
from cloakhouse.flow.submit import CONNECTION, Cluster, cluster_at, end_running_jobs, run_job
from cloakhouse.flow.tasks import explained


class SparkJobOperator(BaseOperator):  # type: ignore[misc]
    """Runs `spark_jobs/<job>.py` on the manifest that `request` refers to.

    The master is that of the Airflow connection `spark` (host, with port if any: `spark://host:7077`), and
    local[*] where there is no such connection; its extra `properties` names the file of the cluster's properties (see
    `Job.cluster`). Returns the reference of the manifest that the job wrote.
    """

    template_fields: Sequence[str] = ("request",)

    def __init__(self, *, dataset: str, job: str, request: Any, connection_id: str = CONNECTION, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.job = job
        self.request = request
        self.connection_id = connection_id

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the job within the task's execution_timeout. Raises StageError, MissingDependency."""
        return explained(self.job)(self._submit)(self.dataset)

    def on_kill(self) -> None:
        """End the job when Airflow ends the task."""
        end_running_jobs()

    def _submit(self, _dataset: str) -> dict[str, Any]:
        settings = engines.settings()
        limit = self.execution_timeout.total_seconds() if self.execution_timeout else 4 * 3600.0
        arguments = ("--request", self.request["path"], "--sha256", self.request["sha256"])
        cluster = connected(self.connection_id)
        return run_job(cluster.job(self.job, arguments, limit), settings)


def connected(connection_id: str = CONNECTION) -> Cluster:
    """Return the cluster of an Airflow connection, the local one where there is no such connection; for tasks.

    Raises StageError and ConfigurationError as `lookup` does.
    """
    found = lookup(connection_id)
    return Cluster() if found is None else cluster_at(found.host, found.port, found.extra)
