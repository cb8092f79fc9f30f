"""Airflow's DAGs of the auditor's side: alerts, the nightly checkpoint and verification of the log, forwarding.

Airflow reads files of this folder only if the words "airflow" and "dag" are in them.
"""

from cloakhouse.flow.audit_dags import build_audit_dags

globals().update(build_audit_dags())
