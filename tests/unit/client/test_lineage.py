from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cloakhouse.client.api import connect
from cloakhouse.client.lineage import Check, without_counts


def test_the_tree_reaches_from_the_release_to_the_deliveries(house: Any) -> None:
    root = connect(house.home).dataset("people_synthetic").lineage()
    assert [(depth, node.kind, node.name, node.check.value) for depth, node in root.walk()] == [
        (0, "version", "people_synthetic@1", "signed"),
        (1, "synthesis", "people_synthetic", "verified"),
        (2, "protected", "customers 2017-01-09", "verified"),
        (3, "delivery", "customers 2017-01-09", "verified"),
        (2, "protected", "transactions 2017-01-02", "verified"),
        (3, "delivery", "transactions 2017-01-02", "verified"),
        (2, "protected", "transactions 2017-01-09", "verified"),
        (3, "delivery", "transactions 2017-01-09", "verified"),
    ]
    assert root.manifest == house.published[0].manifest
    assert root.facts["contract"] == {"version": house.contract.version, "digest": house.contract.digest}
    assert root.facts["run"] == {"dag": "", "run": ""}
    (synthesis,) = root.parents
    assert (synthesis.facts["engine"], synthesis.facts["rows"]) == ("gaussian copula", 6)
    assert synthesis.parents[0].parents[0].facts["rows"] == 40
    content = root.as_dict()
    assert content["parents"][0]["parents"][1]["name"] == "transactions 2017-01-02"
    assert str(house.home) not in str(content)


def remove(path: Any) -> None:
    path.unlink()


def change(path: Any) -> None:
    path.write_bytes(path.read_bytes().replace(b"customers", b"costumers"))


@pytest.mark.parametrize("damage", [remove, change])
@pytest.mark.parametrize(
    ("pattern", "broken", "nodes"),
    [
        ("landing/customers/*/delivery-*.json", ["delivery customers 2017-01-09"], 8),
        ("protected/customers/*/protected-*.json", ["protected customers 2017-01-09"], 7),
        ("protected/customers/pseudonymization-request-*.json", [], 7),
        ("synthetic/people_synthetic/synthesis-*.json", ["synthesis people_synthetic"], 8),
    ],
)
def test_a_broken_manifest_is_a_node_that_says_so(
    house: Any, damage: Callable[[Any], None], pattern: str, broken: list[str], nodes: int
) -> None:
    (file,) = house.files(pattern)
    damage(file)
    found = list(connect(house.home).dataset("people_synthetic").lineage().walk())
    assert [f"{node.kind} {node.name}" for _, node in found if node.check is Check.BROKEN] == broken
    assert len(found) == nodes


def test_what_this_reader_can_not_read_is_told_apart(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloakhouse.errors import StorageError
    from cloakhouse.lake.store.folder import FolderStore

    read = FolderStore.read

    def refusing(self: FolderStore, path: str, *rest: Any) -> bytes:
        if path.startswith(("protected/", "landing/")):
            refusal = {"where": path, "expected": "leave", "found": "none", "not_done": "it", "remedy": "ask"}
            raise StorageError(**refusal)
        return read(self, path, *rest)

    monkeypatch.setattr(FolderStore, "read", refusing)
    checks = [node.check for _, node in connect(house.home).dataset("people_synthetic").lineage().walk()]
    assert checks == [Check.SIGNED, Check.VERIFIED, *[Check.UNREADABLE] * 3]


def test_counts_of_protected_data_can_be_left_out(house: Any) -> None:
    found = connect(house.home).dataset("people_synthetic").lineage()
    bare = without_counts(found)
    assert [node.kind for _, node in bare.walk()] == [node.kind for _, node in found.walk()]
    for (_, node), (_, whole) in zip(bare.walk(), found.walk(), strict=True):
        real = node.kind in ("protected", "delivery")
        assert set(whole.facts) - set(node.facts) == ({"rows", "bytes"} & set(whole.facts) if real else set())
