"""Cloakhouse: an Airflow-orchestrated privacy data platform for retailers."""
