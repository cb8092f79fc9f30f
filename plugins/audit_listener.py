"""Airflow plugin: what Airflow does becomes events of the platform's audit log (see `cloakhouse.flow.listener`)."""

from airflow.plugins_manager import AirflowPlugin

from cloakhouse.flow import listener


class AuditListener(AirflowPlugin):
    """Registers the listener."""

    name = "cloakhouse_audit"
    listeners = [listener]  # noqa: RUF012 - Airflow's form
