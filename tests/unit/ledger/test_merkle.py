"""The tree, against the test vectors of RFC 6962's authors (certificate-transparency, merkletree tests)."""

from __future__ import annotations

import pytest

from cloakhouse.ledger.merkle import (
    EMPTY,
    Frontier,
    Node,
    completed,
    consistency,
    inclusion,
    leaf_hash,
    node_hash,
    peaks,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {  # (index, size): proof
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {  # (old, new): proof
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def nodes() -> dict[Node, bytes]:
    """The complete nodes of the tree of eight."""
    found = {(0, index): leaf_hash(leaf) for index, leaf in enumerate(LEAVES)}
    for level in range(3):
        for index in range(8 >> (level + 1)):
            found[level + 1, index] = node_hash(found[level, 2 * index], found[level, 2 * index + 1])
    return found


def lookup(wanted: object) -> list[bytes]:
    return [nodes()[one] for one in wanted]  # type: ignore[attr-defined]


def test_roots() -> None:
    assert EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    frontier = Frontier()
    assert frontier.root() == EMPTY == root_of([])
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        frontier.add(leaf_hash(leaf))
        assert frontier.root().hex() == root


@pytest.mark.parametrize(("place", "proof"), INCLUSION.items())
def test_inclusion(place: tuple[int, int], proof: list[str]) -> None:
    index, size = place
    assert [one.hex() for one in inclusion(index, size, lookup)] == proof
    root = bytes.fromhex(ROOTS[size - 1])
    hashes = [bytes.fromhex(one) for one in proof]
    assert verify_inclusion(leaf_hash(LEAVES[index]), index, size, hashes, root)
    assert not verify_inclusion(leaf_hash(b"x"), index, size, hashes, root)
    assert not verify_inclusion(leaf_hash(LEAVES[index]), index, size, [*hashes, root], root)
    assert not verify_inclusion(leaf_hash(LEAVES[index]), size, size, hashes, root)


@pytest.mark.parametrize(("sizes", "proof"), CONSISTENCY.items())
def test_consistency(sizes: tuple[int, int], proof: list[str]) -> None:
    old, new = sizes
    assert [one.hex() for one in consistency(old, new, lookup)] == proof
    roots = bytes.fromhex(ROOTS[old - 1]), bytes.fromhex(ROOTS[new - 1])
    hashes = [bytes.fromhex(one) for one in proof]
    assert verify_consistency(old, roots[0], new, roots[1], hashes)
    assert not verify_consistency(old, roots[0], new, EMPTY, hashes)
    assert not verify_consistency(old, roots[0], new, roots[1], [*hashes, EMPTY])


def test_what_has_no_proof() -> None:
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(ValueError, match="a leaf"):
            inclusion(index, size, lookup)
    for old, new in ((4, 3), (-1, 3)):
        with pytest.raises(ValueError, match="an older tree"):
            consistency(old, new, lookup)
        assert not verify_consistency(old, EMPTY, new, EMPTY, [])
    assert consistency(0, 5, lookup) == []
    assert verify_consistency(0, EMPTY, 5, bytes.fromhex(ROOTS[4]), [])
    assert not verify_consistency(0, b"x" * 32, 5, bytes.fromhex(ROOTS[4]), [])
    assert not verify_consistency(3, EMPTY, 5, EMPTY, [])
    assert not verify_inclusion(EMPTY, 0, 1, [EMPTY], EMPTY)
    with pytest.raises(ValueError, match="one peak"):
        Frontier(3, [EMPTY])


def test_peaks_and_what_a_leaf_completes() -> None:
    assert peaks(0) == []
    assert peaks(7) == [(2, 0), (1, 2), (0, 6)]
    assert [completed(index) for index in range(8)] == [0, 1, 0, 2, 0, 1, 0, 3]
