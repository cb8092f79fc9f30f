"""Erasing persons from the sources: registers, landed originals, protected partitions, quarantine, and what lies about.

Each is a step of an erasure (`cloakhouse.flow.erasing`), idempotent and resumable; the functions stand here by name so
that callers have one place to find them.
"""

from __future__ import annotations

from cloakhouse.stages.erase_landed import erase_landed, recut_new
from cloakhouse.stages.erase_protected import erase_protected
from cloakhouse.stages.erase_quarantine import erase_quarantine
from cloakhouse.stages.erase_registers import erase_registers
from cloakhouse.stages.strays import remove_strays

__all__ = ["erase_landed", "erase_protected", "erase_quarantine", "erase_registers", "recut_new", "remove_strays"]
