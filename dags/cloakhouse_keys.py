"""The DAGs that rotate keys by policy, and encrypt data again after a compromise."""

from cloakhouse.flow.key_dags import build_key_dags

globals().update(build_key_dags())
