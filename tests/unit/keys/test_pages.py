from __future__ import annotations

import mmap
import os

import pytest
from tests.support.processes import in_fork

from cloakhouse.keys.pages import HUGE, buffer


@pytest.mark.parametrize("size", [1, 4096, HUGE // 4, 1 << 20, HUGE, HUGE + 1])
def test_a_buffer_has_just_the_size_and_is_zero_and_writable(size: int) -> None:
    made = buffer(size)
    assert (len(made), made.readonly, bytes(made)) == (size, False, bytes(size))
    made[-1] = 7
    assert bytes(made[-2:])[-1] == 7
    assert bytes(buffer(size)) == bytes(size)


def test_a_forked_process_writes_into_a_copy() -> None:
    made = buffer(1 << 20)

    def child() -> None:
        made[0] = 1

    assert in_fork(child) == 0
    assert made[0] == 0


def test_a_kernel_without_huge_pages_gives_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", -1)  # EINVAL, as there
    assert bytes(buffer(1 << 20)) == bytes(1 << 20)


def test_the_memory_goes_back() -> None:
    def resident() -> int:
        with open("/proc/self/statm") as stream:  # noqa: PTH123
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = resident()
    for _ in range(50):
        buffer(1 << 20)[:] = bytes(1 << 20)
    assert resident() - before < 16 << 20
