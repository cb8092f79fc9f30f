"""Datasets, their versions, the cards, where they come from, and the evidence that admitted them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloakhouse.console import data_datasets, data_decisions, data_log, drawing, inputs
from cloakhouse.console.access import Need, may, needs
from cloakhouse.console.house import House
from cloakhouse.console.kept import attempt, within
from cloakhouse.console.pages import Pages
from cloakhouse.console.paging import Paging
from cloakhouse.contracts.model import Contract
from cloakhouse.lake.manifests import read_manifest
from cloakhouse.lake.releases import Release
from cloakhouse.lake.store.opening import open_store
from cloakhouse.ledger.catalogue import ManifestRef
from cloakhouse.ledger.version_model import DatasetVersion
from cloakhouse.privacy.words import in_words

A_PAGE = 50
EVENTS = 12
FIGURE = ("name", "value", "threshold", "at_most", "passed")
CHECK = ("type", "columns", "success", "unexpected_count", "element_count")
CONTRACT = ("version", "digest")
MOST_LISTED = 200_000  # objects of the lake that a search for evidence looks at


def router(house: House, pages: Pages) -> APIRouter:
    """Return the routes of these pages."""
    routes = APIRouter()

    @routes.get("/datasets")
    @needs(Need.DATASETS)
    def datasets(request: Request) -> Response:
        given = request.query_params
        wanted = inputs.text(given, "name")
        with house.reading() as connection:
            only = not may(request.state.viewer, Need.EVIDENCE)
            names = data_datasets.names(connection, wanted, published_only=only)
            paging = Paging.of(given, len(names), A_PAGE, name=wanted)
            shown = data_datasets.listed(connection, names[paging.chosen])
        contracts = attempt(house.contracts.get).value
        known: Mapping[str, Contract] = contracts.value if contracts else {}
        return pages(request, "datasets.html", shown=shown, paging=paging, wanted=wanted, contracts=known)

    @routes.get("/datasets/{name}")
    @needs(Need.DATASETS)
    def dataset(request: Request, name: str) -> Response:
        inputs.dataset_name(name)
        inner = may(request.state.viewer, Need.EVIDENCE)
        contracts = attempt(house.contracts.get)
        contract = contracts.value.value.get(name) if contracts.value else None
        with house.reading() as connection:
            if not data_datasets.is_known(connection, name, published_only=not inner):
                raise inputs.missing("dataset", "a dataset")
            versions = data_datasets.versions(connection, name)
            paging = Paging.of(request.query_params, len(versions), A_PAGE)
            graph = _contract_graph(
                request, connection, contracts.value.value if contracts.value else {}, name, versions
            )
            context: dict[str, Any] = {
                "versions": versions[paging.chosen],
                "paging": paging,
                "partitions": data_datasets.partitions(connection, name) if inner else None,
                "entries": data_log.of_dataset(connection, name, EVENTS) if inner else [],
                "holds": data_datasets.holds(connection, name) if inner else [],
            }
        about = "From what is protected, through what is made of it, to the versions that are published."
        drawn = drawing.lineage(graph, f"Lineage of {name}", about) if graph else None
        return pages(
            request, "dataset.html", name=name, contract=contract, problem=contracts.problem, graph=drawn, **context
        )

    @routes.get("/datasets/{name}/{number}")
    @needs(Need.DATASETS)
    def version(request: Request, name: str, number: str) -> Response:
        found = find_version(house, name, number)
        opened = attempt(lambda: house.release(found))
        inner = may(request.state.viewer, Need.EVIDENCE)
        with house.reading() as connection:
            history = data_datasets.history(connection, name, found.version) if inner else []
            evidence = opened.value.evidence.sha256 if opened.value and inner else None
            decided = data_decisions.approvals(connection, EVENTS, evidence=evidence) if evidence else []
            holds = [h for h in data_datasets.holds(connection, name) if h.version == found.version] if inner else []
        release = opened.value
        graph = _release_graph(request, release, found, inner=inner) if release else None
        return pages(
            request,
            "version.html",
            version=found,
            release=release,
            problem=opened.problem,
            card=_card(release),
            privacy=_privacy(release),
            graph=drawing.lineage(graph, f"Lineage of {found.name}", "Sources, how it was made, and the version.")
            if graph
            else None,
            history=history,
            decided=decided,
            holds=holds,
        )

    find_evidence = functools.lru_cache(256)(lambda sha256: _evidence_path(house, sha256))

    def read_evidence(sha256: str) -> tuple[str, Mapping[str, Any]]:
        path = find_evidence(sha256)
        return path, read_manifest(open_store(house.settings), ManifestRef(path, sha256), "validation")

    @routes.get("/evidence/{sha256}")
    @needs(Need.EVIDENCE)
    def evidence(request: Request, sha256: str) -> Response:
        inputs.digest(sha256)
        path, content = within(lambda: read_evidence(sha256))
        with house.reading() as connection:
            decided = data_decisions.approvals(connection, EVENTS, evidence=sha256)
        quality = content.get("quality") or {}
        return pages(
            request,
            "evidence.html",
            sha256=sha256,
            path=path,
            dataset=str(content.get("dataset", "")),
            contract=_some(content.get("contract"), CONTRACT),
            passed=content.get("passed") is True,
            gate=_each(content.get("gate"), FIGURE),
            checks=_each(quality.get("expectations"), CHECK),
            decided=decided,
        )

    return routes


def find_version(house: House, name: str, number: str) -> DatasetVersion:
    """Return the version that an address names. Raises NotFound."""
    inputs.dataset_name(name)
    wanted = inputs.number(number)
    with house.reading() as connection:
        found = data_datasets.version(connection, name, wanted) if wanted < 2**31 else None
    if found is None:
        raise inputs.missing("version", f"a version of {name}")
    return found


def _card(release: Release | None) -> dict[str, Any]:
    """Return what the page shows of a card; what isn't in it is None."""
    found = _some(release.card if release else {}, ("title", "purpose", "owner", "limits"))
    privacy = release.card.get("privacy") if release else None
    return {**found, "gate": _each(privacy.get("gate") if isinstance(privacy, Mapping) else None, FIGURE)}


