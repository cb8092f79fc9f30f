from __future__ import annotations

import numpy as np

from cloakhouse.sample.faults import spoil_receipts

LINE = b"900,330,31198570044,1095275,1,0.5,0,0,0,7,2017-02-06 11:53:26,4000004795908510,33008\n"


def test_bad_rows_stand_beside_the_real_ones() -> None:
    lines = [LINE.replace(b"1095275", str(number).encode()) for number in range(1_000, 1_050)]
    spoilt = spoil_receipts(lines, np.random.default_rng(5))
    assert [line for line in spoilt if line in set(lines)] == lines
    assert len(spoilt) == 55
    for at, line in enumerate(spoilt):
        if line not in set(lines):
            product = line.split(b",")[3]
            assert any(other.split(b",")[3] == product for other in spoilt[at + 1 : at + 7] if other in set(lines))


def test_a_single_line_is_spoilt_in_every_way() -> None:
    spoilt = spoil_receipts([LINE], np.random.default_rng(0))
    start, end = LINE.split(b",1,")
    assert sorted(spoilt) == sorted(
        [
            LINE,
            start + b",several," + end,
            start + b",-1," + end,
            LINE.replace(b"900,", b"9000007,", 1),
            LINE.replace(b"4000004795908510", b"4000004\xff\xfe5908510"),
            LINE.replace(b"\n", b",0\n"),
        ]
    )
