"""Airflow's DAG of erasures: open requests of persons to be forgotten, every night.

Airflow reads files of this folder only if the words "airflow" and "dag" are in them.
"""

from cloakhouse.flow.erasure_dags import build_erasure_dags

globals().update(build_erasure_dags())
