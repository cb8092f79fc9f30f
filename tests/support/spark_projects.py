"""Copies of the checkout to submit Spark jobs from, whose workers do something extra around each split."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from cloakhouse.settings import Settings

WRAPPER = """

_plain_run = Treater.run


def _run_with_more(self: Treater, task: DeliveryTask) -> dict[str, Any]:
    import os, signal, time
    from pathlib import Path

    from pyspark import TaskContext

    attempt = TaskContext.get().attemptNumber()
    split = task.part.number
    outcome = _plain_run(self, task)
{more}
    return outcome


Treater.run = _run_with_more
"""


def project_whose_workers(settings: Settings, folder: Path, more: str) -> Settings:
    """Return settings of a checkout where a worker runs `more` after each split's files are written.

    `more` knows `attempt` and `split`, both counted from 0, and `outcome`.
    """
    for name in ("infra", "spark_jobs", "plugins"):
        shutil.copytree(settings.project / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    path = folder / "plugins" / "cloakhouse" / "stages" / "treating.py"
    body = "".join(f"    {line}\n" for line in more.strip().splitlines())
    path.write_text(path.read_text() + WRAPPER.format(more=body))
    return replace(settings, project=folder)


def private(path: Path, properties: dict[str, str]) -> Path:
    """Write `properties` to `path`, readable by its owner alone, and return it."""
    path.touch(0o600)
    path.write_text("".join(f"{key} {value}\n" for key, value in properties.items()))
    return path


def project_with(settings: Settings, folder: Path, more: dict[str, str]) -> Settings:
    """Return settings of a checkout where each module of the stages named in `more` ends with that text."""
    for name in ("infra", "spark_jobs", "plugins"):
        shutil.copytree(settings.project / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for module, text in more.items():
        path = folder / "plugins" / "cloakhouse" / "stages" / f"{module}.py"
        path.write_text(f"{path.read_text()}\n\n{text}")
    return replace(settings, project=folder)
