"""What the scale bench measured is kept between runs, and a size that is measured again replaces what there was."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench.scale_constants import Constants
from tests.bench.scale_results import Cost, Results

SMALL, LARGE = Constants(10, 1, 2, 3, 4, 5, 6), Constants(100, 1, 2, 3, 4, 5, 6)


def test_sizes_are_kept_in_a_file_and_read_again(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    Results.of(file).add({(10, 0, "land x"): Cost(1.0, 2.0, 3, 4)}, SMALL)
    Results.of(file).add({(100, 2, "gate "): Cost(5.0, 6.0, 7, 8)}, LARGE)
    again = Results.of(file)
    assert again.costs == {(10, 0, "land x"): Cost(1.0, 2.0, 3, 4), (100, 2, "gate "): Cost(5.0, 6.0, 7, 8)}
    assert again.counted == {10: SMALL, 100: LARGE}
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]
    assert json.loads(file.read_text())["counted"][0]["lines"] == 10


def test_a_size_that_is_measured_again_replaces_what_there_was() -> None:
    results = Results()
    results.add({(10, 0, "land x"): Cost(1.0, 2.0, 3, 4), (10, 1, "old "): Cost(1.0, 1.0, 1, 1)}, SMALL)
    results.add({(10, 0, "land x"): Cost(9.0, 9.0, 9, 9)}, SMALL)
    assert results.costs == {(10, 0, "land x"): Cost(9.0, 9.0, 9, 9)}
