"""An attack on fitted synthesizers as they are stored: nothing in them is a training row, or leads to one.

The attacker has the content after decryption, and looks for planted values: in the bytes, in every number and text that
the unpickled objects hold, and for lists that tell which rows belong together. The same attack finds them in what the
library itself keeps.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.support.sdv_tables import ENGINES, ROWS, fit, module, plan, token, training

from cloakhouse.errors import IntegrityError
from cloakhouse.synthesis.protocol import UNIT, Chunk
from cloakhouse.synthesis.sdv_tables import neural, pickling


def planted() -> pa.Table:
    """Return the training rows with values that each are one row's alone: of units, and of one household."""
    table = training()
    of = np.unique([t.as_py() for t in table.column(UNIT)], return_inverse=True)[1]
    values = 40.0 + 1 / 3 + np.sqrt(np.arange(ROWS) + 2.0) * 7.0  # 52 bits that nothing else has
    values[0] = 493.0 + 1 / 7  # household 0 is the largest by far
    income = 30.0 + 1 / 3 + np.sqrt(of + 3.0) * 11.0
    table = table.set_column(table.schema.get_field_index("value"), "value", pa.array(values))
    return table.set_column(table.schema.get_field_index("income"), "income", pa.array(income))


def secrets(table: pa.Table) -> set[float]:
    return {*table.column("value").to_pylist(), *table.column("income").to_pylist()}


def walk(root: Any) -> Iterator[Any]:
    """Yield every object that `root` leads to: attributes, items, frames, arrays and tensors."""
    import torch

    seen: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        at = waiting.pop()
        if id(at) in seen or isinstance(at, (type, str, bytes, int, float)):
            yield at
            continue
        seen[id(at)] = at
        yield at
        if isinstance(at, Mapping):
            waiting += [*at.keys(), *at.values()]
        elif isinstance(at, (list, tuple, set, frozenset)):
            waiting += list(at)
        elif isinstance(at, torch.Tensor):
            waiting.append(at.detach().numpy())
        elif hasattr(at, "to_numpy"):
            waiting.append(at.to_numpy())
        elif isinstance(at, np.ndarray) and at.dtype == object:
            waiting += list(at.ravel())
        if hasattr(at, "__dict__"):
            waiting += list(vars(at).values())


def numbers(root: Any) -> set[float]:
    """Return every number that is held anywhere."""
    found: set[float] = set()
    for at in walk(root):
        if isinstance(at, np.ndarray) and at.dtype.kind in "iuf":
            found.update(np.asarray(at, np.float64).ravel().tolist())
        elif isinstance(at, (int, float, np.number)) and not isinstance(at, bool):
            found.add(float(at))
    return found


def partitions(root: Any) -> int:
    """Return how many lists of row numbers there are that divide the training rows among categories."""
    count = 0
    for at in walk(root):
        if isinstance(at, list) and at and all(isinstance(x, np.ndarray) and x.dtype.kind == "i" for x in at):
            count += sorted(np.concatenate([x.ravel() for x in at]).tolist()) == list(range(ROWS))
    return count


def row_by_row(root: Any) -> list[tuple[int, ...]]:
    """Return shapes of what has an entry a training row, where no network or table of cells has that many."""
    shapes = [
        at.shape if isinstance(at, np.ndarray) else (len(at),)
        for at in walk(root)
        if isinstance(at, (np.ndarray, list, tuple))
    ]
    return [shape for shape in shapes if ROWS in shape]


def patterns(value: float) -> list[bytes]:
    """Return how software writes a number: binary in both orders and widths, and text."""
    forms = [struct.pack(form, value) for form in ("<d", ">d", "<f", ">f")]
    return [*forms, repr(value).encode(), f"{value:.2f}".encode()]


@pytest.mark.parametrize("name", ENGINES)
def test_no_training_row_can_be_recovered_from_an_artifact(name: str) -> None:
    table = planted()
    content = fit(name, table).to_bytes()
    artifact = pickle.loads(content)
    hidden = secrets(table)
    held = numbers(artifact)
    assert not (hidden | {float(np.float32(value)) for value in hidden}) & held
    if name in ("ctgan", "tvae"):  # nor a component of the one outlier
        assert not [number for number in held if 480.0 < number < 500.0]
    assert partitions(artifact) == 0
    assert row_by_row(artifact) == []
    for value in hidden:
        assert not [pattern for pattern in patterns(value) if len(pattern) > 4 and pattern in content]
    for number in range(30):
        assert token(number) not in content


