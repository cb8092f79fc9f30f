"""The dataset card as Croissant: MLCommons' JSON-LD for datasets, with the responsible-AI extension.

The files are named with their digests, so that a copy can be checked, but their bytes are encrypted: no loader of
Croissant reads them, and the document says so. Rows come through `cloakhouse.connect()`.

Sources: Croissant format 1.0, http://mlcommons.org/croissant/1.0; Croissant RAI 1.0, http://mlcommons.org/croissant/RAI/1.0
(section "RAI property information").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from cloakhouse.client.card import Released, Standing, dataset_card
from cloakhouse.client.croissant_rai import responsible

Facts = Mapping[str, Any]
CONFORMS_TO = ("http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0")
ENCODING = "application/x-parquet"  # as Croissant 1.0 writes it
FILES, ROWS = "files", "rows"
TYPES: Mapping[str, Sequence[str]] = {
    "string": ("sc:Text",),
    "integer": ("sc:Integer", "cr:Int64"),
    "number": ("sc:Float", "cr:Float64"),
    "boolean": ("sc:Boolean",),
    "date": ("sc:Date",),
    "timestamp": ("sc:DateTime",),
}
ENCRYPTED = (
    "The bytes are encrypted (Parquet Modular Encryption, AES-GCM, a key for each column): they are opened by the "
    "Cloakhouse client with a role's keys, and by no Croissant loader. The digest is that of the encrypted bytes."
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(release: Released, evidence: Facts | None, standing: Standing | None = None) -> dict[str, Any]:
    """Return the card as a Croissant 1.0 document with RAI 1.0 properties: JSON-LD, its context within.

    `version` is the lake's version as MAJOR.0.0; `contentUrl` is a path within the lake, `sha256` that of the encrypted
    file. The only sizes in it are those of the release. Raises ContractError as `dataset_card`.
    """
    card = dataset_card(release, evidence, standing)
    name = f"{release.dataset}@{release.version}"
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": release.dataset,
        "description": _description(card),
        "conformsTo": list(CONFORMS_TO),
        "identifier": card["identifier"],
        "url": card["identifier"],
        "version": f"{release.version}.0.0",
        "license": card["licence"],
        "datePublished": card["published"],
        "creator": {"@type": "sc:Organization", "name": str(card.get("owner") or "not stated")},
        "citeAs": f"{card.get('title') or release.dataset}. Dataset {name}, fingerprint {release.fingerprint}.",
        "keywords": _keywords(card),
        "isLiveDataset": False,
        **responsible(card),
        "distribution": [*map(_file, release.files), _all_files(release)],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": ROWS,
                "name": ROWS,
                "description": f"{release.rows:,} rows; each is one {_what(card)}.",
                "field": [_field(column) for column in card["columns"]],
            }
        ],
    }


def _description(card: Facts) -> str:
    title = str(card.get("title") or card["name"])
    opened = f"Open it with `{card['open']['python']}`."
    return " ".join([f"{title}.", *card["privacy"]["statement"], opened, ENCRYPTED])


def _what(card: Facts) -> str:
    return "cell of a query" if card["zone"] == "aggregates" else "synthetic record"


def _keywords(card: Facts) -> list[str]:
    kind = "noisy aggregates" if card["zone"] == "aggregates" else "synthetic data"
    tags = card["standing"]["tags"] if card["standing"] else []
    guarantee = card["privacy"].get("guarantee")
    return [kind, *(["differential privacy"] if isinstance(guarantee, Mapping) else []), *tags]


def _file(file: Any) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": PurePosixPath(file.path).name,
        "description": f"{file.rows:,} rows. {ENCRYPTED}",
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": ENCODING,
        "sha256": file.sha256,
    }


def _all_files(release: Released) -> dict[str, Any]:
    folders = sorted({str(PurePosixPath(file.path).parent) for file in release.files})
    patterns = [f"{folder}/*.parquet" for folder in folders or [f"{release.zone}/{release.dataset}"]]
    return {
        "@type": "cr:FileSet",
        "@id": FILES,
        "name": FILES,
        "description": f"All files of this version ({len(release.files):,}). {ENCRYPTED}",
        "encodingFormat": ENCODING,
        "includes": patterns[0] if len(patterns) == 1 else patterns,
    }


def _field(column: Facts) -> dict[str, Any]:
    kinds = TYPES.get(str(column["type"]), TYPES["string"])
    return {
        "@type": "cr:Field",
        "@id": f"{ROWS}/{column['name']}",
        "name": column["name"],
        "description": f"column class: {column['class']}",
        "dataType": kinds[0] if len(kinds) == 1 else list(kinds),
        "source": {"fileSet": {"@id": FILES}, "extract": {"column": column["name"]}},
    }
