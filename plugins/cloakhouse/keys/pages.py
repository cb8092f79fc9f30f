"""Memory for buffers that gigabytes pass through."""

from __future__ import annotations

import contextlib
import mmap

HUGE = 2 << 20  # bytes of a huge page


def buffer(size: int) -> memoryview:
    """Return `size` zero bytes, writable, in huge pages where the kernel has some and the size is worth it.

    A cipher that reads and writes whole mebibytes misses the address cache (TLB) on every 4 KiB otherwise, and a
    fresh buffer costs a page fault for each. The memory is this process's own, also after a fork, and goes back to
    the system with the last view of it.
    """
    if size < HUGE // 4:
        return memoryview(bytearray(size))
    pages = mmap.mmap(-1, -(-size // HUGE) * HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(pages)[:size]
