"""What the measures were taken on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

import psutil


def describe() -> str:
    """Return one line: processor, cores, memory, system, versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    memory = psutil.virtual_memory().total / 2**30
    engines = ", ".join(f"{name} {version(name)}" for name in ("apache-airflow", "pyspark", "sdv", "pyarrow"))
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, {engines}"
