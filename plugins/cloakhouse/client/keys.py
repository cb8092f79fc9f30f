"""`cloakhouse keys`: who can open what, since when, and until when; and the changes to that."""

from __future__ import annotations

import click

from cloakhouse.client import edge, key_changes, key_coverage, key_grants, key_shredding


@click.group()
def keys() -> None:
    """Master keys, grants, rotation, and what is really encrypted.

    A master key is named by zone and class: protected/direct, synthetic/plain, landing/file. A grant lets a
    principal use one for a purpose. Commands that change something take --dry-run.
    """


for command in (
    key_grants.status,
    key_grants.enrol,
    key_grants.grant,
    key_grants.revoke,
    key_changes.rotate,
    key_changes.disable,
    key_changes.enable,
    key_shredding.shred,
    key_coverage.coverage,
    edge.edge_key,
):
    keys.add_command(command)
