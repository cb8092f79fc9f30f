"""Old versions of the lake's objects: removed before the closing search, which sees what stands and not what stood.

A bucket with versioning keeps what was overwritten or deleted by other tools (`cloakhouse.lake.store.s3_versions`), and
nobody can tell which of it holds the persons: all of it goes. Checkpoints of the audit log are spared. They hold
nobody, and a second version of one is a trace for whoever investigates.
"""

from __future__ import annotations

from typing import Any

from cloakhouse.lake.store.opening import open_store
from cloakhouse.lake.store.s3_versions import remove_old_versions
from cloakhouse.settings import Settings

CHECKPOINTS = "evidence/audit/checkpoints/"


def remove_versions(settings: Settings) -> dict[str, Any]:
    """Remove old versions and delete markers of the lake's objects; return how many went, and how it stands.

    Raises StorageError where the bucket may keep versions that can't be listed or deleted: nobody is erased then.
    """
    return remove_old_versions(open_store(settings), lambda path: path.startswith(CHECKPOINTS)).as_dict()
