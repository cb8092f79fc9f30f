"""How many events of keys a small house's path leaves: of keys, and not of files or rows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.support.house import published

from cloakhouse.ledger.audit import AuditLog
from cloakhouse.ledger.audit_event import ALLOWED

STAGES = Path(__file__).parents[3] / "plugins" / "cloakhouse"
PLAIN = re.compile(r"from cloakhouse\.keys\.service import .*(open_ring|service_of)")
MAY = {"authority.py", "access.py"}  # who asks is no use of a key; enrolment is recorded where it is done


def test_the_path_to_a_publication_leaves_few_events_of_keys(tmp_path: Path) -> None:
    """Keys are opened once in five minutes by each stage: no event for a file, nor for a row."""
    house = published().copy(tmp_path / "home")
    found = [e for e in AuditLog(house.settings.database).events() if e.action in ("use key", "make key")]
    assert {(e.actor, e.decision) for e in found} == {("platform", ALLOWED)}
    counted = Counter(e.action for e in found)
    assert 50 <= counted["use key"] <= 250, counted  # 101, and 23 made, when this was written
    made = [e.object for e in found if e.action == "make key"]
    assert len(made) == len(set(made))
    leased = {e.object for e in found if e.facts.get("operation") == "lease"}
    folder = house.settings.dataset_keys
    there = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.glob("*/*/*.json")}
    assert set(made) <= there <= {*made, *leased}, there - {*made, *leased}  # workers may make what is leased to them


def test_stages_and_commands_take_the_audited_service() -> None:
    rooms = ("stages", "client", "flow", "console", "report", "governance")
    files = [path for room in rooms for path in (STAGES / room).rglob("*.py")]
    assert len(files) > 100
    assert {path.name for path in files if PLAIN.search(path.read_text())} <= MAY
