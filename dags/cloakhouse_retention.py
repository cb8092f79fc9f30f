"""Airflow's DAG for retention: what is due is deleted every night.

Airflow reads files of this folder only if the words "airflow" and "dag" are in them.
"""

from cloakhouse.flow.retention_dags import build_retention_dags

globals().update(build_retention_dags())
