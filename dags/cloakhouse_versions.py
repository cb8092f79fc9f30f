"""Airflow's DAG for versions: expiry by retention, and the collector.

Airflow reads files of this folder only if the words "airflow" and "dag" are in them.
"""

from cloakhouse.flow.version_dags import build_version_dags

globals().update(build_version_dags())
