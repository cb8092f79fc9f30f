from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from cloakhouse.stages.batches import COMPANY, gathered
from cloakhouse.stages.parsing import BadRows, Parsed


def batches(*sizes: int) -> Iterator[Parsed]:
    at = 0
    for size in sizes:
        numbers = pa.table({"n": pa.array(range(at, at + size), pa.int64())})
        yield Parsed(numbers, numbers, BadRows(["wrong_type"], ["n"], [str(at).encode()]))
        at += size


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((), []),
        ((0, 0), []),
        ((3,), [3]),
        ((3, 0, 4), [7]),
        ((10,), [10]),
        ((10, 10, 10), [10, 10, 10]),
        ((10, 9), [19]),
        ((10, 12, 1), [10, 13]),
        ((1, 10), [11]),
        ((9, 9, 9), [27]),
        ((9, 9, 9, 9), [18, 18]),
        ((12, 3, 4, 5, 12), [12, 12, 12]),
        ((4,) * 8, [12, 20]),
    ],
)
def test_no_batch_is_small_beside_others(sizes: tuple[int, ...], expected: list[int]) -> None:
    aside = BadRows()

    def set_aside(bad: BadRows) -> None:
        aside.records.extend(bad.records)

    found = list(gathered(batches(*sizes), set_aside, 10))
    assert [batch.table.num_rows for batch in found] == expected
    rows = [n for batch in found for n in batch.table.column("n").to_pylist()]
    assert rows == list(range(sum(sizes)))
    assert all(batch.raw.equals(batch.table) for batch in found)
    assert not [batch for batch in found if batch.bad.reasons]
    assert len(aside.records) == len(sizes)


def test_one_batch_waits_and_rows_set_aside_never_do() -> None:
    taken: list[int] = []
    aside: list[int] = []

    def source() -> Iterator[Parsed]:
        for number, batch in enumerate(batches(*[10] * 50)):
            taken.append(number)
            yield batch

    for number, _ in enumerate(gathered(source(), lambda bad: aside.append(len(bad.records)), 10)):
        assert len(taken) <= number + 2 or number == 49
        assert len(aside) == len(taken)
    assert COMPANY == 1_000


def test_large_rows_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five rows of eight bytes fill the room here, so they are as good as company."""
    monkeypatch.setattr("cloakhouse.stages.batches.ROOM", 40)
    found = list(gathered(batches(3, 3, 3, 5, 1, 1), lambda bad: None, 1_000))
    assert [batch.table.num_rows for batch in found] == [6, 10]
    assert [n for batch in found for n in batch.table.column("n").to_pylist()] == list(range(16))
