"""Airflow's DAGs for keys: rotation by policy, and encrypting data again after a compromise.

Airflow reads files of this folder only if the words "airflow" and "dag" are in them.
"""

from cloakhouse.flow.key_dags import build_key_dags

globals().update(build_key_dags())
