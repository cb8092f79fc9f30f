"""What a home holds after the path, counted for plans of larger ones: bytes, files, manifests, records, key calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

NAMES = "| lines | landing, bytes a line | protected, bytes a line | files | largest manifest | audit log | key calls |"


@dataclass(frozen=True)
class Constants:
    """Counts of one home, of its dataset `transactions` where a dataset is meant. `audit` and `keys` are of all."""

    lines: int
    landing: int
    protected: int
    files: int
    manifest: int
    audit: int
    keys: int

    @classmethod
    def of(cls, home: Path, lines: int) -> Constants:
        """Count what is in `home`, whose feed had so many `lines`."""
        lake = home / "lake"
        parts = list((lake / "protected" / "transactions").rglob("*.parquet"))
        manifests = [path.stat().st_size for path in (lake / "protected" / "transactions").rglob("protected-*.json")]
        engine = sa.create_engine(f"sqlite:///file:{home / 'control.db'}?mode=ro&uri=true")
        with engine.connect() as connection:
            audit = connection.execute(sa.text("select count(*) from audit_entry")).scalar_one()
            keys = connection.execute(
                sa.text("select count(*) from audit_entry where action in ('use key', 'make key')")
            ).scalar_one()
        engine.dispose()
        return cls(
            lines,
            _bytes((lake / "landing" / "transactions").rglob("*")),
            _bytes(parts),
            len(parts),
            max(manifests, default=0),
            int(audit),
            int(keys),
        )


def constants_table(found: list[Constants]) -> str:
    """Return the counts as Markdown."""
    lines = [NAMES, "| --- | --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {c.lines:,} | {c.landing / c.lines:.1f} | {c.protected / c.lines:.1f} | {c.files:,} | {c.manifest:,} B "
        f"| {c.audit:,} | {c.keys:,} |"
        for c in found
    ]
    return "\n".join([*lines, ""])


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())
