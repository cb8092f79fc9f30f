"""Rows in planes hold every value's blocks, whatever the lengths, the order and the distances."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cloakhouse.tokens.aes import BLOCK, CHUNK_ROWS
from cloakhouse.tokens.arrays import ByteColumn
from cloakhouse.tokens.blockwise import Places, arranged, chunks
from cloakhouse.tokens.planes import Planes

SIZES = st.lists(st.integers(0, 80), min_size=1, max_size=30)
ONE_COUNT = st.lists(st.integers(17, 32), min_size=1, max_size=30)


@given(SIZES | ONE_COUNT, st.integers(0, 20))
@settings(max_examples=200, deadline=None)
def test_planes_hold_every_block_in_the_order_of_the_plan(sizes: list[int], gap: int) -> None:
    lengths, planes = np.array(sizes), Planes()
    starts = np.concatenate([[0], np.cumsum(lengths + gap)])[:-1] + 3
    data = np.arange(int(starts[-1] + lengths[-1]) + BLOCK).astype(np.uint8)
    plan = arranged(lengths)
    Places(data, plan.of(starts), plan).read_all(0, planes)
    for place, row in enumerate(np.arange(len(sizes)) if plan.order is None else plan.order):
        blocks = blocks_of(sizes[row])
        read = b"".join(planes.cells(step)[place].tobytes() for step in range(blocks))
        assert read == data[starts[row] :][: BLOCK * blocks].tobytes()
        assert sum(count > place for count in plan.counts) == blocks


@given(SIZES | ONE_COUNT)
@settings(deadline=None)
def test_groups_part_the_rows_by_their_blocks(sizes: list[int]) -> None:
    plan = arranged(np.array(sizes))
    assert plan.rows == len(sizes)
    assert [start for start, _, _ in plan.groups] == [0, *(stop for _, stop, _ in plan.groups)][:-1]
    found = [blocks for start, stop, blocks in plan.groups for _ in range(start, stop)]
    assert found == sorted(map(blocks_of, sizes), reverse=True)


@given(SIZES | ONE_COUNT, st.booleans())
@settings(max_examples=200, deadline=None)
def test_blocks_are_written_where_they_were_read(sizes: list[int], by_stride: bool) -> None:
    sizes = [sizes[0]] * len(sizes) if by_stride else sizes
    distance = 96  # bytes, past the longest row
    starts, plan, planes = distance * np.arange(len(sizes)), arranged(np.array(sizes)), Planes()
    data = (np.arange(distance * len(sizes) + BLOCK) % 251).astype(np.uint8)
    stride = distance if by_stride else None
    Places(data, plan.of(starts), plan, stride).read_all(0, planes)
    target = np.zeros_like(data)
    Places(target, plan.of(starts), plan, stride).write_all(0, planes)
    for start, size in zip(starts.tolist(), sizes, strict=True):
        written = BLOCK * blocks_of(size)
        assert target[start : start + written].tolist() == data[start : start + written].tolist()
        assert not target[start + written : start + distance].any()


@given(st.integers(0, 3 * CHUNK_ROWS), st.integers(0, 3000))
@settings(deadline=None)
def test_chunks_follow_one_another_and_are_fewer_rows_of_long_values(rows: int, size: int) -> None:
    column = ByteColumn(np.arange(rows + 1) * size, np.zeros(0, np.uint8), None)
    found = chunks(column)
    assert [part.start for part in found] + [rows] == [0, *(part.stop for part in found)]
    longest = max((part.stop - part.start for part in found), default=0)
    assert longest <= CHUNK_ROWS
    assert longest <= 1024 or longest * size <= 64 * CHUNK_ROWS


def blocks_of(size: int) -> int:
    """Return the blocks of a value: an empty one has one, of nothing."""
    return max(1, -(-size // BLOCK))
