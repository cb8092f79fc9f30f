"""What Spark shows of a running job: its REST answers and its pages; and where its processes listen."""

from __future__ import annotations

import http.client
import json
import re
import urllib.request
from collections.abc import Iterable
from typing import Any

import psutil

PAGES = (
    "jobs/", "jobs/job/?id=0", "stages/", "stages/stage/?id=0&attempt=0", "storage/", "environment/", "executors/",
    "SQL/", "SQL/execution/?id=0", "executors/threadDump/?executorId=driver",
)  # fmt: skip
ANSWERS = (
    "jobs", "stages?details=true&withSummaries=true", "stages/0/0/taskList", "sql?details=true&planDescription=true",
    "sql/0", "environment", "executors", "allexecutors", "storage/rdd",
)  # fmt: skip


def listening(pids: Iterable[int]) -> set[tuple[int, str, int]]:
    """Return (process id, address, port) of every TCP socket on which one of the processes listens."""
    found = set()
    for pid in pids:
        try:
            sockets = psutil.Process(pid).net_connections(kind="tcp")
        except psutil.Error:
            continue
        found |= {(pid, s.laddr.ip.removeprefix("::ffff:"), s.laddr.port) for s in sockets if s.status == "LISTEN"}
    return found


def fetched(url: str) -> bytes | None:
    """Return the body behind `url`, or None when nobody answers there in HTTP with 200."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            body: bytes = answer.read()
            return body
    except (OSError, http.client.HTTPException):
        return None


def port_of(service: str, log: str) -> int | None:
    """Return the port on which Spark started `service`, such as SparkUI, by its log; None while it has not."""
    found = re.findall(rf"Successfully started service '{service}' on port (\d+)", log)
    return int(found[-1]) if found else None


def shown(url: str) -> dict[str, bytes]:
    """Return every REST answer and page of the running job behind `url`, by its path; none while Spark starts."""
    try:
        applications: list[dict[str, Any]] = json.loads(fetched(f"{url}/api/v1/applications") or b"[]")
    except ValueError:
        applications = []  # a page that asks for patience
    if not applications:
        return {}
    root = f"api/v1/applications/{applications[0]['id']}"
    paths = [root, *(f"{root}/{name}" for name in ANSWERS), *PAGES]
    return {path: body for path in paths if (body := fetched(f"{url}/{path}")) is not None}
