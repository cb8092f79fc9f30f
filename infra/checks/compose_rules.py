"""What must hold of infra/compose/compose.yaml, as a pure function over its parsed text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

PINNED = re.compile(r"\S+@sha256:\$\{[A-Z]+_DIGEST:\?\}")  # named by a digest that has to be given
WRITABLE = re.compile(r"(?P<source>[a-z]+):(?P<target>/[^:]*)(?P<mode>:ro)?")
SECRET_WORDS = re.compile(r"(?i)(password|secret|token|credential|_key)$")
IN_URL = re.compile(r"://[^/@:\s]*:[^/@\s]+@")
DANGERS = ("privileged", "cap_add", "devices", "network_mode", "pid", "ipc", "userns_mode", "uts", "cgroup_parent")
OPEN = frozenset({"edge"})  # networks with a way out
PUBLISHED = ("127.0.0.1:",)


def faults(project: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a compose project, each as `NAME: fault`; empty if nothing."""
    found = [f"{name}: {fault}" for name, one in project["services"].items() for fault in _of_service(one, project)]
    for name, network in (project.get("networks") or {}).items():
        if name not in OPEN and (network or {}).get("internal") is not True:
            found.append(f"network {name}: has a way out")
    for name, secret in (project.get("secrets") or {}).items():
        if set(secret) != {"file"} or not secret["file"].startswith("${CLOAKHOUSE_SECRETS:?}/"):
            found.append(f"secret {name}: not a file of the installation's folder")
    return found


def _of_service(service: Mapping[str, Any], project: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in DANGERS if service.get(name))
    if not PINNED.fullmatch(service.get("image", "")):
        yield "an image that isn't named by its digest"
    if service.get("read_only") is not True:
        yield "a root file system that can be written"
    if service.get("cap_drop") != ["ALL"]:
        yield "capabilities"
    if service.get("security_opt") != ["no-new-privileges:true"]:
        yield "may gain privileges"
    user = str(service.get("user", "0")).split(":")[0]
    if not user.isdecimal() or user == "0":
        yield "may run as root"
    limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    yield from (f"no limit of {name}" for name in ("cpus", "memory", "pids") if not limits.get(name))
    check = service.get("healthcheck") or {}
    if check.get("disable") and service.get("restart") != "no":
        yield "no health check"
    if not check and not any(own in service.get("image", "") for own in ("/airflow@", "/spark@")):
        yield "no health check"
    yield from _of_places(service, project)
    yield from _of_values(service)


def _of_places(service: Mapping[str, Any], project: Mapping[str, Any]) -> Iterator[str]:
    networks = service.get("networks") or ()
    if not networks:
        yield "on the default network"
    yield from (f"no network {name}" for name in networks if name not in project["networks"])
    for port in service.get("ports") or ():
        if not str(port).startswith(PUBLISHED):
            yield "published beyond loopback"
    for volume in service.get("volumes") or ():
        match = WRITABLE.fullmatch(str(volume))
        if match is None or match["source"] not in (project.get("volumes") or {}):
            yield f"volume {volume}: a path of the host"
    yield from (f"no secret {name}" for name in service.get("secrets") or () if name not in project["secrets"])


def _of_values(service: Mapping[str, Any]) -> Iterator[str]:
    for name, value in (service.get("environment") or {}).items():
        if SECRET_WORDS.search(name) and not str(value).startswith("/"):
            yield f"{name} looks like a secret"
        if IN_URL.search(str(value)):
            yield f"{name} has a password in a URL"
    if "env_file" in service:
        yield "variables from a file: secrets belong into secrets"
