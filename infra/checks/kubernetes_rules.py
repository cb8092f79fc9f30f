"""What must hold of the manifests in infra/kubernetes, as a pure function over their objects.

Standards: Kubernetes' Pod Security Standards, profile "restricted", and beyond it: a root file system that can't be
written, limits for everything, images by digest, no Secret object, no token where none is used, every flow of the
network named. `faults` says what doesn't hold; nothing is read or written here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.checks.kubernetes_flows import faults_together
from infra.checks.kubernetes_objects import Object, containers_of, label, pod_of

PINNED = re.compile(r".+@sha256:[0-9a-f]{64}")
VOLUMES = ("configMap", "csi", "emptyDir", "persistentVolumeClaim", "projected")
TOKENS = frozenset({"scheduler"})  # pods that talk to Kubernetes' API
VERBS = frozenset({"create", "get", "list", "watch", "patch", "delete", "deletecollection"})
SECRET_WORDS = re.compile(r"(?i)(password|passwd|secret_?key|api_?key|private_?key|token|credential)[a-z_]*$")
IMAGE = re.compile(r'"image": *"([^"]*)"')  # in the connection of Spark
IN_URL = re.compile(r"://[^/@:\s]*:[^/@\s]+@")


def faults(objects: Sequence[Object]) -> list[str]:
    """Return what is wrong with `objects` (one installation), each as `KIND namespace/name: fault`."""
    alone = [f"{label(item)}: {fault}" for item in objects for fault in _of_object(item)]
    return [*alone, *faults_together(objects)]


def _of_object(item: Object) -> Iterator[str]:
    kind = item.get("kind")
    if kind == "Secret":
        yield "a Secret object: secrets are files of the secret store"
    if kind in ("ClusterRole", "ClusterRoleBinding"):
        yield "rights over the whole cluster"
    if (
        kind == "Namespace"
        and item["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted"
    ):
        yield "a namespace that doesn't enforce the restricted standard"
    if kind == "ServiceAccount" and item.get("automountServiceAccountToken") is not False:
        yield "an account that mounts its token"
    if kind == "Service" and item["spec"].get("type", "ClusterIP") != "ClusterIP":
        yield "a service that is open beyond the cluster"
    if kind == "ConfigMap":
        yield from _of_settings(dict(item.get("data") or {}))
    if kind == "Role":
        yield from _of_role(item)
    pod = pod_of(item)
    if pod is not None:
        yield from _of_pod(pod, str(item["metadata"].get("name", "")))


def _of_role(item: Object) -> Iterator[str]:
    for rule in item.get("rules") or ():
        if set(rule.get("apiGroups", ())) != {""} or set(rule.get("resources", ())) != {"pods"}:
            yield "rights to other things than pods"
        if not set(rule.get("verbs", ())) <= VERBS:
            yield "more verbs than a driver needs"
    if item["metadata"].get("namespace") != "cloakhouse-spark":
        yield "rights outside of the executors' namespace"


def _of_settings(settings: Mapping[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        if SECRET_WORDS.search(name) and not str(value).startswith("/"):
            yield f"{name} looks like a secret"
        if IN_URL.search(str(value)):
            yield f"{name} has a password in a URL"
        if (image := IMAGE.search(str(value))) and not PINNED.fullmatch(image[1]):
            yield f"{name}: an image that isn't named by its digest"


def _of_pod(pod: Object, owner: str) -> Iterator[str]:
    spec = pod["spec"]
    for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(key):
            yield f"{key}: true"
    if spec.get("enableServiceLinks") is not False:
        yield "addresses of services in variables"
    wanted = owner in TOKENS
    if spec.get("automountServiceAccountToken") is not wanted:
        yield "a token that isn't used" if not wanted else "no token, though it needs one"
    if spec.get("serviceAccountName", "default") == "default":
        yield "the namespace's default account"
    context = spec.get("securityContext") or {}
    if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
        yield "may run as root"
    if (context.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        yield "no seccomp profile"
    for volume in spec.get("volumes") or ():
        if not any(kind in volume for kind in VOLUMES):
            yield f"volume {volume.get('name')}: of a kind that isn't allowed"
        if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
            yield f"volume {volume['name']}: no limit of its size"
        if any("secret" in source for source in (volume.get("projected") or {}).get("sources", ())):
            yield f"volume {volume['name']}: a Secret object"
    for container in containers_of(pod):
        yield from (f"container {container['name']}: {fault}" for fault in _of_container(container, context))


def _of_container(container: Object, pod: Object) -> Iterator[str]:
    context = container.get("securityContext") or {}
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "a root file system that can be written"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in capabilities.get("drop", ()) or capabilities.get("add"):
        yield "capabilities"
    if context.get("runAsNonRoot", True) is not True or context.get("runAsUser", 1) == 0:
        yield "may run as root"
    if context.get("seccompProfile", pod.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        yield "another seccomp profile"
    if "image" in container and not PINNED.fullmatch(container["image"]):
        yield "an image that isn't named by its digest"
    for what in ("requests", "limits"):
        given = (container.get("resources") or {}).get(what) or {}
        yield from (f"no {name} in {what}" for name in ("cpu", "memory") if not given.get(name))
    for port in container.get("ports") or ():
        if port.get("hostPort"):
            yield "a port of the host"
    for variable in container.get("env") or ():
        if "secretKeyRef" in (variable.get("valueFrom") or {}):
            yield f"{variable['name']}: a Secret object in a variable"
        yield from _of_settings({variable["name"]: variable.get("value", "/")})
    if any("secretRef" in source for source in container.get("envFrom") or ()):
        yield "a Secret object in variables"
