"""Objects of Kubernetes as plain mappings: their names, and the pods that workloads make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")


def label(item: Object) -> str:
    """Return how `item` is named in messages."""
    data = item.get("metadata", {})
    return f"{item.get('kind')} {data.get('namespace', '-')}/{data.get('name', '-')}"


def pod_of(item: Object) -> Object | None:
    """Return the pod (metadata and spec) that a workload makes, or None for another kind of object."""
    if item.get("kind") not in WORKLOADS:
        return None
    if item["kind"] == "Pod":
        return item
    spec = item["spec"]
    template: Object = spec["jobTemplate"]["spec"]["template"] if item["kind"] == "CronJob" else spec["template"]
    return template


def containers_of(pod: Object) -> list[Object]:
    """Return all containers of a pod, those that run first and those put in later included."""
    spec = pod["spec"]
    return [c for key in ("initContainers", "containers", "ephemeralContainers") for c in spec.get(key) or ()]
