"""SDV without side effects: no log file, no progress bar, no change to anybody's random numbers, one thread.

The library takes its random numbers from the global generators of numpy and torch, opens a log in the user's data
folder, draws progress bars and starts worker processes. Here it does none of that, and afterwards everything global is
as it was before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

THREADS = (
    1  # these networks are small: a second one waits for the first, and on a busy machine costs five times the work
)
LOGGERS = ("SingleTableSynthesizer", "MultiTableSynthesizer", "Metadata", "SingleTableMetadata")
Told = Callable[[int, int], None]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep SDV from writing: it opens a log in the user's data folder when it is first used."""
    data_home = os.environ.get("XDG_DATA_HOME")
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        os.environ["XDG_DATA_HOME"] = str(Path(scratch))
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for name in LOGGERS:
                logger = logging.getLogger(name)
                for handler in list(logger.handlers):
                    logger.removeHandler(handler)
                    handler.close()
            if data_home is None:
                os.environ.pop("XDG_DATA_HOME")
            else:
                os.environ["XDG_DATA_HOME"] = data_home


@contextlib.contextmanager
def seeded(*entropy: int) -> Iterator[int]:
    """Seed every generator that the library draws from and yield a seed (32 bits) for those of its own.

    The state of the process's generators and torch's number of threads are restored afterwards. Work that joblib would
    give to processes is done here: they would draw from generators that nobody seeded.
    """
    import joblib  # type: ignore[import-untyped]
    import torch

    words = np.random.SeedSequence(entropy).generate_state(2)
    legacy, python, before = np.random.get_state(), random.getstate(), torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), joblib.parallel_config(backend="sequential"):
        np.random.seed(words[0])
        random.seed(int(words[0]))
        torch.random.default_generator.manual_seed(int(words[0]))
        torch.set_num_threads(THREADS)
        try:
            yield int(words[1])
        finally:
            np.random.set_state(legacy)
            random.setstate(python)
            torch.set_num_threads(before)


@contextlib.contextmanager
def watched(module: str, total: int, told: Told) -> Iterator[None]:
    """Have `told(done, total)` called for each step of the loop of `total` steps that `module` shows a bar for."""

    class Bar:
        def __init__(self, steps: Iterable[Any], **_: Any) -> None:
            self._steps = list(steps)

        def __iter__(self) -> Iterator[Any]:
            for number, step in enumerate(self._steps, 1):
                yield step
                if len(self._steps) == total:
                    told(number, total)

    loaded = import_module(module)
    bar = loaded.tqdm
    loaded.tqdm = Bar  # type: ignore[attr-defined]
    try:
        yield
    finally:
        loaded.tqdm = bar  # type: ignore[attr-defined]
