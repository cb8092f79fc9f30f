"""One stage of the path as a process of its own: python -m tests.bench.scale_stage STAGE DATASET MASTER PROPERTIES."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from cloakhouse.contracts.parser import load_contracts
from cloakhouse.flow.submit import Job, run_job
from cloakhouse.ledger.catalogue import Catalogue, ManifestRef
from cloakhouse.settings import Settings
from cloakhouse.stages import pseudonymize, synthesize
from cloakhouse.stages.aggregate import aggregate
from cloakhouse.stages.consent_feed import feed_register
from cloakhouse.stages.land import land
from cloakhouse.stages.publish import publish
from cloakhouse.stages.validate import validate_protected
from cloakhouse.stages.validate_release import validate_synthetic

LIMIT_S = 3 * 3600.0
PRIVATE, AGGREGATE = "baskets_private", "weekly_sales"


def main(stage: str, dataset: str, master: str, properties: str) -> None:
    """Do the stage and print what it made, as JSON."""
    settings = Settings.from_environment()
    print(json.dumps(STAGES[stage](settings, dataset, master, Path(properties))))


def _land(settings: Settings, dataset: str, master: str, properties: Path) -> dict[str, object]:
    return {"rows": land(settings, load_contracts(settings.contracts)[dataset]).rows}


def _register(settings: Settings, dataset: str, master: str, properties: Path) -> dict[str, object]:
    fed = feed_register(settings)
    return {"rows": fed.choices if fed else 0}


def _pseudonymize(settings: Settings, dataset: str, master: str, properties: Path) -> dict[str, object]:
    request = pseudonymize.plan(settings, load_contracts(settings.contracts)[dataset])
    if request is None:
        raise SystemExit("nothing waits")
    _on_spark("pseudonymize", request, settings, master, properties)
    return {"rows": sum(part.rows for part in Catalogue(settings.database).protected(dataset).values())}


def _validate(settings: Settings, dataset: str, master: str, properties: Path) -> dict[str, object]:
    validate_protected(settings, load_contracts(settings.contracts)[dataset])
    return {}


def _aggregate(settings: Settings, dataset: str, master: str, properties: Path) -> dict[str, object]:
    aggregate(settings, load_contracts(settings.contracts)[AGGREGATE])
    return {}


def _synthesize(settings: Settings, dataset: str, master: str, properties: Path) -> dict[str, object]:
    request = synthesize.plan(settings, load_contracts(settings.contracts)[PRIVATE])
    if request is None:
        raise SystemExit("nothing to synthesize")
    return {"made": _on_spark("synthesize", request, settings, master, properties).as_dict()}


def _release(settings: Settings, dataset: str, master: str, properties: Path) -> dict[str, object]:
    contract = load_contracts(settings.contracts)[PRIVATE]
    made = ManifestRef.of(json.loads((settings.home / "made.json").read_text()))
    evidence = validate_synthetic(settings, contract, made)
    (settings.home / "evidence.json").write_text(json.dumps(evidence.as_dict()))
    return {}


def _publish(settings: Settings, dataset: str, master: str, properties: Path) -> dict[str, object]:
    evidence = ManifestRef.of(json.loads((settings.home / "evidence.json").read_text()))
    return {"rows": publish(settings, load_contracts(settings.contracts)[PRIVATE], evidence).rows}


def _on_spark(name: str, request: ManifestRef, settings: Settings, master: str, properties: Path) -> ManifestRef:
    arguments = ("--request", request.path, "--sha256", request.sha256)
    return ManifestRef.of(run_job(Job(name, arguments, master, LIMIT_S, properties), settings))


STAGES: dict[str, Callable[[Settings, str, str, Path], dict[str, object]]] = {
    "land": _land,
    "register": _register,
    "pseudonymize": _pseudonymize,
    "validate": _validate,
    "aggregate": _aggregate,
    "synthesize": _synthesize,
    "gate": _release,
    "publish": _publish,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