def _some(found: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields `names` of a mapping, None where one is missing."""
    known = found if isinstance(found, Mapping) else {}
    return {name: known.get(name) for name in names}


def _each(found: object, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the fields `names` of each mapping in a list."""
    items = found if isinstance(found, list | tuple) else ()
    return [_some(item, names) for item in items if isinstance(item, Mapping)]


def _privacy(release: Release | None) -> str:
    guarantee = release.card.get("privacy", {}).get("guarantee") if release else None
    if isinstance(guarantee, Mapping) and not {"epsilon", "delta", "neighbours"} <= set(guarantee):
        return "not stated"
    return in_words(guarantee) if guarantee else "not stated"


def _evidence_path(house: House, sha256: str) -> str:
    """Return the path of the evidence with this digest. Raises NotFound; that is looked for again the next time."""
    wanted = f"/validation-{sha256[:16]}.json"
    for seen, info in enumerate(open_store(house.settings).list("evidence")):
        if info.path.endswith(wanted):
            return str(info.path)
        if seen >= MOST_LISTED:
            break
    raise inputs.missing("evidence", "evidence in the lake")


def _contract_graph(
    request: Request,
    connection: sa.Connection,
    contracts: Mapping[str, Contract],
    name: str,
    versions: list[DatasetVersion],
) -> drawing.Graph | None:
    """Return sources -> this dataset -> what derives from it; None for a dataset that stands alone."""
    inner = may(request.state.viewer, Need.EVIDENCE)
    sources = [s for s in contracts[name].sources if s in contracts] if name in contracts else []
    children = [other.name for other in contracts.values() if name in other.sources]
    heads = data_datasets.derived(connection, children)
    if not inner:
        children = [child for child in children if child in heads]
    if not sources and not children:
        return None
    root = str(request.scope.get("root_path", ""))

    def box(other: str, kind: str, below: str) -> drawing.Box:
        link = f"{root}/datasets/{other}" if inner or other in heads else ""
        return drawing.Box(other, below, link, kind)

    before = tuple(box(source, "protected", f"protected, contract {contracts[source].version}") for source in sources)
    newest = next((v for v in versions if v.head), None)
    here = drawing.Box(
        name, f"version {newest.version}, {newest.rows:,} rows" if newest else _state_of(contracts, name)
    )
    after = tuple(box(c, "", f"version {heads[c]}" if c in heads else "nothing published") for c in children)
    columns = [("made from", before)] if before else []
    columns.append(("this dataset", (here,)))
    columns += [("from it come", after)] if after else []
    middle = 1 if before else 0
    edges = [((0, row), (middle, 0)) for row in range(len(before))]
    edges += [((middle, 0), (middle + 1, row)) for row in range(len(after))]
    return drawing.Graph(tuple(columns), tuple(edges))


def _state_of(contracts: Mapping[str, Contract], name: str) -> str:
    return f"{contracts[name].kind.value}" if name in contracts else "no contract"


def _release_graph(request: Request, release: Release, version: DatasetVersion, *, inner: bool) -> drawing.Graph:
    """Return sources with their partitions -> how it was made -> the version."""
    root = str(request.scope.get("root_path", ""))
    sources = tuple(
        drawing.Box(
            name,
            f"{len(partitions)} protected partition" + ("" if len(partitions) == 1 else "s"),
            f"{root}/datasets/{name}" if inner else "",
            "protected",
        )
        for name, partitions in sorted(release.parents.items())
    )
    made: dict[str, Any] = dict(release.card.get("provenance") or {})
    how = drawing.Box(str(made.get("engine") or "made"), str(made.get("library") or "")[:30], "", "step")
    here = drawing.Box(version.name, f"{release.rows:,} rows, {len(release.files)} files")
    columns = (("protected", sources), ("made by", (how,)), ("published", (here,)))
    return drawing.Graph(columns, (*(((0, row), (1, 0)) for row in range(len(sources))), ((1, 0), (2, 0))))
