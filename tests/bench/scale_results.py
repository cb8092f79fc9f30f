"""What was measured, kept in a file between runs: a size that took long isn't measured again for another's sake."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.bench.scale_constants import Constants


@dataclass
class Cost:
    """What a stage took. Seconds, bytes."""

    wall: float
    cpu: float
    peak: int
    spill: int


Costs = dict[tuple[int, int, str], Cost]  # by lines, executors (0: none) and stage


@dataclass
class Results:
    """Costs of stages and constants of homes, by lines; written to `file` after each size where there is one."""

    file: Path | None = None
    costs: Costs = field(default_factory=dict)
    counted: dict[int, Constants] = field(default_factory=dict)

    @classmethod
    def of(cls, file: Path | None) -> Results:
        """Return what `file` holds; nothing where there is none."""
        if file is None or not file.exists():
            return cls(file)
        kept = json.loads(file.read_text())
        costs = {(n, e, stage): Cost(**cost) for n, e, stage, cost in kept["costs"]}
        return cls(file, costs, {c["lines"]: Constants(**c) for c in kept["counted"]})

    def add(self, costs: Costs, constants: Constants) -> None:
        """Take what one size came to, in place of what there was of it."""
        stale = [key for key in self.costs if key[0] == constants.lines]
        for key in stale:
            del self.costs[key]
        self.costs |= costs
        self.counted[constants.lines] = constants
        if self.file is not None:
            rows = [[*key, asdict(cost)] for key, cost in self.costs.items()]
            text = json.dumps({"costs": rows, "counted": [asdict(c) for c in self.counted.values()]}, indent=1)
            fresh = self.file.with_name(f"{self.file.name}.new")
            fresh.write_text(text)
            fresh.replace(self.file)
