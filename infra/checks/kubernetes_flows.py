"""What must hold of manifests together: flows of the network, classes of secrets, budgets for disruption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from infra.checks.kubernetes_objects import Object, label, pod_of

ALONE = frozenset({"migrations"})  # ends by itself: no budget for disruption


def faults_together(objects: Sequence[Object]) -> Iterator[str]:
    """Return what is wrong between the `objects` of one installation."""
    yield from _of_network(objects)
    yield from _of_secrets(objects)
    yield from _of_budgets(objects)


def _of_network(objects: Sequence[Object]) -> Iterator[str]:
    policies = [item for item in objects if item.get("kind") == "NetworkPolicy"]
    spaces = {item["metadata"]["name"] for item in objects if item.get("kind") == "Namespace"}
    spaces |= {item["metadata"].get("namespace", "default") for item in objects if pod_of(item)}
    for space in sorted(spaces):
        if not any(item["metadata"].get("namespace") == space and _denies_all(item["spec"]) for item in policies):
            yield f"Namespace -/{space}: no policy that denies everything first"
    for item in policies:
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for rule in item["spec"].get(direction) or ():
                if not rule.get(peers) or not rule.get("ports"):
                    yield f"{label(item)}: a flow without peers or ports"
                if any(not port.get("port") for port in rule.get("ports") or ()):
                    yield f"{label(item)}: all ports"
                yield from (f"{label(item)}: everybody" for peer in rule.get(peers) or () if _is_everybody(peer))


def _denies_all(spec: Object) -> bool:
    whole = not spec.get("podSelector") and set(spec.get("policyTypes", ())) == {"Ingress", "Egress"}
    return whole and not spec.get("ingress") and not spec.get("egress")


def _is_everybody(peer: Object) -> bool:
    block = (peer.get("ipBlock") or {}).get("cidr", "")
    selectors = [peer[key] for key in ("podSelector", "namespaceSelector") if key in peer]
    return block in ("0.0.0.0/0", "::/0") or (not block and not any(selectors))


def _of_secrets(objects: Sequence[Object]) -> Iterator[str]:
    classes = {
        (item["metadata"].get("namespace"), item["metadata"]["name"])
        for item in objects
        if item.get("kind") == "SecretProviderClass"
    }
    if any(item.get("spec", {}).get("secretObjects") for item in objects if item.get("kind") == "SecretProviderClass"):
        yield "SecretProviderClass: makes Secret objects"
    for item in objects:
        pod = pod_of(item)
        for volume in (pod["spec"].get("volumes") or ()) if pod else ():
            name = ((volume.get("csi") or {}).get("volumeAttributes") or {}).get("secretProviderClass")
            if name and (item["metadata"].get("namespace"), name) not in classes:
                yield f"{label(item)}: no SecretProviderClass {name}"


def _of_budgets(objects: Sequence[Object]) -> Iterator[str]:
    budgets = [item for item in objects if item.get("kind") == "PodDisruptionBudget"]
    plain = [item["metadata"].get("labels", {}).get("app") for item in objects if item.get("kind") == "Pod"]
    for item in budgets:
        if item["spec"]["selector"]["matchLabels"].get("app") in plain and "maxUnavailable" in item["spec"]:
            yield f"{label(item)}: maxUnavailable of pods without a controller: none of them could be evicted"
    covered = {
        (item["metadata"].get("namespace"), item["spec"]["selector"]["matchLabels"].get("app")) for item in budgets
    }
    for item in objects:
        pod = pod_of(item)
        app = (pod.get("metadata") or {}).get("labels", {}).get("app") if pod else None
        if pod and app not in ALONE and (item["metadata"].get("namespace"), app) not in covered:
            yield f"{label(item)}: no PodDisruptionBudget"
