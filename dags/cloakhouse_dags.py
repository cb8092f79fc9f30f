"""The platform's Airflow DAGs: one per data contract in `dags/contracts`."""

from cloakhouse.flow.factory import build_dags

globals().update(build_dags())