def test_the_attack_finds_the_rows_in_what_ctgan_itself_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sampler lists the rows of each category: columns joined by row number are the rows' categories."""
    monkeypatch.setattr(neural, "strip", lambda model: None)
    artifact = pickle.loads(fit("ctgan", planted()).to_bytes())
    assert partitions(artifact) >= 2
    lists = artifact.synthesizer._data_sampler._rid_by_cat_cols[0]
    coded = artifact.synthesizer._transformer._column_transform_info_list[0].transform.dummies
    stores: list[Any] = [None] * ROWS
    for code, rows in zip(coded, lists, strict=True):
        for row in rows:
            stores[row] = artifact.codings[0].values[code]
    assert stores == training().column("store").to_pylist()  # a column of every training row, in order


def test_the_attack_finds_single_households_in_what_hma_itself_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest and largest description of a unit's rows: with one row, that row's value."""
    from cloakhouse.synthesis.sdv_tables import hierarchies

    kept: list[Any] = []
    original = hierarchies.described
    monkeypatch.setattr(hierarchies, "described", lambda made, rows: kept.append(made) or original(made, rows))
    table = planted()
    lonely = table.slice(0, 1)
    others = table.filter(pa.array([t.as_py() != lonely.column(UNIT)[0].as_py() for t in table.column(UNIT)]))
    content = fit("hma", pa.concat_tables([lonely, others])).to_bytes()
    value = lonely.column("value")[0].as_py()
    assert value in numbers(kept[0].extended_columns)
    assert value not in numbers(pickle.loads(content))


def test_an_artifact_reads_back_with_names_from_the_list_alone() -> None:
    used: set[str] = set()

    class Recording(pickling._Reader):
        def find_class(self, module: str, name: str) -> Any:
            used.add(f"{module}.{name}")
            return super().find_class(module, name)

    for name in ENGINES:
        Recording(io.BytesIO(fit(name).to_bytes())).load()
    assert used == pickling.NAMES  # and nothing is on the list that no artifact needs


class Bomb:
    """What a pickle does that isn't ours."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.made = call, arguments

    def __reduce__(self) -> Any:
        return self.made


FLAG: list[str] = []


def test_a_pickle_of_anything_else_is_refused_before_it_acts(tmp_path: Any) -> None:
    import os
    import subprocess

    import copulas.utils
    import sdv.io.local
    import torch

    target = tmp_path / "flag"
    bombs = [
        Bomb(os.system, f"touch {target}"),
        Bomb(subprocess.Popen, ["touch", str(target)]),
        Bomb(eval, f"open({str(target)!r}, 'w')"),
        Bomb(getattr, {}, "pop"),
        Bomb(FLAG.append, "called"),
        Bomb(torch.load, str(target)),
        Bomb(np.load, str(target)),
        Bomb(copulas.utils.get_instance, "subprocess.Popen"),
        Bomb(sdv.io.local.CSVHandler.read, None, str(target)),
        Bomb(IntegrityError),
    ]
    for bomb in bombs:
        for content in (pickle.dumps(bomb), pickle.dumps({"a": [bomb]}, protocol=2)):
            with pytest.raises(IntegrityError) as caught:
                module("ctgan").open_model(plan("ctgan"), content)
            assert caught.value.code == "integrity.artifact"
    assert not target.exists()
    assert not FLAG
    dotted = b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__call__\x93."
    for content in (b"", b"\x80\x05.", b"no pickle", dotted, pickle.dumps(7), pickle.dumps(None)):
        with pytest.raises(IntegrityError):
            module("ctgan").open_model(plan("ctgan"), content)


def test_what_is_stripped_still_samples() -> None:
    assert fit("ctgan", planted()).sample(Chunk(0, 50, 1)).num_rows == 50
