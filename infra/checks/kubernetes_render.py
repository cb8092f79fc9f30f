"""Renders overlays of infra/kubernetes with kubectl's kustomize, and checks them: Kubernetes' schemas, then our rules.

python -m infra.checks.kubernetes_render        # needs kubectl and kubernetes-validate: infra/checks/requirements.txt
"""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from infra.checks.kubernetes_objects import label
from infra.checks.kubernetes_rules import faults

OVERLAYS = ("aws", "small")
ROOT = Path(__file__).resolve().parents[1] / "kubernetes"
RENDER_S = 60.0
UNKNOWN_KINDS = frozenset({"SecretProviderClass"})  # of the Secrets Store CSI driver; Kubernetes has no schema of it


def kubectl() -> str | None:
    """Return the program kubectl: that beside this Python, else that on PATH; None without one."""
    beside = Path(sys.executable).with_name("kubectl")
    return str(beside) if beside.exists() else shutil.which("kubectl")


def rendered(overlay: str, program: str) -> list[dict[str, Any]]:
    """Return the objects of `overlay`, and the pod from which Spark makes its executors."""
    answer = subprocess.run(
        [program, "kustomize", str(ROOT / "overlays" / overlay)],
        check=True, capture_output=True, text=True, timeout=RENDER_S,
    )  # fmt: skip
    objects: list[dict[str, Any]] = list(yaml.safe_load_all(answer.stdout))
    template = next(item["data"]["executor.yaml"] for item in objects if "executor.yaml" in item.get("data", {}))
    executor = yaml.safe_load(template)
    executor["metadata"] |= {"name": "spark-executor", "namespace": "cloakhouse-spark"}
    return [*objects, executor]


def main() -> int:
    """Check every overlay; return 1 when something doesn't hold."""
    import kubernetes_validate  # type: ignore[import-not-found]  # of .venv-infra

    program, failed = kubectl(), False
    if program is None:
        print("kubectl isn't here: pip install -r infra/checks/requirements.txt", file=sys.stderr)
        return 1
    for overlay in OVERLAYS:
        objects = rendered(overlay, program)
        wrong = faults(objects)
        for item in copy.deepcopy(objects):
            if item["kind"] in UNKNOWN_KINDS:
                continue
            if label(item) == "Pod cloakhouse-spark/spark-executor":  # Spark adds the image
                item["spec"]["containers"][0]["image"] = "spark"
            try:
                kubernetes_validate.validate(item, "1.34", strict=True)
            except kubernetes_validate.ValidationError as error:
                wrong.append(f"{label(item)}: {error.message}")
        print(f"{overlay}: {len(objects)} objects, {len(wrong)} faults", *wrong, sep="\n  ")
        failed |= bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
