"""The operator that runs a job of `spark_jobs/` and passes on the reference it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowNotFoundException

from cloakhouse.flow.submit import Job, end_running_jobs, run_job
from cloakhouse.flow.tasks import explained
from cloakhouse.settings import Settings

LOCAL = "local[*]"


class SparkJobOperator(BaseOperator):  # type: ignore[misc]
    """Runs `spark_jobs/<job>.py` on the manifest that `request` refers to.

    The master is that of the Airflow connection `spark` (host, with port if any: `spark://host:7077`), and
    local[*] where there is no such connection; its extra `properties` names the file of the cluster's properties (see
    `Job.cluster`). Returns the reference of the manifest that the job wrote.
    """

    template_fields: Sequence[str] = ("request",)

    def __init__(self, *, dataset: str, job: str, request: Any, connection_id: str = "spark", **kwargs: Any) -> None:
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
        settings = Settings.from_environment()
        limit = self.execution_timeout.total_seconds() if self.execution_timeout else 4 * 3600.0
        arguments = ("--request", self.request["path"], "--sha256", self.request["sha256"])
        master, cluster = self._cluster()
        return run_job(Job(self.job, arguments, master, limit, cluster), settings)

    def _cluster(self) -> tuple[str, Path | None]:
        from airflow.sdk import Connection

        try:
            connection = Connection.get(self.connection_id)
        except AirflowNotFoundException:
            return LOCAL, None
        if not connection.host:
            return LOCAL, None
        properties = connection.extra_dejson.get("properties")
        master = f"{connection.host}:{connection.port}" if connection.port else str(connection.host)
        return master, Path(properties) if properties else None
